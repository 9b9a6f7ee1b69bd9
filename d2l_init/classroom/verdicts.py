"""Verdicts, and how arrays that may hold anything are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]
Shape = tuple[int, ...]

SAID = "said"  # the name under which an error of the student's code is handed on


@dataclass(frozen=True, repr=False)
class Verdict:
    """What a judge found: ``points`` of ``of``, and ``lines`` that say why.

    ``mistakes`` are the keywords of those that were recognized.

    >>> Verdict("01-bound", 1, 2, ["not yet: std is 2 times what is right"])
    01-bound: 1 of 2 points
      not yet: std is 2 times what is right
    """

    task: str
    points: float
    of: int
    lines: Sequence[str]
    mistakes: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        """Whether all points were earned."""
        return self.points == self.of

    def __repr__(self) -> str:
        return "\n  ".join([self._summary(), *self.lines])

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{escape(line)}</li>" for line in self.lines)
        return f"<p><strong>{escape(self._summary())}</strong></p><ul>{items}</ul>"

    def _summary(self) -> str:
        return f"{self.task}: {self.points:g} of {self.of} points"


class Refused(ValueError):
    """Arrays that cannot be judged; the text says why."""


def values(arrays: Arrays, name: str, shape: Shape | None = None) -> Floats:
    """The array of this name as floats; Refused unless it is finite and of this shape."""
    try:
        found = arrays[name]
    except KeyError:
        raise Refused(f"{name} is missing") from None
    except Exception:  # of a file that was tampered with
        raise Refused(f"{name} cannot be read") from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiub":
        raise Refused(f"{name} does not hold plain numbers")
    if shape is not None and found.shape != shape:
        raise Refused(f"{name} has the shape {found.shape}, not {shape}")
    bad = found.size - np.count_nonzero(np.isfinite(found))
    if bad or not found.size:
        raise Refused(f"{name}: {bad} of its {found.size} values are not finite")
    return found.astype(np.float64)


def times(found: float, right: float) -> str:
    """How far off, in words."""
    if not right or not found:
        return f"{found:.3g}, not {right:.3g}"
    return f"{found:.3g}, {found / right:.3g} times what is right"


def trouble(id: str, of: int, arrays: Arrays) -> Verdict | None:
    """The verdict on an answer that holds no values."""
    if SAID in arrays:
        said = str(arrays[SAID])[:300]
        return Verdict(id, 0, of, [f"not yet: {said}"])
    if not list(arrays):
        return Verdict(id, 0, of, ["not answered yet"])
    return None


def halves(of: int, share: float) -> float:
    """That share of the points, in halves."""
    return floor(2 * of * share + 1e-9) / 2
