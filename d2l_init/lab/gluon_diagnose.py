"""What is wrong with a Gluon net: what its blocks and parameters say."""

from collections.abc import Sequence
from functools import partial
from math import nan, prod
from typing import Any

import mxnet as mx
from mxnet.gluon import nn, rnn
from mxnet.gluon.nn import conv_layers

from ..base import leaf, memory
from ..laws import fans
from .diagnosis import Diagnosis
from .gluon_trace import Recorder, gradient_of, traced
from .passes import RECURRENT, blocks_of, checked_blocks, first_array
from .watch import Own, Watch, dropout_off, with_inputs

CURES = {
    "whole": "net.initialize({rule}, force_reinit=True)",
    "some": "net.collect_params({pattern!r}).initialize({rule}, force_reinit=True)",
    "own": "for p in net.collect_params({pattern!r}).values(): "
    "p.initialize({rule}, force_reinit=True)",
    "scale": "for p in net.collect_params({pattern!r}).values(): p.set_data(p.data() / {by})",
    "small": "net.collect_params({pattern!r}).initialize(d2l_init.TruncatedNormal(std=0.01), "
    "force_reinit=True)",
    "bias": "net.collect_params()[{name!r}].set_data(np.array({values}))",
    "freeze": 'net.collect_params({pattern!r}).setattr("grad_req", "null")',
    "remove": "{place}",
    "tanh": 'net.apply(lambda b: setattr(b, "_act_type", "tanh") '
    'if getattr(b, "_act_type", "") == "sigmoid" else None)',
    "inputs": "X = (X - X.mean()) / X.std()",
    "finite": "X = np.nan_to_num(X, posinf=0, neginf=0)",
    "noise": "X = np.random.normal(size=X.shape)",
    "wide": 'net.cast("float32"); X = X.astype("float32")',
    "loss": "from mxnet import gluon; loss = gluon.loss.SoftmaxCrossEntropyLoss()",
    "rate": "lr = {lr}",
    "relu rule": "d2l_init.he_normal()",
    "linear rule": "d2l_init.lecun_normal()",
    "other rule": "d2l_init.VarianceScaling(scale={scale})",
}
_OF_ND = {  # where they differ for arrays of mx.nd
    "bias": "from mxnet import nd; net.collect_params()[{name!r}].set_data(nd.array({values}))",
    "inputs": "X = (X - X.mean()) / ((X - X.mean()) ** 2).mean() ** 0.5",
    "finite": "from mxnet import nd; X = nd.where(nd.abs(X) < float('inf'), X, nd.zeros_like(X))",
    "noise": "from mxnet import nd; X = nd.random.normal(shape=X.shape)",
}


def judged(net: Any, X: Any, y: Any, loss: Any, lr: float | None) -> Diagnosis:
    """What :func:`d2l_init.diagnose` gives for a Gluon block."""
    watch = _Watch(checked_blocks(net), X, y, loss is not None)
    with dropout_off(_rates(net)):
        record = traced(net, X, y, loss, watch.watched, watch, training=True)
    norms = [
        block
        for block in blocks_of(net)
        if isinstance(block, (nn.BatchNorm, nn.BatchNormReLU)) and block.running_var._data
    ]
    fresh = [block.name for block in norms if not memory(leaf(block.running_mean)).any()
             and (memory(leaf(block.running_var)) == 1).all()]  # fmt: skip
    cures = CURES if isinstance(first_array(X), mx.np.ndarray) else CURES | _OF_ND
    return watch.judged(net, record, lr, with_inputs(cures, X), fresh)


def _rates(net: Any) -> list[tuple[dict[str, Any], str]]:
    """Where blocks keep their rate of dropout."""
    names = {nn.Dropout: "_rate", RECURRENT: "_dropout"}
    return [(vars(block), name) for block in blocks_of(net)
            for kind, name in names.items() if isinstance(block, kind)]  # fmt: skip


class _Watch(Watch, Recorder):
    """What blocks and parameters of Gluon say to it."""

    first, values = staticmethod(first_array), staticmethod(memory)

    def __init__(self, blocks: Sequence[Any], X: Any, y: Any, backward: bool) -> None:
        Recorder.__init__(self, None, backward)
        Watch.__init__(self, blocks, X, y)

    def name(self, block: Any) -> str:
        return str(block.name)

    def children(self, block: Any) -> dict[str, Any]:
        return dict(block._children)

    def parameters(self, block: Any) -> list[Own]:
        known = [(p, p._data[0]) for p in block.params.values() if p._data]
        return [
            Own(p.name, p, memory(leaf(p)), p._differentiable,
                p.grad_req != "null" and array.grad is not None, p.init is not None,
                array._fresh_grad, partial(gradient_of, array))
            for p, array in known
        ]  # fmt: skip

    def is_recurrent(self, block: Any) -> bool:
        return isinstance(block, (*RECURRENT, rnn.RecurrentCell))

    def fan_in(self, block: Any, own: Sequence[Own]) -> float:
        shape = own[0].values.shape if own else ()
        if not 2 <= len(shape) <= 5:
            return float(max(1, prod(shape[1:]))) if own else nan
        space, layout = "DHW"[5 - len(shape) :], None
        if isinstance(block, conv_layers._Conv) and "Transpose" in type(block).__name__:
            layout = f"IO{space}"
        elif isinstance(block, conv_layers._Conv) and block._kwargs["layout"][-1] == "C":
            layout = f"O{space}I"
        return float(max(1, fans(shape, layout=layout)[0]))

    def removal(self, path: Sequence[str]) -> str:
        place = "".join(f"._children[{key!r}]" for key in path[:-1])
        return f"net{place}._children.pop({path[-1]!r})"
