"""Checks of arguments: the value, or a ValueError that names argument, rule and value."""

from collections.abc import Iterable
from difflib import get_close_matches
from math import isfinite
from numbers import Integral, Real
from typing import Any


def one_of(argument: str, value: Any, known: Iterable[str]) -> Any:
    """``value`` if it is among the known words; otherwise ValueError with the nearest of them."""
    words = list(known)
    if value in words:
        return value
    near = get_close_matches(str(value), words, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{argument} must be one of {', '.join(words)}, got {value!r}{hint}")


def whole(argument: str, value: Any, least: int) -> int:
    """``value`` as an int if it is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{argument} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def number(argument: str, value: Any, *, positive: bool = False) -> float:
    """``value`` as a float if it is a finite number, or with ``positive`` one above 0."""
    rule = "a positive number" if positive else "a finite number"
    known = isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
    if not known or (positive and value <= 0):
        raise ValueError(f"{argument} must be {rule}, got {value!r}")
    return float(value) + 0.0  # -0.0 becomes 0.0: equal numbers, one hash
