"""How a draw fits the law of what drew it, in numbers and in words."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from inspect import signature
from math import inf, sqrt
from typing import Any

from numpy.typing import NDArray

from .counting import Tally, tally
from .figures import clipped, short
from .laws import Law, created, law


@dataclass(eq=False)
class Sample:
    """A parameter, what drew it, and what was counted."""

    name: str
    values: NDArray[Any]
    made_by: Any
    law: Law | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        with suppress(LookupError, ValueError):  # none is known, or it can't have drawn this shape
            self.law = None if self.made_by is None else law(self.made_by, self.values.shape)
        self.counted = tally(self.values, list(self.law.atoms) if self.law else [])
        self.shape = "×".join(map(str, self.values.shape))

    @property
    def error(self) -> float:
        """The standard error of the standard deviation, as a share of the law's."""
        if not self.law or not self.law.std:
            return inf
        return sqrt(max(self.law.kurtosis - 1, 1e-6) / (4 * max(self.counted.finite, 1)))

    @property
    def misfit(self) -> float:
        """How many standard errors the mean or the standard deviation lies off the law's."""
        if not self.law or not self.counted.finite:
            return 0.0
        if not self.law.std:  # it is one value with certainty
            return inf if (self.counted.low, self.counted.high) != self.law.support else 0.0
        std, low, high = self.law.std, *self.law.support
        room = 1e-3 * std
        if self.counted.low < low - room or self.counted.high > high + room:
            return inf
        off = abs(self.counted.mean - self.law.mean) / std * sqrt(self.counted.finite)
        return float(max(off, abs(self.counted.std / std - 1) / self.error))


def listed(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" * (len(names) > most)
    return ", ".join(clipped(name, 40) for name in names[:most]) + more


def sources(shown: Sequence[Sample]) -> str:
    """Which initializer was taken for the law of which parameter."""
    names: dict[str, list[str]] = {}
    for one in shown:
        if one.law:
            names.setdefault(_label(one.made_by), []).append(one.name)
    if not names:
        return ""
    parts = [f"{label} of {listed(same, 2)}" for label, same in names.items()]
    more = f" and of {len(parts) - 4} more kinds" * (len(parts) > 4)
    return f"Law: {'; '.join(list(names) if len(names) == 1 else parts[:4])}{more}."


def _label(initializer: Any) -> str:
    """As it would be called; where that is long, without arguments that have their default."""
    made = created(initializer)
    if isinstance(made, Law):
        return "the one given"
    if type(made).__module__.startswith("d2l_init."):
        return clipped(repr(made), 60)
    known = signature(type(made)).parameters
    given = {key: repr(value) for key, value in getattr(made, "_kwargs", {}).items()}
    if len(str(given)) > 30:
        given = {k: v for k, v in given.items() if k not in known or v != repr(known[k].default)}
    words = ", ".join(f"{key}={' '.join(value.split())}" for key, value in given.items())
    return clipped(f"{type(made).__name__}({words})", 60)


def constants(few: Sequence[Sample]) -> list[str]:
    """Parameters of a few values in words, those of the same values together."""
    names: dict[str, list[str]] = {}
    for one in few:
        names.setdefault(_values_in_words(one.counted, one.law), []).append(one.name)
    return [
        f"{listed(same) if len(same) < 5 else f'{len(same)} parameters'}: {words}"
        for words, same in names.items()
    ]


def _values_in_words(counted: Tally, law: Law | None) -> str:
    if counted.finite < counted.size:
        return f"{counted.size - counted.finite} of {counted.size} not finite"
    known = law is not None and sum(counted.atoms.values()) == counted.size
    words = _shares_in_words(counted.shares if known else {counted.low: 1.0})
    if law is None:
        return words
    if known and all(abs(counted.shares[a] - chance) < 1e-9 for a, chance in law.atoms.items()):
        return f"{words}, as the law says"
    said = f"std {short(law.std)}" if sum(law.atoms.values()) < 1 else _shares_in_words(law.atoms)
    return f"{words} (law: {said})"


def _shares_in_words(shares: Mapping[float, float]) -> str:
    if 1.0 in shares.values():
        return f"all {short(next(atom for atom, share in shares.items() if share == 1))}"
    return ", ".join(f"{short(100 * share)} % are {short(atom)}" for atom, share in shares.items())
