"""Signals and gradients on their way through the blocks of a Gluon net, measured."""

from collections.abc import Callable, Sequence
from math import inf, nan, prod
from operator import methodcaller
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon.nn import activations
from mxnet.ndarray import NDArray

from ..base import leaf, memory, weights
from ..threads import one_blas_thread
from .passes import (
    RECURRENT,
    attach_gradients,
    block_by_block,
    checked_blocks,
    each_array,
    first_array,
    in_place_of_forward,
    recorded,
    settled_inputs,
    stand_ins,
)
from .signals import Array, Histogram, Trace, histogram, moments, recognized, statistics, usual_axis
from .trace import check_loss


def measured(
    net: Any, X: Any, y: Any, loss: Any, *, training: bool, bins: Any, containers: bool
) -> Trace:
    """What :func:`d2l_init.trace` gives for a Gluon block."""
    every = checked_blocks(net)
    blocks = [one for one in every if containers or one.params.keys() or not one._children]
    return traced(net, X, y, loss, blocks, Recorder(bins, loss is not None), training=training)


def traced(
    net: Any, X: Any, y: Any, loss: Any, blocks: Sequence[Any], recorder: "Recorder", *,
    training: bool,
) -> Trace:  # fmt: skip
    """The record of one pass in which ``recorder`` takes part in each call of these blocks."""
    # nothing of this may enter a graph that the caller records
    with autograd.pause(), one_blas_thread():
        inputs, y = settled_inputs(net, X), each_array(methodcaller("detach"), y)
        with (
            block_by_block(net),
            stand_ins(net, gradients=loss is not None),
            in_place_of_forward(blocks, recorder.forward),
        ):
            with recorded(net, training=training) if loss else autograd.pause(training):
                out = net(*inputs)
                value = None if loss is None else _mean_loss(loss(out, y), inputs, y)
            if value is not None:
                value.backward(train_mode=training)
            recorder.finish(inputs, out)  # while the engine goes back
    never = [block.name for block in blocks if block not in recorder.called]
    if not recorder.calls:
        raise ValueError(f"net must call one of its blocks at least, got no call of {never}")
    rows = [call.row() for call in recorder.calls]
    histograms = [call.histogram for call in recorder.calls if call.histogram is not None]
    return Trace(rows, histograms, never, None if value is None else float(value.asnumpy()))


class Call:
    """One call of a block: its arrays until they are measured, then the numbers."""

    def __init__(self, block: Any, output: Any, activation: str, before: "Call | None") -> None:
        self.block, self.output, self.shape = block, output, output.shape
        self.activation, self.axis = activation, _unit_axis(block, output.shape, before)
        self.addend: Any = None
        self.numbers: dict[str, float] = {}
        self.histogram: Histogram | None = None

    @property
    def has_gradient(self) -> bool:
        return self.addend is not None

    def row(self) -> dict[str, Any]:
        about = {"name": self.block.name, "block": type(self.block).__name__, "shape": self.shape}
        entries = sum(prod(leaf(p).shape) for p in _weights(self.block))
        return {**about, "weights": entries, "activation": self.activation, **self.numbers}

    def is_inside(self, block: Any, array: Any) -> bool:
        """Has a layer only passed on this output of a child without parameters of its own?"""
        passed_on = array is self.output and self.block in block._children.values()
        return bool(passed_on and block.params.keys() and not self.block.params.keys())

    def measure(self, bins: Any) -> None:
        values = memory(self.output)
        self.numbers = statistics(values, self.axis, self.activation)
        if bins is not None:
            self.histogram = Histogram(histogram(values, bins))

    def measure_gradient(self, bins: Any) -> None:
        values = np.empty(0) if self.addend is None else gradient_of(self.addend)
        _, std, square = moments(values)
        self.numbers.update(grad_std=std, grad_mean_square=square)
        if self.histogram is not None and self.addend is not None:
            number = bins if isinstance(bins, int) else len(bins) - 1
            self.histogram = self.histogram._replace(gradients=histogram(values, number))
        self.output = self.addend = None  # a large net needs their memory


