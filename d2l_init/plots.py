"""Histograms of weights with the law of the draw on top, and the words that go with them."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from math import ceil, isfinite
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .arguments import whole
from .counting import Tally, histogram, tally
from .figures import (
    GREY,
    PALE,
    brief,
    color,
    describe,
    draw_guide,
    draw_key,
    new_figure,
    short,
    styled,
)
from .fits import Sample, constants, listed, sources
from .frameworks import made_for, mxnet_needed
from .laws import Law


@styled
def plot_histogram(
    values: Any, law: Law | None = None, ax: Axes | None = None, *, name: str = "values"
) -> Axes:
    """Histogram of an array of any shape as a density, with the density of its law on top.

    Values that the law takes with a probability of their own (its atoms) are drawn apart: the share
    of entries as a point, the probability as a stem. ``values`` is an array of NumPy, MXNet or
    PyTorch on any device or a Parameter, ``name`` what the caption calls it. NaN and infinite
    entries are left out and counted.

    >>> ax = plot_histogram([0.1, 0.4, 0.2, 0.2], name="four values")
    >>> print(ax.get_label())
    four values: 4 entries, std 0.109 measured. They run from 0.1 to 0.4.

    Raises ValueError for an empty array.
    """
    if hasattr(values, "list_data"):  # a Parameter
        name = values.name if name == "values" else name
        values = import_module(".gluon_weights", __package__).values_of(values)
    elif not hasattr(values, "asnumpy") and hasattr(values, "detach"):  # a tensor of PyTorch
        values = values.detach().double().cpu()
    array = np.asarray(values.asnumpy() if hasattr(values, "asnumpy") else values)
    if array.size == 0:
        raise ValueError(f"values must not be empty, got shape {array.shape}")
    array = array if array.dtype.kind == "f" else array.astype(float)
    ax = new_figure().axes[0] if ax is None else ax
    counted = tally(array, list(law.atoms) if law else [])
    _draw(ax, array, law, counted, key=True)
    ax.set(xlabel="weight", ylabel="density" if counted.is_spread else "share of entries")
    ends = f" They run from {short(counted.low)} to {short(counted.high)}." * bool(counted.finite)
    describe(ax, _in_words(name, law, counted) + ends)
    return ax


def _draw(
    ax: Axes, array: NDArray[Any], law: Law | None, counted: Tally, *, key: bool = False
) -> None:
    """Bars, law and atoms."""
    if counted.is_spread:
        _draw_bars(ax, array, law, counted)
    elif not counted.atoms and counted.finite:
        ax.axvline(counted.low, color=color(0), linewidth=3)
    if law and sum(law.atoms.values()) < 1:
        low, high = ax.get_xlim() if counted.finite else law.support
        ends = [end for end in law.support if low < end < high]
        steps = [np.nextafter(end, far) for end in ends for far in (-np.inf, np.inf)]
        x = np.sort(np.concatenate([np.linspace(low, high, 801), steps]))
        ax.plot(x, law.pdf(x), color=color(0), linewidth=1.5)
    if law:
        _draw_atoms(ax, law, counted)
    if lost := counted.size - counted.finite:
        ax.text(1, 1, f"{lost} not finite", transform=ax.transAxes, ha="right", color=color(1))
    ax.locator_params(axis="x", nbins=4)
    if key:
        bars, points = counted.is_spread, bool(counted.atoms) and not counted.is_spread
        draw_key(ax, points="measured" * points, band="measured" * bars, line="law" * bool(law))


def _draw_bars(ax: Axes, array: NDArray[Any], law: Law | None, counted: Tally) -> None:
    low, high = counted.low, counted.high
    for end in law.support if law else ():  # as far as the law, where it ends abruptly
        if np.isfinite(end) and law and law.pdf(end) * (counted.high - counted.low) > 0.02:
            low, high = min(low, end), max(high, end)
    dense = [part for _, part in law.parts if hasattr(part, "support")] if law else []
    ends = {end for part in dense for end in part.support() if low < end < high}
    left = counted.finite - sum(counted.atoms.values())
    bins = int(np.clip(2 * left ** (1 / 3), 10, 100))
    counts, edges = histogram(array, sorted({low, high} | ends), bins, list(counted.atoms))
    density = counts / counted.finite / np.diff(edges)
    ax.stairs(density, edges, fill=True, alpha=0.25, color=color(0))
    ax.set_yticks([])


def _draw_atoms(ax: Axes, law: Law, counted: Tally) -> None:
    """A stem as high as the law's probability, a point at the share measured; 1 is the top."""
    scale = ax.get_xaxis_transform() if counted.is_spread else ax.transData
    look = {"transform": scale, "color": color(0), "clip_on": False}
    for atom, chance in law.atoms.items():
        share = counted.shares[atom]
        ax.plot([atom, atom], [0, chance], linewidth=1.5, **look)
        ax.plot([atom], [share], "o", markerfacecolor="white", markersize=5, **look)
        if counted.is_spread:
            ax.annotate(f"{short(100 * share)} % exactly {short(atom)}", (atom, share), (6, 0),
                        xycoords=scale, textcoords="offset points", fontsize="small",
                        color=GREY, va="center", bbox=PALE)  # fmt: skip
    if not counted.is_spread:
        ax.set_ylim(0, 1.15 * max([*counted.shares.values(), *law.atoms.values(), 0.1]))
        ax.margins(x=0.2)


