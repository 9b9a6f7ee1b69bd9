"""Histograms of weights with the law of the draw on top, and the words that go with them.

Figure functions return a figure that no notebook shows by itself; :func:`show` displays it with
its caption beneath. Counting goes through an array in pieces, so that no second copy is made.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt
from re import match
from typing import Any

import matplotlib as mpl
import matplotlib.style
import mxnet as mx
import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .arguments import one_of
from .laws import Floats, Law, law

_PIECE = 2**20
_STYLE: dict[str, Any] = {
    **mpl.style.library["tableau-colorblind10"],
    "figure.facecolor": "white",  # readable on a dark page too
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "legend.frameon": False,
}
_COLORS = _STYLE["axes.prop_cycle"].by_key()["color"]
_MEASURED, _PREDICTED = _COLORS[0], _COLORS[1]
_MEASURED_CURVES = [_COLORS[k] for k in (0, 3, 4, 6)]
_PREDICTED_CURVES = [_COLORS[k] for k in (1, 5, 8, 2)]
_DASHES = ("--", ":", "-.", (0, (6, 3)))


@dataclass
class _Tally:
    """What one pass over an array counts."""

    size: int
    nonfinite: int
    low: float
    high: float
    mean: float
    std: float
    atoms: dict[float, int]

    @property
    def finite(self) -> int:
        return self.size - self.nonfinite


def _pieces(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The finite values, a piece at a time, in float32 or wider."""
    flat = values.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        yield piece[np.isfinite(piece)].astype(np.promote_types(piece.dtype, "float32"), copy=False)


def _tally(values: NDArray[Any], atoms: Sequence[float]) -> _Tally:
    count, total, squares = 0, 0.0, 0.0
    low, high = float("inf"), float("-inf")
    hits = dict.fromkeys(atoms, 0)
    shift = float(values.flat[0]) if np.isfinite(values.flat[0]) else 0.0
    for piece in filter(len, _pieces(values)):
        count += len(piece)
        low, high = min(low, float(piece.min())), max(high, float(piece.max()))
        centred = piece.astype(float) - shift  # so that a constant array has std 0 exactly
        total, squares = total + float(centred.sum()), squares + float(centred @ centred)
        for atom in atoms:
            hits[atom] += int(np.count_nonzero(piece == values.dtype.type(atom)))
    mean = total / max(count, 1)
    std = sqrt(max(squares / max(count, 1) - mean**2, 0))
    return _Tally(values.size, values.size - count, low, high, mean + shift, std, hits)


def plot_histogram(
    values: Any, law: Law | None = None, ax: Axes | None = None, *, name: str = "values"
) -> Axes:
    """Histogram of an array of any shape as a density, with the density of its law on top.

    Values that the law takes with a probability of their own (its atoms) are drawn apart, as
    stems: the share of entries measured and the probability predicted. ``values`` is an array of
    NumPy or MXNet on any device, ``name`` what the caption calls it. NaN and infinite entries are
    left out and counted in the title.

    >>> ax = plot_histogram([0.1, 0.4, 0.2, 0.2], name="four values")
    >>> print(caption(ax))
    four values: 4 entries, std 0.109 measured. They run from 0.1 to 0.4.

    Raises ValueError for an empty array.
    """
    array = np.asarray(values.asnumpy() if hasattr(values, "asnumpy") else values)
    if array.size == 0:
        raise ValueError(f"values must not be empty, got shape {array.shape}")
    if array.dtype.kind != "f":
        array = array.astype(float)
    atoms = law.atoms if law else {}
    tally = _tally(array, list(atoms))
    alone = ax is None
    ax = _figure(1, 1, (5.6, 3.4)).axes[0] if ax is None else ax
    peak = _draw_density(ax, array, law, tally)
    if atoms:
        _draw_atoms(ax, atoms, tally, alone=sum(tally.atoms.values()) == tally.finite)
    if tally.nonfinite:
        ax.set_title(f"{tally.nonfinite} not finite", color=_PREDICTED_CURVES[1])
    ax.set_xlabel("weight")
    ax.set_label(_words(name, law, tally, peak))
    if alone:
        _legend_of_all(ax.figure)
    return ax


