"""The rules by which :func:`d2l_init.diagnose` tells a fault from what chance does to a net.

They read a :class:`~d2l_init.lab.case.Case`, plain numbers, and cures come from the table that it
brings along: nothing here knows MXNet.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import exp, inf, isfinite, log, nan, prod, sqrt

import numpy as np
from scipy.special import xlogy
from scipy.stats import chi2

from ..figures import short
from ..laws import gain
from .case import DEVIATIONS, GATES, SLACK, Case, Row, logarithm, pattern, rms_of
from .diagnosis import FAULTS, Finding, gradient_size
from .theory import ACTIVATIONS

INPUTS = 0.1, 5.0  # rms; pixels between 0 and 1 have about 0.3
SATURATED = 0.3  # P(|z| > 2.65) for a normal z of variance 6.5, where tanh's gradient grows
DEAD = 4  # one direction common to all inputs switches off half the units, ± 1/(2√n)
MERGED = 1e-4  # of 1 − cosine; fifty ReLU layers leave 0.018 of it, narrow ones 0.001
GROWTH, BLOCKS = 1.3, 4  # √2 a block is the full branch's; sums of unit branches come below 1.3
BIAS = 0.2  # nats that the classes' frequencies would save at once
SMALL = 0.3  # rms of logits that move no chance by more than a third
UPDATES = 1e-7, 0.05  # of the weights' size in a step; the guide is 1e-3
NORMED = log(1.15)  # by which gradients grow at each norm of residual nets that train well
EPSILON = 0.5  # of its gamma: what batch norm puts out when its ε is thrice the variance


def findings(case: Case) -> list[Finding]:
    """All that the rules find, worst first; each place once per fault."""
    rules = [nonfinite] if case.inputs["nonfinite"] else RULES
    found = [one for rule in rules for one in rule(case)]
    return sorted(found, key=lambda one: FAULTS.index(one.fault))


def nonfinite(case: Case) -> Iterator[Finding]:
    if case.inputs["nonfinite"]:
        what = f"{case.inputs['nonfinite']} entries of X are infinite or undefined."
        yield Finding("nonfinite", "X", what, case.cures["finite"])
        return
    rows = [k for k, row in enumerate(case.rows) if row["nonfinite"] > 0]
    back = [k for k, row in enumerate(case.rows)
            if row["has_gradient"] and not isfinite(row.get("grad_mean_square", 0))]  # fmt: skip
    if rows:
        k, row = rows[0], case.rows[rows[0]]
        what = f"{row['nonfinite']:.0%} of its outputs are infinite or undefined"
        if row["bad"]:
            what += f", as are entries of {row['bad'][0]}."
            names = pattern(row["bad"], case.names)
            cure = case.cures["some"].format(pattern=names, rule=case.rule(case.layers))
        elif case.half and not any(_explodes(case)):
            what, cure = f"{what}: more than float16 can hold, 65504.", case.cures["wide"]
        else:
            k = case.layer_of(k) or 0
            what, cure = f"{what}, the first of {len(rows)}.", case.reset(case.layers, whole=True)
        yield Finding("nonfinite", row["name"], what, cure)
    elif back:
        what = f"The gradient of its outputs is infinite or undefined, that of {len(back)} in all."
        cure = case.cures["wide"] if case.half else case.reset(case.layers, whole=True)
        yield Finding("nonfinite", case.rows[back[-1]]["name"], what, cure)
    elif case.loss is not None and not isfinite(case.loss):
        what = f"The loss is {case.loss}, though what the net puts out is finite."
        yield Finding("nonfinite", "loss", what, case.cures["loss"])


def inputs(case: Case) -> Iterator[Finding]:
    low, high = INPUTS
    rms, std = case.inputs["rms"], case.inputs["std"]
    if case.inputs["whole"] or case.inputs["nonfinite"]:
        return
    if std <= 1e-6 * rms:
        what = f"All entries of X are {short(rms)}: there is nothing to learn from."
        yield Finding("inputs", "X", what, case.cures["noise"])
    elif not low <= rms <= high:
        what = f"X has rms {short(rms)} and standard deviation {short(std)}; layers expect 1."
        yield Finding("inputs", "X", what, case.cures["inputs"])


def symmetry(case: Case) -> Iterator[Finding]:
    if not case.alike:
        return
    block, parameter, size = case.alike[0]
    kind = f"{short(size)} at most" if size else "zero"
    what = (
        f"All units of {parameter} have the same weights ({kind}) and the same gradient, so that "
        f"no training tells them apart; the same in {len(case.alike)} of {len(case.layers)} layers."
    )
    names = {name for _, name, _ in case.alike}
    layers = [k for k in case.layers if names & set(case.rows[k]["weight_names"])]
    whole = len(layers) >= len(case.layers) / 2
    yield Finding("symmetry", block, what, case.reset(layers, whole=whole))


def _worst(steps: Mapping[int, float]) -> list[int]:
    """The layers whose own factor is at least half of the largest, in logarithms."""
    most = max(steps.values(), default=0.0)
    return [k for k, one in steps.items() if one >= most / 2 and one > 0]


def _vanishes(case: Case) -> Iterator[int]:
    """From the end, layers that get too little to be seen; a small output layer is healthy."""
    inside = {k for one in case.residual for k in one["rows"]}
    for k in reversed(case.layers[:-1]):
        if k in case.normed or k in inside or not case.sizes.get(k, nan) < -case.steps[k].low:
            return
        yield k


def _explodes(case: Case) -> Iterator[int]:
    return (k for k in case.layers
            if k not in case.normed and case.sizes.get(k, nan) > case.steps[k].high)  # fmt: skip


def signal(case: Case) -> Iterator[Finding]:
    gone, sizes = list(_vanishes(case)), case.sizes
    stopped = any(dead(case)) or any(row["nonfinite"] for row in case.rows)
    for sign, places in ((-1, gone), (1, list(_explodes(case)))):
        if not places or (_growing(case) if sign > 0 else stopped):
            continue
        end = max(places, key=lambda k: sign * sizes[k])
        path, k = [end], case.steps[end].before
        while k is not None and case.steps[k].start == case.steps[end].start:
            path, k = [k, *path] if k in sizes else path, case.steps[k].before
        own = {}
        for before, k in zip([None, *path], path, strict=False):
            step = sizes[k] - (sizes[before] if before is not None else 0.0)
            own[k] = sign * step if isfinite(step) else 700.0
        yield _signal_finding(case, sign, _worst(own) or [end], end, sizes[end], len(path))
    defeated = [k for k, row in enumerate(case.rows)
                if row["norm"] and case.inputs["examples"] > 1 and row["gamma"] > 0
                and 0 < rms_of(row) < EPSILON * row["gamma"]]  # fmt: skip
    layers = [k for one in defeated if (k := case.layer_of(one)) is not None]
    if layers and not gone:
        row = case.rows[layers[0]]
        what = (
            f"Its outputs have rms {short(rms_of(row))}, so little that the ε of the norm behind "
            f"it counts: {short(rms_of(case.rows[defeated[0]]))} comes out of that instead of 1."
        )
        yield Finding("signal vanishes", row["name"], what, case.reset(layers))


def _signal_finding(
    case: Case, sign: int, places: list[int], end: int, size: float, length: int
) -> Finding:
    row, low = case.rows[places[0]], case.steps[end]
    factor = exp(max(size, -700.0) / length)
    allowed = exp(low.high if sign > 0 else -low.low)
    change = f"by {short(exp(size))}, {short(factor)} a layer" if isfinite(size) else "to 0"
    what = (
        f"Over {length} layer{'s' * (length > 1)} the rms of the signal changes {change}; width "
        f"and chance would explain {short(allowed)}."
    )
    asked, follows = _asked(case, places[0]), row.get("weight_std", nan) * sqrt(row["fan_in"])
    if isfinite(follows) and not row["recurrent"]:
        what += f" Its weights have gain {short(follows)}; {asked}."
    fault = "signal explodes" if sign > 0 else "signal vanishes"
    if all(case.rows[k]["own"] for k in places):
        what += " They come from an initializer of their own, not from net.initialize."
        fault = "initializer not used"
    whole = len(places) > length / 2 and length > len(case.layers) / 2
    return Finding(fault, row["name"], what, case.reset(places, whole=whole))


def _asked(case: Case, k: int) -> str:
    before = case.steps[k].before
    name = (case.activation(before) if before is not None else "") or "linear"
    if name in ("relu", "leaky_relu", "relu6"):
        return f"{name} asks for {short(gain('relu'))}"
    known = name in ACTIVATIONS and name not in ("linear", "tanh", "softsign", "sigmoid")
    wanted = gain(ACTIVATIONS[name]) if known else 1.0
    return f"{name if name != 'linear' else 'its input'} asks for {short(wanted)}"


def _growing(case: Case) -> list[Row]:
    blocks = [one for one in case.residual if one["after"] > GROWTH * one["before"]]
    total = prod(one["after"] / one["before"] for one in blocks)
    return blocks if len(blocks) >= BLOCKS and log(total) > SLACK else []


def growth(case: Case) -> Iterator[Finding]:
    if not (blocks := _growing(case)):
        return
    rate = exp(float(np.mean([log(one["after"] / one["before"]) for one in blocks])))
    every = [one for one in case.residual if one["after"] > one["before"]]
    what = (
        f"Each of {len(blocks)} residual blocks multiplies the rms of the stream by {short(rate)}, "
        f"all together by {short(rate ** len(blocks))}; with branches scaled by 1/√{len(every)} it "
        "would be 1.6 at most."
    )
    last = [max((k for k in one["rows"] if k in case.steps), default=None) for one in every]
    names = [name for k in last if k is not None for name in case.rows[k]["weight_names"]]
    by = short(sqrt(len(every) * (rate**2 - 1)))
    cure = case.cures["scale"].format(pattern=pattern(names, case.names), by=by)
    yield Finding("residual growth", blocks[0]["name"], what, cure)


def saturated(case: Case) -> Iterator[Finding]:
    rows = [k for k, row in enumerate(case.rows) if row["saturated"] > SATURATED]
    layers = [k for one in rows if (k := case.layer_of(one)) is not None]
    if layers:
        row = case.rows[rows[0]]
        what = (
            f"{row['saturated']:.0%} of {row['activation']}'s outputs lie within 0.01 of a bound, "
            f"where it is flat; the same in {len(rows)} layers. Variance 1 would leave 1% there."
        )
        whole = len(layers) > len(case.layers) / 2
        yield Finding("saturated", case.rows[layers[0]]["name"], what,
                      case.reset(layers, whole=whole))  # fmt: skip


def dead(case: Case) -> Iterator[Finding]:
    rows = [k for k, row in enumerate(case.rows) if row["activation"] and row["dead"] > 0.5]
    known = [(one, k) for one in rows if (k := case.layer_of(one)) is not None]
    known = [(one, k) for one, k in known if one == k or case.rows[k]["mean_square"] > 0]
    known = [(one, k) for one, k in known
             if case.rows[one]["dead"] > min(0.5 + DEAD / 2 / sqrt(case.rows[k]["units"]), 0.99)
             and case.rows[k]["units"] > 1]  # fmt: skip
    if not known:
        return
    k, row = known[0][1], case.rows[known[0][0]]
    blame = "the inputs have become one" if _merged(case, k) else "its inputs are still apart"
    what = (
        f"{row['dead']:.0%} of its units are 0 for every example of the batch, though {blame}; "
        f"weights of mean 0 without biases switch off half at most."
    )
    layers = list(dict.fromkeys(k for _, k in known))
    fresh = [k for k in layers if not _merged(case, k)] or layers
    yield Finding("dead units", case.rows[k]["name"], what, case.reset(fresh))


def _merged(case: Case, k: int) -> bool:
    return bool(1 - case.rows[k]["cosine"] < MERGED)


def merged(case: Case) -> Iterator[Finding]:
    places = [k for k in case.layers[:-1] if _merged(case, k)]
    if not places or not 1 - case.inputs["cosine"] > 0.05:
        return
    row = case.rows[places[0]]
    what = (
        f"Behind it the mean cosine between two examples is 1 − {short(1 - row['cosine'])}, "
        f"though that of the inputs is {short(case.inputs['cosine'])}: they have become one."
    )
    yield Finding("inputs merged", row["name"], what, _flat_cure(case))


def _flat_cure(case: Case) -> str:
    cure = case.reset(case.layers, whole=True)
    flat = any(case.activation(k) == "sigmoid" for k in case.layers[:-1])
    return f"{case.cures['tanh']}; {cure}" if flat else cure


def gradient(case: Case) -> Iterator[Finding]:
    """By ‖gradient‖ · rms, which no scale of weights changes: that is the signal's business."""
    if len(case.layers) < 3 or any(row["nonfinite"] for row in case.rows):
        return
    sizes = {k: logarithm(gradient_size(case.rows[k]) * rms_of(case.rows[k])) for k in case.layers}
    path = [case.layers[-1]]
    while (before := case.steps[path[-1]].before) is not None:
        path.append(before)
    if len(path) < 3 or not isfinite(sizes[path[0]]) or not isfinite(sizes[path[1]]):
        return
    # of the last two: an output layer may have large biases, a residual branch be small
    ends = sorted(sizes[k] for k in path[:2])
    top = {k: max(sizes[one] for one in case.layers if one <= k) for k in path}
    around = {k for one in case.residual for k in one["rows"]}
    for sign, fault, known in ((-1, "gradient vanishes", top), (1, "gradient explodes", sizes)):
        share = pooled = gates = normed = 0.0
        own, found = {}, []
        for after, k in pairwise(path):
            row = case.rows[after]
            share, gates = share + 1 / row["fan_in"], gates + GATES * row["recurrent"]
            entries = prod(case.rows[k]["shape"]) / case.inputs["examples"]
            pooled += log(max(1.0, entries / row["into"])) / 2
            normed += NORMED * (after in around and after in case.normed)
            allowed = DEVIATIONS * sqrt(5 * share) / 2 + SLACK
            allowed += 1.25 * share + pooled + gates if sign < 0 else normed
            own[k] = sign * (sizes[k] - sizes[after])
            if -inf < known[k] and sign * (known[k] - ends[sign > 0]) > allowed:
                found.append(k)
        if found:
            del own[path[1]]
            total = sizes[found[-1]] - sizes[path[1]]
            yield _gradient_finding(case, fault, own, found, total)


