"""Signals and gradients on their way through the modules of a PyTorch net, measured.

PyTorch is imported in the files named ``torch_`` only, and these only for nets of its own.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from math import inf, nan, prod
from re import sub
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import activation as activations, batchnorm, conv
from torch.nn.utils import parametrize

from ..threads import one_blas_thread
from . import signals
from .nested import each_of, first_of
from .signals import Array, Histogram, Trace, histogram
from .trace import check_loss

# What the figures and the theory call them, where that isn't the class in lower case.
_NAMES = {"LeakyReLU": "leaky_relu", "SiLU": "swish", "LogSigmoid": "log_sigmoid",
          "Softplus": "softrelu", "Hardsigmoid": "hard_sigmoid",
          "Hardswish": "hard_swish"}  # fmt: skip
_NOT_ENTRYWISE = ("MultiheadAttention", "Softmax", "Softmax2d", "Softmin", "LogSoftmax", "GLU")
_HOLDERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
CHUNK = 2**16  # values that stay in a cache, and of which float32 holds the sum

first_tensor, each_tensor = partial(first_of, Tensor), partial(each_of, Tensor)


def measured(
    net: Any, X: Any, y: Any, loss: Any, *, training: bool, bins: Any, containers: bool
) -> Trace:
    """What :func:`d2l_init.trace` gives for a PyTorch module."""
    names = checked_modules(net)
    watched = {one: name for one, name in names.items()
               if containers or [*one.parameters(recurse=False)] or not [*one.children()]
               or parametrize.is_parametrized(one)}  # fmt: skip
    return traced(net, X, y, loss, Recorder(watched, bins, loss is not None), training=training)


def checked_modules(net: Any) -> dict[Any, str]:
    """The modules that may be called, with their names; ValueError for a net that hides them.

    What a parametrization or an attention consists of belongs to that layer.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in net.modules()):
        raise ValueError("net must be as written: what a scripted module calls cannot be seen")
    devices = {parameter.device.type for parameter in net.parameters()}
    if not devices or "meta" in devices:
        lack = "values, got parameters on 'meta'" if devices else "parameters, got none"
        raise ValueError(f"net must have {lack} in {type(net).__name__}")
    inside = {part for module in net.modules() if isinstance(module, nn.MultiheadAttention)
              for part in module.modules() if part is not module}  # fmt: skip
    return {
        module: shown(name) for name, module in net.named_modules()
        if module not in inside and "parametrizations" not in name.split(".")
        and not isinstance(module, _HOLDERS) and not hasattr(module, "_orig_mod")  # compiled
    }  # fmt: skip


def shown(name: str) -> str:
    """Without the wrapper of torch.compile; the net itself has no name."""
    return sub(r"\.?_orig_mod", "", name).lstrip(".") or "net"


def own_parameters(module: Any) -> dict[str, Any]:
    """The module's own parameters; those that are parametrized as the layer uses them."""
    own = dict(module.named_parameters(recurse=isinstance(module, nn.MultiheadAttention)))
    if parametrize.is_parametrized(module):
        own |= {name: getattr(module, name) for name in module.parametrizations}
    return own


def traced(net: Any, X: Any, y: Any, loss: Any, recorder: "Recorder", *, training: bool) -> Trace:
    """The record of one pass in which ``recorder`` takes part in each call of its modules."""
    if first_tensor(X) is None:
        raise ValueError(f"X must be a tensor or a tuple of them, got {type(X).__name__}")
    inputs = each_tensor(_twin, X if isinstance(X, (tuple, list)) else (X,))
    _settle(net, inputs)
    value = None
    with _one_by_one(net), as_before(net, training), torch.set_grad_enabled(loss is not None):
        for module in recorder.names:
            vars(module)["forward"] = partial(recorder.forward, module, module.forward)
        out = net(*inputs)
        if loss is not None:
            value = _mean_loss(loss(out, each_tensor(torch.detach, y)), inputs, y)
            recorder.back(value, [p for p in net.parameters() if p.requires_grad])
        recorder.finish(inputs, out)
        never = [name for one, name in recorder.names.items() if one not in recorder.called]
        if not recorder.calls:
            raise ValueError(f"net must call one of its modules, got no call of {never}")
        rows = [call.row() for call in recorder.calls]
    histograms = [call.histogram for call in recorder.calls if call.histogram is not None]
    return Trace(rows, histograms, never, None if value is None else value.item())


def _settle(net: Any, inputs: Any) -> None:
    """A pass settles the shapes of lazy modules, which draws their weights."""
    if any(nn.parameter.is_lazy(parameter) for parameter in net.parameters()):
        modes = {module: module.training for module in net.modules()}
        try:
            with torch.no_grad():
                net.eval()(*inputs)
        finally:
            for module, mode in modes.items():
                module.training = mode


