"""What all figures share: what was measured as points, what was predicted as a line.

Each case has one colour (of Okabe & Ito 2008) and one marker; its prediction and its measurement
share the colour, and its name stands at its end. Guide lines are grey, with their name on them.
Figures belong to nobody's list of open figures; :func:`show` displays one with its caption, and
nothing of the reader's own matplotlib settings changes how it looks.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from os.path import commonprefix
from re import match
from typing import Any, TypeVar

import matplotlib.style
import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from .arguments import one_of

Floats = NDArray[np.float64]
F = TypeVar("F", bound=Callable[..., Any])

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "0.35"
PALE = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}  # behind words on marks
_MARKERS = "os^DvP"
_MOST_POINTS = 25
_STYLE = {
    "figure.facecolor": "white",  # readable on a dark page too
    "figure.dpi": 100,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "large",
    "font.size": 9.5,
    "legend.fontsize": "small",
    "legend.labelcolor": GREY,
    "legend.frameon": False,
}


def styled(function: F) -> F:
    """The same function, in our style: nothing of the reader's own settings leaks in."""
    return matplotlib.style.context(["default", _STYLE])(function)  # type: ignore[no-any-return]


class _StyledFigure(Figure):
    """A figure that is drawn as it was made, whatever matplotlib's settings are by then."""

    @styled
    def draw(self, renderer: Any) -> None:
        super().draw(renderer)


@styled
def new_figure(
    height: float = 3.5, rows: int = 1, columns: int = 1, *, sharex: bool = False
) -> Figure:
    """A figure as wide as a notebook's cell, with its axes; ``height`` in inches."""
    figure = _StyledFigure(figsize=(6.6, height), layout="constrained")
    figure.subplots(rows, columns, squeeze=False, sharex=sharex)
    return figure


def color(number: int) -> str:
    """The colour of a case, by its number."""
    return COLORS[number % len(COLORS)]


def draw_points(ax: Axes, x: Any, y: Any, number: int) -> None:
    """What was measured: open markers, about 25 at most, never joined."""
    every = ceil(len(x) / _MOST_POINTS)
    look = {"color": color(number), "marker": _MARKERS[number % len(_MARKERS)]}
    ax.plot(x[::every], y[::every], linestyle="none", markerfacecolor="white", markersize=5,
            zorder=3, **look)  # fmt: skip


def draw_line(ax: Axes, x: Any, y: Any, number: int) -> None:
    """What was predicted, or a median that is measured too densely for points."""
    ax.plot(x, y, color=color(number), linewidth=1.5, zorder=2.5)


def draw_band(ax: Axes, x: Any, low: Any, high: Any, number: int) -> None:
    """The range that belongs to a line or to points."""
    ax.fill_between(x, low, high, color=color(number), alpha=0.18, linewidth=0)


def draw_guide(ax: Axes, name: str, *, x: float | None = None, y: float | None = None) -> None:
    """A grey line at one value, with its name on it."""
    look = {"color": GREY, "linewidth": 0.9, "zorder": 1}
    words = {"fontsize": "small", "color": GREY, "textcoords": "offset points", "bbox": PALE}
    if y is not None:
        ax.axhline(y, **look)
        ax.annotate(name, (0.99, y), (0, 3), xycoords=ax.get_yaxis_transform(), ha="right", **words)
    if x is not None:
        ax.axvline(x, **look)
        ax.annotate(name, (x, 0.02), (3, 0), xycoords=ax.get_xaxis_transform(), rotation=90,
                    va="bottom", **words)  # fmt: skip


def name_at_end(ax: Axes, ends: Sequence[tuple[str, float, int]]) -> None:
    """Names of cases at the right, in their colours: (name, y of its end, number of the case)."""
    to_axes = ax.transData + ax.transAxes.inverted()
    with np.errstate(all="ignore"):
        heights = [float(to_axes.transform((ax.get_xlim()[1], y))[1]) for _, y, _ in ends]
    order = np.argsort(np.clip(np.nan_to_num(heights), 0, 1), kind="stable")
    line = 14 / (72 * ax.figure.get_figheight() * ax.get_position().height)
    places = _apart(np.clip(np.nan_to_num(heights), 0, 1)[order], line)
    for place, index in zip(places, order, strict=True):
        name, _, number = ends[index]
        ax.annotate(clipped(name), (1, place), (6, 0), xycoords="axes fraction", va="center",
                    textcoords="offset points", color=color(number))  # fmt: skip


def _apart(heights: Floats, least: float) -> Floats:
    """The same heights in order, moved until neighbours are ``least`` apart."""
    steps = least * np.arange(len(heights))
    up = np.maximum.accumulate(heights - steps) + steps
    top = 1 + least / 2 - steps[::-1]
    return np.asarray(np.minimum.accumulate(np.minimum(up, top)[::-1] - steps)[::-1] + steps[::-1])


