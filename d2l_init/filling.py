"""Filling arrays with random values: fast, and the same bits on every machine.

An array is cut into chunks of fixed size. Each chunk has a random stream of its own (SFC64), and
threads share the chunks, so that values don't depend on the number of cores. Between a random word
and a value stand only integer operations and + − × ÷ √, which IEEE 754 rounds in one way: NumPy's
log, exp and sin differ in their last bits from processor to processor. The exception is
:func:`haar`: matrix products differ, too, and nothing else is fast. float32 is made from 32-bit
words, float64 from 64-bit ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erf, erfc, inf, log, sqrt
from typing import Any

import numpy as np
from numpy.random import SFC64, SeedSequence
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs

from .threads import one_blas_thread, side_by_side

Array = NDArray[Any]
# From words of n bits to as many floats of n bits, with three rows of such floats to work in:
# fresh memory for each step would cost more than the steps.
Sampler = Callable[[Array, Array, Array], None]
Fill = Callable[[Array, Sequence[int]], None]  # an array, from the seeds of its streams

_CHUNK, _BLOCK = 2**20, 2**17  # values with one stream; values that fit a core's cache


@dataclass(frozen=True)
class Entrywise:
    """Fills each entry of an array from a word of its own."""

    sampler: Sampler

    def __call__(self, out: Array, seeds: Sequence[int]) -> None:
        flat = out.reshape(-1)

        def chunk(number: int) -> None:
            stream, part = _stream(seeds, number), flat[number * _CHUNK : (number + 1) * _CHUNK]
            scratch = np.empty((3, min(part.size, _BLOCK)), part.dtype)
            for start in range(0, part.size, _BLOCK):
                block = part[start : start + _BLOCK]
                self.sampler(_words(stream, block), block, scratch[:, : block.size])

        side_by_side(chunk, range(-(-flat.size // _CHUNK)))

    def replace(self, uniform: Array) -> None:
        """The same from float32 values of U[0, 1) that the array already holds."""
        flat = uniform.reshape(-1)
        words = (flat * np.float32(2**32)).astype(np.int64)
        words -= 2**31
        self.sampler(words.astype(np.int32), flat, np.empty((3, flat.size), flat.dtype))


def _stream(seeds: Sequence[int], number: int) -> SFC64:
    return SFC64(SeedSequence(seeds, spawn_key=(number,)))


def _words(stream: SFC64, like: Array) -> Array:
    """Signed random integers, as many and as wide as the floats of ``like``."""
    raw: Array = stream.random_raw(-(-like.nbytes // 8))
    return raw.astype("<u8", copy=False).view(f"<i{like.itemsize}")[: like.size]


def uniform(low: float, high: float) -> Sampler:
    """U(low, high)."""

    def sampler(words: Array, out: Array, scratch: Array) -> None:
        _scaled(words, (high - low) / 2 / _top(words), (high + low) / 2, out)

    return sampler


def _top(words: Array) -> float:
    return 2.0 ** (8 * words.itemsize - 1)


def _scaled(words: Array, factor: float, shift: float, out: Array) -> None:
    np.copyto(out, words, casting="unsafe")
    out *= factor
    if shift:
        out += shift


def normal(mean: float, std: float, bound: float = inf) -> Sampler:
    """N(mean, std²), cut at ``bound`` standard deviations: by the inverse of its CDF."""
    mass, missed = erf(bound / sqrt(2)), erfc(bound / sqrt(2))

    def sampler(words: Array, out: Array, scratch: Array) -> None:
        inner, above, below = scratch
        _scaled(words, mass / 2 / _top(words), 0.0, out)  # the probability, less a half
        outer = np.flatnonzero(np.abs(out, inner) > _MIDDLE)
        np.subtract(_MIDDLE**2, np.square(out, inner), inner)
        out *= _polynomial(_A, inner, above)
        out /= _polynomial(_B, inner, below)
        out[outer] = _tail(words[outer], mass, missed, out.dtype)
        out *= std
        if mean:
            out += mean

    return sampler


def _tail(words: Array, mass: float, missed: float, kind: Any) -> Array:
    sign = words >> (8 * words.itemsize - 1)  # 0 or −1
    to_end = (np.iinfo(words.dtype).max - (words ^ sign)).astype(kind)
    to_end += 0.5
    to_end *= mass / 2 / _top(words)
    to_end += missed / 2
    r = np.sqrt(-_log(to_end)) - 1.6
    return np.asarray(_polynomial(_C, r) / _polynomial(_D, r) * (1 + 2 * sign).astype(kind))


def _log(x: Array) -> Array:
    """log x = (e − ½) log 2 + 2 artanh s, for x = f · 2^e and s = (f − √½)/(f + √½)."""
    f, e = np.frexp(x)
    s = (f - sqrt(0.5)) / (f + sqrt(0.5))
    odd = range(21 if x.itemsize > 4 else 9, 0, -2)
    series = _polynomial([1 / k for k in odd], s * s)
    return np.asarray((e.astype(x.dtype) - 0.5) * log(2) + 2 * s * series)


def _polynomial(coefficients: Sequence[float], x: Array, out: Array | None = None) -> Array:
    """By Horner's rule, the highest power first."""
    out = np.multiply(x, coefficients[0], out)
    for coefficient in coefficients[1:-1]:
        out += coefficient
        out *= x
    out += coefficients[-1]
    return out


