"""Judges of exercises: plain arrays in, a verdict out.

A task is data: its right answer is a law (or a number), and so are its known mistakes. Nothing here
runs a student's code or knows MXNet, so that the same judge answers in a notebook and in a
teacher's process.

A right draw is refused at most once in ten thousand times (``ALARM``) a task: half of that is
shared out evenly among all its tests (Bonferroni), the other half is left for what their limits
for large samples miss.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import floor, inf, log10, sqrt
from typing import Any

import numpy as np
from scipy.special import ndtri

from ..laws import Law
from .samples import TOO_CLOSE, Sample, alike
from .verdicts import SAID, Arrays, Refused, Shape, Verdict, times, values, words

ALARM = 1e-4
DRAWS, AGAIN = ("1", "2", "3"), "again"  # with three seeds; and once more with the first
SHAPES: Mapping[str, Shape] = {"wide": (200, 80), "narrow": (40, 300), "conv": (24, 12, 3, 3)}


@dataclass(frozen=True)
class Wrong:
    """A known mistake in a number: the value that it leads to, and what to ask oneself."""

    keyword: str
    value: float
    hint: str


@dataclass(frozen=True)
class Mistake:
    """A known mistake in a draw: the law that it leads to, of the same arguments as the right."""

    keyword: str
    law: Callable[..., Law | None]
    hint: str


@dataclass(frozen=True)
class Task:
    """What all tasks have: an id, points, and a verdict on arrays."""

    id: str
    of: int = field(default=2, kw_only=True)

    def judge(self, arrays: Arrays) -> Verdict:
        """The verdict on what an answer left; nothing that arrays may hold raises an error."""
        try:
            said = words(arrays, SAID)
            if said:
                raise Refused(said)
            return self._verdict(arrays) if list(arrays) else self._said(0, ["not answered yet"])
        except Refused as error:
            return self._said(0, [f"not yet: {error}"])

    def _verdict(self, arrays: Arrays) -> Verdict:
        raise NotImplementedError

    def _said(self, share: float, lines: Sequence[str], keywords: Iterable[str] = ()) -> Verdict:
        """That share of the points, in halves."""
        points = floor(2 * self.of * share + 1e-9) / 2
        return Verdict(
            self.id, points, self.of, lines, tuple(filter(None, dict.fromkeys(keywords)))
        )


@dataclass(frozen=True)
class Numbers(Task):
    """Numbers worked out in advance, right to ``digits`` digits (one unit of the last is let go).

    >>> task = Numbers("01-bound", {"std": 0.0404}, {"std": [Wrong("std for bound", 0.07, "√3?")]})
    >>> task.judge({"std": np.array(0.07)}).mistakes
    ('std for bound',)
    """

    right: Mapping[str, float]
    mistakes: Mapping[str, Sequence[Wrong]] = field(default_factory=dict)
    digits: int = 3

    def _verdict(self, arrays: Arrays) -> Verdict:
        """The points are shared out evenly among the numbers."""
        lines, keywords, good = [], [], 0
        for name, right in self.right.items():
            if name not in arrays:
                lines.append(f"not answered yet: {name}")
                continue
            try:
                value = float(values(arrays, name, ()))
            except Refused as error:
                lines.append(f"not yet: {error}")
                continue
            if self._near(value, right):
                good += 1
                lines.append(f"right: {name}")
            else:
                told, keyword = explained(value, right, self.mistakes.get(name, ()), self._near)
                lines.append(f"not yet: {name} is {told}")
                keywords.append(keyword)
        return self._said(good / len(self.right), lines, keywords)

    def _near(self, value: float, right: float) -> bool:
        unit = 10.0 ** (floor(log10(abs(right))) - self.digits + 1 if right else -self.digits)
        return abs(value - right) <= unit * (1 + 1e-9)


def explained(
    found: float, right: float, wrong: Sequence[Wrong], near: Callable[[float, float], bool]
) -> tuple[str, str]:
    """How far off a number is, with the hint of the mistake that leads nearest; its keyword."""
    known = [one for one in wrong if near(found, one.value)]
    if not known:
        return times(found, right), ""
    one = min(known, key=lambda one: abs(found - one.value))
    return f"{times(found, right)}: {one.hint}", one.keyword


@dataclass(frozen=True)
class Measurement(Task):
    """A number for each seed, whose mean must be within a share of the right one.

    ``within`` holds what the measurement is off by nature and 4.1 standard errors of the mean over
    ``least`` seeds, so that a right one is refused at most once in ten thousand times.

    >>> Measurement("05-factor", 0.5).judge({"values": np.array([0.5] * 5)}).lines
    ['not yet: all numbers are 0.5: one for each seed was to be measured']
    """

    right: float
    mistakes: Sequence[Wrong] = ()
    within: float = 0.05
    least: int = 5

    def _verdict(self, arrays: Arrays) -> Verdict:
        """All points or none."""
        found = values(arrays, "values").ravel()
        if found.size < self.least:
            raise Refused(f"{found.size} numbers, of at least {self.least} seeds")
        if found.min() == found.max():
            raise Refused(f"all numbers are {found[0]:.3g}: one for each seed was to be measured")
        with np.errstate(all="ignore"):
            mean, error = float(found.mean()), float(found.std(ddof=1) / sqrt(found.size))
        told = f"the mean over {found.size} seeds, with standard error {error:.2g}, is"
        if not self._near(mean, self.right):
            why, keyword = explained(mean, self.right, self.mistakes, self._near)
            return self._said(0, [f"not yet: {told} {why}"], [keyword])
        if not error <= self.within * abs(self.right):
            raise Refused(f"{told} {mean:.3g}: too uncertain, take more seeds")
        return self._said(1, ["right: the measurement agrees with theory"])

    def _near(self, mean: float, right: float) -> bool:
        return abs(mean - right) <= self.within * max(abs(right), abs(self.right))


@dataclass(frozen=True)
class Draws(Task):
    """Draws of the student's initializer, for shapes that tell mistakes apart.

    ``right`` and each mistake's ``law`` map a shape to a law. ``arguments`` maps a shape to what
    the student's function is called with. With ``net``, which builds a Gluon block, the student
    initializes that: ``shapes`` then names its parameters, and laws are those of a name and a
    shape, or None where a parameter must stay as it was. ``independent`` is False where entries
    depend on each other, as those of an orthogonal matrix do.
    """

    right: Callable[..., Law | None]
    mistakes: Sequence[Mistake] = ()
    of: int = field(default=3, kw_only=True)
    shapes: Mapping[str, Shape] = field(default_factory=lambda: SHAPES)
    arguments: Callable[[Shape], tuple[Any, ...]] = lambda shape: ()
    net: Callable[[], Any] | None = None
    independent: bool = True

    @property
    def parameters(self) -> dict[str, Shape]:
        """Shapes by name: of the net, or of a layer and its twin and a bias for each shape."""
        if self.net:
            return dict(self.shapes)
        found: dict[str, Shape] = {}
        for name, shape in self.shapes.items():
            found |= {f"{name}_weight": shape, f"{name}_twin_weight": shape}
            found[f"{name}_bias"] = shape[:1]
        return found

    def laws(self, rule: Callable[..., Law | None]) -> dict[str, Law | None]:
        """The law of each parameter; None where it must stay as it was."""
        if self.net:
            return {name: rule(name, shape) for name, shape in self.shapes.items()}
        known = {shape: rule(shape) for shape in self.shapes.values()}
        return {
            name: None if name.endswith("_bias") else known[shape]
            for name, shape in self.parameters.items()
        }

    def _verdict(self, arrays: Arrays) -> Verdict:
        """A share of the points each for the size, the shape of the law and the seed."""
        samples = {
            name: Sample(*(values(arrays, f"{name} {draw}", shape) for draw in (*DRAWS, AGAIN)))
            for name, shape in self.parameters.items()
        }
        with np.errstate(all="ignore"):
            return self._said(*_Hearing(self, samples).outcome())


class _Hearing:
    """One judgement of draws."""

    def __init__(self, task: Draws, samples: Mapping[str, Sample]) -> None:
        self.task, self.samples, self.keywords = task, samples, list[str]()
        self.right = task.laws(task.right)
        self.random = {name: law for name, law in self.right.items() if law and law.std}
        tests = sum(4 + len(law.atoms) for law in self.random.values())
        self.chance = ALARM / 2 / max(tests, 1)
        self.limit = -float(ndtri(self.chance / 2))

    def outcome(self) -> tuple[float, list[str], list[str]]:
        """Share of the points, lines, keywords of mistakes."""
        empty = self._nothing_drawn()
        wrong = {"size": self._size()}
        if self.random:
            wrong |= {"shape of the law": self._shape(), "seed": empty or self._seed()}
        good = [name for name, why in wrong.items() if not why]
        lines = [
            f"not yet: {name}: {why}" if why else f"right: {name}" for name, why in wrong.items()
        ]
        if len(wrong) > len(good) and (mistake := self._recognized()):
            self.keywords.insert(0, mistake.keyword)
            lines.append(f"this looks like “{mistake.keyword}”: {mistake.hint}")
        if good == ["seed"]:
            lines.append("the seed counts once the size or the shape is right")
        if empty or good == ["seed"] or TOO_CLOSE in wrong.get("shape of the law", ""):
            good = []
        return len(good) / len(wrong), lines, self.keywords

    def _size(self) -> str:
        """What is wrong with means and sizes, told once for each shape."""
        found: dict[Shape, str] = {}
        for name, law in self.right.items():
            one = self.samples[name]
            if law is None and one.sorted.any():
                self.keywords.append("bias touched")
                return f"{name} was to stay as it was"
            if law and one.off(law) > self.limit:
                if not law.std or one.mean_off(law) > self.limit:
                    told = f"has mean {times(one.mean, law.mean)}"
                else:
                    told = f"has standard deviation {times(one.std, law.std)}"
                found.setdefault(one.shape, f"{self._label(name)} {told}")
        return "; ".join(found.values())

    def _label(self, name: str) -> str:
        size = "×".join(map(str, self.samples[name].shape))
        return f"{name} ({size})" if self.task.net else f"a weight of {size}"

    def _shape(self) -> str:
        for name, law in self.random.items():
            one = self.samples[name]
            scaled = one.off(law) > self.limit
            close = self.chance if self.task.independent and not scaled else 0.0
            if why := one.misfit(law, self.chance, scaled=scaled, close=close):
                return f"of {self._label(name)}, {why}"
        return ""

    def _seed(self) -> str:
        drawn = {name: self.samples[name] for name in self.random}
        for name, one in drawn.items():
            if not np.array_equal(one.again, one.drawn[0]):
                self.keywords.append("seed ignored")
                return (
                    f"{self._label(name)} is another after the same mx.random.seed: what draws it?"
                )
            if any(alike(*pair) for pair in combinations(one.drawn, 2)):
                self.keywords.append("seed ignored")
                return f"{self._label(name)} is in part the same after another mx.random.seed"
        for (name, one), (other, two) in combinations(drawn.items(), 2):
            if one.shape == two.shape and any(map(alike, one.drawn, two.drawn)):
                self.keywords.append("twins between layers")
                return f"{name} and {other} are twins: each layer is to be drawn for itself"
        return ""

    def _recognized(self) -> Mistake | None:
        """The likeliest mistake whose law passes all tests that the right law failed."""
        found = [(self._off(self.task.laws(one.law)), one) for one in self.task.mistakes]
        off, mistake = min(found, key=lambda pair: pair[0], default=(inf, None))
        return mistake if off <= self.limit else None

    def _off(self, laws: Mapping[str, Law | None]) -> float:
        worst = 0.0
        for name, law in laws.items():
            one = self.samples[name]
            worst = max(worst, one.off(law) if law else inf * bool(one.sorted.any()))
            if worst > self.limit or (law and one.misfit(law, self.chance)):
                return inf
        return worst

    def _nothing_drawn(self) -> str:
        """Why this earns no points at all, whatever mean and size are."""
        for name in self.random:
            one = self.samples[name]
            if one.sorted[0] == one.sorted[-1]:
                self.keywords.append("constant")
                return f"{self._label(name)} holds nothing but {one.sorted[0]:.3g}, for every seed"
            if any(np.array_equal(*pair) for pair in combinations(one.drawn, 2)):
                self.keywords.append("seed ignored")
                return f"{self._label(name)} is the same after another mx.random.seed"
        return ""
