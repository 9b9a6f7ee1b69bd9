"""A pass through a net for measuring: block by block, with right gradients in predict mode too."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ctypes import byref, c_void_p
from functools import partial
from operator import methodcaller
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.base import check_call
from mxnet.gluon import Block, SymbolBlock, rnn
from mxnet.ndarray import NDArray, register

from .nested import each_of, first_of

# Kernels that keep what their gradient needs in training mode only (apache/mxnet #10994), and the
# settings with which they do in training mode what they do in predict mode.
_FORGETFUL: dict[str, dict[str, Any]] = {
    "Pooling": {},
    "_contrib_BatchNormWithReLU": {"use_global_stats": True},
    "RNN": {"p": 0},
}
# What recurrent cells keep from step to step.
_OF_CELLS = {"_counter", "_init_counter", "_prev_output", "drop_inputs_mask", "drop_states_mask",
             "drop_outputs_mask"}  # fmt: skip
first_array, each_array = partial(first_of, NDArray), partial(each_of, NDArray)
RECURRENT = (rnn.RNN, rnn.LSTM, rnn.GRU)
# A compiled graph is in one mode as a whole.
_IN_GRAPHS = _FORGETFUL | {"BatchNorm": {"use_global_stats": True}, "Dropout": {"p": 0}}


def blocks_of(net: Any) -> list[Any]:
    """The net and all blocks inside it, each once."""
    found: dict[Any, None] = {}
    net.apply(found.setdefault)
    return list(found)


def parameters_of(net: Any) -> list[Any]:
    """As ``net.collect_params()``, which takes some 30 µs a block."""
    return list(dict.fromkeys(p for block in blocks_of(net) for p in block.params.values()))


@contextmanager
def block_by_block(net: Any) -> Iterator[None]:
    """The net isn't hybridized here: a compiled graph calls no block. Its cells begin anew."""
    active = [block for block in blocks_of(net) if getattr(block, "_active", False)]
    cells = [block for block in blocks_of(net) if isinstance(block, rnn.RecurrentCell)]
    before = [{name: vars(cell)[name] for name in _OF_CELLS & vars(cell).keys()} for cell in cells]
    try:
        for block in active:
            block._active = False  # hybridize() would drop the graph
        for cell in cells:
            cell.reset()  # what a graph left in it has no values
        yield
    finally:
        for block in active:
            block._active = True
        for cell, own in zip(cells, before, strict=True):
            vars(cell).update(own)


@contextmanager
def stand_ins(net: Any, *, gradients: bool) -> Iterator[None]:
    """Parameters share their weights with these, not their gradients or statistics.

    ``gradients`` of those that have at least 2 axes and are trained; and of recurrent layers
    always: MXNet's kernel for float64 otherwise gives wrong ones to what lies in front of it.
    """
    data = [(p, p._data) for p in parameters_of(net) if p._data is not None]
    layers = [block for block in blocks_of(net) if isinstance(block, RECURRENT)]
    recurrent = {p for layer in layers for p in layer.params.values()}
    for layer in layers if gradients else ():
        deep = isinstance(layer, rnn.RNN) and layer._num_layers > 2
        if deep and np.dtype(layer.l0_i2h_weight.dtype) == np.float64:
            raise ValueError(
                f"net must have float32, or recurrent blocks of one or two layers: of {layer.name} "
                "MXNet gives wrong gradients for the lower layers' weights in float64"
            )
    try:
        for p, arrays in data:
            p._data = [a.detach() if p._differentiable else a.copy() for a in arrays]
        for p, arrays in data:
            if p in recurrent or (gradients and p.grad_req != "null" and arrays[0].ndim > 1):
                attach_gradients(p._data, p._grad_stype)
        yield
    finally:
        for p, arrays in data:
            p._data = arrays


def attach_gradients(arrays: Sequence[Any], kind: str = "default") -> None:
    """As ``attach_grad`` of each, with memory that isn't set to zero first where it is dense."""
    about = [(array.shape, array.ctx, array.dtype) for array in arrays]
    dense = kind == "default"
    autograd.mark_variables(
        arrays, [mx.nd.empty(*one) if dense else mx.nd.sparse.zeros(kind, *one) for one in about]
    )