def draw_key(ax: Axes, *, points: str = "", line: str = "", band: str = "") -> None:
    """In grey, inside the axes: what each kind of mark means."""
    open_marker = {"marker": "o", "markerfacecolor": "white", "linestyle": "none"}
    marks = {
        points: Line2D([], [], color=GREY, markersize=5, **open_marker),
        band: Patch(color=GREY, alpha=0.18, linewidth=0),
        line: Line2D([], [], color=GREY, linewidth=1.5),
    }
    if named := [kind for kind in marks if kind]:
        ax.legend([marks[kind] for kind in named], named, loc="best")


def short(value: float) -> str:
    """Three significant digits, with a real minus sign."""
    return f"{value:.3g}".replace("-", "−")


def clipped(name: str, most: int = 28) -> str:
    """The name, without its middle where it is long."""
    head = most // 2
    return name if len(name) <= most else f"{name[: head - 1]}…{name[head - most :]}"


def brief(names: Sequence[str], most: int = 28) -> list[str]:
    """Names of parameters or blocks without the prefix that all share, the long ones clipped."""
    common = commonprefix(list(names)) if len(names) > 1 else ""  # noqa: RUF071
    return [clipped(name[common.rfind("_") + 1 :] or name, most) for name in names]


def describe(ax: Axes, sentence: str) -> None:
    """Keep the words that :func:`caption` gives for these axes."""
    ax.set_label(sentence)


def caption(figure_or_axes: Figure | Axes) -> str:
    """A sentence or two made from what is plotted, for the text under a figure.

    Axes that this package drew tell what was measured and predicted; for others, lines, bars,
    points and images are put into words: where they start and end, and between which values.
    """
    axes = [figure_or_axes] if isinstance(figure_or_axes, Axes) else figure_or_axes.axes
    return " ".join(words for ax in axes if (words := _words(ax)))


def _words(ax: Axes) -> str:
    own, title = str(ax.get_label()), ax.get_title("center") or ax.get_title("left")
    if own:
        return "" if own == "<colorbar>" else own
    lines = list(ax.get_lines())
    named = [line for line in lines if _name(line, "")] or lines
    parts = [f"{_name(line, 'a line')} {_course(line.get_ydata())}" for line in named]
    for bars in (group for group in ax.containers if isinstance(group, BarContainer)):
        parts.append(f"{_name(bars, 'bars')} {_course([bar.get_height() for bar in bars])}")
    for image in ax.get_images():
        values = np.asarray(image.get_array())
        size = " × ".join(map(str, values.shape))
        parts.append(f"an image of {size} values, {short(values.min())} to {short(values.max())}")
    for cloud in ax.collections:
        if isinstance(cloud, PathCollection) and len(cloud.get_offsets()) > 1:  # no contour
            parts.append(f"{_name(cloud, 'points')}: {len(cloud.get_offsets())}")
    axes = " against ".join(filter(None, (ax.get_ylabel(), ax.get_xlabel())))
    return (
        f"{title + ': ' if title else ''}{axes + '. ' if axes else ''}{'; '.join(parts)}."
        * bool(parts)
    )


def _name(artist: Any, without: str) -> str:
    label = str(artist.get_label())
    return without if match(r"_(child|container)?\d+$|_nolegend_$", label) else label


def _course(y: Any) -> str:
    """From where to where, and between which values if it leaves these two."""
    try:
        y = np.asarray(y, dtype=float)
    except (TypeError, ValueError):  # words, dates
        return f"from {y[0]} to {y[-1]}"
    y = y[np.isfinite(y)]
    if not len(y):
        return "nowhere finite"
    first, last, low, high = map(short, (y[0], y[-1], y.min(), y.max()))
    if low == high:
        return f"at {low}"
    words = f"from {first} to {last}"
    return words if {low, high} == {first, last} else f"{words} (between {low} and {high})"


def show(figure_or_axes: Figure | Axes, title: str = "") -> None:
    """Display a figure, and under it its caption as text that a screen reader reads.

    ``title`` says what is to be seen; the caption begins with it. A figure made with pyplot is
    closed, so that the notebook doesn't show it a second time.
    """
    figure = figure_or_axes.figure if isinstance(figure_or_axes, Axes) else figure_or_axes
    words = " ".join(filter(None, [f"{title}." * bool(title), caption(figure)]))
    (ax, *others) = figure.axes
    if title and not (others or ax.get_title("left") or ax.get_title("center")):
        ax.set_title(title, loc="left")
    elif title:
        figure.suptitle(title, x=0.01, ha="left")
    display(figure)  # type: ignore[no-untyped-call]
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(figure)
    if not words:
        return
    text = {"text/markdown": f"*{words}*", "text/plain": words}
    display(text, raw=True)  # type: ignore[no-untyped-call]