def _gradient_finding(
    case: Case, fault: str, own: Mapping[int, float], ends: Sequence[int], total: float
) -> Finding:
    known = {k: one for k, one in own.items() if isfinite(one) and k >= ends[-1]}
    place = (_worst(known) or ends)[0]
    length = len(known)
    what = (
        f"On its way back over {length} layer{'s' * (length > 1)} the gradient, measured by the "
        f"signal's size, changes by {short(exp(max(min(total, 700), -700)))}, "
        f"{short(exp(total / length))} a layer."
    )
    if any(row["norm"] for row in case.rows):
        what += " Norms make it grow by 1.2 a layer where nothing leads around them."
    return Finding(fault, case.rows[place]["name"], what, _flat_cure(case))


def silent(case: Case) -> Iterator[Finding]:
    if not case.silent:
        return
    k, parameter = case.silent[-1]
    count = len(case.silent)
    what = (
        f"The loss gives {parameter} no gradient, the last of {count} without: something behind it "
        "cuts the graph. The cure freezes them; to train them, find what cuts it."
    )
    names = pattern([name for _, name in case.silent], case.names)
    cure = case.cures["freeze"].format(pattern=names)
    yield Finding("no gradient", case.rows[k]["name"], what, cure)


def loss_at_start(case: Case) -> Iterator[Finding]:
    if case.logits is None or case.loss is None or not isfinite(case.loss) or not case.layers:
        return
    last = case.layers[-1]
    classes = len(case.logits["chances"])
    variance = 2 * exp(DEVIATIONS * sqrt(5 * case.steps[last].share))
    # of E log mean exp of normal logits, an upper bound (Derrida 1981's random energies)
    many = variance > 2 * log(classes)
    excess = sqrt(2 * variance * log(classes)) - log(classes) if many else variance / 2
    chance = DEVIATIONS * sqrt(variance / min(classes, case.inputs["examples"]))
    if case.loss > log(classes) + excess + chance:
        row = case.rows[last]
        what = (
            f"The loss is {short(case.loss)}; knowing nothing costs log {classes} = "
            f"{short(log(classes))}. The logits have rms {short(rms_of(row))}."
        )
        names = pattern(row["weight_names"], case.names)
        yield Finding("loss at start", row["name"], what, case.cures["small"].format(pattern=names))


