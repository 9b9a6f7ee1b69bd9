"""What is wrong with a PyTorch net: what its modules and parameters say, and cures in PyTorch."""

from collections.abc import Sequence
from functools import partial
from math import nan, prod
from typing import Any

from torch import nn
from torch.nn.modules import batchnorm, conv

from ..laws import fans
from .diagnosis import Diagnosis
from .signals import Array
from .torch_trace import (
    Recorder,
    array_of,
    as_before,
    checked_modules,
    first_tensor,
    gradient_of,
    own_parameters,
    shown,
    traced,
)
from .watch import Own, Watch, dropout_off, with_inputs

_EACH = "import re; _ = [{} for n, p in net.named_parameters() if re.match({{pattern!r}}, n)]"
_DRAWN = '{rule} if p.ndim > 1 else p.data.fill_("bias" not in n)'  # gammas are 1

CURES = {
    "whole": f"_ = [{_DRAWN} for n, p in net.named_parameters()]",
    "some": _EACH.format(_DRAWN),
    "own": _EACH.format(_DRAWN),
    "scale": _EACH.format("p.data.div_({by})"),
    "small": _EACH.format("torch.nn.init.trunc_normal_(p, std=0.01, a=-0.02, b=0.02)"),
    "bias": "net.get_parameter({name!r}).data.copy_(torch.tensor({values}))",
    "freeze": _EACH.format("p.requires_grad_(False)"),
    "remove": "{place}",
    "tanh": "_ = [setattr(m, name, torch.nn.Tanh()) for m in net.modules() "
    "for name, one in list(m.named_children()) if isinstance(one, torch.nn.Sigmoid)]",
    "inputs": "X = (X - X.mean()) / X.std()",
    "finite": "X = X.nan_to_num(nan=0, posinf=0, neginf=0)",
    "noise": "X = torch.randn_like(X)",
    "wide": "net.float(); X = X.float()",
    "loss": "loss = torch.nn.CrossEntropyLoss()",
    "rate": "lr = {lr}",
    "relu rule": 'torch.nn.init.kaiming_normal_(p, nonlinearity="relu")',
    "linear rule": 'torch.nn.init.kaiming_normal_(p, nonlinearity="linear")',
    "other rule": "torch.nn.init.normal_(p, std=({scale} / p[0].numel()) ** 0.5)",
}


def judged(net: Any, X: Any, y: Any, loss: Any, lr: float | None) -> Diagnosis:
    """What :func:`d2l_init.diagnose` gives for a PyTorch module."""
    watch = _Watch(net, X, y, loss is not None)
    with dropout_off(_rates(net)):
        record = traced(net, X, y, loss, watch, training=True)
    norms = [(name, one) for name, one in net.named_modules()
             if isinstance(one, batchnorm._BatchNorm) and one.running_var is not None]  # fmt: skip
    fresh = [name for name, one in norms
             if not one.running_mean.any() and (one.running_var == 1).all()]  # fmt: skip
    with as_before(net, False):  # a spectral norm changes when its weight is asked for
        return watch.judged(net, record, lr, with_inputs(CURES, X), fresh)


def _rates(net: Any) -> list[tuple[dict[str, Any], str]]:
    """Where modules keep their rate of dropout."""
    return [(vars(module), name) for module in net.modules() for name in ("p", "dropout")
            if isinstance(vars(module).get(name), float)
            and (name == "dropout" or "Drop" in type(module).__name__
                 or "StochasticDepth" in type(module).__name__)]  # fmt: skip


class _Watch(Watch, Recorder):
    """What modules and parameters of PyTorch say to it."""

    at_once = True
    first, values = staticmethod(first_tensor), staticmethod(array_of)

    def __init__(self, net: Any, X: Any, y: Any, backward: bool) -> None:
        names = checked_modules(net)
        Recorder.__init__(self, names, None, backward)
        self.known = {one: name for name, one in net.named_modules()}
        self.first_names = {p.data_ptr(): name for name, p in [*net.named_parameters()][::-1]}
        Watch.__init__(self, list(names), X, y)

    def name(self, block: Any) -> str:
        return shown(self.known[block])

    def children(self, block: Any) -> dict[str, Any]:
        apart = isinstance(block, nn.MultiheadAttention)
        return {} if apart else {name: one for name, one in block.named_children()
                                 if name != "parametrizations"}  # fmt: skip

    def parameters(self, block: Any) -> list[Own]:
        front = f"{self.known[block]}." if self.known[block] else ""
        return [
            Own(self.first_names.get(p.data_ptr(), f"{front}{name}"), p.data_ptr(), array_of(p),
                True, p.requires_grad, False, p.grad is not None, partial(_gradient, p))
            for name, p in own_parameters(block).items()
        ]  # fmt: skip

    def is_recurrent(self, block: Any) -> bool:
        return isinstance(block, nn.RNNBase | nn.RNNCellBase)

    def fan_in(self, block: Any, own: Sequence[Own]) -> float:
        shape = own[0].values.shape if own else ()
        if isinstance(block, conv._ConvTransposeNd):
            layout = f"IO{'DHW'[5 - len(shape) :]}"
            return float(fans(shape, layout=layout)[0] // block.groups)
        return float(max(1, prod(shape[1:]))) if own else nan

    def removal(self, path: Sequence[str]) -> str:
        place = f".get_submodule({'.'.join(path[:-1])!r})" * (len(path) > 1)
        return f"delattr(net{place}, {path[-1]!r})"


def _gradient(p: Any) -> Array:
    return array_of(gradient_of(p))
