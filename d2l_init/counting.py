"""Counts over large arrays, a piece at a time in threads: no second copy is made of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf, sqrt
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .threads import side_by_side

Array = NDArray[Any]
Floats = NDArray[np.float64]
Result = TypeVar("Result")

_PIECE = 2**16  # values that stay in a core's cache while several passes go over them
_SHARE = 2**21  # values of one thread's turn


@dataclass(frozen=True)
class Tally:
    """What one pass over an array counts; the moments are those of its finite values."""

    size: int
    finite: int
    low: float
    high: float
    mean: float
    std: float
    atoms: dict[float, int]

    @property
    def is_spread(self) -> bool:
        """Have the entries other than atoms more than one value?"""
        return self.finite > sum(self.atoms.values()) and self.low < self.high

    @property
    def shares(self) -> dict[float, float]:
        """Of each of the values that were looked for, its share of the finite ones."""
        return {atom: hits / max(self.finite, 1) for atom, hits in self.atoms.items()}


def tally(values: Array, atoms: Sequence[float] = ()) -> Tally:
    """Size, range and moments of an array, summed in float64, and how often it takes each atom."""
    flat = values.reshape(-1)
    shift = float(flat[0]) if flat.size and np.isfinite(flat[0]) else 0.0  # a constant has std 0

    def count(piece: Array) -> tuple[Any, ...]:
        wide = piece.astype(float)
        wide -= shift
        hits = [np.count_nonzero(piece == values.dtype.type(atom)) for atom in atoms]
        return len(piece), piece.min(), piece.max(), wide.sum(), wide @ wide, *hits

    rows = _each_piece(count, flat) or [(0, inf, -inf, 0.0, 0.0, *[0] * len(atoms))]
    numbers, lows, highs, sums, squares, *hits = zip(*rows, strict=True)
    finite = sum(numbers)
    mean = sum(sums) / max(finite, 1)
    std = sqrt(max(sum(squares) / max(finite, 1) - mean**2, 0.0))
    taken = dict(zip(atoms, map(sum, hits), strict=True))
    low, high = float(min(lows)), float(max(highs))
    return Tally(flat.size, finite, low, high, mean + shift, std, taken)


def _each_piece(function: Callable[[Array], Result], flat: Array) -> list[Result]:
    """The function's value for the finite values of each piece that has any."""

    def turn(start: int) -> list[Result]:
        end = min(start + _SHARE, flat.size)
        pieces = (_finite(flat[k : min(k + _PIECE, end)]) for k in range(start, end, _PIECE))
        return [function(piece) for piece in pieces if len(piece)]

    return [result for one in side_by_side(turn, range(0, flat.size, _SHARE)) for result in one]


def _finite(piece: Array) -> Array:
    with np.errstate(all="ignore"):
        whole = np.isfinite(np.float64(piece.min()) - np.float64(piece.max()))
    return piece if whole else piece[np.isfinite(piece)]


def histogram(
    values: Array, breaks: Sequence[float], bins: int, without: Sequence[float] = ()
) -> tuple[Floats, Floats]:
    """Counts and edges of about ``bins`` bins, evenly wide between each two of the ``breaks``.

    Values equal to one of ``without`` are left out.

    >>> histogram(np.array([0, 0.1, 0.2, 1, 3]), [0, 1, 3], 3, without=[0])
    (array([2., 1., 1.]), array([0., 1., 2., 3.]))
    """
    parts = [
        (low, high, ceil(bins * (high - low) / (breaks[-1] - breaks[0]) - 1e-9))
        for low, high in pairwise(breaks)
    ]

    def count(piece: Array) -> Floats:
        for atom in without:
            piece = piece[piece != values.dtype.type(atom)]
        return np.concatenate([_evenly(_between(piece, part, parts), *part) for part in parts])

    counts = sum(_each_piece(count, values.reshape(-1)), np.zeros(sum(n for *_, n in parts)))
    edges = [np.linspace(low, high, number + 1)[:-1] for low, high, number in parts]
    return counts, np.append(np.concatenate(edges), breaks[-1])


def _between(piece: Array, part: tuple[float, float, int], parts: Sequence[Any]) -> Array:
    if len(parts) == 1:
        return piece
    below = piece <= part[1] if part is parts[-1] else piece < part[1]
    return np.asarray(piece[below & (piece >= part[0])])


def _evenly(piece: Array, low: float, high: float, number: int) -> Floats:
    place = piece.astype(float)
    place -= low
    place *= number / (high - low)
    index = place.astype(np.int32)  # number itself where the value is high
    bins, half = number + 1, len(index) // 2 if number < 128 else 0
    counts = np.bincount(index[2 * half :], minlength=bins).astype(float)
    if half:  # two values at a time into a table of pairs: half as many counts to raise
        pair = index[:half] * bins + index[half : 2 * half]
        table = np.bincount(pair, minlength=bins * bins).reshape(bins, bins)
        counts += table.sum(0) + table.sum(1)
    counts[-2] += counts[-1]
    return np.asarray(counts[:-1])
