"""What all initializers share: arguments, equality, seeds, and the way into MXNet's memory."""

from collections.abc import Sequence
from ctypes import byref, c_char, c_void_p
from hashlib import sha256
from inspect import signature
from math import prod
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.base import check_call
from mxnet.ndarray import _internal
from numpy.typing import DTypeLike, NDArray

from .arguments import whole
from .filling import Entrywise, Fill
from .laws import Law, refusal

Shape = tuple[int, ...]


class Drawn(mx.init.Initializer):
    """What all share: arguments, equality, streams, dtype and the way into MXNet's memory.

    A subclass gives ``law(shape)`` and ``_filling(shape)``, which refuses shapes that don't fit.
    """

    def __init__(self, *, seed: int | None, **arguments: Any) -> None:
        super().__init__(**arguments, seed=None if seed is None else whole("seed", seed, 0))
        self.__dict__.update(self._kwargs)

    def __repr__(self) -> str:
        defaults = signature(type(self)).parameters
        given = {k: v for k, v in self._shown().items() if v != defaults[k].default}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in given.items())})"

    def __hash__(self) -> int:
        return hash((type(self), self.dumps()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Drawn):
            return NotImplemented
        return type(self) is type(other) and self.dumps() == other.dumps()

    def _shown(self) -> dict[str, Any]:
        return dict(self._kwargs)

    def law(self, shape: Shape) -> Law:
        """The law of one entry of a weight of this shape."""
        raise NotImplementedError

    def _filling(self, shape: Shape) -> Fill:
        raise NotImplementedError

    def sample(self, shape: int | Sequence[int], dtype: DTypeLike = "float32") -> NDArray[Any]:
        """A NumPy array of this shape and dtype, drawn as for a parameter named ``weight``."""
        sizes = tuple(int(size) for size in np.atleast_1d(shape))
        fill, kind = self._filling(sizes), _checked_dtype(dtype)
        array = mx.nd.empty(sizes, mx.cpu(), kind)
        self._write(fill, "weight", array, sizes, kind)
        return np.asarray(array.asnumpy())

    def _init_weight(self, name: str, arr: Any) -> None:
        shape = arr.shape
        try:
            fill, kind = self._filling(shape), _checked_dtype(arr.dtype)
        except ValueError as error:
            raise refusal(str(name), shape, error) from None
        array = arr.as_nd_ndarray()
        if _in_reach(array):
            self._write(fill, str(name), array, shape, kind)
        else:
            array[:] = mx.nd.array(self.sample(shape, kind), mx.cpu(), kind)

    def _write(self, fill: Fill, name: str, array: Any, shape: Shape, kind: np.dtype[Any]) -> None:
        size = prod(shape)
        if self.seed is None and kind == np.float32 and 8 <= size <= 1024:
            # MXNet's own draw into the array: one way to its engine and back instead of two
            _internal._random_uniform(out=array)
            out = _view(array, shape, kind)
            if isinstance(fill, Entrywise):
                return fill.replace(out)
            seeds = [int.from_bytes(out.tobytes(), "little")]
        else:
            check_call(mx.base._LIB.MXNDArrayWaitToWrite(array.handle))  # others may still read it
            out = _view(array, shape, kind)
            seeds = self._seeds(name, shape)
        if kind != np.float16:
            return fill(out, seeds)
        single = np.empty(shape, np.float32)
        fill(single, seeds)
        out[...] = single

    def _seeds(self, name: str, shape: Shape) -> list[int]:
        if self.seed is None:
            words = mx.nd.random.randint(-(2**31), 2**31 - 1, shape=(4,), ctx=mx.cpu())
            return [int.from_bytes(words.asnumpy().tobytes(), "little")]
        words = sha256(f"{name} {shape}".encode()).digest()
        return [self.seed, int.from_bytes(words, "big")]


def _checked_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    kind = np.dtype(dtype)
    if kind not in _FLOATS:
        raise ValueError(f"dtype must be float16, float32 or float64, got {kind.name}")
    return kind


_FLOATS = [np.dtype(name) for name in ("float16", "float32", "float64")]


def memory(array: Any) -> NDArray[Any]:
    """The values of an array: on the CPU its own memory, in which the last operation has ended."""
    if not _in_reach(array) or not array.size:
        return np.asarray(array.asnumpy())
    return _view(array, array.shape, np.dtype(array.dtype))


def leaf(parameter: Any, ctx: Any = None) -> Any:
    """A parameter's own array: ``data()`` refuses some, and may hand out what is made from it."""
    return parameter._check_and_get(parameter._data, ctx or parameter.list_ctx()[0])


def weights(parameter: Any, ctx: Any = None) -> NDArray[Any]:
    """All values of a parameter; of a sparse one a trainer holds them, the array only some rows."""
    array = leaf(parameter, ctx)
    sparse = array.stype == "row_sparse" and parameter._trainer
    return memory(parameter._reduce() if sparse else array)


def _in_reach(array: Any) -> bool:
    """Whether the values lie in this process's memory, in order."""
    return bool(array.ctx.device_type != "gpu" and array.stype == "default")


def _view(array: Any, shape: Shape, kind: np.dtype[Any]) -> NDArray[Any]:
    array.wait_to_read()
    pointer = c_void_p()
    check_call(mx.base._LIB.MXNDArrayGetData(array.handle, byref(pointer)))
    data: Any = (c_char * (prod(shape) * kind.itemsize)).from_address(pointer.value or 0)
    return np.asarray(np.frombuffer(data, kind).reshape(shape))
