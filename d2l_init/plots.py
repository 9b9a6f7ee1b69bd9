"""Histograms of weights with the law of the draw on top, and the words that go with them."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from re import match
from textwrap import fill
from typing import Any

import mxnet as mx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .base import weights
from .counting import Tally, histogram, tally
from .figures import GREY, PALE, color, describe, draw_key, new_figure, short, styled
from .laws import Law, law


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


def plot_weights(net: Any, init: Any = None) -> Figure:
    """A histogram for each parameter of a block, with its law on top where that is known.

    Gluon forgets what ``net.initialize(init)`` drew with, so pass ``init``: an initializer, a
    registered name, or a mapping from a pattern (as in ``net.collect_params(pattern)``) to one.
    Parameters that have an initializer of their own, as biases do, are known without. Those of a
    few values only, as zero biases, are given in words.

    Raises ValueError for a net without parameters, or with one that has no values yet.
    """
    parameters = list(net.collect_params().values())
    if not parameters:
        raise ValueError(f"net must have parameters to plot, got {type(net).__name__} with none")
    return _panels((p.name, _values(p), _initializer_of(p, init)) for p in parameters)


def _values(parameter: Any) -> NDArray[Any]:
    try:
        return weights(parameter)
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
    named = initializers.items() if isinstance(initializers, Mapping) else enumerate(initializers)
    panels = []
    for title, one in named:
        initializer, sizes = one if isinstance(one, tuple) else (one, shape)
        own = initializer if isinstance(initializer, str) else type(initializer).__name__
        # as Gluon draws: through a parameter
        parameter = mx.gluon.Parameter("weight", shape=sizes, init=initializer, grad_req="null")
        parameter.initialize(ctx=mx.cpu())
        title = title if isinstance(title, str) else own
        panels.append((title, parameter.data().asnumpy(), initializer))
    return _panels(panels)


@styled
def _panels(panels: Iterable[tuple[str, NDArray[Any], Any]]) -> Figure:
    """A panel for each with more than a few values, and a line of words for the others."""
    every = [
        (name, values, _law_or_none(made_by, name, values)) for name, values, made_by in panels
    ]
    counts = [tally(values, list(law.atoms) if law else []) for _, values, law in every]
    shown = [k for k, one in enumerate(counts) if one.is_spread] or list(range(len(every)))
    columns = min(len(shown), 3)
    rows = ceil(len(shown) / columns)
    figure = new_figure(0.4 + 1.9 * rows, rows, columns)
    for ax in figure.axes[len(shown) :]:
        ax.remove()
    for place, (ax, k) in enumerate(zip(figure.axes, shown, strict=True)):
        (name, values, law), counted = every[k], counts[k]
        _draw(ax, values, law, counted, key=place == 0)
        ax.set_title(f"{name} {'×'.join(map(str, values.shape))}", fontsize="medium", pad=17)
        spread = f"std {short(counted.std)}" + (f", law {short(law.std)}" if law else "")
        ax.annotate(spread, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points",
                    fontsize="small", color=GREY)  # fmt: skip
        describe(ax, _in_words(name, law, counted))
    for ax in figure.axes[::columns]:
        ax.set_ylabel("density" if counts[shown[0]].is_spread else "share")
    rest = [(every[k][0], counts[k], every[k][2]) for k in range(len(every)) if k not in shown]
    words = "; ".join(_constants(rest))
    lines = fill(words.replace(" %", "\N{NO-BREAK SPACE}%"), 95)
    figure.supxlabel(f"weight\n{lines}".strip(), fontsize="small", color=GREY)
    describe(figure.axes[-1], figure.axes[-1].get_label() + f" {words}." * bool(words))
    return figure


def _law_or_none(initializer: Any, name: str, values: NDArray[Any]) -> Law | None:
    try:
        return law(initializer, values.shape, name=name) if initializer is not None else None
    except LookupError:
        return None


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
    known = law is not None and sum(counted.atoms.values()) == counted.size
    words = _shares_in_words(counted.shares if known else {counted.low: 1.0})
    if law is None:
        return words
    if known and all(abs(counted.shares[a] - chance) < 1e-9 for a, chance in law.atoms.items()):
        return f"{words}, as the law says"
    said = f"std {short(law.std)}" if sum(law.atoms.values()) < 1 else _shares_in_words(law.atoms)
    return f"{words} (law: {said})"


def _shares_in_words(shares: Mapping[float, float]) -> str:
    if 1.0 in shares.values():
        return f"all {short(next(atom for atom, share in shares.items() if share == 1))}"
    return ", ".join(f"{short(100 * share)} % are {short(atom)}" for atom, share in shares.items())