def _figure(rows: int, columns: int, size: tuple[float, float]) -> Figure:
    # A Figure made without pyplot belongs to nobody's list of open figures.
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        figure.subplots(rows, columns, squeeze=False)
    return figure


def _draw_density(
    ax: Axes, array: NDArray[Any], law: Law | None, tally: _Tally
) -> tuple[float, float] | None:
    """Stairs for the entries that are no atoms, the law's density over them; the tallest bar."""
    left = tally.finite - sum(tally.atoms.values())
    low, high = _range(law, tally)
    peak = None
    if left and tally.low < tally.high:
        edges = _edges(law, low, high, int(np.clip(2 * left ** (1 / 3), 10, 100)))
        counts = _count(array, tally, edges)
        density = counts / tally.finite / np.diff(edges)
        ax.stairs(density, edges, fill=True, alpha=0.45, color=_MEASURED, label="measured")
        top = int(np.argmax(density))
        peak = (float((edges[top] + edges[top + 1]) / 2), float(density[top]))
    elif left:
        ax.axvline(tally.low, color=_MEASURED, linewidth=3, label="measured: all entries")
    if law and sum(law.atoms.values()) < 1:
        x = _law_grid(law, low, high)
        ax.plot(x, law.pdf(x), color=_PREDICTED, linewidth=1.8, label="predicted")
    ax.set_ylabel("density")
    ax.locator_params(axis="x", nbins=5)
    return peak


def _range(law: Law | None, tally: _Tally) -> tuple[float, float]:
    """From the smallest to the largest entry, or to the law's end where it ends abruptly."""
    if not tally.finite:
        return -1.0, 1.0
    span, low, high = tally.high - tally.low, tally.low, tally.high
    for end in law.support if law else ():
        if np.isfinite(end) and law and law.pdf(end) * span > 0.02:
            low, high = min(low, end), max(high, end)
    return low, high


def _edges(law: Law | None, low: float, high: float, bins: int) -> Floats:
    """Bins of about equal width, none of which straddles an end of one of the law's parts."""
    parts = [part.support() for _, part in law.parts if hasattr(part, "support")] if law else []
    breaks = sorted({low, high, *(end for ends in parts for end in ends if low < end < high)})
    widths = [
        np.linspace(left, right, ceil(bins * (right - left) / (high - low)) + 1)
        for left, right in pairwise(breaks)
    ]
    return np.asarray(np.unique(np.concatenate(widths)))


def _law_grid(law: Law, low: float, high: float) -> Floats:
    margin = 0.04 * (high - low) or 1.0
    ends = [end for end in law.support if low - margin < end < high + margin]
    steps = [np.nextafter(end, far) for end in ends for far in (-np.inf, np.inf)]
    return np.sort(np.concatenate([np.linspace(low - margin, high + margin, 801), steps]))


def _count(array: NDArray[Any], tally: _Tally, edges: Floats) -> Floats:
    counts = np.zeros(len(edges) - 1)
    for piece in _pieces(array):
        for atom in tally.atoms:
            piece = piece[piece != array.dtype.type(atom)]
        counts += np.histogram(piece, edges)[0]
    return counts