@contextmanager
def recorded(net: Any, *, training: bool) -> Iterator[None]:
    """``autograd.record`` of a pass through the net, with right gradients in either mode."""
    with ExitStack() as stack:
        if not training:
            stack.enter_context(_remembering(_operators()))
            for block in blocks_of(net):
                if isinstance(block, SymbolBlock):
                    stack.enter_context(_in_training_form(block))
        stack.enter_context(autograd.record(train_mode=training))
        yield


def _operators() -> dict[int, dict[str, Any]]:
    """The settings by the number under which MXNet knows an operator."""
    found = {}
    for name, settings in _FORGETFUL.items():
        handle = c_void_p()
        check_call(mx.base._LIB.NNGetOpHandle(name.encode(), byref(handle)))
        found[handle.value or 0] = settings
    return found


@contextmanager
def _remembering(operators: dict[int, dict[str, Any]]) -> Iterator[None]:
    """All that calls an operator goes through this one function, the reader's own code too."""
    invoke = register._imperative_invoke

    def remembering(handle: int, arrays: Any, keys: Any, values: Any, *rest: Any) -> Any:
        settings = operators.get(handle)
        if settings is None or autograd.is_training() or not autograd.is_recording():
            return invoke(handle, arrays, keys, values, *rest)
        given = {**dict(zip(keys, values, strict=True)), **settings}
        with autograd.train_mode():
            return invoke(handle, arrays, list(given), list(given.values()), *rest)

    register._imperative_invoke = remembering
    try:
        yield
    finally:
        register._imperative_invoke = invoke


@contextmanager
def _in_training_form(block: Any) -> Iterator[None]:
    """The block's graph runs in training mode, and does there what it does in predict mode."""
    inputs, symbol = block._cached_graph
    graph = json.loads(symbol.tojson())
    operators = {node["op"] for node in graph["nodes"]}
    if not operators & _FORGETFUL.keys():
        yield
        return
    if "_contrib_SyncBatchNorm" in operators:
        raise ValueError(f"{block.name} must be cast to float64: MXNet's gradient of it is wrong")
    for node in graph["nodes"]:
        if settings := _IN_GRAPHS.get(node["op"]):
            node.setdefault("attrs", {}).update({k: str(v) for k, v in settings.items()})
    load = mx.sym.np._symbol.load_json if type(symbol) is not mx.sym.Symbol else mx.sym.load_json
    names = ("_cached_graph", "_cached_op", "_cached_op_args", "forward")
    before = {name: vars(block)[name] for name in names if name in vars(block)}
    forward = partial(_train_mode, block.forward)
    try:
        block._clear_cached_op()
        block._cached_graph = inputs, load(json.dumps(graph))
        vars(block)["forward"] = forward
        yield
    finally:
        for name in names:
            vars(block).pop(name, None)
        vars(block).update(before)


def _train_mode(forward: Callable[..., Any], *args: Any) -> Any:
    with autograd.train_mode():
        return forward(*args)


def checked_blocks(net: Any) -> list[Any]:
    """As ``blocks_of``; ValueError when net is no initialized block with parameters."""
    if not isinstance(net, Block):
        raise ValueError(f"net must be a Gluon block, got {type(net).__name__}")
    parameters = parameters_of(net)
    if not parameters:
        raise ValueError(f"net must have parameters, got none in {net.name}")
    if bare := [p.name for p in parameters if p._data is None and not p._deferred_init]:
        raise ValueError(f"net must be initialized (net.initialize()), got no values in {bare}")
    return blocks_of(net)


def settled_inputs(net: Any, X: Any) -> Any:
    """X as a sequence of arrays outside any graph; a pass settles shapes that were deferred."""
    if first_array(X) is None:
        raise ValueError(f"X must be an MXNet array or a tuple of them, got {type(X).__name__}")
    inputs = each_array(methodcaller("detach"), X if isinstance(X, (tuple, list)) else (X,))
    if any(parameter._deferred_init for parameter in parameters_of(net)):
        net(*inputs)  # blocks meet symbols in it, which have no values
    return inputs


@contextmanager
def in_place_of_forward(blocks: Sequence[Any], function: Callable[..., Any]) -> Iterator[None]:
    """Calls of a block call ``function(block, its forward, *args)``.

    Unlike a hook, it can pass on another output.
    """
    own = [(vars(block), vars(block).get("forward")) for block in blocks]
    try:
        for block in blocks:
            vars(block)["forward"] = partial(function, block, block.forward)
        yield
    finally:
        for attributes, forward in own:
            attributes.pop("forward", None)
            attributes.update({"forward": forward} if forward else {})