def output_bias(case: Case) -> Iterator[Finding]:
    if case.logits is None or not case.logits["bias"]:
        return
    counts, chances = np.array(case.logits["counts"], float), np.array(case.logits["chances"])
    total, classes = counts.sum(), len(counts)
    shares = counts / total
    rare, nats = (
        float(xlogy(shares, shares / one).sum()) for one in (1 / classes, chances.clip(1e-30))
    )
    even = rare < BIAS or 2 * total * rare < chi2.ppf(0.999, classes - 1)
    if total < 5 * classes or even or nats < BIAS:
        return
    most = int(np.argmax(shares))
    what = (
        f"Class {most} makes up {shares[most]:.1%} of y, and the net begins with "
        f"{chances[most]:.1%}: biases at the log frequencies save {short(nats)} of the loss."
    )
    values = [round(float(one), 2) for one in np.log((counts + 0.5) / (total + 0.5 * classes))]
    name, block = case.logits["bias"]
    cure, last = case.cures["bias"].format(name=name, values=values), case.rows[case.layers[-1]]
    if rms_of(last) > SMALL:  # random logits hide what a bias says
        names = pattern(last["weight_names"], case.names)
        cure = f"{case.cures['small'].format(pattern=names)}; {cure}"
    yield Finding("output bias", block, what, cure)