def _draw_atoms(ax: Axes, atoms: dict[float, float], tally: _Tally, *, alone: bool) -> None:
    """Stems at the values that have a probability: on these axes, or on a scale at the right."""
    stems = ax if alone else ax.twinx()
    places, chances = list(atoms), list(atoms.values())
    shares = [tally.atoms[place] / max(tally.finite, 1) for place in places]
    stems.vlines(places, 0, shares, color=_MEASURED, linewidth=2.5)
    stems.plot(places, shares, "o", color=_MEASURED, label="measured share")
    stems.plot(places, chances, "x", color=_PREDICTED, markersize=11, markeredgewidth=2,
               label="predicted share")  # fmt: skip
    stems.set_ylim(0, 1.15 * max(*shares, *chances))
    stems.set_ylabel("share of entries")
    if alone:
        ax.margins(x=0.2)
    else:
        stems.spines["right"].set_visible(True)
        stems.set_label("<shares>")  # the caption of the axes beneath tells them


def plot_curves(
    x: Any,
    measured: Mapping[str, Any],
    predicted: Mapping[str, Any] | None = None,
    ax: Axes | None = None,
    *,
    xlabel: str,
    ylabel: str,
    log: str = "",
    upright: Mapping[str, float] | None = None,
    told: str = "values",
) -> Axes:
    """What was measured as marked lines, what was predicted as dashed ones, over the same x.

    A measured curve of two axes (runs, points) is drawn as its median, with a band from the
    smallest to the largest run. A single number draws a level guide line; ``upright`` has places
    on the x axis for upright ones. ``log`` names the logarithmic axes: ``""``, ``"x"``, ``"y"`` or
    ``"xy"``. ``told`` says what the caption tells of the measured curves: their ``"values"`` or the
    place where they are ``"lowest"``, for values that differ between machines.

    >>> ax = plot_curves([1, 2], {"std": [[1, 4], [3, 4]]}, {"level": 2}, xlabel="n", ylabel="s")
    >>> print(caption(ax))
    s against n. std, median of 2 from 2 to 4; level at 2.
    """
    one_of("told", told, ("values", "lowest"))
    alone = ax is None
    ax = _figure(1, 1, (5.6, 3.4)).axes[0] if ax is None else ax
    x = np.asarray(x, dtype=float)
    for number, (label, curve) in enumerate(measured.items()):
        _draw_measured(ax, x, label, np.asarray(curve, dtype=float), number).set_gid(told)
    for number, (label, curve) in enumerate((predicted or {}).items()):
        y = np.broadcast_to(np.asarray(curve, dtype=float), x.shape)
        style, color = _DASHES[number % 4], _PREDICTED_CURVES[number % 4]
        ax.plot(x, y, linestyle=style, label=label, color=color)
    for number, (label, place) in enumerate((upright or {}).items(), len(predicted or {})):
        style, color = _DASHES[number % 4], _PREDICTED_CURVES[number % 4]
        ax.axvline(place, linestyle=style, label=label, color=color)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if "x" not in log and np.array_equal(x, np.round(x)):
        ax.xaxis.get_major_locator().set_params(integer=True)  # layers and steps have no halves
    ax.set(**{f"{axis}scale": "log" for axis in log})
    if alone:
        _legend_of_all(ax.figure)
    return ax


def _draw_measured(ax: Axes, x: Floats, label: str, curve: Floats, number: int) -> Any:
    color, marker = _MEASURED_CURVES[number % 4], "o^sD"[number % 4]
    runs = np.atleast_2d(curve)
    if len(runs) > 1:
        ax.fill_between(x, runs.min(0), runs.max(0), color=color, alpha=0.2, linewidth=0)
        label += f", median of {len(runs)}"
    line = {"label": label, "color": color, "marker": marker, "markersize": 4}
    return ax.plot(x, np.median(runs, axis=0), markevery=ceil(len(x) / 25), **line)[0]


