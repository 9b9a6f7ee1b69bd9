"""Verdicts, and how arrays that may hold anything are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
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
    """How far off, in words.

    >>> times(0.0808, 0.0404), times(0.041, 0.04), times(0.1, 0)
    ('0.0808, 2 times what is right', '0.041, 2.5 % too large', '0.1, not 0')
    """
    ratio = found / right if right and found else 0.0
    if ratio <= 0:
        return f"{found:.3g}, not {right:.3g}"
    if abs(ratio - 1) < 0.1:
        return (
            f"{found:.4g}, {abs(100 * ratio - 100):.2g} % too {'large' if ratio > 1 else 'small'}"
        )
    return f"{found:.3g}, {ratio:.3g} times what is right"


def words(arrays: Arrays, name: str) -> str:
    """The text under this name, printable; empty where there is none."""
    try:
        text = str(arrays[name])[:300] if name in arrays else ""
    except Exception:  # of a file that was tampered with
        return f"{name} cannot be read"
    return "".join(sign if sign.isprintable() else " " for sign in text)