@styled
def plot_curves(
    x: ArrayLike,
    measured: Mapping[str, ArrayLike],
    predicted: Mapping[str, ArrayLike] | None = None,
    ax: Axes | None = None,
    *,
    xlabel: str,
    ylabel: str,
    log: str = "",
    vlines: Mapping[str, float] | None = None,
    summary: str = "course",
) -> Axes:
    """What was measured as points and what was predicted as lines, over the same x.

    A prediction has the colour of the measurement of the same name. Of shape (3, points) it is a
    line and the two ends of its band, which holds 95 of 100 measurements; a number is a grey guide
    line, and ``vlines`` holds vertical ones. A measured curve of shape (runs, points) is drawn as
    its median, with a pale band from the smallest to the largest run. Without predicted curves more
    than 25 points are drawn as a line. Words and dates in ``x`` stand side by side. ``log`` names
    the logarithmic axes (``""``, ``"x"``, ``"y"`` or ``"xy"``). The caption tells each measured
    curve's ``summary``: its ``"course"``, or the place of its ``"minimum"``, for values that differ
    between machines.

    >>> ax = plot_curves([1, 2], {"std": [[1, 4], [3, 4]]}, {"level": 2}, xlabel="n", ylabel="s")
    >>> print(caption(ax))
    s against n. std, median of 2, from 2 to 4; level at 2.
    """
    one_of("summary", summary, ("course", "minimum"))
    ax = new_figure().axes[0] if ax is None else ax
    x, ticks = _numbers(x)
    runs = {name: np.atleast_2d(np.asarray(one, float)) for name, one in measured.items()}
    theory = {name: np.asarray(one, float) for name, one in (predicted or {}).items()}
    curves = {name: np.atleast_2d(one) for name, one in theory.items() if one.ndim}
    joined = not curves and len(x) > _MOST_POINTS
    ax.set(xlabel=xlabel, ylabel=ylabel, **{f"{axis}scale": "log" for axis in log})
    words, ends = [], []
    for number, name in enumerate(dict.fromkeys([*runs, *curves])):
        parts = []
        if name in runs:
            parts.append(_draw_runs(ax, x, runs[name], number, joined, summary))
        if name in curves:
            parts.append(_draw_theory(ax, x, curves[name], runs.get(name), number))
        words.append(f"{name}{', ' if parts[0].startswith('median') else ' '}{', '.join(parts)}")
        last = np.median(runs[name], axis=0) if name in runs else curves[name][0]
        ends.append((name, last[np.isfinite(last)][-1] if np.isfinite(last).any() else 0, number))
    words += _draw_guides(ax, {k: float(v) for k, v in theory.items() if not v.ndim}, vlines or {})
    if "x" not in log and np.array_equal(x, np.round(x)):
        whole = MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True)
        ax.xaxis.set_major_locator(whole)  # layers and steps have no halves
    if ticks:
        ax.set_xticks(x, ticks)
    name_at_end(ax, ends)
    _draw_key_of(ax, max(map(len, runs.values()), default=0), joined, list(curves.values()))
    describe(ax, f"{ylabel} against {xlabel}. {'; '.join(words)}.")
    return ax


def _numbers(x: ArrayLike) -> tuple[Floats, list[str]]:
    """The values as numbers; words and dates by their places, with what stands there."""
    try:
        return np.asarray(x, dtype=float), []
    except (TypeError, ValueError):
        return np.arange(len(x), dtype=float), list(map(str, x))  # type: ignore[arg-type]


def _draw_theory(ax: Axes, x: Floats, curve: Floats, runs: Floats | None, number: int) -> str:
    draw_line(ax, x, curve[0], number)
    words = f"{'' if runs is None else 'predicted '}{_course(curve[0])}"
    if len(curve) == 1:
        return words
    draw_band(ax, x, curve[1], curve[2], number)
    if runs is None:
        return words
    middle = np.median(runs, axis=0)
    inside = (curve[1] <= middle) & (middle <= curve[2])
    return f"{words}, inside the band at {inside.sum()} of {np.isfinite(middle).sum()} points"


def _draw_runs(ax: Axes, x: Floats, runs: Floats, number: int, joined: bool, summary: str) -> str:
    middle = np.median(runs, axis=0)
    if len(runs) > 1:
        draw_band(ax, x, runs.min(0), runs.max(0), number)
    (draw_line if joined else draw_points)(ax, x, middle, number)
    opening = f"median of {len(runs)}, " * (len(runs) > 1)
    if summary == "minimum":
        return f"{opening}is lowest at {short(x[np.nanargmin(middle)])}"
    return opening + _course(middle)


def _draw_guides(ax: Axes, levels: Mapping[str, float], vlines: Mapping[str, float]) -> list[str]:
    for name, y in levels.items():
        draw_guide(ax, name, y=y)
    for name, place in vlines.items():
        draw_guide(ax, name, x=place)
    stand = [f"{name} stands at {short(place)}" for name, place in vlines.items()]
    return [f"{name} at {short(y)}" for name, y in levels.items()] + stand


def _draw_key_of(ax: Axes, runs: int, joined: bool, curves: Sequence[Floats]) -> None:
    measured = f"median of {runs}" if runs > 1 else "measured" * (runs and not joined)
    band = f"all {runs}" if runs > 1 else "95 % of nets" * any(len(one) > 1 for one in curves)
    line = measured if joined else "predicted" * bool(curves)
    draw_key(ax, points="" if joined else measured, line=line, band=band)
