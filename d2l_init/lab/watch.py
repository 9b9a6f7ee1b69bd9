"""What :func:`d2l_init.diagnose` notes of a pass beside its record, in plain numbers.

Nothing here knows a framework: a recorder of each mixes :class:`Watch` in and says what its blocks
and arrays are.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, log, nan, sqrt
from typing import Any

import numpy as np
from scipy.special import log_softmax

from ..figures import short
from .case import Case, Row
from .diagnosis import Diagnosis
from .faults import findings
from .signals import Array, Trace, moments

GATES = {"LSTM": 4, "LSTMCell": 4, "GRU": 3, "GRUCell": 3}
NORMS = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")  # in a class's name


@dataclass(frozen=True)
class Own:
    """A parameter of a block: ``key`` is what two blocks share, ``gradient`` a function."""

    name: str
    key: Any
    values: Array
    differentiable: bool  # running statistics are not
    trained: bool
    own_init: bool
    reached: bool  # by the loss
    gradient: Callable[[], Array]


class Watch:
    """Takes part in each call, of containers too, and keeps what the rules read."""

    is_over = False  # is the pass forward over?
    at_once = False  # are arrays looked at before the next block may write into them?
    calls: list[Any]
    called: set[Any]
    backward: bool

    def __init__(self, blocks: Sequence[Any], X: Any, y: Any) -> None:
        self.watched, self.y = blocks, y
        first = self.first(X)
        self.inputs = {} if first is None else _of_inputs(self.values(first))
        self.sources: dict[int, int] = {}  # by the number of a call
        self.entries: dict[int, int] = {}
        self.passed: list[tuple[Any, Any, Any, int, int]] = []
        self.about: list[Row] = []
        self.alike: list[tuple[str, str, float]] = []
        self.silent: list[tuple[int, str]] = []
        self.reached: set[Any] = set()
        self.stacks: list[Row] = []
        self.logits: tuple[Array, Array] | None = None
        self.half = False

    # What a framework says of its own.
    first: Callable[[Any], Any]
    values: Callable[[Any], Array]
    name: Callable[[Any], str]
    children: Callable[[Any], Mapping[str, Any]]
    parameters: Callable[[Any], list[Own]]
    is_recurrent: Callable[[Any], bool]
    fan_in: Callable[[Any, Sequence[Own]], float]
    removal: Callable[[Sequence[str]], str]

    def inside(self, block: Any) -> list[Any]:
        """The block and all within."""
        below = (one for child in self.children(block).values() for one in self.inside(child))
        return list(dict.fromkeys([block, *below]))

    def forward(self, block: Any, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        array, begin = self.first([args, kwargs]), len(self.calls)
        source, version = self.source(array), getattr(array, "_version", 0)
        above: Any = super()
        if self.is_over:  # a checkpoint's second pass
            return above.forward(block, forward, *args, **kwargs)
        if self.children(block) and not self.parameters(block):
            self.called.add(block)
            out = forward(*args, **kwargs)
            made = self.first(out)
            alike = array is not None and made is not None and array.shape == made.shape
            if alike and getattr(array, "_version", 0) == version:
                self.passed.append((self.name(block), array, made, begin, len(self.calls)))
                if self.at_once:
                    self.look()
            return out
        out = above.forward(block, forward, *args, **kwargs)
        if self.calls and self.calls[-1].block is block:
            place = len(self.calls) - 1
            self.calls[-1].output = self.first(out)
            self.sources[place] = min(source, place - 1)
            entries = 0 if array is None else int(np.prod(array.shape))
            self.entries[place] = entries // max(1, len(array) if entries else 1)
            if self.at_once:
                self.look()
        return out

    def source(self, array: Any) -> int:
        """The call that made the array; if none did, a sum, say, the last one."""
        last = len(self.calls) - 1
        return next((k for k in range(last, -1, -1) if self.calls[k].output is array), last)

    def look(self) -> None:
        """At the calls and containers since the last time."""
        while len(self.about) < len(self.calls):
            k = len(self.about)
            self.about.append(self.facts(k, self.calls[k]))
            kind = str(self.calls[k].output.dtype)
            self.half |= "float16" in kind and "bfloat16" not in kind
            if self.inputs["whole"] and k == 0:  # tokens: what their embedding makes of them
                self.inputs["cosine"] = self.about[0]["cosine"]
        self.stacks += [self.stack(*one) for one in self.passed]
        self.passed = []

    def finish(self, inputs: Any, out: Any) -> None:
        self.look()
        final = self.first(out)
        if self.y is not None and final is not None and isinstance(self.y, type(final)):
            self.logits = self.values(final).copy(), self.values(self.y)
        above: Any = super()
        above.finish(inputs, out)
        if self.backward:
            self.weights()

    def facts(self, k: int, call: Any) -> Row:
        block, every = call.block, self.parameters(call.block)
        own = [p for p in every if p.values.ndim > 1]
        kind = type(block).__name__
        norm = any(name in kind for name in NORMS)
        sums = "Embedding" not in kind and not any(
            self.parameters(one) for child in self.children(block).values()
            for one in self.inside(child)
        )  # fmt: skip
        gamma = [p.values for p in every if norm and p.name.endswith(("gamma", "weight"))]
        values = self.values(call.output)
        known = values.dtype.kind == "f" and (own or values.ndim > 1)
        values = values if known else np.zeros((1, 1))
        return {
            "source": self.sources.get(k, k - 1),
            "into": max(1, self.entries.get(k, 0)),
            "layer": bool(own) and sums and not norm,
            "norm": norm,
            "gamma": sqrt(moments(gamma[0])[2]) if gamma else 1.0,
            "recurrent": self.is_recurrent(block),
            "fan_in": self.fan_in(block, own),
            "units": own[0].values.shape[0] if own else 1,
            "cosine": cosine(values) if own and len(values) == self.inputs["examples"] else nan,
            "parameters": [p.name for p in every if p.differentiable],
            "weight_names": [p.name for p in own],
            "own": bool(own) and all(p.own_init for p in own),
            "bad": [p.name for p in every if not _is_finite(p.values)],
            "has_gradient": call.has_gradient,
        }

    def stack(self, name: str, before: Any, after: Any, begin: int, end: int) -> Row:
        x, y = self.values(before), self.values(after)
        layers = [k for k in range(begin, end) if self.about[k]["layer"]]
        skip = _correlation(x, y) if layers and x.dtype.kind == y.dtype.kind == "f" else 0.0
        sizes = (sqrt(moments(one)[2]) if skip else 1.0 for one in (x, y))
        return {"name": name, "skip": skip, "rows": layers,
                "before": next(sizes), "after": next(sizes)}  # fmt: skip

    def weights(self) -> None:
        """Which weights get no gradient, or one that keeps their units alike."""
        seen: set[Any] = set()
        for k, call in enumerate(self.calls):
            for p in self.parameters(call.block):
                if p.key in seen or p.values.ndim < 2 or not p.trained:
                    continue
                seen.add(p.key)
                gates = GATES.get(type(call.block).__name__, 1)
                equal = _equal_rows(p.values, gates, 0.0)
                size = call.numbers["weight_grad_std"]
                changes = p.gradient() if (equal or not size) and not np.isnan(size) else None
                if changes is None:
                    continue
                if equal and _equal_rows(changes, gates, 1e-5):
                    self.alike.append((self.name(call.block), p.name, float(abs(p.values).max())))
                elif not changes.any():
                    self.silent.append((k, p.name))
        every = [p for block in self.watched for p in self.parameters(block)]
        self.reached = {p.key for p in every if p.values.ndim > 1 and p.reached}

    def cut(self, rows: Sequence[Row]) -> list[tuple[int, str]]:
        """Weights without gradient that no factor of zero and no dead layer behind explains."""
        last = [k for k, row in enumerate(rows) if row["mean_square"] == 0 or row["dead"] == 1]
        zero = [k for k, call in enumerate(self.calls) for p in self.parameters(call.block)
                if p.differentiable and not p.name.endswith(("bias", "beta"))
                and not p.values.any()]  # fmt: skip
        explained = max([*last, *zero], default=-1)
        return [(k, name) for k, name in self.silent if k > explained]

    def unused(self, net: Any) -> Iterator[tuple[str, str]]:
        """The topmost blocks with parameters of which nothing was called or reached by the loss."""

        def visit(block: Any, place: list[str]) -> Iterator[tuple[str, str]]:
            for key, child in self.children(block).items():
                blocks = self.inside(child)
                own = {p.key for one in blocks for p in self.parameters(one)}
                if self.called & set(blocks):
                    yield from visit(child, [*place, key])
                elif own and not self.reached & own:
                    yield self.name(child), self.removal([*place, key])

        yield from visit(net, [])

    def of_classes(self, rows: Sequence[Row], loss: float | None) -> dict[str, Any] | None:
        """Frequencies and chances, if the loss is softmax cross-entropy of classes."""
        if self.logits is None or loss is None:
            return None
        z, y = self.logits[0].astype(float), self.logits[1]
        if z.ndim != 2 or y.shape != z.shape[:1] or z.shape[1] < 2 or not np.isfinite(z).all():
            return None
        classes = range(z.shape[1])
        if not np.isin(y, classes).all():
            return None
        logarithms = log_softmax(z, axis=1)
        chances, mean = np.exp(logarithms), -logarithms[np.arange(len(y)), y.astype(int)].mean()
        if not abs(mean - loss) <= 1e-2 * mean:
            return None
        counts = np.bincount(y.astype(int), minlength=len(classes))
        last = next((k for k, row in reversed([*enumerate(rows)]) if row["layer"]), -1)
        block = self.calls[last].block
        bias = [p.name for p in self.parameters(block) if p.values.shape == z.shape[1:]]
        mine = last >= 0 and bias and rows[last]["shape"] == z.shape
        return {"counts": counts.tolist(), "chances": chances.mean(0).tolist(),
                "bias": (bias[0], self.name(block)) if mine else None}  # fmt: skip

    def judged(
        self, net: Any, record: Trace, lr: float | None, cures: Mapping[str, str], fresh: list[str]
    ) -> Diagnosis:
        """The findings; ``fresh`` are norms whose running statistics nothing has set."""
        rows = [row | more for row, more in zip(record.rows, self.about, strict=True)]
        case = Case(
            rows, self.names_of(net), self.inputs, record.loss,
            self.of_classes(rows, record.loss), self.stacks, self.alike, self.cut(rows),
            list(self.unused(net)), lr, self.half, cures,
        )  # fmt: skip
        remarks = list(self.remarks(net, case, fresh))
        return Diagnosis(findings(case), _looked(case), remarks, rows)

    def names_of(self, net: Any) -> list[str]:
        return list(dict.fromkeys(p.name for one in self.inside(net) for p in self.parameters(one)))

    def remarks(self, net: Any, case: Case, fresh: list[str]) -> Iterator[str]:
        if case.loss is None:
            yield "No gradients without a loss: diagnose(net, X, y, loss) looks at them too."
        elif case.logits is None:
            yield (
                "The loss isn't the softmax cross-entropy of one class for each example: its size "
                "at the start and the output bias weren't judged."
            )
        if fresh:
            yield (
                f"Running statistics are still 0 and 1, so that in predict mode {fresh[0]} hands "
                f"on what it gets; the same in {len(fresh)} in all, until training has set them."
            )
        users = Counter(p.name for block in self.inside(net) for p in self.parameters(block))
        if shared := [name for name, count in users.items() if count > 1]:
            yield f"Shared by several blocks: {', '.join(shared[:5])}."


@contextmanager
def dropout_off(rates: Sequence[tuple[dict[str, Any], str]]) -> Iterator[None]:
    """These attributes are 0: no random numbers are taken, and no signal is halved."""
    before = [own[name] for own, name in rates]
    try:
        for own, name in rates:
            own[name] = 0.0
        yield
    finally:
        for (own, name), value in zip(rates, before, strict=True):
            own[name] = value


def with_inputs(cures: Mapping[str, str], X: Any) -> Mapping[str, str]:
    """For several inputs, those of X change the first."""
    if not isinstance(X, (tuple, list)):
        return cures
    first = ("inputs", "finite", "noise", "wide")
    return {**cures, **{k: f"X, *rest = X; {cures[k]}; X = [X, *rest]" for k in first}}


def _is_finite(values: Array) -> bool:
    return bool(np.isfinite(np.dot(values.ravel(), values.ravel()))) or bool(
        np.isfinite(values).all()
    )


def _equal_rows(values: Array, gates: int, tolerance: float) -> bool:
    """Whether all rows, of each gate, are the same; no row is like itself only."""
    parts = np.split(values.reshape(len(values), -1), gates if len(values) % gates == 0 else 1)
    if len(parts[0]) < 2:
        return False
    room = tolerance * abs(values).max() if tolerance else 0.0
    return all(
        abs(part[1] - part[0]).max() <= room and abs(part - part[0]).max() <= room for part in parts
    )


@np.errstate(all="ignore")
def cosine(values: Array) -> float:
    """The mean over pairs of examples."""
    flat = values.reshape(len(values), -1)
    if len(flat) < 2:
        return nan
    flat = flat.astype("float32", copy=False)
    inverse = 1 / np.sqrt(np.einsum("ij,ij->i", flat, flat))
    total = inverse @ flat
    count = len(flat)
    return (float(total @ total) - count) / (count * (count - 1))


@np.errstate(all="ignore")
def _correlation(x: Array, y: Array) -> float:
    x, y = (one.ravel().astype("float32", copy=False) for one in (x, y))
    x, y = x - x.mean(), y - y.mean()
    found = float(x @ y) / sqrt(max(float(x @ x) * float(y @ y), 1e-300))
    return found if -inf < found < inf else 0.0


def _of_inputs(values: Array) -> dict[str, Any]:
    whole = values.dtype.kind != "f"
    bad = 0 if whole else int(values.size - np.count_nonzero(np.isfinite(values)))
    _, std, square = moments(values)
    return {"whole": whole, "nonfinite": bad, "rms": sqrt(square), "std": std,
            "examples": len(values), "cosine": nan if whole else cosine(values)}  # fmt: skip


def _looked(case: Case) -> str:
    count = len(case.layers)
    parts = [f"{count} layer{'s' * (count != 1)}", f"a batch of {case.inputs['examples']}"]
    if case.loss is None:
        return ", ".join([*parts, "signals"])
    parts += ["signals and gradients", f"the loss {short(case.loss)}"]
    if case.logits:
        classes = len(case.logits["chances"])
        parts[-1] += f" (log {classes} is {short(log(classes))})"
    return ", ".join(parts + ([f"updates at lr = {case.lr:g}"] if case.lr else []))
