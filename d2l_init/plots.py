"""Histograms of weights with the law of the draw on top, and the words that go with them."""

from collections.abc import Mapping, Sequence
from math import ceil
from re import match
from textwrap import fill
from typing import Any

import mxnet as mx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .base import memory
from .counting import Tally, histogram, tally
from .figures import GREY, color, describe, draw_key, new_figure, short, styled
from .laws import Floats, Law, law

_PALE = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}
Panel = tuple[str, NDArray[Any], Law | None]  # a name, values, and their law where it is known


@styled
def plot_histogram(
    values: Any, law: Law | None = None, ax: Axes | None = None, *, name: str = "values"
) -> Axes:
    """Histogram of an array of any shape as a density, with the density of its law on top.

    Values that the law takes with a probability of their own (its atoms) are drawn apart: the share
    of entries as a point, the probability as a stem. ``values`` is an array of NumPy or MXNet on
    any device, ``name`` what the caption calls it. NaN and infinite entries are left out and
    counted.

    >>> ax = plot_histogram([0.1, 0.4, 0.2, 0.2], name="four values")
    >>> print(ax.get_label())
    four values: 4 entries, std 0.109 measured. They run from 0.1 to 0.4.

    Raises ValueError for an empty array.
    """
    array = _floats(values)
    ax = new_figure().axes[0] if ax is None else ax
    counted = tally(array, list(law.atoms) if law else [])
    peak = _draw_panel(ax, array, law, counted)
    ax.set(xlabel="weight", ylabel="density" if _is_spread(counted) else "share of entries")
    _draw_key(ax, law, counted)
    describe(ax, f"{_measured(name, law, counted)}{_run(law, counted, peak)}")
    return ax


def _floats(values: Any) -> NDArray[Any]:
    array = np.asarray(values.asnumpy() if hasattr(values, "asnumpy") else values)
    if array.size == 0:
        raise ValueError(f"values must not be empty, got shape {array.shape}")
    return array if array.dtype.kind == "f" else array.astype(float)


def _is_spread(counted: Tally) -> bool:
    """Do entries other than atoms have more than one value?"""
    return counted.finite > sum(counted.atoms.values()) and counted.low < counted.high


def _draw_panel(
    ax: Axes, array: NDArray[Any], law: Law | None, counted: Tally
) -> tuple[float, float] | None:
    """Bars, law and atoms; place and height of the tallest bar."""
    peak = None
    if _is_spread(counted):
        peak = _draw_density(ax, array, law, counted)
        ax.set_yticks([])
    elif not counted.atoms and counted.finite:
        ax.axvline(counted.low, color=color(0), linewidth=3)
    if law and sum(law.atoms.values()) < 1:
        x = _grid(law, *(ax.get_xlim() if counted.finite else law.support))
        ax.plot(x, law.pdf(x), color=color(0), linewidth=1.5)
    if law:
        _draw_atoms(ax, law, counted)
    ax.locator_params(axis="x", nbins=4)
    if lost := counted.size - counted.finite:
        ax.text(1, 1, f"{lost} not finite", transform=ax.transAxes, ha="right", color=color(1))
    return peak


def _draw_density(
    ax: Axes, array: NDArray[Any], law: Law | None, counted: Tally
) -> tuple[float, float]:
    left = counted.finite - sum(counted.atoms.values())
    low, high = _range(law, counted)
    dense = [part for _, part in law.parts if hasattr(part, "support")] if law else []
    ends = [end for part in dense for end in part.support()]
    breaks = sorted({low, high, *(end for end in ends if low < end < high)})
    bins = int(np.clip(2 * left ** (1 / 3), 10, 100))
    counts, edges = histogram(array, breaks, bins, list(counted.atoms))
    density = counts / counted.finite / np.diff(edges)
    ax.stairs(density, edges, fill=True, alpha=0.25, color=color(0))
    top = int(np.argmax(density))
    return float((edges[top] + edges[top + 1]) / 2), float(density[top])


def _range(law: Law | None, counted: Tally) -> tuple[float, float]:
    """From the smallest to the largest entry, or to the law's end where it ends abruptly."""
    span, low, high = counted.high - counted.low, counted.low, counted.high
    for end in law.support if law else ():
        if np.isfinite(end) and law and law.pdf(end) * span > 0.02:
            low, high = min(low, end), max(high, end)
    return low, high


def _grid(law: Law, low: float, high: float) -> Floats:
    ends = [end for end in law.support if low < end < high]
    steps = [np.nextafter(end, far) for end in ends for far in (-np.inf, np.inf)]
    return np.sort(np.concatenate([np.linspace(low, high, 801), steps]))


