"""Tasks in a short form: a row for each known mistake."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..laws import Law
from .judges import Draws, Measurement, Mistake, Numbers, Wrong
from .verdicts import Shape


def numbers(id: str, right: Mapping[str, float], *rows: tuple[str, str, float, str]) -> Numbers:
    """Rows are a number's name, a keyword, the value that the mistake leads to, and a hint."""
    mistakes = {name: [Wrong(*row[1:]) for row in rows if row[0] == name] for name in right}
    return Numbers(id, right, mistakes)


def measured(id: str, right: float, *rows: tuple[str, float, str], **options: Any) -> Measurement:
    """Rows are a keyword, the value that the mistake leads to, and a hint."""
    return Measurement(id, right, [Wrong(*row) for row in rows], **options)


def draws(id: str, right: Any, *rows: Any, known: Sequence[Mistake] = (), **options: Any) -> Draws:
    """Rows are a keyword, the rule that the mistake leads to, and a hint; ``known`` come first."""
    return Draws(id, right, [*known, *(Mistake(*row) for row in rows)], **options)


def named(**laws: Law) -> Callable[[str, Shape], Law | None]:
    """Laws by a parameter's name or else its kind; what has none must stay as it was."""
    return lambda name, shape: laws.get(name, laws.get(name.split("_")[1]))


def net(**layers: Shape) -> dict[str, Any]:
    """A net of dense layers whose weights are all one half, and its parameters."""

    def build() -> Any:
        from mxnet import cpu, init
        from mxnet.gluon import nn

        made = nn.Sequential(prefix="")
        for name, (units, inputs) in layers.items():
            made.add(nn.Dense(units, in_units=inputs, prefix=f"{name}_"))
        made.initialize(init.Constant(0.5), ctx=cpu())
        return made

    weights = {f"{name}_weight": shape for name, shape in layers.items()}
    biases = {f"{name}_bias": shape[:1] for name, shape in layers.items()}
    return {"net": build, "shapes": weights | biases}