def _words(name: str, law: Law | None, tally: _Tally, peak: tuple[float, float] | None) -> str:
    """Two sentences, one a line: what was drawn against what was predicted, then where it lies."""
    entries = "1 entry" if tally.size == 1 else f"{tally.size} entries"
    if not tally.finite:
        return f"{name}: {entries}, none of them finite."
    predicted = f", {_short(law.std)} predicted" if law else ""
    first = f"{name}: {entries}, std {_short(tally.std)} measured{predicted}"
    for atom, hits in tally.atoms.items():
        chance = law.atoms[atom] if law else 0.0
        share = _short(hits / tally.finite)
        first += f"; a share of {share} is exactly {_short(atom)}, {_short(chance)} predicted"
    if tally.nonfinite:
        first += f"; {tally.nonfinite} not finite"
    second = f"They run from {_short(tally.low)} to {_short(tally.high)}"
    if law and peak:
        second += (
            f"; the tallest bar stands at {_short(peak[0])} and is {_short(peak[1])} high, "
            f"where the law has {_short(float(law.pdf(peak[0])))}"
        )
    return f"{first}.\n{second}."


def _short(value: float) -> str:
    """Three significant digits, with a real minus sign."""
    return f"{value:.3g}".replace("-", "−")


def caption(figure_or_axes: Figure | Axes) -> str:
    """A sentence or two made from what is plotted, for the text under a figure.

    Axes that this package drew tell what was measured and predicted; for others, each labelled
    line is put into words: where it starts and ends, and between which values it stays.
    """
    if isinstance(figure_or_axes, Axes):
        return _caption_of_axes(figure_or_axes).replace("\n", " ")
    captions = [_caption_of_axes(ax) for ax in figure_or_axes.axes]
    told = [text for text in captions if text]
    if len(told) == 1:
        return told[0].replace("\n", " ")
    return " ".join(text.split("\n")[0].rstrip(".") + "." for text in told)


def _caption_of_axes(ax: Axes) -> str:
    own = str(ax.get_label())
    if own.startswith("<"):  # a second scale, a colour bar
        return ""
    if own:
        return own
    lines = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    title = " ".join(ax.get_title().split())
    what = f"{ax.get_ylabel()} against {ax.get_xlabel()}"
    parts = [text for line in lines if (text := _line_in_words(line))]
    return f"{title + ': ' if title else ''}{what}. {'; '.join(parts)}." if parts else ""


def _line_in_words(line: Any) -> str:
    x, y = (np.asarray(data, dtype=float) for data in line.get_data())
    if len(x) == 2 and x[0] == x[1]:
        return f"{line.get_label()} stands at {_short(x[0])}"
    if line.get_gid() == "lowest" and np.isfinite(y).any():
        return f"{line.get_label()}, is lowest at {_short(x[np.nanargmin(y)])}"
    y = y[np.isfinite(y)]
    if not len(y):
        return ""
    first, last, low, high = map(_short, (y[0], y[-1], y.min(), y.max()))
    if low == high:
        return f"{line.get_label()} at {low}"
    words = f"{line.get_label()} from {first} to {last}"
    return words if {low, high} == {first, last} else f"{words} (between {low} and {high})"


def show(figure_or_axes: Figure | Axes) -> None:
    """Display a figure, and under it its caption as text that a screen reader reads.

    A figure made with pyplot is closed, so that the notebook doesn't show it a second time.
    """
    figure = figure_or_axes.figure if isinstance(figure_or_axes, Axes) else figure_or_axes
    display(figure)  # type: ignore[no-untyped-call]
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(figure)
    words = caption(figure)
    text = {"text/markdown": f"*{words}*", "text/plain": words}
    display(text, raw=True)  # type: ignore[no-untyped-call]


def plot_weights(net: Any, init: Any = None) -> Figure:
    """A histogram for each parameter of a block, with its law on top where that is known.

    Gluon forgets what ``net.initialize(init)`` drew with, so pass ``init``: an initializer, a
    registered name, or a mapping from a pattern (as in ``net.collect_params(pattern)``) to one.
    Parameters that have an initializer of their own, as biases do, are known without.

    Raises ValueError for a net without parameters, or with one that has no values yet.
    """
    parameters = list(net.collect_params().values())
    if not parameters:
        raise ValueError(f"net must have parameters to plot, got {type(net).__name__} with none")
    panels = []
    for parameter in parameters:
        drawn_by = _initializer_of(parameter, init)
        panels.append((parameter.name, _values(parameter), drawn_by))
    return _panels(panels)


