"""Tasks of chapters 01 to 04: data for the judges."""

from collections.abc import Callable
from math import log, prod, sqrt
from typing import Any

from scipy import stats

from ..laws import Law, fans
from .judges import Draws, Measurement, Mistake, Numbers, Task, Wrong
from .mistakes import (
    clipped_normal,
    constant,
    cut_normal,
    normal,
    truncated_normal,
    uniform,
    variance_scaling,
)
from .verdicts import Shape


def _scaled(kind: Callable[[float], Law], size: float, power: float = -0.5) -> Any:
    """The law whose standard deviation is ``size`` times a power of the fan-in."""
    return lambda shape: kind(size * prod(shape[1:]) ** power)


def _with_zeros(share: float, law: Law) -> Law:
    return Law([(share, 0.0), *((chance * (1 - share), part) for chance, part in law.parts)])


def _net(**layers: Shape) -> Callable[[], Any]:
    """Makes a net of dense layers that holds one half everywhere but in its biases."""

    def build() -> Any:
        from mxnet import cpu, init
        from mxnet.gluon import nn

        net = nn.Sequential(prefix="")
        for name, (units, inputs) in layers.items():
            net.add(nn.Dense(units, in_units=inputs, prefix=f"{name}_"))
        net.initialize(init.Constant(0.5), ctx=cpu())
        return net

    return build


def _parameters(**layers: Shape) -> dict[str, Shape]:
    weights = {f"{name}_weight": shape for name, shape in layers.items()}
    return weights | {f"{name}_bias": shape[:1] for name, shape in layers.items()}


def _by_kind(bias: float | None = 0, /, **laws: Law | None) -> Callable[[str, Shape], Law | None]:
    """A rule for nets: a law for each layer's weight, one number for all biases."""

    def rule(name: str, shape: Shape) -> Law | None:
        layer, kind = name.split("_")
        if kind == "weight":
            return laws[layer]
        return None if bias is None else constant(bias)

    return rule