# Wichura 1988, algorithm AS 241 (PPND16): the normal quantile z = q · A(r)/B(r), r = 0.425² − q²,
# at probability ½ + q, and C(r)/D(r), r = √(−log p) − 1.6, at the smaller probability p of the two
# tails. Its third pair, for |z| over 6.7, would be needed once in 10^11 draws; the second is right
# there to eleven digits.
_MIDDLE = 0.425
_A = (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
      4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
      1.3314166789178437745e2, 3.3871328727963666080e0)  # fmt: skip
_B = (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
      2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
      4.2313330701600911252e1, 1.0)  # fmt: skip
_C = (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
      1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
      4.63033784615654529590e0, 1.42343711074968357734e0)  # fmt: skip
_D = (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
      1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
      2.05319162663775882187e0, 1.0)  # fmt: skip


def mixture(parts: Sequence[tuple[float, Any]]) -> Sampler:
    """Each entry from one of several (probability, draw), chosen and placed by a single word.

    A draw is a number, a pair (low, high), or a quantile function. The last is the library's own,
    with whatever rounding it has.
    """

    def sampler(words: Array, out: Array, scratch: Array) -> None:
        values, half, mask = scratch[0], *scratch[1:].view(words.dtype)
        np.right_shift(words, 1, half)
        bits, low, chance = out.view(words.dtype), int(-_top(words) // 2), 0.0
        for place, (share, draw) in enumerate(parts):
            chance += share
            last = place == len(parts) - 1
            high = int(_top(words) // 2) if last else round((chance - 0.5) * _top(words))
            target = values if place else out
            _draw_part(draw, words, half, low, high, target)
            if place:  # mask: −1 where the word is at least low, else 0
                np.right_shift(np.subtract(low - 1, half, mask), 8 * words.itemsize - 1, mask)
                new = values.view(words.dtype)
                new ^= bits
                new &= mask
                bits ^= new
            low = high

    return sampler


def _draw_part(draw: Any, words: Array, half: Array, low: int, high: int, out: Array) -> None:
    """What a draw gives for halved words from low to high; elsewhere anything."""
    if callable(draw):
        mine = np.flatnonzero((low <= half) & (half < high))
        out[mine] = draw(((half[mine] - low) + 0.5) / (high - low))
    elif isinstance(draw, (int, float)):
        out[...] = draw
    else:
        least, most = draw
        centred = out.view(words.dtype)  # exact, and small where it counts
        np.subtract(words, words.dtype.type(low + high), centred)
        _scaled(centred, (most - least) / (2 * max(high - low, 1)), (least + most) / 2, out)


def sparse(nonzero: int, std: float) -> Fill:
    """Rows with ``nonzero`` normal entries at random places, and zeros."""

    def fill(out: Array, seeds: Sequence[int]) -> None:
        Entrywise(normal(0.0, std))(out, seeds)
        rows = max(_CHUNK // max(out.shape[1], 1), 1)

        def chunk(number: int) -> None:
            part = out[number * rows : (number + 1) * rows]
            keys = _stream(seeds, -(-out.size // _CHUNK) + number).random_raw(part.size)
            keys = keys.reshape(part.shape)
            part[keys > np.partition(keys, nonzero - 1, axis=1)[:, nonzero - 1, None]] = 0

        if nonzero < out.shape[1]:
            side_by_side(chunk, range(-(-len(out) // rows)))

    return fill


_PANEL, _SLAB = 128, 256


def haar(shape: Sequence[int], seeds: Sequence[int], dtype: Any) -> Array:
    """A matrix whose shorter side is orthonormal, each one equally likely, of this dtype.

    The product of Householder reflections that map Gaussian vectors of falling length to an axis
    (Stewart 1980), gathered by panels into I − V T Vᵀ (Schreiber & Van Loan 1989). Slabs of fixed
    size and one BLAS thread: the same sums for any number of threads.
    """
    rows, columns = min(shape), max(shape)
    v = np.empty((columns, rows), dtype)
    Entrywise(normal(0.0, 1.0))(v, seeds)
    v *= np.tri(columns, rows, dtype=bool)
    first = np.diagonal(v).copy()
    first[first == 0] = np.finfo(first.dtype).tiny  # a vector of zeros has no direction
    norm = np.maximum(np.sqrt((v * v).sum(0)), abs(first))
    v /= first + np.copysign(norm, first)
    np.fill_diagonal(v, 1.0)
    scale = norm / (abs(first) + norm)  # half of vᵀv
    q = np.zeros((rows, columns), dtype)
    np.fill_diagonal(
        q, -np.copysign(1.0, first)
    )  # the sign rule that makes it Haar (Mezzadri 2007)
    with one_blas_thread():
        for start in reversed(range(0, rows, _PANEL)):
            _reflect(q[start:, start:], v[start:, start : start + _PANEL], scale[start:])
    return q if shape[0] <= shape[1] else q.T


def _reflect(q: Array, v: Array, scale: Array) -> None:
    v = np.ascontiguousarray(v)
    inverse = np.triu(v.T @ v, 1) + np.diag(scale[: v.shape[1]])
    triangle, _ = get_lapack_funcs(["trtri"], [inverse])[0](inverse)
    left, right = v @ triangle.T, v.T.copy()

    def slab(start: int) -> None:
        part = q[start : start + _SLAB]
        part -= (part @ left) @ right

    side_by_side(slab, range(0, len(q), _SLAB))