@contextmanager
def _one_by_one(net: Any) -> Iterator[None]:
    """No kernel stands for several modules, and the random stream stays where it was."""
    devices = {p.device for p in net.parameters() if p.device.type == "cuda"}
    fused = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices))
        stack.enter_context(parametrize.cached())
        stack.enter_context(one_blas_thread())
        if "torch._dynamo" in sys.modules:  # something may be compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.callback(torch.backends.mha.set_fastpath_enabled, fused)
        torch.backends.mha.set_fastpath_enabled(False)
        yield


@contextmanager
def as_before(net: Any, training: bool) -> Iterator[None]:
    """Parameters and buffers give way to stand-ins; afterwards each module has what it had.

    A parameter's stand-in shares its values, not its gradient; that of a buffer is a copy.
    """
    before = {module: dict(vars(module)) for module in net.modules()}
    shared: dict[int, Any] = {}

    def stand_ins(known: Mapping[str, Any], made: Callable[[Any], Any]) -> dict[str, Any]:
        new = {id(one): made(one) for one in known.values()
               if one is not None and id(one) not in shared}  # fmt: skip
        shared.update(new)
        return {name: one if one is None else shared[id(one)] for name, one in known.items()}

    try:
        for module, own in before.items():
            now = vars(module)
            now["_parameters"] = stand_ins(own["_parameters"], _twin)
            now["_buffers"] = stand_ins(own["_buffers"], torch.clone)
            now["training"] = training
        for module in before:
            if isinstance(module, nn.RNNBase):
                flat = [getattr(module, name) for name in module._flat_weights_names]
                vars(module)["_flat_weights"] = flat
                if not training:  # cuDNN goes back in training mode only
                    vars(module).update(training=True, dropout=0.0)
        yield
    finally:
        for module, own in before.items():
            vars(module).clear()
            vars(module).update(own)


def _twin(tensor: Any) -> Any:
    return tensor.detach().requires_grad_(tensor.requires_grad)


class Call:
    """One call of a module: its numbers."""

    has_gradient = False

    def __init__(self, block: Any, name: str, output: Any, kind: str, before: Any) -> None:
        self.block, self.name, self.activation = block, name, kind
        self.shape, self.axis = tuple(output.shape), _unit_axis(block, tuple(output.shape), before)
        self.numbers = statistics(output, self.axis, kind)
        self.output: Any = None  # for those who ask what came from where
        self.histogram: Histogram | None = None

    def row(self) -> dict[str, Any]:
        kind = parametrize.type_before_parametrizations(self.block).__name__
        entries = sum(prod(p.shape) for p in weights_of(self.block))
        return {"name": self.name, "block": kind, "shape": self.shape, "weights": entries,
                "activation": self.activation, **self.numbers}  # fmt: skip

    def take_gradient(self, bins: Any, gradient: Any) -> None:
        """What autograd calls."""
        _, std, square = spread(gradient)
        self.numbers.update(grad_std=std, grad_mean_square=square)
        if self.histogram is not None:
            number = bins if isinstance(bins, int) else len(bins) - 1
            found = histogram(array_of(gradient), number)
            self.histogram = self.histogram._replace(gradients=found)