def _draw_atoms(ax: Axes, law: Law, counted: Tally) -> None:
    """A stem as high as the law's probability, a point at the share measured; 1 is the top."""
    beside = _is_spread(counted)
    scale = ax.get_xaxis_transform() if beside else ax.transData
    for atom, chance in law.atoms.items():
        share = counted.shares[atom]
        look = {"transform": scale, "color": color(0), "clip_on": False}
        ax.plot([atom, atom], [0, chance], linewidth=1.5, **look)
        ax.plot([atom], [share], "o", markerfacecolor="white", markersize=5, **look)
        if beside:
            ax.annotate(f"{short(100 * share)} % exactly {short(atom)}", (atom, share), (6, 0),
                        xycoords=scale, textcoords="offset points", fontsize="small",
                        color=GREY, va="center", bbox=_PALE)  # fmt: skip
    if not beside:
        ax.set_ylim(0, 1.15 * max([*counted.shares.values(), *law.atoms.values(), 0.1]))
        ax.margins(x=0.2)


def _draw_key(ax: Axes, law: Law | None, counted: Tally) -> None:
    spread, atoms = _is_spread(counted), bool(law and law.atoms)
    draw_key(ax, points="measured" * (atoms and not spread), band="measured" * spread,
             line="law" * bool(law))  # fmt: skip


def _measured(name: str, law: Law | None, counted: Tally) -> str:
    """How many, and how wide: measured and predicted."""
    entries = "1 entry" if counted.size == 1 else f"{counted.size} entries"
    if not counted.finite:
        return f"{name}: {entries}, none of them finite."
    predicted = f", {short(law.std)} predicted" if law else ""
    words = f"{name}: {entries}, std {short(counted.std)} measured{predicted}"
    for atom, share in counted.shares.items():
        chance = short(law.atoms[atom]) if law else ""
        words += f"; a share of {short(share)} is exactly {short(atom)}, {chance} predicted"
    lost = counted.size - counted.finite
    return f"{words}; {lost} not finite." if lost else f"{words}."


def _run(law: Law | None, counted: Tally, peak: tuple[float, float] | None) -> str:
    """From where to where, and where the tallest bar stands."""
    if not counted.finite:
        return ""
    words = f" They run from {short(counted.low)} to {short(counted.high)}"
    if law and peak:
        words += (
            f"; the tallest bar stands at {short(peak[0])} and is {short(peak[1])} high, "
            f"where the law has {short(float(law.pdf(peak[0])))}"
        )
    return f"{words}."


def plot_weights(net: Any, init: Any = None) -> Figure:
    """A histogram for each parameter of a block, with its law on top where that is known.

    Gluon forgets what ``net.initialize(init)`` drew with, so pass ``init``: an initializer, a
    registered name, or a mapping from a pattern (as in ``net.collect_params(pattern)``) to one.
    Parameters that have an initializer of their own, as biases do, are known without. Those of a
    few values only, as zero biases, are told in words.

    Raises ValueError for a net without parameters, or with one that has no values yet.
    """
    parameters = list(net.collect_params().values())
    if not parameters:
        raise ValueError(f"net must have parameters to plot, got {type(net).__name__} with none")
    panels = []
    for parameter in parameters:
        values = _values(parameter)
        known = _law_or_none(_initializer_of(parameter, init), values.shape, parameter.name)
        panels.append((parameter.name, values, known))
    return _panels(panels)


def _values(parameter: Any) -> NDArray[Any]:
    try:
        array = parameter.data(parameter.list_ctx()[0])
    except (RuntimeError, mx.gluon.parameter.DeferredInitializationError) as error:
        raise ValueError(
            f"parameter {parameter.name!r} has no values yet: call net.initialize(), and pass one "
            f"batch through the net where shapes are deferred, before plotting ({error})"
        ) from None
    array.wait_to_read()
    on_cpu = array.context.device_type.startswith("cpu") and array.stype == "default"
    return memory(array) if on_cpu else np.asarray(array.asnumpy())


def _initializer_of(parameter: Any, init: Any) -> Any:
    if isinstance(init, Mapping):
        found = [value for pattern, value in init.items() if match(pattern, parameter.name)]
        return found[0] if found else parameter.init
    return parameter.init if parameter.init is not None else init


def _law_or_none(initializer: Any, shape: tuple[int, ...], name: str) -> Law | None:
    try:
        return law(initializer, shape, name=name) if initializer is not None else None
    except LookupError:
        return None