def _values(parameter: Any) -> NDArray[Any]:
    try:
        return np.asarray(parameter.data(parameter.list_ctx()[0]).asnumpy())
    except (RuntimeError, mx.gluon.parameter.DeferredInitializationError) as error:
        raise ValueError(
            f"parameter {parameter.name!r} has no values yet: call net.initialize(), and pass one "
            f"batch through the net where shapes are deferred, before plotting ({error})"
        ) from None


def _initializer_of(parameter: Any, init: Any) -> Any:
    if isinstance(init, Mapping):
        found = [value for pattern, value in init.items() if match(pattern, parameter.name)]
        return found[0] if found else parameter.init
    return parameter.init if parameter.init is not None else init


def gallery(initializers: Mapping[str, Any] | Sequence[Any], shape: Sequence[int]) -> Figure:
    """One draw from each initializer for a weight of this shape, with its law on top.

    ``initializers`` is a list, or a mapping from title to an initializer; a pair
    (initializer, shape) gives one panel a shape of its own.
    """
    if not initializers:
        raise ValueError("initializers must hold at least one, got none")
    named = initializers.items() if isinstance(initializers, Mapping) else (
        (_title(one[0] if isinstance(one, tuple) else one), one) for one in initializers
    )  # fmt: skip
    panels = []
    for title, one in named:
        initializer, sizes = one if isinstance(one, tuple) else (one, shape)
        panels.append((title, _drawn(initializer, tuple(sizes)), initializer))
    return _panels(panels)


def _title(initializer: Any) -> str:
    return initializer if isinstance(initializer, str) else type(initializer).__name__


def _drawn(initializer: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Values as Gluon draws them: through a parameter on the CPU."""
    parameter = mx.gluon.Parameter("weight", shape=shape, init=initializer, grad_req="null")
    parameter.initialize(ctx=mx.cpu())
    return np.asarray(parameter.data().asnumpy())


def _panels(panels: list[tuple[str, NDArray[Any], Any]]) -> Figure:
    columns = min(len(panels), 2 if len(panels) <= 4 else 3)
    rows = ceil(len(panels) / columns)
    figure = _figure(rows, columns, (3.7 * columns, 2.7 * rows))
    for ax in figure.axes[len(panels) :]:
        ax.remove()
    for ax, (name, values, initializer) in zip(figure.axes[: len(panels)], panels, strict=True):
        known = _law_or_none(initializer, values.shape, name)
        plot_histogram(values, known, ax, name=name)
        _title_panel(ax, name, values, known)
    _legend_of_all(figure)
    return figure


def _legend_of_all(figure: Figure) -> None:
    found = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in figure.axes]
    keys = {label: handle for pairs in found for handle, label in pairs}
    # about 11 characters an inch, and a handle takes 6: as many columns as fit
    fit = int(11 * figure.get_figwidth() / (6 + max(map(len, keys), default=0)))
    columns = min(len(keys), max(fit, 1))
    place = {"loc": "outside lower center", "ncols": columns, "frameon": False}
    figure.legend(keys.values(), keys.keys(), **place)


def _law_or_none(initializer: Any, shape: tuple[int, ...], name: str) -> Law | None:
    try:
        return law(initializer, shape, name=name) if initializer is not None else None
    except LookupError:
        return None


def _title_panel(ax: Axes, name: str, values: NDArray[Any], known: Law | None) -> None:
    tally = _tally(values, [])
    spread = f"std {_short(tally.std)}" + (f", law {_short(known.std)}" if known else "")
    bad = f"\n{tally.nonfinite} not finite" if tally.nonfinite else ""
    ax.set_title(f"{name} {'×'.join(map(str, values.shape))}\n{spread}{bad}", fontsize="small")