def _in_words(name: str, law: Law | None, counted: Tally) -> str:
    """How many, and how wide: measured and predicted."""
    entries = "1 entry" if counted.size == 1 else f"{counted.size} entries"
    if not counted.finite:
        return f"{name}: {entries}, none of them finite."
    words = f"{name}: {entries}, std {short(counted.std)} measured"
    if law:
        words += f", {short(law.std)} predicted"
        for atom, chance in law.atoms.items():
            share = short(counted.shares[atom])
            words += f"; a share of {share} is exactly {short(atom)}, {short(chance)} predicted"
    lost = counted.size - counted.finite
    return words + f"; {lost} not finite" * bool(lost) + "."


def plot_weights(net: Any, init: Any = None, *, which: Any = None) -> Figure:
    """A histogram for each parameter of a block, with its law on top where that is known.

    Gluon forgets what ``net.initialize(init)`` drew with, so pass ``init``: an initializer, a
    registered name, or a mapping from patterns (as in ``net.collect_params(pattern)``) to
    initializers, of which the first that matches counts. As in Gluon, a parameter's own initializer
    wins, unless its full name is in the mapping. The caption says what was taken for the law, and
    where a draw doesn't fit it (more than 5 standard errors of its mean or standard deviation off).
    Parameters of a few values only, as zero biases, are given in words.

    With more than 12 parameters to draw, the figure has a row for each instead, the worst fit
    first: measured standard deviation over the law's, and where 95 of 100 draws lie. ``which``
    chooses parameters: a pattern, a ParameterDict, or a number of worst fits to see as histograms.

    Of a ``torch.nn.Module`` each parameter's law is by default what its module's own
    ``reset_parameters`` draws. ``init``, for weights of at least two axes, is a Law, a function of
    ``torch.nn.init``, its name, or a ``functools.partial`` of it with arguments, or a mapping.

    Raises ValueError for a net without parameters or values, for an ``init`` that is no
    initializer, and for patterns that match nothing.
    """
    worst = whole("which", which, 1) if isinstance(which, int) else None
    maker = made_for(net, ".{}_weights")
    samples, lacking = maker.samples(net, init, None if worst else which)
    shown, rest = _split(samples)
    if worst or len(shown) > _MOST_PANELS:
        shown = sorted(shown, key=lambda one: -one.misfit)[:worst]
    figure = (_overview if not worst and len(shown) > _MOST_PANELS else _histograms)(shown)
    without = f"Without values: {listed(lacking)}." if lacking else ""
    return _finished(figure, rest, f"{sources(shown)} {without}".strip())


def gallery(initializers: Mapping[str, Any] | Sequence[Any], shape: Sequence[int]) -> Figure:
    """One draw from each initializer for a weight of this shape, with its law on top.

    ``initializers`` is a list, or a mapping from title to an initializer; a pair
    (initializer, shape) gives one panel a shape of its own.
    """
    if not initializers:
        raise ValueError("initializers must hold at least one, got none")
    with mxnet_needed("d2l_init.gallery"):
        from .gluon_weights import drawn
    named = initializers.items() if isinstance(initializers, Mapping) else enumerate(initializers)
    panels = []
    for title, one in named:
        initializer, sizes = one if isinstance(one, tuple) else (one, shape)
        own = initializer if isinstance(initializer, str) else type(initializer).__name__
        title = title if isinstance(title, str) else own
        panels.append(Sample(title, drawn(initializer, sizes), initializer))
    shown, rest = _split(panels)
    return _finished(_histograms(shown), rest)


