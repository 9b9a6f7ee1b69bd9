"""Scales that the data decide: LSUV, layer-sequential unit variance."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from math import isfinite, sqrt
from typing import Any

import mxnet as mx
import pandas as pd
from mxnet import autograd
from mxnet.gluon import nn, rnn
from mxnet.gluon.nn import conv_layers
from tqdm import tqdm

from ..arguments import number, whole
from ..base import memory
from ..initializers import HaarOrthogonal
from ..threads import one_blas_thread
from .front_end import front_end
from .passes import (
    RECURRENT,
    block_by_block,
    checked_blocks,
    first_array,
    in_place_of_forward,
    settled_inputs,
)
from .signals import moments

# Bounded whatever their weights: no scale brings what they put out to variance 1.
_KEPT = (*RECURRENT, rnn.RecurrentCell)
_LAYERS = (nn.Dense, conv_layers._Conv)  # apply their ``act`` last


def lsuv(net: Any, X: Any, *, tol: float = 0.1, max_iter: int = 10) -> pd.DataFrame:
    """Gives each layer the scale at which its pre-activations of the batch X have variance 1.

    Layers are blocks with weights (own parameters with at least 2 axes) that are trained; frozen
    and recurrent ones are left alone. Their weights are drawn anew, orthogonal (seeded by
    ``mx.random.seed``), and in one pass, in order of execution, divided by the standard deviation
    of the layer's output for X until its variance is within ``tol`` of 1. An activation built into
    a layer comes after that; a sum, as behind a residual connection, isn't scaled. Biases stay
    as they are; batch norm is in predict mode.

    Returns a row for each layer, in order: ``block, shape`` of the output, its variance with the
    orthogonal weights (``before``) and at the end (``variance``), ``steps`` taken, and ``scale``,
    by which the orthogonal weights were multiplied.

    >>> from mxnet import np, npx
    >>> from mxnet.gluon import nn
    >>> npx.set_np()
    >>> net = nn.Dense(2, in_units=2, prefix="layer_")
    >>> net.initialize()
    >>> frame = lsuv(net, np.array([[3, 0], [0, 3], [-3, 0], [0, -3]]))
    >>> frame[["before", "variance", "steps", "scale"]].round(3).loc["layer"].to_list()
    [4.5, 1.0, 1.0, 0.471]

    Raises ValueError, with the weights as they were, for an empty batch, arguments out of range, a
    net without trained layers, a layer that is called twice or shares weights with another, whose
    output is constant or not finite, or stays outside ``tol`` for ``max_iter`` steps.
    Source: Mishkin & Matas 2016, algorithm 1.
    """
    tol, max_iter = number("tol", tol, positive=True), whole("max_iter", max_iter, 1)
    every = checked_blocks(net)
    layers = {block: own for block in every if (own := _trained(block))}
    if not layers:
        raise ValueError(f"net must have trained weights in a layer, got none in {net.name}")
    with autograd.pause(), one_blas_thread(), ExitStack() as stack:
        inputs = settled_inputs(net, X)
        if not first_array(inputs).size:
            raise ValueError(f"X must hold an example, got shape {first_array(inputs).shape}")
        stack.enter_context(_kept_on_error(layers))
        bar = tqdm(total=len(layers), file=front_end(), leave=False, disable=None, ncols=80)
        run = _Sweep(layers, tol, max_iter, stack.enter_context(bar))
        stack.enter_context(block_by_block(net))
        stack.enter_context(in_place_of_forward(list(layers), run.forward))
        net(*inputs)
    return pd.DataFrame(run.rows).set_index("name")


def _trained(block: Any) -> list[Any]:
    """The parameters to scale: of a block with frozen ones none, they may be another task's."""
    own = [p for p in block.params.values() if len(p.shape or ()) > 1]
    frozen = any(p.grad_req == "null" for p in own)
    return [] if frozen or isinstance(block, _KEPT) else own


@contextmanager
def _kept_on_error(layers: dict[Any, list[Any]]) -> Iterator[None]:
    arrays = [array for own in layers.values() for p in own for array in p._data]
    before = [array.copy() for array in arrays]
    try:
        yield
    except BaseException:
        for array, values in zip(arrays, before, strict=True):
            array[:] = values
        raise


class _Sweep:
    """Takes part in the call of each layer: what comes after sees the scaled output."""

    def __init__(self, layers: dict[Any, list[Any]], tol: float, max_iter: int, bar: Any) -> None:
        self.layers, self.tol, self.max_iter, self.bar = layers, tol, max_iter, bar
        self.seen: set[Any] = set()
        self.rows: list[dict[str, Any]] = []

    def forward(self, block: Any, forward: Callable[..., Any], *args: Any) -> Any:
        own = self.layers[block]
        if self.seen & {block, *own}:
            raise ValueError(
                f"net must call each layer once and share no weights, got {block.name} again"
            )
        self.seen.update([block, *own])
        for p in own:
            values = HaarOrthogonal().sample(p.shape, p.dtype)
            for array in p._data:
                # from NumPy it couldn't go where oneDNN has given the weights its own layout
                array.as_nd_ndarray()[:] = mx.nd.array(values, array.ctx, p.dtype)
        with _without_activation(block) as activation:
            out = self.scaled(block, partial(forward, *args))
        self.bar.update()
        return out if activation is None else activation(out)

    def scaled(self, block: Any, output: Callable[[], Any]) -> Any:
        out, scale, steps = output(), 1.0, 0
        before = variance = _variance(block, out)
        while abs(variance - 1) > self.tol and steps < self.max_iter:
            for array in (array for p in self.layers[block] for array in p._data):
                array /= sqrt(variance)
            out, scale, steps = output(), scale / sqrt(variance), steps + 1
            variance = _variance(block, out)
        if abs(variance - 1) > self.tol:
            raise ValueError(
                f"max_iter must be enough for variance 1 within {self.tol:g}, got {variance:.3g} "
                f"at {block.name} after {steps} steps"
            )
        about = {"name": block.name, "block": type(block).__name__, "shape": first_array(out).shape}
        numbers = {"before": before, "variance": variance, "steps": steps, "scale": scale}
        self.rows.append(about | numbers)
        return out


@contextmanager
def _without_activation(block: Any) -> Iterator[Any]:
    """The layer gives its pre-activations here; the activation built into it, if there is one."""
    activation = block.act if isinstance(block, _LAYERS) else None
    try:
        if activation is not None:
            vars(block)["act"] = None  # plain assignment would check the type
        yield activation
    finally:
        if activation is not None:
            vars(block)["act"] = activation


def _variance(block: Any, out: Any) -> float:
    mean, std, square = moments(memory(first_array(out)))
    if not isfinite(square):
        raise ValueError(f"net must have finite outputs for X, got others from {block.name}")
    if std <= 1e-6 * sqrt(square):
        raise ValueError(
            f"net must have layers whose outputs for X differ, got {mean:.3g} everywhere from "
            f"{block.name}"
        )
    return std * std