def updates(case: Case) -> Iterator[Finding]:
    worse = (dead, growth, saturated, signal, gradient)  # they explain updates of any size
    if case.lr is None or any(any(rule(case)) for rule in worse):
        return
    layers = case.layers[:-1] or case.layers  # a small output layer may change much
    ratios = {k: case.lr * case.rows[k].get("update_ratio", nan) for k in layers}
    known = {k: one for k, one in ratios.items() if 0 < one < inf}
    if not known:
        return
    typical = float(np.median(list(known.values())))
    low, high = UPDATES
    if low <= typical <= high:
        return
    worst = max(known, key=lambda k: abs(log(known[k])) if typical < low else known[k])
    what = (
        f"With lr = {case.lr:g} one step changes weights by {short(typical)} of their size in the "
        f"typical layer, by {short(known[worst])} here; about 0.001 is usual."
    )
    cure = case.cures["rate"].format(lr=f"{case.lr * 1e-3 / typical:.1g}")
    yield Finding("update size", case.rows[worst]["name"], what, cure)


def unused(case: Case) -> Iterator[Finding]:
    for name, place in case.unused:
        what = "The net never calls this block: its parameters take memory and learn nothing."
        yield Finding("never called", name, what, case.cures["remove"].format(place=place))


RULES: Sequence[Callable[[Case], Iterator[Finding]]] = (
    nonfinite, inputs, symmetry, dead, growth, saturated, signal, gradient, silent, merged,
    loss_at_start, output_bias, updates, unused,
)  # fmt: skip
