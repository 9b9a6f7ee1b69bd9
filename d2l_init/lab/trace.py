"""What signals and gradients do on their way through the blocks of a net, measured."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from html import escape
from math import inf, nan
from numbers import Integral
from typing import Any, NamedTuple

import mxnet as mx
import numpy as np
import pandas as pd
from mxnet import autograd
from mxnet.gluon import Block
from mxnet.ndarray import NDArray
from numpy.typing import ArrayLike

Array = np.ndarray[Any, Any]
Counted = tuple[Array, Array]

# Beyond these an activation counts as saturated: within 0.01 of a bound.
_BOUNDS = {"tanh": (-0.99, 0.99), "softsign": (-0.99, 0.99), "sigmoid": (0.01, 0.99)}


class Histogram(NamedTuple):
    """Counts and edges, as ``numpy.histogram`` gives them, of one call's outputs and gradients."""

    outputs: Counted
    gradients: Counted | None = None


@dataclass(frozen=True, repr=False)
class Trace:
    """What :func:`trace` measured; a notebook shows it as the table of :meth:`to_frame`.

    ``histograms`` has one entry per row when ``bins`` was given, ``loss`` is the mean over the
    batch, ``never_called`` names the blocks that the pass left out.
    """

    rows: Sequence[dict[str, Any]]
    histograms: Sequence[Histogram] = ()
    never_called: Sequence[str] = ()
    loss: float | None = None

    def to_frame(self) -> Any:
        """A pandas frame with one row per call of a block, in the order in which they ended."""
        return pd.DataFrame(self.rows).set_index("name")

    @property
    def first_nonfinite(self) -> str | None:
        """Name of the first block with an infinite or undefined output; None without one."""
        return next((row["name"] for row in self.rows if row["nonfinite"] > 0), None)

    def __repr__(self) -> str:
        return "\n".join([repr(self.to_frame()), *self._remarks()])

    def _repr_html_(self) -> str:
        remarks = [f"<p>{escape(remark)}</p>" for remark in self._remarks()]
        return "\n".join([self.to_frame().to_html(), *remarks])

    def _remarks(self) -> Iterator[str]:
        if self.first_nonfinite is not None:
            yield f"first output that is not finite: {self.first_nonfinite}"
        if self.never_called:
            yield f"never called: {', '.join(self.never_called)}"


def trace(
    net: Any,
    X: Any,
    y: Any = None,
    loss: Callable[[Any, Any], Any] | None = None,
    *,
    training: bool = False,
    bins: int | ArrayLike | None = None,
) -> Trace:
    """Statistics of what each block puts out for the batch X and, with a loss, of its gradients.

    There is a row for each call of a block that has parameters of its own or no children. An
    activation built into a block is part of that block; of several outputs the first counts. ``X``
    is an array, or a tuple or list of them for a net with several inputs. The columns:

    - ``block, shape``: the block's class, the shape of its output;
    - ``mean, std, mean_square`` of the output's entries;
    - ``zero``: share of entries that are 0; ``dead``: share of units that are 0 for every input
      and at every place. A unit is an index of the channel axis where the block (or, for a block
      that keeps the shape, the one before it) has one, else of axis 1 of an output with 4 or 5
      axes, else of the last axis;
    - ``saturated``: share of entries within 0.01 of a bound of tanh, sigmoid or softsign, NaN
      after anything else; ``nonfinite``: share of entries that are infinite or NaN;
    - with ``loss``, of the mean over the batch of ``loss(net(X), y)``: ``grad_std,
      grad_mean_square`` of the gradient by the output; ``weight_std, weight_grad_std`` of the
      block's own parameters with at least 2 axes (over all calls of a block), ``update_ratio``,
      the second over the first. NaN where there are none, gradients also where they are frozen.

    ``training`` puts dropout and batch norm into training mode. ``bins``, a number or the edges for
    the outputs, keeps histograms: gradients get as many bins over their own range. Except for
    shapes that this pass settles (which draws their weights), the net is left as it was.

    >>> from mxnet import init, np, npx
    >>> from mxnet.gluon import nn
    >>> npx.set_np()
    >>> net = nn.Sequential()
    >>> net.add(nn.Dense(4, prefix="hidden_"), nn.Activation("relu", prefix="relu_"))
    >>> net.initialize(init.One())
    >>> trace(net, np.array([[1, 2], [-1, -2]])).to_frame()["mean"].to_dict()
    {'hidden': 0.0, 'relu': 1.5}

    Raises ValueError when net is no initialized block with parameters, X no array, one of y and
    loss is missing, the loss is neither a number nor one for each example, or no block was called.
    """
    blocks, bins = _traced(net), _checked_bins(bins)
    _check_given(X, y, loss)
    watch = _Watch(bins, backward=loss is not None)
    with autograd.pause():  # nothing of this may enter a graph that the caller records
        inputs = _each(_detached, X if isinstance(X, (tuple, list)) else (X,))
        if any(parameter._deferred_init for parameter in _parameters(net)):
            net(*inputs)  # settles the shapes; blocks meet symbols in it, which have no values
        with _as_it_was(net, backward=loss is not None), watch.watching(blocks):
            value = _run(net, inputs, _each(_detached, y), loss, training)
            if loss is not None:
                watch.finish()
    never = [block.name for block in blocks if block not in watch.called]
    if not watch.calls:
        raise ValueError(f"net must call one of its blocks at least, got no call of {never}")
    histograms = [call.histogram for call in watch.calls if call.histogram is not None]
    mean = None if value is None else float(value.asnumpy())
    return Trace([call.titled() for call in watch.calls], histograms, never, mean)


