"""Laws in their usual form, and the mistakes that each rule invites."""

from collections.abc import Callable
from functools import partial
from math import sqrt
from operator import mul
from typing import Any

from scipy import stats

from ..arguments import one_of
from ..laws import Law, fans
from .judges import Mistake
from .verdicts import Shape


def constant(value: float) -> Law:
    """Always this value."""
    return Law([(1.0, value)])


def normal(std: float) -> Law:
    """N(0, std²)."""
    return Law([(1.0, stats.norm(0, std))])


def uniform(std: float) -> Law:
    """U(−√3 std, √3 std), whose standard deviation is ``std``."""
    return Law([(1.0, stats.uniform(-sqrt(3) * std, 2 * sqrt(3) * std))])


def cut_normal(std: float, bound: float = 2) -> Law:
    """N(0, std²), drawn again where it is beyond ``bound`` standard deviations: narrower."""
    return Law([(1.0, stats.truncnorm(-bound, bound, scale=std))])


def clipped_normal(std: float, bound: float = 2) -> Law:
    """N(0, std²), set to the bound where it is beyond ``bound`` standard deviations."""
    beyond, end = float(stats.norm.sf(bound)), bound * std
    within = stats.truncnorm(-bound, bound, scale=std)
    return Law([(beyond, -end), (1 - 2 * beyond, within), (beyond, end)])


def truncated_normal(std: float, bound: float = 2) -> Law:
    """A normal law cut at ``bound`` standard deviations, whose own one is ``std`` after the cut."""
    return cut_normal(std / cut_normal(1, bound).std, bound)


Rule = Callable[[Shape], Law]
_KINDS = {"normal": normal, "uniform": uniform, "truncated_normal": truncated_normal}


def variance_scaling(kind: str, scale: float, fan: str) -> dict[str, Any]:
    """Arguments ``right`` and ``mistakes`` of a task: mean 0 and variance ``scale`` over a fan.

    ``kind`` is "normal", "uniform" or "truncated_normal", ``fan`` is "in", "out" or "avg".

    >>> rule = variance_scaling("normal", 2, "in")
    >>> rule["right"]((100, 50)).std, rule["mistakes"][0].keyword
    (0.2, 'fan forgotten')
    """
    draw = _KINDS[one_of("kind", kind, _KINDS)]
    one_of("fan", fan, ["in", "out", "avg"])

    def of(change: Callable[[float], float], law: Callable[[float], Law] = draw) -> Rule:
        """What the right standard deviation becomes, and perhaps another law with it."""
        return lambda shape: law(change(sqrt(scale / _fan(fan, shape))))

    def over(size: Callable[[Shape], float]) -> Rule:
        """What divides ``scale`` in place of the right fan."""
        return lambda shape: draw(sqrt(scale / size(shape)))

    found = [
        ("fan forgotten", over(lambda shape: 1), "should more inputs not mean smaller weights?"),
        ("sum of fans", over(lambda shape: sum(fans(shape))), "which fan does the rule divide by?"),
        ("kernel forgotten", over(lambda shape: _fan(fan, shape[:2])), "what does one output sum?"),
        (
            "transposed",
            over(lambda shape: _fan(fan, shape[::-1])),
            "which axis counts the outputs?",
        ),
        ("variance for std", of(lambda std: std**2), "was the root taken?"),
        ("std for variance", of(sqrt), "was the root taken twice?"),
        ("constant", of(float, constant), "units that start equal stay equal"),
    ]
    for other in sorted({"in", "out", "avg"} - {fan}):
        hint = "which fan does the rule name, and which axis of the weight holds it?"
        found.append(("wrong fan", over(partial(_fan, other)), hint))
    for factor in sorted({2, 3} - {scale, scale**2}):
        hint = f"where does the factor {factor} in the variance come from?"
        found.append((f"factor {factor} left", of(partial(mul, sqrt(factor))), hint))
    if scale != 1:
        hint = f"was the factor {scale:g} applied to the std, and not to the variance?"
        found.append((f"factor {scale:g} on the std", of(partial(mul, sqrt(scale))), hint))
    if scale != 1 and (fan, scale) != ("avg", 2) and (kind, scale) != ("uniform", 3):
        hint = f"the rule has a factor {scale:g}: what is it for?"
        found.append((f"factor {scale:g} forgotten", of(partial(mul, sqrt(1 / scale))), hint))
    for name in sorted({"normal", "uniform"} - {kind}):
        hint = f"is a {name} law asked for?"
        found.append((f"{name} for {kind.replace('_', ' ')}", of(float, _KINDS[name]), hint))
    if kind == "uniform":
        hint = "a is not the standard deviation of U(−a, a): what is?"
        found.append(("factor 3 forgotten", of(partial(mul, sqrt(1 / 3))), hint))
    if kind == "truncated_normal":
        hint = "cutting the tails takes some of the spread: which std must be cut?"
        found.append(("truncation uncorrected", of(float, cut_normal), hint))
        hint = "values beyond the bound pile up on it: are they drawn again?"
        found.append(("clipped instead of drawn again", of(float, clipped_normal), hint))
    return {"right": of(float), "mistakes": [Mistake(*one) for one in found]}


def _fan(name: str, shape: Shape) -> float:
    fan_in, fan_out = fans(shape)
    return {"in": fan_in, "out": fan_out, "avg": (fan_in + fan_out) / 2}[name]
