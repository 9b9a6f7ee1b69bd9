"""What all initializers share: arguments, equality, seeds, and the way into MXNet's memory."""

from collections.abc import Sequence
from ctypes import byref, c_char, c_void_p
from hashlib import sha256
from inspect import signature
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.base import check_call
from mxnet.ndarray import _internal
from numpy.typing import DTypeLike, NDArray

from .arguments import whole
from .filling import Fill
from .laws import Law

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
        fill = self._filling(sizes)
        array = mx.nd.empty(sizes, mx.cpu(), _checked_dtype(dtype))
        self._write(fill, "weight", array)
        return np.asarray(array.asnumpy())

    def _init_weight(self, name: str, arr: Any) -> None:
        try:
            fill = self._filling(arr.shape)
            _checked_dtype(arr.dtype)
        except ValueError as error:
            raise ValueError(f"parameter {str(name)!r}: {error}") from None
        array = arr.as_nd_ndarray()
        if array.ctx.device_type.startswith("cpu") and array.stype == "default":
            self._write(fill, str(name), array)
        else:
            array[:] = mx.nd.array(self.sample(arr.shape, arr.dtype), mx.cpu(), arr.dtype)

    def _write(self, fill: Fill, name: str, array: Any) -> None:
        small = self.seed is None and 8 <= array.size <= 1024 and array.dtype == np.float32
        if small:  # MXNet's draw into the array is the seed: one way to its engine and back
            _internal._random_uniform(out=array)
        else:  # wait for operations that still read the array
            check_call(mx.base._LIB.MXNDArrayWaitToWrite(array.handle))
        out = memory(array)
        if self.seed is not None:
            words = sha256(f"{name} {out.shape}".encode()).digest()
            seeds = [self.seed, int.from_bytes(words, "big")]
        else:
            words = out.tobytes() if small else _words_of_mxnet()
            seeds = [int.from_bytes(words, "little")]
        if out.dtype != "float16":
            fill(out, seeds)
        else:
            single = np.empty(out.shape, "float32")
            fill(single, seeds)
            out[...] = single


def _checked_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    kind = np.dtype(dtype)
    if kind.name not in ("float16", "float32", "float64"):
        raise ValueError(f"dtype must be float16, float32 or float64, got {kind.name}")
    return kind


def _words_of_mxnet() -> bytes:
    words = mx.nd.random.randint(-(2**31), 2**31 - 1, shape=(4,), ctx=mx.cpu())
    return bytes(words.asnumpy().tobytes())


def memory(array: Any) -> NDArray[Any]:
    """The values of an array: on the CPU its own memory, in which the last operation has ended."""
    array.wait_to_read()
    if array.ctx.device_type == "gpu" or array.stype != "default" or not array.size:
        return np.asarray(array.asnumpy())
    pointer = c_void_p()
    check_call(mx.base._LIB.MXNDArrayGetData(array.handle, byref(pointer)))
    kind = np.dtype(array.dtype)
    data = (c_char * (array.size * kind.itemsize)).from_address(pointer.value)
    return np.frombuffer(data, kind).reshape(array.shape)