def _run(net: Any, inputs: Any, y: Any, loss: Any, training: bool) -> Any:
    """Forward, then backward from the mean loss, which is returned while they may still run."""
    if loss is None:
        with autograd.pause(train_mode=training):
            net(*inputs)
        return None
    with autograd.record(train_mode=training):
        value = _checked_loss(loss(net(*inputs), y), inputs, y).mean()
    value.backward(train_mode=training)
    return value


class _Watch:
    """Sees every call of the blocks that it watches."""

    def __init__(self, bins: Any, backward: bool) -> None:
        self.bins, self.backward = bins, backward
        self.calls: list[_Call] = []
        self.called: set[Any] = set()
        self.zeros: dict[Any, Any] = {}

    @contextmanager
    def watching(self, blocks: Sequence[Any]) -> Iterator[None]:
        """Stands in for each block's ``forward``: unlike a hook, it can pass on another output."""
        own = {block: vars(block)["forward"] for block in blocks if "forward" in vars(block)}
        try:
            for block in blocks:
                vars(block)["forward"] = partial(self.seen, block, block.forward)
            yield
        finally:
            for block in blocks:
                vars(block).pop("forward", None)
                vars(block).update({"forward": own[block]} if block in own else {})

    def seen(self, block: Any, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        out = forward(*args, **kwargs)
        self.called.add(block)
        array = _first(out)
        if array is None:
            return out
        before = self.calls[-1] if self.calls else None
        if before is not None and before.is_inside(block, array):
            before.block = block
            return out
        call = _Call(block, array, _unit_axis(block, array.shape, before))
        self.calls.append(call)
        if self.backward and np.dtype(array.dtype).kind == "f":
            call.add(self.zeros)
        else:  # at once: what comes next may write into an array that autograd doesn't guard
            call.measure(self.bins)
        return _each(lambda part: call.output if part is array else part, out)

    @np.errstate(all="ignore")
    def finish(self) -> None:
        """Statistics while the engine goes back through the net, last block first."""
        spreads: dict[Any, dict[str, float]] = {}
        for call in self.calls:
            if call.addend is not None:
                call.measure(self.bins)
        for call in reversed(self.calls):
            call.measure_gradient(self.bins)
            if call.block not in spreads:
                spreads[call.block] = _weight_spreads(call)
            call.row.update(spreads[call.block])


class _Call:
    """One call of a block and what is known of it."""

    def __init__(self, block: Any, output: Any, axis: int | None) -> None:
        self.block, self.output, self.axis = block, output, axis
        self.bounds = _BOUNDS.get(getattr(block, "_act_type", ""))
        self.addend: Any = None
        self.row: dict[str, Any] = {}
        self.histogram: Histogram | None = None

    def titled(self) -> dict[str, Any]:
        return {"name": self.block.name, "block": type(self.block).__name__, **self.row}

    def is_inside(self, block: Any, array: Any) -> bool:
        """Has the block only passed on this output of a child without parameters of its own?"""
        children = block._children.values()
        return array is self.output and self.block in children and not _own(self.block)

    def add(self, zeros: dict[Any, Any]) -> None:
        """Gives autograd an array to leave the output's gradient in: there is no hook for that."""
        like = self.output
        numpy_like = isinstance(like, mx.np.ndarray)
        key = (numpy_like, like.shape, like.dtype, like.ctx)
        if key not in zeros:  # one serves all outputs of a shape: fresh memory costs time
            kind = mx.np if numpy_like else mx.nd
            zeros[key] = kind.zeros(like.shape, dtype=like.dtype, ctx=like.ctx)
        self.addend = zeros[key].detach()
        self.addend.attach_grad()
        # of MXNet's additions the one that goes back fastest: it takes equal shapes for granted
        shifted = mx.nd.elemwise_add(like.as_nd_ndarray(), self.addend.as_nd_ndarray())
        self.output = shifted.as_np_ndarray() if numpy_like else shifted

    @np.errstate(all="ignore")  # infinity and NaN are counted, not warned of
    def measure(self, bins: Any) -> None:
        values = self.output.asnumpy()
        self.row = {"shape": values.shape, **_statistics(values, self.axis, self.bounds)}
        if bins is not None:
            self.histogram = Histogram(_counted(values, bins))

    def measure_gradient(self, bins: Any) -> None:
        values = np.empty(0) if self.addend is None else self.addend.grad.asnumpy()
        _, std, square = _moments(values)
        self.row.update(grad_std=std, grad_mean_square=square)
        if self.histogram is not None and self.addend is not None:
            number = bins if isinstance(bins, int) else len(bins) - 1
            self.histogram = self.histogram._replace(gradients=_counted(values, number))


def _weight_spreads(call: _Call) -> dict[str, float]:
    weights = [p.data(call.output.ctx) for p in _own(call.block) if len(p.shape) > 1]
    spread, grad_spread = _spread(weights), _spread([weight.grad for weight in weights])
    ratio = grad_spread / spread if spread else nan if grad_spread == 0 else grad_spread * inf
    return {"weight_std": spread, "weight_grad_std": grad_spread, "update_ratio": ratio}


def _spread(arrays: Sequence[Any]) -> float:
    """Standard deviation of all entries together; NaN where there are none."""
    if not arrays or any(array is None for array in arrays):
        return nan
    values = [array.asnumpy().ravel() for array in arrays]
    return _moments(np.concatenate(values) if len(values) > 1 else values[0])[1]


def _moments(values: Array) -> tuple[float, float, float]:
    """Mean, standard deviation and mean square, summed in float64."""
    wide = values.astype(np.float64).ravel()
    mean, square = np.float64(wide.sum()) / wide.size, wide @ wide / wide.size
    variance = square - mean**2
    if variance < 1e-3 * square:  # too little of it is left: subtract before squaring
        wide -= mean
        variance = wide @ wide / wide.size
    return float(mean), float(np.sqrt(variance)), float(square)


def _statistics(values: Array, axis: int | None, bounds: Any) -> dict[str, float]:
    mean, std, square = _moments(values)
    alive = values != 0
    zero = _share(~alive)
    others = tuple(other for other in range(values.ndim) if other != axis)
    return {
        "mean": mean,
        "std": std,
        "mean_square": square,
        "zero": zero,
        "dead": _share(~alive.any(axis=others)) if zero > 0 else zero,
        "saturated": _share((values < bounds[0]) | (values > bounds[1])) if bounds else nan,
        "nonfinite": 0.0 if np.isfinite(square) else _share(~np.isfinite(values)),
    }


def _share(mask: Any) -> float:
    return np.count_nonzero(mask) / mask.size if mask.size else nan


def _counted(values: Array, bins: Any) -> Counted:
    return np.histogram(values[np.isfinite(values)].astype(float), bins)


def _unit_axis(block: Any, shape: tuple[int, ...], before: _Call | None) -> int | None:
    axis = _channel_axis(block, len(shape))
    if axis is None and before is not None and before.output.shape == shape:
        axis = before.axis
    if axis is not None or len(shape) < 2:
        return axis
    return 1 if len(shape) in (4, 5) else len(shape) - 1


def _channel_axis(block: Any, ndim: int) -> int | None:
    """Where a convolution, a pooling, a normalization or a recurrent block keeps its channels."""
    about = getattr(block, "_kwargs", {})
    layout = about.get("layout") or getattr(block, "_layout", None)
    axis = layout.find("C") if layout and len(layout) == ndim else about.get("axis")
    return None if axis is None else int(axis) % ndim


@contextmanager
def _as_it_was(net: Any, backward: bool) -> Iterator[None]:
    """Lets a pass run block by block and on stand-ins of the parameters.

    Weights are shared with the stand-ins, gradients are not; what has no gradient, such as running
    statistics, is copied.
    """
    active = [block for block in _all_blocks(net) if getattr(block, "_active", False)]
    data = [(p, p._data) for p in _parameters(net) if p._data is not None]
    try:
        for block in active:
            block._active = False  # a compiled graph calls no block; hybridize() would drop it
        for parameter, arrays in data:
            parameter._data = [_stand_in(parameter, array, backward) for array in arrays]
        yield
    finally:
        for block in active:
            block._active = True
        for parameter, arrays in data:
            parameter._data = arrays


def _stand_in(parameter: Any, array: Any, backward: bool) -> Any:
    if parameter.grad_req == "null":
        return array.copy()
    array = array.detach()
    if backward:
        array.attach_grad()
    return array


def _all_blocks(net: Any) -> list[Any]:
    found: dict[Any, None] = {}
    net.apply(lambda block: found.setdefault(block))
    return list(found)


def _parameters(net: Any) -> list[Any]:
    # collect_params() finds the same, but takes some 30 µs a block
    return list(dict.fromkeys(p for block in _all_blocks(net) for p in _own(block)))


def _own(block: Any) -> list[Any]:
    return list(block.params.values())


def _detached(array: Any) -> Any:
    return array.detach()


def _first(nested: Any) -> Any:
    """The first array in nested tuples, lists and dicts; None without one."""
    if isinstance(nested, NDArray):
        return nested
    parts = nested.values() if isinstance(nested, dict) else nested
    parts = parts if isinstance(nested, (tuple, list, dict)) else ()
    return next((array for array in map(_first, parts) if array is not None), None)


def _each(function: Callable[[Any], Any], nested: Any) -> Any:
    """The same nested tuples, lists and dicts with the function's value for each array."""
    if isinstance(nested, NDArray):
        return function(nested)
    if isinstance(nested, dict):
        return {key: _each(function, part) for key, part in nested.items()}
    if isinstance(nested, (tuple, list)):
        parts = [_each(function, part) for part in nested]
        return type(nested)(*parts) if hasattr(nested, "_fields") else type(nested)(parts)
    return nested


def _traced(net: Any) -> list[Any]:
    """The blocks with parameters of their own or without children."""
    if not isinstance(net, Block):
        raise ValueError(f"net must be a Gluon block, got {type(net).__name__}")
    parameters = _parameters(net)
    if not parameters:
        raise ValueError(f"net must have parameters, got none in {net.name}")
    bare = [p.name for p in parameters if p._data is None and not p._deferred_init]
    if bare:
        raise ValueError(f"net must be initialized (net.initialize()), got no values in {bare}")
    return [block for block in _all_blocks(net) if _own(block) or not block._children]


def _check_given(X: Any, y: Any, loss: Any) -> None:
    if _first(X) is None:
        raise ValueError(f"X must be an MXNet array or a tuple of them, got {type(X).__name__}")
    if (y is None) != (loss is None):
        given, lacking = ("loss", "y") if y is None else ("y", "loss")
        raise ValueError(f"y and loss must be given together, got {given} without {lacking}")
    if loss is not None and not callable(loss):
        raise ValueError(f"loss must be callable as loss(net(X), y), got {loss!r}")


def _checked_loss(value: Any, inputs: Any, y: Any) -> Any:
    """The loss if it is one number or one for each example."""
    known = [array for array in (_first(inputs), _first(y)) if array is not None and array.shape]
    examples = sorted({len(array) for array in known})
    shape = value.shape if isinstance(value, NDArray) else None
    if shape is not None and (value.size == 1 or value.size == shape[0] in examples):
        return value
    raise ValueError(
        f"loss must return one number or one for each of the {examples} examples, "
        f"got {type(value).__name__ if shape is None else shape}"
    )


def _checked_bins(bins: Any) -> Any:
    if bins is None:
        return None
    if isinstance(bins, Integral) and int(bins) > 0 and not isinstance(bins, bool):
        return int(bins)
    if np.ndim(bins) == 1 and len(bins) > 1 and (np.diff(bins) > 0).all():
        return np.asarray(bins, dtype=float)
    raise ValueError(f"bins must be a positive whole number or rising edges, got {bins!r}")
