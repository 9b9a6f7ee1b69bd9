"""Laws in their usual form, and the mistakes that each rule invites."""

from collections.abc import Callable, Mapping
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

    def of(variance: Callable[[float], float]) -> Callable[[Shape], Law]:
        """The law whose variance is made from that of the right one."""
        return lambda shape: draw(sqrt(variance(scale / _fan(fan, shape))))

    def over(size: Callable[[Shape], float]) -> Callable[[Shape], Law]:
        """The law with another size below the ``scale``."""
        return lambda shape: draw(sqrt(scale / size(shape)))

    def other(law: Callable[[float], Law]) -> Callable[[Shape], Law]:
        """Another law of the right standard deviation."""
        return lambda shape: law(sqrt(scale / _fan(fan, shape)))

    found = [
        Mistake("fan forgotten", over(lambda shape: 1), "should more inputs not mean less weight?"),
        *(
            Mistake("wrong fan", over(partial(_fan, name)), _WHICH)
            for name in ("in", "out", "avg")
            if name != fan
        ),
        Mistake("sum of fans", over(lambda shape: sum(fans(shape))), "their sum, or their mean?"),
        Mistake(
            "kernel forgotten",
            over(lambda shape: _fan(fan, shape[:2])),
            "how many inputs does one output of a convolution sum?",
        ),
        Mistake("variance for std", of(lambda v: v**2), "does the argument want the root?"),
        Mistake("std for variance", of(sqrt), "was the root taken twice?"),
        Mistake("constant", other(constant), "equal weights learn equal things"),
    ]
    if scale != 1:
        found += [
            Mistake(f"factor {scale:g} forgotten", of(lambda v: v / scale), "what is it for?"),
            Mistake(
                f"factor {scale:g} on the std",
                of(lambda v: v * scale),
                f"was the factor {scale:g} applied to the standard deviation, not the variance?",
            ),
        ]
    for factor in {2.0, 3.0} - {scale, scale**2}:
        hint = f"where does the factor {factor:g} in the variance come from?"
        found.append(Mistake(f"factor {factor:g} left", of(partial(mul, factor)), hint))
    found += [Mistake(*one) for one in _forms(kind, other)]
    return {"right": other(draw), "mistakes": found}


_WHICH = "which of the two fans does the rule name, and which axis of the weight holds it?"


def _fan(name: str, shape: Shape) -> float:
    fan_in, fan_out = fans(shape)
    return {"in": fan_in, "out": fan_out, "avg": (fan_in + fan_out) / 2}[name]


def _forms(kind: str, other: Callable[..., Any]) -> list[tuple[str, Any, str]]:
    """Other laws taken for the one of this kind."""
    names: Mapping[str, Callable[[float], Law]] = {"normal": normal, "uniform": uniform}
    found = [
        (f"{name} for {kind.replace('_', ' ')}", other(law), f"is a {name} law asked for?")
        for name, law in names.items()
        if name != kind
    ]
    if kind == "uniform":
        hint = "what is the standard deviation of U(−a, a)? It is not a"
        found.append(("factor 3 forgotten", other(lambda std: uniform(std / sqrt(3))), hint))
    if kind == "truncated_normal":
        hint = "cutting the tails takes some of the spread: which std must be cut?"
        found.append(("truncation uncorrected", other(cut_normal), hint))
        hint = "values beyond the bound pile up on it: are they drawn again?"
        found.append(("clipped instead of drawn again", other(clipped_normal), hint))
    return found