class Recorder:
    """Takes part in each call of the blocks that it watches."""

    def __init__(self, bins: Any, backward: bool) -> None:
        self.bins, self.backward = bins, backward
        self.calls: list[Call] = []
        self.called: set[Any] = set()
        self.zeros: dict[Any, Any] = {}
        self.activations: dict[Any, str] = {}

    def forward(self, block: Any, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.backward and isinstance(block, RECURRENT):
            # float64 kernels give the lower layers' weights wrong gradients if the input needs none
            args = self.shifted(args[0], mx.nd.broadcast_add)[0], *args[1:]
        out = forward(*args, **kwargs)
        self.called.add(block)
        array, before = first_array(out), self.calls[-1] if self.calls else None
        if array is None:
            return out
        if before is not None and before.is_inside(block, array):
            before.block, before.axis = block, _unit_axis(block, array.shape, before)
            if not self.backward:
                before.measure(self.bins)
            return out
        if block not in self.activations:
            self.activations[block] = _activation(block, args, out)
        call = Call(block, array, self.activations[block], before)
        self.calls.append(call)
        if self.backward and np.dtype(array.dtype).kind == "f":
            self.add_zeros(call)
        else:  # at once: what comes next may write into an array that autograd doesn't guard
            call.measure(self.bins)
        return each_array(lambda part: call.output if part is array else part, out)

    def add_zeros(self, call: Call) -> None:
        """Gives autograd an array to leave the output's gradient in: there is no hook for that."""
        # elemwise_add is faster, but hands on oneDNN's layout of images, which slows what follows,
        # and gives both its inputs one gradient, which float64's recurrent kernels write into
        apart = call.output.ndim > 3 or isinstance(call.block, RECURRENT)
        add = mx.nd.broadcast_add if apart else mx.nd.elemwise_add
        call.output, call.addend = self.shifted(call.output, add)

    def shifted(self, like: Any, add: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
        """The array plus zeros that autograd leaves a gradient in, and these."""
        about = like.shape, like.ctx, like.dtype
        if about not in self.zeros:  # one serves all outputs of a shape: fresh memory costs time
            self.zeros[about] = mx.nd.zeros(*about)
        addend = self.zeros[about].detach()
        attach_gradients([addend])
        found = add(like.as_nd_ndarray(), addend)
        return found.as_np_ndarray() if isinstance(like, mx.np.ndarray) else found, addend

    def finish(self, inputs: Any, out: Any) -> None:
        """Statistics of all calls, in the order in which the engine gets there."""
        if not self.backward:
            return
        for call in self.calls:
            if call.addend is not None:
                call.measure(self.bins)
        spreads: dict[Any, dict[str, float]] = {}
        for call in reversed(self.calls):
            if call.block not in spreads:
                spreads[call.block] = _weight_spreads(call.block, call.output.ctx)
            call.measure_gradient(self.bins)
            call.numbers.update(spreads[call.block])


def gradient_of(array: Any) -> Array:
    return memory(array.grad) if array._fresh_grad else np.zeros(array.shape)


def _weights(block: Any) -> list[Any]:
    """The block's own parameters with at least two axes (imported ones don't know their shape)."""
    return [p for p in block.params.values() if leaf(p).ndim > 1]


def _weight_spreads(block: Any, ctx: Any) -> dict[str, float]:
    own = _weights(block)
    gradients = [gradient_of(leaf(p, ctx)) for p in own if p.grad_req != "null"]
    spread = moments(*(weights(p, ctx) for p in own))[1]
    grad_spread = moments(*gradients)[1] if len(gradients) == len(own) else nan
    ratio = grad_spread / spread if spread else nan if grad_spread == 0 else grad_spread * inf
    return {"weight_std": spread, "weight_grad_std": grad_spread, "update_ratio": ratio}


def _activation(block: Any, args: Any, out: Any) -> str:
    name = type(block).__name__.lower()
    if any(kind.__module__ == activations.__name__ for kind in type(block).__mro__):
        return str(getattr(block, "_act_type", "leaky_relu" if name == "leakyrelu" else name))
    plain = not block.params.keys() and not block._children and len(args) == 1
    if not (plain and isinstance(out, NDArray) and isinstance(args[0], NDArray)):
        return ""
    if args[0] is out or args[0].shape != out.shape or np.dtype(out.dtype).kind != "f":
        return ""
    names = str(getattr(block, "_func_name", name)), name
    x, y = (memory(one).ravel()[: 2**14] for one in (args[0], out))
    return recognized(x, y, names)


def _unit_axis(block: Any, shape: tuple[int, ...], before: Call | None) -> int | None:
    """Where the block keeps its channels; else as the call before, or by the number of axes."""
    about = getattr(block, "_kwargs", {})
    layout = about.get("layout") or getattr(block, "_layout", None)
    axis = layout.find("C") if layout and len(layout) == len(shape) else about.get("axis")
    if axis is not None:
        return int(axis) % len(shape)
    return usual_axis(shape, before)


def _mean_loss(value: Any, inputs: Any, y: Any) -> Any:
    """The mean over the batch of a loss that is one number or one for each example."""
    arrays = first_array(inputs), first_array(y)
    known = [array for array in arrays if array is not None and array.shape]
    shape = value.shape if isinstance(value, NDArray) else type(value).__name__
    check_loss(shape, sorted({len(array) for array in known}))
    return value.mean()
