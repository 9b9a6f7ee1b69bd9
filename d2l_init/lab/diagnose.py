"""What is wrong with a Gluon net: one pass that collects what the rules read."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf, log, nan, prod, sqrt
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.gluon import nn, rnn
from mxnet.gluon.nn import conv_layers
from scipy.special import log_softmax

from ..arguments import number
from ..base import leaf, memory
from ..figures import short
from ..laws import fans
from .case import Case, Row
from .diagnosis import Diagnosis
from .faults import findings
from .gluon_trace import Call, Recorder, gradient_of, traced
from .passes import RECURRENT, blocks_of, checked_blocks, first_array, parameters_of
from .signals import Array, moments

_CELLS = (*RECURRENT, rnn.RecurrentCell)
_GATES = {"LSTM": 4, "LSTMCell": 4, "GRU": 3, "GRUCell": 3}
_NORMS = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm")  # and what has these in its name

CURES = {
    "whole": "net.initialize({rule}, force_reinit=True)",
    "some": "net.collect_params({pattern!r}).initialize({rule}, force_reinit=True)",
    "own": "for p in net.collect_params({pattern!r}).values(): "
    "p.initialize({rule}, force_reinit=True)",
    "scale": "for p in net.collect_params({pattern!r}).values(): p.set_data(p.data() / {by})",
    "small": "net.collect_params({pattern!r}).initialize(d2l_init.TruncatedNormal(std=0.01), "
    "force_reinit=True)",
    "bias": "net.collect_params()[{name!r}].set_data(np.array({values}))",
    "freeze": 'net.collect_params({pattern!r}).setattr("grad_req", "null")',
    "remove": "{place}",
    "tanh": 'net.apply(lambda b: setattr(b, "_act_type", "tanh") '
    'if getattr(b, "_act_type", "") == "sigmoid" else None)',
    "inputs": "X = (X - X.mean()) / X.std()",
    "finite": "X = np.nan_to_num(X, posinf=0, neginf=0)",
    "noise": "X = np.random.normal(size=X.shape)",
    "wide": 'net.cast("float32"); X = X.astype("float32")',
    "loss": "from mxnet import gluon; loss = gluon.loss.SoftmaxCrossEntropyLoss()",
    "rate": "lr = {lr}",
}
_OF_ND = {  # where they differ for arrays of mx.nd
    "bias": "from mxnet import nd; net.collect_params()[{name!r}].set_data(nd.array({values}))",
    "inputs": "X = (X - X.mean()) / ((X - X.mean()) ** 2).mean() ** 0.5",
    "finite": "from mxnet import nd; X = nd.where(nd.abs(X) < float('inf'), X, nd.zeros_like(X))",
    "noise": "from mxnet import nd; X = nd.random.normal(shape=X.shape)",
}


def diagnose(
    net: Any,
    X: Any,
    y: Any = None,
    loss: Callable[[Any, Any], Any] | None = None,
    *,
    lr: float | None = None,
) -> Diagnosis:
    """What is wrong with a net at its start, where, why, and a line of code that cures it.

    One pass over the batch X, and back with a loss (the mean of ``loss(net(X), y)``), in training
    mode without dropout; ``lr`` is the rate at which plain gradient descent would go on. Looked at
    are values that aren't finite, inputs, signal and gradient by layer, weights that nothing can
    tell apart, saturated and dead units, inputs that become one, the loss at the start and the
    output bias (softmax cross-entropy of classes only), updates, and blocks that are never called.

    The result prints as text and shows as a table with a picture; ``ok`` says that nothing was
    found, ``to_frame()`` has a row a finding. A cure runs where ``net, X, y, loss, lr``,
    MXNet's ``np`` and ``d2l_init`` are known. What chance does to a net of its width and depth is
    no finding. The net is left as it was except for shapes that the pass settles.

    >>> from mxnet import init, np, npx
    >>> npx.set_np()
    >>> net = nn.Dense(2, in_units=2, prefix="layer_")
    >>> net.initialize(init.One())
    >>> diagnose(net, np.array([[300.0, -100.0], [-200.0, 0.0]]))
    1 finding. Looked at: 1 layer, a batch of 2, signals.
    1. inputs: X
       X has rms 187 and standard deviation 187; layers expect 1. See chapter 05, "Which variance
       does the first layer need?".
       Cure: X = (X - X.mean()) / X.std()
    No gradients without a loss: diagnose(net, X, y, loss) looks at them too.

    Raises ValueError as :func:`d2l_init.trace` does, and for an ``lr`` that is no positive number.
    Source: the width's share in what chance does is from Hanin & Nica 2018.
    """
    rate = None if lr is None else number("lr", lr, positive=True)
    watch = _Watch(checked_blocks(net), y, loss is not None)
    with _without_dropout(net):
        record = traced(net, X, y, loss, watch.watched, watch, training=True)
    rows = [row | more for row, more in zip(record.rows, watch.about, strict=True)]
    case = Case(
        rows, [p.name for p in parameters_of(net)], watch.inputs, record.loss,
        _of_classes(watch, rows, record.loss), watch.stacks, watch.alike, _cut(watch, rows),
        list(_unused(net, watch)), rate, watch.half, _cures(X),
    )  # fmt: skip
    found = findings(case)
    return Diagnosis(found, _looked(case), list(_remarks(net, case)), rows)


def _cures(X: Any) -> dict[str, str]:
    """Code that cures, for this kind of X."""
    known = CURES if isinstance(first_array(X), mx.np.ndarray) else CURES | _OF_ND
    if not isinstance(X, (tuple, list)):
        return known
    first = ("inputs", "finite", "noise", "wide")
    return known | {k: f"X, *rest = X; {known[k]}; X = [X, *rest]" for k in first}


@contextmanager
def _without_dropout(net: Any) -> Iterator[None]:
    """No random numbers are taken, and no signal is halved."""
    names = {nn.Dropout: "_rate", RECURRENT: "_dropout"}
    blocks = [(vars(block), name) for block in blocks_of(net)
              for kind, name in names.items() if isinstance(block, kind)]  # fmt: skip
    before = [own[name] for own, name in blocks]
    try:
        for own, name in blocks:
            own[name] = 0
        yield
    finally:
        for (own, name), value in zip(blocks, before, strict=True):
            own[name] = value


class _Watch(Recorder):
    """Takes part in each call, of containers too, and adds to the rows what the rules read."""

    def __init__(self, blocks: Sequence[Any], y: Any, backward: bool) -> None:
        super().__init__(None, backward)
        self.watched, self.y = blocks, y
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

    def forward(self, block: Any, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        array, begin = first_array(args), len(self.calls)
        source = self.source(array)
        if block._children and not block.params.keys():
            self.called.add(block)
            out = forward(*args, **kwargs)
            made = first_array(out)
            if array is not None and made is not None and array.shape == made.shape:
                self.passed.append((block.name, array, made, begin, len(self.calls)))
            return out
        out = super().forward(block, forward, *args, **kwargs)
        if self.calls and self.calls[-1].block is block:
            place = len(self.calls) - 1
            self.sources[place] = min(source, place - 1)
            self.entries[place] = 0 if array is None else array.size // max(1, len(array))
        return out

    def source(self, array: Any) -> int:
        """The call that made the array; if none did, a sum, say, the last one."""
        last = len(self.calls) - 1
        return next((k for k in range(last, -1, -1) if self.calls[k].output is array), last)

    def finish(self, inputs: Any, out: Any) -> None:
        self.inputs = _of_inputs(first_array(inputs))
        self.half = any(np.dtype(call.output.dtype) == np.float16 for call in self.calls)
        self.about = [self.facts(k, call) for k, call in enumerate(self.calls)]
        if self.inputs["whole"]:  # tokens: what their embedding makes of them
            self.inputs["cosine"] = self.about[0]["cosine"]
        final = first_array(out)
        if self.y is not None and final is not None and isinstance(self.y, type(final)):
            self.logits = memory(final).copy(), memory(self.y)
        self.stacks = [self.stack(*one) for one in self.passed]
        self.passed = []
        super().finish(inputs, out)
        if self.backward:
            self.weights()

    def facts(self, k: int, call: Call) -> Row:
        block = call.block
        own = [p for p in block.params.values() if leaf(p).ndim > 1]
        norm = any(name in type(block).__name__ for name in _NORMS)
        sums = not isinstance(block, nn.Embedding) and not any(
            parameters_of(child) for child in block._children.values()
        )
        gamma = next((memory(leaf(p)) for p in block.params.values() if p.name.endswith("gamma")),
                     None) if norm else None  # fmt: skip
        known = np.dtype(call.output.dtype).kind == "f" and (own or call.output.ndim > 1)
        values = memory(call.output) if known else np.zeros((1, 1))
        return {
            "source": self.sources.get(k, k - 1),
            "into": max(1, self.entries.get(k, 0)),
            "layer": bool(own) and sums and not norm,
            "norm": norm,
            "gamma": 1.0 if gamma is None else sqrt(moments(gamma)[2]),
            "recurrent": isinstance(block, _CELLS),
            "fan_in": _fan_in(block, own),
            "units": own[0].shape[0] if own else 1,
            "cosine": _cosine(values) if own and len(values) == self.inputs["examples"] else nan,
            "parameters": [p.name for p in block.params.values() if p._differentiable],
            "weight_names": [p.name for p in own],
            "own": bool(own) and all(p.init is not None for p in own),
            "bad": [p.name for p in block.params.values() if not _is_finite(memory(leaf(p)))],
            "has_gradient": call.addend is not None,
        }

    def stack(self, name: str, before: Any, after: Any, begin: int, end: int) -> Row:
        x, y = memory(before), memory(after)
        layers = [k for k in range(begin, end) if self.about[k]["layer"]]
        skip = _correlation(x, y) if layers and x.dtype.kind == y.dtype.kind == "f" else 0.0
        sizes = (sqrt(moments(one)[2]) if skip else 1.0 for one in (x, y))
        return {"name": name, "skip": skip, "rows": layers,
                "before": next(sizes), "after": next(sizes)}  # fmt: skip

    def weights(self) -> None:
        """Which weights get no gradient, or one that keeps their units alike."""
        seen: set[Any] = set()
        for k, call in enumerate(self.calls):
            for p in call.block.params.values():
                array = p._data[0]
                if p in seen or array.ndim < 2 or p.grad_req == "null" or array.grad is None:
                    continue
                seen.add(p)
                gates = _GATES.get(type(call.block).__name__, 1)
                values = memory(array)
                equal = _equal_rows(values, gates, 0.0)
                changes = (
                    gradient_of(array) if equal or not call.numbers["weight_grad_std"] else None
                )
                if changes is None or np.isnan(call.numbers["weight_grad_std"]):
                    continue
                if equal and _equal_rows(changes, gates, 1e-5):
                    self.alike.append((call.block.name, p.name, float(abs(values).max())))
                elif not changes.any():
                    self.silent.append((k, p.name))
        every = {p: p._data[0] for block in self.watched for p in block.params.values() if p._data}
        self.reached = {p for p, array in every.items() if array.ndim > 1 and array._fresh_grad}


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


def _fan_in(block: Any, own: Sequence[Any]) -> float:
    if not own or not 2 <= len(own[0].shape) <= 5:
        return nan if not own else float(max(1, prod(own[0].shape[1:])))
    layout = None
    if isinstance(block, conv_layers._Conv) and "Transpose" in type(block).__name__:
        layout = "IO" + "DHW"[5 - len(own[0].shape) :]
    elif isinstance(block, conv_layers._Conv) and block._kwargs["layout"][-1] == "C":
        layout = "O" + "DHW"[5 - len(own[0].shape) :] + "I"
    return float(max(1, fans(own[0].shape, layout=layout)[0]))


@np.errstate(all="ignore")
def _cosine(values: Array) -> float:
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


def _of_inputs(array: Any) -> dict[str, Any]:
    values = memory(array)
    whole = values.dtype.kind != "f"
    bad = 0 if whole else int(values.size - np.count_nonzero(np.isfinite(values)))
    _, std, square = moments(values)
    return {"whole": whole, "nonfinite": bad, "rms": sqrt(square), "std": std,
            "examples": len(values), "cosine": nan if whole else _cosine(values)}  # fmt: skip


def _of_classes(watch: _Watch, rows: Sequence[Row], loss: float | None) -> dict[str, Any] | None:
    """Frequencies and chances, if the loss is softmax cross-entropy of classes."""
    if watch.logits is None or loss is None:
        return None
    z, y = watch.logits[0].astype(float), watch.logits[1]
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
    block = watch.calls[last].block
    bias = [p.name for p in block.params.values() if tuple(p.shape) == z.shape[1:]]
    mine = last >= 0 and bias and rows[last]["shape"] == z.shape
    return {"counts": counts.tolist(), "chances": chances.mean(0).tolist(),
            "bias": (bias[0], block.name) if mine else None}  # fmt: skip


def _cut(watch: _Watch, rows: Sequence[Row]) -> list[tuple[int, str]]:
    """Weights without gradient that no factor of zero and no dead layer behind them explains."""
    last = [k for k, row in enumerate(rows) if row["mean_square"] == 0 or row["dead"] == 1]
    zero = [k for k, call in enumerate(watch.calls) for p in call.block.params.values()
            if p._differentiable and not p.name.endswith(("bias", "beta"))
            and not memory(leaf(p)).any()]  # fmt: skip
    explained = max([*last, *zero], default=-1)
    return [(k, name) for k, name in watch.silent if k > explained]


def _unused(net: Any, watch: _Watch) -> Iterator[tuple[str, str]]:
    """The topmost blocks with parameters of which nothing was called or reached by the loss."""

    def visit(block: Any, place: str) -> Iterator[tuple[str, str]]:
        for key, child in block._children.items():
            here = f"{place}._children[{key!r}]"
            inside = blocks_of(child)
            if watch.called & set(inside):
                yield from visit(child, here)
            elif (own := parameters_of(child)) and not watch.reached & set(own):
                yield child.name, f"{place}._children.pop({key!r})"

    yield from visit(net, "net")


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


def _remarks(net: Any, case: Case) -> Iterator[str]:
    if case.loss is None:
        yield "No gradients without a loss: diagnose(net, X, y, loss) looks at them too."
    elif case.logits is None:
        yield (
            "The loss isn't the softmax cross-entropy of one class for each example: its size at "
            "the start and the output bias weren't judged."
        )
    norms = [
        block
        for block in blocks_of(net)
        if isinstance(block, (nn.BatchNorm, nn.BatchNormReLU)) and block.running_var._data
    ]
    fresh = [block.name for block in norms if not memory(leaf(block.running_mean)).any()
             and (memory(leaf(block.running_var)) == 1).all()]  # fmt: skip
    if fresh:
        yield (
            f"Running statistics are still 0 and 1, so that in predict mode {fresh[0]} hands on "
            f"what it gets; the same in {len(fresh)} in all, until training has set them."
        )
    users = Counter(p for block in blocks_of(net) for p in block.params.values())
    if shared := [p.name for p, count in users.items() if count > 1]:
        yield f"Shared by several blocks: {', '.join(shared[:5])}."