def gallery(initializers: Mapping[str, Any] | Sequence[Any], shape: Sequence[int]) -> Figure:
    """One draw from each initializer for a weight of this shape, with its law on top.

    ``initializers`` is a list, or a mapping from title to an initializer; a pair
    (initializer, shape) gives one panel a shape of its own.
    """
    if not initializers:
        raise ValueError("initializers must hold at least one, got none")
    named = initializers.items() if isinstance(initializers, Mapping) else (
        (_title(one), one) for one in initializers
    )  # fmt: skip
    panels = []
    for title, one in named:
        initializer, sizes = one if isinstance(one, tuple) else (one, shape)
        values = _drawn(initializer, tuple(sizes))
        panels.append((title, values, _law_or_none(initializer, values.shape, title)))
    return _panels(panels)


def _title(one: Any) -> str:
    initializer = one[0] if isinstance(one, tuple) else one
    return initializer if isinstance(initializer, str) else type(initializer).__name__


def _drawn(initializer: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Values as Gluon draws them: through a parameter on the CPU."""
    parameter = mx.gluon.Parameter("weight", shape=shape, init=initializer, grad_req="null")
    parameter.initialize(ctx=mx.cpu())
    return np.asarray(parameter.data().asnumpy())


@styled
def _panels(panels: Sequence[Panel]) -> Figure:
    """A panel for each with more than a few values, and a line of words for the others."""
    counted = [tally(values, list(one.atoms) if one else []) for _, values, one in panels]
    drawn = [k for k, one in enumerate(counted) if _is_spread(one)] or list(range(len(panels)))
    rest = [k for k in range(len(panels)) if k not in drawn]
    columns = min(len(drawn), 3)
    rows = ceil(len(drawn) / columns)
    figure = new_figure(0.4 + 1.9 * rows, rows, columns)
    for ax in figure.axes[len(drawn) :]:
        ax.remove()
    for place, k in enumerate(drawn):
        ax, (name, values, one) = figure.axes[place], panels[k]
        _draw_panel(ax, values, one, counted[k])
        if place % columns == 0:
            ax.set_ylabel("density" if _is_spread(counted[k]) else "share")
        _head(ax, name, values.shape, one, counted[k])
        describe(ax, _measured(name, one, counted[k]))
    _draw_key(figure.axes[0], panels[drawn[0]][2], counted[drawn[0]])
    words = "; ".join(_constants([(panels[k][0], counted[k], panels[k][2]) for k in rest]))
    figure.supxlabel("weight", fontsize="medium")
    if words:
        lines = fill(words.replace(" %", "\N{NO-BREAK SPACE}%"), 95)
        figure.supxlabel(f"weight\n{lines}", fontsize="small", color=GREY)
        last = figure.axes[-1]
        describe(last, f"{last.get_label()} {words}.")
    return figure


def _head(ax: Axes, name: str, shape: tuple[int, ...], law: Law | None, counted: Tally) -> None:
    ax.set_title(f"{name} {'×'.join(map(str, shape))}", fontsize="medium", pad=17)
    words = f"std {short(counted.std)}" + (f", law {short(law.std)}" if law else "")
    ax.annotate(words, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points",
                fontsize="small", color=GREY)  # fmt: skip


def _constants(few: Sequence[tuple[str, Tally, Law | None]]) -> list[str]:
    """Parameters of a few values in words, those of the same values together."""
    names: dict[str, list[str]] = {}
    for name, counted, known in few:
        names.setdefault(_values_in_words(counted, known), []).append(name)
    return [
        f"{', '.join(same) if len(same) < 5 else f'{len(same)} parameters'}: {words}"
        for words, same in names.items()
    ]


def _values_in_words(counted: Tally, law: Law | None) -> str:
    if counted.finite < counted.size:
        return f"{counted.size - counted.finite} of {counted.size} not finite"
    if law is None:
        return f"all {short(counted.low)}"
    if sum(counted.atoms.values()) < counted.size:
        said = f"std {short(law.std)}" if sum(law.atoms.values()) < 1 else _in_words(law.atoms)
        return f"all {short(counted.low)} (law: {said})"
    as_said = all(abs(counted.shares[a] - chance) < 1e-9 for a, chance in law.atoms.items())
    said = ", as the law says" if as_said else f" (law: {_in_words(law.atoms)})"
    return _in_words(counted.shares) + said


def _in_words(shares: Mapping[float, float]) -> str:
    if 1.0 in shares.values():
        return f"all {short(next(atom for atom, share in shares.items() if share == 1))}"
    return ", ".join(f"{short(100 * share)} % are {short(atom)}" for atom, share in shares.items())
