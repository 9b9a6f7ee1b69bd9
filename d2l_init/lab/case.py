"""What :func:`d2l_init.diagnose` reads of a net, in plain numbers: nothing here knows MXNet."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, log, nan, sqrt
from os.path import commonprefix
from re import escape, fullmatch, match
from typing import Any

from ..laws import gain
from .theory import ACTIVATIONS

# What theory of plain layers leaves out: tanh's decay as 1/√(2ℓ), pooling, padding, trained nets.
SLACK = log(30)
DEVIATIONS = 3  # of log q over nets of this width: standard deviation √(5L/n) (Hanin & Nica 2018)
GATES = log(4)  # an LSTM's input and output gates are each 1/2 at the start
SKIP = 0.3  # correlation of a block's output with its input; without a sum it is about 0

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """What the rules read.

    ``rows`` are a trace's with, further: ``source``, the row whose output came in (-1: X);
    ``into``, how many entries of it an example had; ``layer``: has it weights that sum inputs;
    ``norm``, ``recurrent``, ``fan_in``, ``units``, ``gamma``; ``cosine`` between examples;
    ``parameters``, their names; ``own``: whether the weights have an initializer of their own;
    ``bad``: the names of those that hold values that are not finite. ``stacks`` are blocks that
    keep their input's shape: their ``name``, ``before`` and ``after``, the rms, ``skip``, the
    correlation, and the layers' ``rows`` inside.
    """

    rows: Sequence[Row]
    names: Sequence[str]  # of all parameters
    inputs: Mapping[str, Any]  # rms, std, cosine, whole (numbers), nonfinite
    loss: float | None = None
    logits: Mapping[str, Any] | None = None  # of softmax cross-entropy: chances, counts, bias
    stacks: Sequence[Row] = ()
    alike: Sequence[tuple[str, str, float]] = ()  # block, parameter and largest entry of equal rows
    silent: Sequence[tuple[int, str]] = ()  # row and parameter without gradient
    unused: Sequence[tuple[str, str]] = ()  # block and the code that reaches its place
    lr: float | None = None
    half: bool = False  # float16
    cures: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def steps(self) -> dict[int, "Step"]:
        """What comes in at each layer, by its row."""
        return dict(_steps(self))

    @cached_property
    def sizes(self) -> dict[int, float]:
        """The logarithm of rms over start at each layer that is finite."""
        return {
            k: logarithm(rms_of(self.rows[k]) / step.start) if step.start > 0 else nan
            for k, step in self.steps.items()
            if self.rows[k]["nonfinite"] == 0
        }

    @cached_property
    def layers(self) -> list[int]:
        return list(self.steps)

    @cached_property
    def normed(self) -> set[int]:
        """Layers whose output goes into a norm, which sets its scale anew."""
        return {row["source"] for row in self.rows if row["norm"]}

    @cached_property
    def residual(self) -> list[Row]:
        """The innermost blocks around which a skip connection leads."""
        skips = [one for one in self.stacks if one["skip"] > SKIP]
        return [one for one in skips
                if not any(set(other["rows"]) < set(one["rows"]) for other in skips)]  # fmt: skip

    def activation(self, k: int) -> str:
        """The activation that follows the row, built in or the next to read it or its norm."""
        if own := self.rows[k]["activation"]:
            return str(own)
        after = [one for one, row in enumerate(self.rows) if row["source"] == k]
        norms = [self.activation(one) for one in after if self.rows[one]["norm"]]
        direct = [self.rows[one]["activation"] for one in after]
        return str(next(filter(None, [*direct, *norms]), ""))

    def layer_of(self, k: int) -> int | None:
        """The layer that made what comes out of a row, or came into it."""
        while k >= 0 and k not in self.steps:
            k = self.rows[k]["source"]
        return k if k >= 0 else None

    def reset(self, layers: Sequence[int], *, whole: bool = False) -> str:
        """The line that draws these layers anew, by the rule that their activations ask for."""
        rule = self.rule(layers)
        weights = [name for k in layers for name in self.rows[k]["weight_names"]]
        if any(self.rows[k]["own"] for k in layers):
            return self.cures["own"].format(pattern=pattern(weights, self.names), rule=rule)
        if whole:
            return self.cures["whole"].format(rule=rule)
        names = [name for k in layers for name in self.rows[k]["parameters"]]
        return self.cures["some"].format(pattern=pattern(names, self.names), rule=rule)

    def rule(self, layers: Sequence[int]) -> str:
        """Code of the initializer that keeps the signal for the commonest activation."""
        found = Counter(one for k in layers if (one := self.activation(k)))
        found = found or Counter(one for k in self.layers if (one := self.activation(k)))
        name = found.most_common(1)[0][0] if found else "linear"
        if name in ("relu", "leaky_relu", "relu6"):
            return self.cures["relu rule"]
        if name in ("linear", "tanh", "softsign", "selu", "sigmoid") or name not in ACTIVATIONS:
            return self.cures["linear rule"]
        return self.cures["other rule"].format(scale=f"{gain(ACTIVATIONS[name]) ** 2:.3g}")


@dataclass(frozen=True)
class Step:
    """A layer on its path: what the signal began with, and how much chance may change it."""

    before: int | None  # the layer in front
    start: float  # rms behind the last norm, or of the net's input
    share: float  # Σ 1/n over the layers since, this one included
    gates: float

    @property
    def low(self) -> float:
        """The logarithm by which the rms may fall: mean −5L/(4n) and deviations of the band."""
        return 1.25 * self.share + DEVIATIONS * sqrt(5 * self.share) / 2 + SLACK + self.gates

    @property
    def high(self) -> float:
        return DEVIATIONS * sqrt(5 * self.share) / 2 + SLACK


def _steps(case: Case) -> Iterator[tuple[int, Step]]:
    begin = Step(None, nan if case.inputs["whole"] else case.inputs["rms"], 0.0, 0.0)
    states: list[Step] = []
    for k, row in enumerate(case.rows):
        state = states[row["source"]] if row["source"] >= 0 else begin
        size = rms_of(row)
        if row["norm"]:
            state = Step(state.before, size, 0.0, 0.0)
        elif row["layer"]:
            first = not state.start > 0  # words, or nothing
            share, gates = state.share + 1 / row["fan_in"], state.gates + GATES * row["recurrent"]
            step = Step(state.before, size if first else state.start, share, gates)
            yield k, step
            state = Step(k, step.start, share, gates)
        elif not state.start > 0:
            state = Step(state.before, size, 0.0, 0.0)
        states.append(state)


def rms_of(row: Row) -> float:
    return sqrt(row["mean_square"]) if row["mean_square"] >= 0 else nan


def logarithm(value: float) -> float:
    return log(value) if 0 < value < inf else -inf if value == 0 else nan


def pattern(names: Sequence[str], every: Sequence[str]) -> str:
    """A pattern for the beginnings of names that picks these among all."""
    wanted = list(dict.fromkeys(names))
    if set(wanted) == set(every):
        return ".*"
    end = commonprefix([name[::-1] for name in wanted])[::-1]  # noqa: RUF071
    tried = [f".*{escape(end[place:])}$" for place in range(len(end)) if end[place] in "_."]
    if len(wanted) > 1:
        for one in [*tried, ".*weight$"]:
            if {name for name in every if match(one, name)} == set(wanted):
                return one
    plain = [name if fullmatch(r"\w+", name) else escape(name) for name in wanted]
    return f"({'|'.join(plain)})$" if len(plain) > 1 else f"{plain[0]}$"