class Recorder:
    """Takes part in each call of the modules that it watches."""

    def __init__(self, names: dict[Any, str], bins: Any, backward: bool) -> None:
        self.names, self.bins, self.backward = names, bins, backward
        self.calls: list[Call] = []
        self.called: set[Any] = set()
        self.leaves: list[Any] = []
        self.is_hidden = False  # was one called where autograd didn't look?
        self.is_over = False

    def forward(self, block: Any, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """In place of the module's own; looks before the next can write into the output."""
        out = forward(*args, **kwargs)
        tensor = first_tensor(out)
        if self.is_over:  # a checkpoint's second pass
            return out
        self.called.add(block)
        if tensor is None:
            return out
        before = self.calls[-1] if self.calls else None
        call = Call(block, self.names[block], tensor, _activation(block, args, out), before)
        self.calls.append(call)
        if self.bins is not None:
            call.histogram = Histogram(histogram(array_of(tensor), self.bins))
        return self.probed(call, tensor, out) if self.backward else out

    def probed(self, call: Call, tensor: Any, out: Any) -> Any:
        """Asks autograd for the output's gradient, also where nothing in front is trained."""
        call.has_gradient = torch.is_grad_enabled() and tensor.is_floating_point()
        size = 0.0 if call.has_gradient else nan
        call.numbers.update(grad_std=size, grad_mean_square=size)
        if not call.has_gradient:
            self.is_hidden |= tensor.is_floating_point()
            return out
        if not tensor.requires_grad:
            self.leaves.append(tensor.detach().requires_grad_())
            new = self.leaves[-1].clone()  # what comes next may write into it
            out, tensor = each_tensor(lambda one: new if one is tensor else one, out), new
        tensor.register_hook(partial(call.take_gradient, self.bins))
        return out

    def back(self, value: Any, trained: list[Any]) -> None:
        """Fills the gradients of outputs, of the weights' stand-ins and of nothing else."""
        if not value.requires_grad:
            raise ValueError("loss must come from net(X) through autograd, got one that doesn't")
        if self.is_hidden and _has_reentrant_checkpoint(value.grad_fn):
            raise ValueError("net must checkpoint with use_reentrant=False, or its gradients hide")
        for p in (p for block in self.called for p in weights_of(block)):
            if p.requires_grad and not p.is_leaf:
                p.retain_grad()
        self.is_over = True
        value.backward(inputs=[*trained, *self.leaves])

    def finish(self, inputs: Any, out: Any) -> None:
        """Adds the numbers of the weights."""
        if self.backward:
            spreads = {block: _weight_spreads(block) for block in self.called}
            for call in self.calls:
                call.numbers.update(spreads[call.block])


def _has_reentrant_checkpoint(node: Any) -> bool:
    nodes, seen = [node], set()
    while nodes:
        if (node := nodes.pop()) is not None and node not in seen:
            seen.add(node)
            nodes += [one for one, _ in node.next_functions]
    return any("CheckpointFunction" in one.name() for one in seen)


def weights_of(module: Any) -> list[Any]:
    """Its own parameters with at least two axes."""
    return [p for p in own_parameters(module).values() if p.ndim > 1]


def gradient_of(p: Any) -> Any:
    return torch.zeros_like(p) if p.grad is None else p.grad.to_dense()


def _weight_spreads(module: Any) -> dict[str, float]:
    own = weights_of(module)
    std, trained = spread(*own)[1], all(p.requires_grad for p in own)
    grad_std = spread(*map(gradient_of, own))[1] if trained else nan
    ratio = grad_std / std if std else nan if grad_std == 0 else grad_std * inf
    return {"weight_std": std, "weight_grad_std": grad_std, "update_ratio": ratio}


def array_of(tensor: Any) -> Array:
    """Its values as NumPy knows them, on the CPU in the same memory."""
    values = tensor.detach().cpu()
    known: Array = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return known


def spread(*tensors: Any) -> tuple[float, float, float]:
    """As ``signals.moments``, computed where the tensors lie."""
    return signals.moments(*tensors, sums=_sums)


def statistics(tensor: Any, axis: int | None, activation: str) -> dict[str, float]:
    """As ``signals.statistics``, computed where the tensor lies."""
    return signals.statistics(tensor.detach(), axis, activation, _sums, torch.count_nonzero)


def _sums(tensors: Any, shift: float) -> tuple[float, float]:
    """Of the entries less ``shift`` and of their squares, to 1e-6 in a third of float64's time."""
    if not shift and all(tensor.element_size() <= 4 for tensor in tensors):
        total, squares = _summed(tensors, 0.0, torch.float32)
        if 1e-25 < squares < 1e25:  # no square was too small or too large
            return total, squares
    lacking = any(tensor.device.type == "mps" for tensor in tensors)
    return _summed(tensors, shift, torch.float32 if lacking else torch.float64)


def _summed(tensors: Any, shift: float, kind: Any) -> tuple[float, float]:
    found = []
    for tensor in tensors:
        for part in tensor.detach().reshape(-1).split(CHUNK):
            wide = part.to(kind) - shift if shift else part.to(kind)
            found += [wide.sum(), wide.dot(wide)]
    total, squares = torch.stack(found).view(-1, 2).cpu().double().sum(0).tolist()
    return float(total), float(squares)


def _mean_loss(value: Any, inputs: Any, y: Any) -> Any:
    """The mean over the batch of a loss that is one number or one for each example."""
    tensors = [first_tensor(inputs), first_tensor(y)]
    examples = sorted({len(one) for one in tensors if one is not None and one.ndim})
    check_loss(tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__, examples)
    return value.mean()


def _activation(module: Any, args: Any, out: Any) -> str:
    known = next((one.__name__ for one in type(module).__mro__
                  if one.__module__ == activations.__name__), "")  # fmt: skip
    if known:
        return "" if known in _NOT_ENTRYWISE else _NAMES.get(known, known.lower())
    given = args[0] if len(args) == 1 else None
    if not (isinstance(out, Tensor) and isinstance(given, Tensor)) or given.shape != out.shape:
        return ""
    if list(module.children()) or own_parameters(module) or given.data_ptr() == out.data_ptr():
        return ""
    x, y = (array_of(one.detach().reshape(-1)[: 2**14]) for one in (given, out))
    return signals.recognized(x, y, [type(module).__name__.lower()]) if y.dtype.kind == "f" else ""


def _unit_axis(module: Any, shape: tuple[int, ...], before: Any) -> int | None:
    if isinstance(module, conv._ConvNd):
        return len(shape) - 1 - len(module.kernel_size)
    if isinstance(module, batchnorm._NormBase | nn.GroupNorm):
        return 1
    if isinstance(module, nn.Linear | nn.LayerNorm | nn.RMSNorm | nn.Embedding):
        return len(shape) - 1
    return signals.usual_axis(shape, before)
