"""What one entry may be drawn from, as plain data that JSON can hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np
import scipy.stats

from .arguments import number


@dataclass(frozen=True, repr=False)
class PlainDraw:
    """A number, [low, high] for a uniform law, or [name, arguments] of one of scipy.stats."""

    plain: Any

    def __repr__(self) -> str:
        """Python source of it."""
        if not isinstance(self.plain, list):
            return repr(self.plain)
        if not isinstance(self.plain[0], str):
            return repr(tuple(self.plain))
        given = ", ".join(f"{key}={value!r}" for key, value in self.plain[1].items())
        return f"scipy.stats.{self.plain[0]}({given})"

    @property
    def distribution(self) -> Any:
        """A part of a :class:`d2l_init.Law`."""
        if not isinstance(self.plain, list):
            return self.plain
        if isinstance(self.plain[0], str):
            return _frozen(self.plain[0], tuple(self.plain[1].items()))
        return scipy.stats.uniform(self.plain[0], self.plain[1] - self.plain[0])

    @property
    def drawn(self) -> Any:
        """A part of :func:`d2l_init.filling.mixture`."""
        if not isinstance(self.plain, list):
            return self.plain
        if not isinstance(self.plain[0], str):
            return tuple(self.plain)
        frozen = self.distribution
        # never 0 or 1, where an unbounded law would answer infinity
        return lambda u: frozen.ppf(np.clip(u, 2.0**-54, 1 - 2.0**-53))


@lru_cache  # to freeze one takes longer than to draw a small parameter
def _frozen(name: str, arguments: tuple[tuple[str, float], ...]) -> Any:
    return getattr(scipy.stats, name)(**dict(arguments))


def plain_draw(draw: Any) -> PlainDraw:
    """The draw as plain data; ValueError for one that is of no known kind."""
    if isinstance(draw, Real):
        return PlainDraw(number("draw", draw))
    if hasattr(draw, "dist"):
        return _named(draw.dist, draw.args, draw.kwds)
    if isinstance(draw, Sequence) and len(draw) == 2 and isinstance(draw[0], str):
        return _named(getattr(scipy.stats, draw[0], None), (), draw[1])
    if isinstance(draw, Sequence) and len(draw) == 2:
        low, high = number("low", draw[0]), number("high", draw[1])
        if low < high:
            return PlainDraw([low, high])
    raise ValueError(
        "draw must be a number, a pair (low, high) with low < high, or a frozen continuous "
        f"distribution such as scipy.stats.norm(0, 1), got {draw!r}"
    )


def _named(family: Any, args: tuple[Any, ...], kwds: dict[str, Any]) -> PlainDraw:
    known = getattr(scipy.stats, str(getattr(family, "name", "")), None)
    if type(family) is not type(known) or not isinstance(known, scipy.stats.rv_continuous):
        raise ValueError(
            "draw must be a continuous distribution that scipy.stats has by name, "
            f"got {type(family).__name__}"
        )
    order = [*(known.shapes or "").replace(",", " ").split(), "loc", "scale"]
    given = {**dict(zip(order, args, strict=False)), **kwds}
    values = {key: number(key, given[key]) for key in order if key in given}
    if not isfinite(known(**values).ppf(0.5)):
        raise ValueError(f"draw has arguments that {known.name} does not allow: {values}")
    return PlainDraw([known.name, values])
