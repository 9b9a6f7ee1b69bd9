"""The record of a net's signals and gradients, in plain numbers, and how the numbers are taken.

Nothing here knows MXNet: a record made elsewhere, from a file or in another framework, does too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite, nan, prod, sqrt
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..counting import histogram as evenly, tally
from .theory import ACTIVATIONS

Array = np.ndarray[Any, Any]
Counted = tuple[Array, Array]

# Beyond these an activation counts as saturated: within 0.01 of a bound.
BOUNDS = {"tanh": (-0.99, 0.99), "softsign": (-0.99, 0.99), "sigmoid": (0.01, 0.99)}
CHUNK = 2**16  # values that stay in a core's cache as float64


class Histogram(NamedTuple):
    """Counts and edges, as ``numpy.histogram`` gives them, of one call's outputs and gradients."""

    outputs: Counted
    gradients: Counted | None = None


@dataclass(frozen=True, repr=False)
class Trace:
    """What :func:`d2l_init.trace` measured; a notebook shows it as the table of ``to_frame``.

    ``rows`` has the name and the columns of each call of a block, ``histograms`` one entry per row
    when ``bins`` was given, ``loss`` is the mean over the batch, ``never_called`` names the blocks
    that the pass left out.

    >>> Trace([{"name": "layer1", "mean_square": 2.0}]).to_frame().loc["layer1"].to_dict()
    {'mean_square': 2.0}
    """

    rows: Sequence[dict[str, Any]]
    histograms: Sequence[Histogram] = ()
    never_called: Sequence[str] = ()
    loss: float | None = None

    def to_frame(self) -> pd.DataFrame:
        """A pandas frame with one row per call of a block, in the order in which they ended."""
        return pd.DataFrame(self.rows).set_index("name")

    @property
    def first_nonfinite(self) -> str | None:
        """Name of the first block with an infinite or undefined output; None without one."""
        return next((row["name"] for row in self.rows if row.get("nonfinite", 0) > 0), None)

    def __repr__(self) -> str:
        table = self.to_frame().to_string(
            max_rows=60, line_width=100, float_format="{:.3g}".format, index_names=False
        )
        return "\n".join([table, *self._remarks()])

    def _repr_html_(self) -> str:
        remarks = [f"<p>{escape(remark)}</p>" for remark in self._remarks()]
        return "\n".join([self.to_frame().to_html(), *remarks])

    def _remarks(self) -> Iterator[str]:
        if self.first_nonfinite is not None:
            yield f"first output that is not finite: {self.first_nonfinite}"
        if self.never_called:
            yield f"never called: {', '.join(self.never_called)}"


@np.errstate(all="ignore")  # infinity and NaN are counted, not warned of
def statistics(
    values: Any, axis: int | None, activation: str, sums: Any = None, count: Any = None
) -> dict[str, float]:
    """The columns ``mean`` to ``nonfinite`` of :func:`d2l_init.trace`; units lie along ``axis``.

    Arrays of another framework bring their own ``sums`` (see ``moments``) and ``count_nonzero``.
    """
    nonzero = count or (lambda array: np.count_nonzero(array != 0))  # NumPy is slow at floats

    def share(mask: Any) -> float:
        return float(nonzero(mask)) / size if (size := prod(mask.shape)) else nan

    mean, std, square = moments(values, sums=sums)
    zero = 1 - share(values)
    others = tuple(other for other in range(values.ndim) if other != axis)
    low, high = BOUNDS.get(activation, (nan, nan))
    return {
        "mean": mean,
        "std": std,
        "mean_square": square,
        "zero": zero,
        "dead": share((values == 0).all(others) if others else values == 0) if zero > 0 else zero,
        "saturated": share((values < low) | (values > high)) if low < high else nan,
        "nonfinite": 0.0 if isfinite(square) else share(values - values != 0),
    }


_ENTRYWISE: dict[str, Callable[[Array], Array]] = {
    **{name: known for name, known in ACTIVATIONS.items() if name != "linear"},
    "relu6": lambda z: np.clip(z, 0, 6),
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "hard_swish": lambda z: z * np.clip(z / 6 + 0.5, 0, 1),
    "mish": lambda z: z * np.tanh(np.logaddexp(z, 0)),
}


@np.errstate(all="ignore")
def recognized(x: Array, y: Array, names: Sequence[str]) -> str:
    """Name of the activation that made y of x, both of shape (entries,); ``""`` if none did.

    ``names`` are what it may be called: they decide where several activations give the same here,
    and the last names one that isn't known, but gives equal entries equal values.
    """
    x, y = x.astype(float), y.astype(float)
    size = abs(y).max(initial=0.0)
    if not len(x) or not isfinite(size):
        return ""
    near = {name: abs(y - known(x)).max() for name, known in _ENTRYWISE.items()}
    same = [name for name, worst in near.items() if worst <= 2e-3 * size]
    if mine := [one for one in names if one in same]:
        return mine[0]
    slope = np.mean((x - x.mean()) * (y - y.mean())) / max(x.var(), 1e-300)
    if abs(y - y.mean() - slope * (x - x.mean())).max() <= 1e-3 * size:
        return ""  # a scale and a shift are none
    if same:
        return same[0]
    # Entry by entry, y turns back a few times as x rises; otherwise at every other step or so.
    steps = np.diff(y[np.argsort(x, kind="stable")])
    turns = np.count_nonzero(steps[1:] * steps[:-1] < 0)
    return names[-1] if len(x) >= 50 and turns < 0.1 * len(x) else ""


def usual_axis(shape: tuple[int, ...], before: Any) -> int | None:
    """Where units lie if the layer doesn't say: as in the call before, or by the number of axes."""
    if before is not None and before.shape == shape:
        found: int | None = before.axis
        return found
    return 1 if len(shape) in (4, 5) else len(shape) - 1 if len(shape) > 1 else None


@np.errstate(all="ignore")
def moments(*arrays: Any, sums: Any = None) -> tuple[float, float, float]:
    """Mean, standard deviation and mean square of all entries together; NaN where there are none.

    Summed in float64: right to 1e-9 also where the spread is small beside the mean.
    """
    size, sums = sum(prod(values.shape) for values in arrays), sums or _sums
    if not size:
        return nan, nan, nan
    total, squares = sums(arrays, 0.0)
    mean, square = total / size, squares / size
    variance = square - mean * mean  # of a huge mean inf, where ** would raise
    if variance < 1e-3 * square:  # too little of it is left: subtract before squaring
        total, squares_about = sums(arrays, mean)
        variance = max(squares_about / size - (total / size) ** 2, 0.0)
    return mean, sqrt(variance), square


def _sums(arrays: Sequence[Array], shift: float) -> tuple[float, float]:
    """Of the entries less ``shift`` and of their squares."""
    total = squares = 0.0
    for values in map(np.ravel, arrays):
        for start in range(0, values.size, CHUNK):
            wide = values[start : start + CHUNK].astype(np.float64)
            if shift:
                wide -= shift
            total += float(wide.sum())
            squares += float(wide @ wide)
    return total, squares


def histogram(values: Array, bins: int | Array) -> Counted:
    """``numpy.histogram`` of the finite values."""
    if not isinstance(bins, int):
        return np.histogram(values[np.isfinite(values)].astype(float), bins)
    seen = tally(values)
    low, high = (seen.low, seen.high) if seen.finite else (0.0, 1.0)
    if high - low < bins * np.finfo(float).tiny:  # (nearly) one value
        reach = max(0.5, 1e-9 * abs(high))
        low, high = low - reach, high + reach
    return evenly(values, [low, high], bins)