def _split(panels: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Those with more than a few values, to be drawn, and the others, to be told."""
    shown = [one for one in panels if one.counted.is_spread] or list(panels)
    return shown, [one for one in panels if one not in shown]


@styled
def _finished(figure: Figure, rest: Sequence[Sample], laws: str = "") -> Figure:
    """With a line of words for the others, and the laws that were taken."""
    words = "; ".join(constants(rest))
    lines = fill(words.replace(" %", "\N{NO-BREAK SPACE}%"), 95)
    figure.supxlabel(f"{figure.get_label()}\n{lines}".strip(), fontsize="small", color=GREY)
    told = [figure.axes[-1].get_label(), laws, f"{words}." * bool(words)]
    describe(figure.axes[-1], " ".join(filter(None, told)))
    return figure


@styled
def _histograms(shown: Sequence[Sample]) -> Figure:
    columns = min(len(shown), 3)
    rows = ceil(len(shown) / columns)
    figure = new_figure(0.4 + 1.9 * rows, rows, columns)
    figure.set_label("weight")
    for ax in figure.axes[len(shown) :]:
        ax.remove()
    room = 70 // columns
    tight = max(len(f"{one.name} {one.shape}") for one in shown) > room
    names = brief([one.name for one in shown], room) if tight else [one.name for one in shown]
    for place, (ax, name, one) in enumerate(zip(figure.axes, names, shown, strict=True)):
        _draw(ax, one.values, one.law, one.counted, key=place == 0)
        ax.set_title(name if tight else f"{name} {one.shape}", fontsize="medium", pad=17)
        std, law_std = short(one.counted.std), short(one.law.std) if one.law else ""
        spread = f"{one.shape}, " * tight + f"std {std}" + f", law {law_std}" * bool(one.law)
        ax.annotate(spread, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points",
                    fontsize="x-small" if tight else "small",
                    color=color(1) if one.misfit > 5 else GREY)  # fmt: skip
        words = _in_words(one.name, one.law, one.counted)
        if len(shown) * len(words) > _MOST_WORDS:
            words = f"{name}: std {std}" + f", law {law_std}" * bool(one.law) + "."
        describe(ax, words + _NO_FIT * (one.misfit > 5))
    for ax in figure.axes[::columns]:
        ax.set_ylabel("density" if shown[0].counted.is_spread else "share")
    return figure


_MOST_PANELS = 12
_NO_FIT = " This draw does not fit its law."
_MOST_NAMES, _MOST_WORDS = 60, 600


@styled
def _overview(shown: Sequence[Sample]) -> Figure:
    """A row for each: the measured standard deviation over the law's, the worst fit first."""
    known = [one for one in shown if one.law and isfinite(one.error)]
    drawn = known or sorted(shown, key=lambda one: -one.counted.std)
    figure = new_figure(min(1.2 + 0.14 * len(drawn), 9.5))
    figure.set_label("measured std / law's std" if known else "measured std")
    (ax,) = figure.axes
    rows = -np.arange(len(drawn))
    ratios = np.array([one.counted.std / (one.law.std if one.law else 1.0) for one in drawn])
    reach = 1.96 * np.array([one.error for one in drawn])
    if known:
        ax.barh(rows, 2 * reach, 0.8, 1 - reach, color=color(0), alpha=0.18)
        draw_guide(ax, "law", x=1)
    ax.plot(ratios, rows, "o", color=color(0), markerfacecolor="white", markersize=3)
    every = ceil(len(drawn) / _MOST_NAMES)
    names = brief([f"{one.name} {one.shape}" for one in drawn], 40)
    ax.set_yticks(rows[::every], names[::every], fontsize="x-small")
    ax.tick_params(left=False)
    ax.spines["left"].set_visible(False)
    ax.set_ylim(-len(drawn), 1)
    draw_key(ax, points="measured", band="95 % of draws" * bool(known))
    inside = int((abs(ratios - 1) <= reach).sum())
    words = (
        f"Measured std{' over the law' * bool(known)} of {len(drawn)} parameters, "
        f"{sum(one.counted.size for one in drawn)} entries: from {short(ratios.min())} to "
        f"{short(ratios.max())}" + f", {inside} in the range of 95 of 100 draws" * bool(known) + "."
    )
    if bad := [f"{one.name} ({short(one.counted.std / max(one.law.std, 1e-300))})"
               for one in shown if one.law and one.misfit > 5]:  # fmt: skip
        words += f" No fit to its law: {listed(bad)}."
    if lacking := [one.name for one in shown if not one.law]:
        words += f" Without a known law: {listed(lacking)}."
    describe(ax, words)
    return figure
