"""Pictures of what signals do in a net, with the theory's prediction in the same axes.

They follow :mod:`d2l_init.plots`: figures that no notebook shows by itself, measured values solid
and marked, predicted ones dashed or as a band, and a caption made from the numbers drawn.
"""

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike

from ..laws import Floats
from ..plots import (
    _DASHES,
    _MEASURED_CURVES,
    _PREDICTED,
    _PREDICTED_CURVES,
    _figure,
    _legend_of_all,
    _short,
    plot_curves,
)
from .theory import Activation, MeanField, critical_sigma_w, mean_field

_ACTIVATIONS = {"Activation", "LeakyReLU", "PReLU", "ELU", "SELU", "GELU", "Swish", "SiLU"}


def plot_signals(
    trace: Any, theory: MeanField | Mapping[str, MeanField] | None = None, *, after: bool = False
) -> Figure:
    """Root mean square of the signal at each layer, and of its gradient where that was traced.

    ``trace`` is one :class:`Trace` or a mapping from label to Trace, ``theory`` a MeanField or a
    mapping with the same labels. Drawn are the pre-activations, which are the outputs of all
    blocks but activations, or with ``after`` what the activations (or the blocks with a built-in
    one) make of them. The theory's line has a band around it when it was given a width; of the
    gradient it predicts the growth from its last layer back, so its line is tied to that layer.
    What lies behind the theory's depth, such as an output layer, is not drawn.

    Raises ValueError for labels of ``theory`` that ``trace`` doesn't have, and without a layer.
    """
    traces = dict(trace) if isinstance(trace, Mapping) else {"": trace}
    theories = dict(theory) if isinstance(theory, Mapping) else dict.fromkeys(traces, theory)
    if unknown := [label for label in theories if label not in traces]:
        raise ValueError(f"theory must have labels of trace ({', '.join(traces)}), got {unknown}")
    frames = {label: _layers(one.to_frame(), after) for label, one in traces.items()}
    gradients = all("grad_mean_square" in frame for frame in frames.values())
    figure = _figure(1, 1 + gradients, (5.6 + 3.4 * gradients, 3.4))
    _draw_signals(figure.axes[0], frames, theories, after)
    if gradients:
        _draw_gradients(figure.axes[1], frames, theories, after)
    _legend_of_all(figure)
    return figure


def _layers(frame: pd.DataFrame, after: bool) -> pd.DataFrame:
    is_activation = frame["block"].isin(_ACTIVATIONS)
    rows = frame[is_activation] if after and is_activation.any() else frame[~is_activation]
    if rows.empty:
        raise ValueError("trace must have a layer to plot, got one of activations alone")
    return rows


def _draw_signals(
    ax: Axes,
    frames: Mapping[str, pd.DataFrame],
    theories: Mapping[str, MeanField | None],
    after: bool,
) -> None:
    what = "activations" if after else "pre-activations"
    words = []
    for number, (label, frame) in enumerate(frames.items()):
        theory = theories.get(label)
        rms = np.sqrt(frame["mean_square"].to_numpy(float))[: theory.depth if theory else None]
        words.append(_measured(ax, number, label, rms))
        if theory:
            words[-1] += _predicted_signal(ax, rms, theory, after)
    ax.set(xlabel="layer", ylabel=f"rms of {what}", yscale="log")
    ax.set_label(f"Root mean square of the {what} by layer. {'; '.join(words)}.")


def _measured(ax: Axes, number: int, label: str, values: Floats) -> str:
    name = f"{label} measured".strip()
    x, color, marker = (
        np.arange(1, len(values) + 1),
        _MEASURED_CURVES[number % 4],
        "o^sD"[number % 4],
    )
    ax.plot(
        x, values, color=color, marker=marker, markersize=4, label=name,
        markevery=ceil(len(x) / 25), zorder=3,
    )  # fmt: skip
    return f"{name} from {_short(values[0])} to {_short(values[-1])}"


def _predicted_signal(ax: Axes, rms: Floats, theory: MeanField, after: bool) -> str:
    depth = min(len(rms), theory.depth)
    x = np.arange(1, depth + 1)

    def drawn(q: Floats) -> Floats:
        return np.sqrt(theory.after_activation(q) if after else q)[:depth]

    ax.plot(x, drawn(theory.q), "--", color=_PREDICTED, label="predicted", zorder=4)
    words = f", {_short(float(drawn(theory.q)[-1]))} predicted"
    if theory.width is None:
        return words
    low, high = drawn(theory.q_low), drawn(theory.q_high)
    ax.fill_between(x, low, high, color=_PREDICTED, alpha=0.2, linewidth=0, label="95 % of nets")
    inside = int(np.sum((low <= rms[:depth]) & (rms[:depth] <= high)))
    return f"{words}, inside the band at {inside} of {depth} layers"


def _draw_gradients(
    ax: Axes,
    frames: Mapping[str, pd.DataFrame],
    theories: Mapping[str, MeanField | None],
    after: bool,
) -> None:
    words = []
    for number, (label, frame) in enumerate(frames.items()):
        theory = theories.get(label)
        rms = np.sqrt(frame["grad_mean_square"].to_numpy(float))[: theory.depth if theory else None]
        words.append(_measured(ax, number, label, rms))
        if theory and not after:
            depth = min(len(rms), theory.depth)
            # from the last layer back, each layer multiplies the mean square by its own χ
            back = np.append(np.cumprod(theory.chi[: depth - 1][::-1])[::-1], 1.0)
            line = rms[depth - 1] * np.sqrt(back)
            x = np.arange(1, depth + 1)
            ax.plot(x, line, "--", color=_PREDICTED, label="predicted", zorder=4)
            words[-1] += f", {_short(float(line[0]))} predicted for layer 1"
    ax.set(xlabel="layer", ylabel="rms of gradients", yscale="log")
    ax.set_label(f"Root mean square of the gradients by layer. {'; '.join(words)}.")


def plot_layer_histograms(trace: Any, layers: Sequence[str] | None = None) -> Figure:
    """Histograms of what a few layers put out and, where traced, of the gradients there.

    ``layers`` are names of blocks; by default up to five activations, from the first to the last.
    Gradients are drawn in units of their own root mean square, which the legend gives: their shape
    shows however small they are.

    Raises ValueError when the trace was made without ``bins``, or lacks a layer.
    """
    frame = trace.to_frame()
    if not trace.histograms:
        raise ValueError("trace must be made with bins=... to have histograms, got none")
    chosen = _chosen(frame, layers)
    with_gradients = trace.histograms[chosen[0]].gradients is not None
    figure = _figure(1, 1 + with_gradients, (5.6 + 3.4 * with_gradients, 3.4))
    words: list[list[str]] = [[], []]
    for number, row in enumerate(chosen):
        name, about, kept = frame.index[row], frame.iloc[row], trace.histograms[row]
        rms = [sqrt(about["mean_square"]), sqrt(about.get("grad_mean_square", 0.0))]
        for side, ax in enumerate(figure.axes):
            counts, edges = (kept.outputs, kept.gradients)[side]
            edges = edges / rms[1] if side and rms[1] > 0 else edges
            label = f"{name}, rms {_short(rms[side])}"
            _stairs(ax, number, counts, edges, label)
            words[side].append(_about_histogram(label, about, side))
    scales = (("output", "linear"), ("gradient / its rms", "log"))
    for ax, (what, scale), told in zip(figure.axes, scales, words, strict=False):
        ax.set(xlabel=what, ylabel="density", yscale=scale)
        ax.legend(fontsize="small")
        ax.set_label(f"{what.capitalize()}: {'; '.join(told)}.")
    return figure


def _chosen(frame: pd.DataFrame, layers: Sequence[str] | None) -> list[int]:
    if layers is None:
        active = np.flatnonzero(frame["block"].isin(_ACTIVATIONS))
        every = active if len(active) else np.arange(len(frame))
        spread = np.linspace(0, len(every) - 1, min(5, len(every)))
        return [int(every[round(place)]) for place in spread]
    if missing := [name for name in layers if name not in frame.index]:
        raise ValueError(f"layers must be among {', '.join(frame.index)}, got {missing}")
    return [list(frame.index).index(name) for name in layers]


def _stairs(ax: Axes, number: int, counts: Floats, edges: Floats, label: str) -> None:
    style = ("-", "--", "-.", ":", (0, (1, 3)))[number % 5]
    color = [*_MEASURED_CURVES, *_PREDICTED_CURVES][number % 8]
    density = counts / max(counts.sum(), 1) / np.diff(edges)
    ax.stairs(density, edges, color=color, linestyle=style, linewidth=1.6, label=label)


def _about_histogram(label: str, about: Any, side: int) -> str:
    saturated = about["saturated"]
    if side or not np.isfinite(saturated):
        return label
    return f"{label}, saturated share {_short(saturated)}"


def plot_phases(
    activation: str | Activation,
    sigma_w: ArrayLike,
    sigma_b: ArrayLike,
    points: Sequence[tuple[float, float]] = (),
    ax: Axes | None = None,
) -> Axes:
    """χ₁ over the plane of σ_w and σ_b, with the edge of chaos, χ₁ = 1, as a line.

    ``sigma_w`` and ``sigma_b`` are the increasing values at which χ₁ is computed, ``points`` pairs
    (σ_w, σ_b) to mark. Source: Poole et al. 2016, figure 1; Schoenholz et al. 2017, figure 2.
    """
    alone = ax is None
    ax = _figure(1, 1, (5.6, 3.6)).axes[0] if ax is None else ax
    across, up = np.asarray(sigma_w, float), np.asarray(sigma_b, float)
    chi = np.array([[mean_field(activation, w, b, 1).chi_1 for w in across] for b in up])
    norm = TwoSlopeNorm(1, min(chi.min(), 0.99), max(chi.max(), 1.01))
    mesh = ax.pcolormesh(across, up, chi, cmap="PuOr", norm=norm, shading="gouraud")
    ax.figure.colorbar(mesh, ax=ax, label="χ₁").ax.set_label("<χ₁>")
    line = np.linspace(up[0], up[-1], 61)
    edge = np.array([critical_sigma_w(activation, b) for b in line])
    ax.plot(edge, line, "-", color="black", linewidth=2, label="χ₁ = 1")
    if points:
        ax.plot(*zip(*points, strict=True), "kX", markersize=8, markerfacecolor="white",
                linestyle="none", label="nets measured")  # fmt: skip
    for x, word, side in ((0.03, "ordered", "left"), (0.97, "chaotic", "right")):
        ax.text(
            x, 0.93, word, transform=ax.transAxes, ha=side, va="top", style="italic", color="white"
        )
    ax.set(xlim=(across[0], across[-1]), ylim=(up[0], up[-1]), xlabel="σ_w", ylabel="σ_b")
    ax.set_label(
        f"χ₁ from {_short(chi.min())} to {_short(chi.max())}. The edge of chaos runs from "
        f"σ_w = {_short(edge[0])} at σ_b = {_short(up[0])} "
        f"to {_short(edge[-1])} at {_short(up[-1])}"
        + (f"; {len(points)} nets are marked." if points else ".")
    )
    if alone:
        _legend_of_all(ax.figure)
    return ax


def plot_map(
    x: ArrayLike,
    y: ArrayLike,
    values: ArrayLike,
    predicted: Mapping[str, ArrayLike] | None = None,
    ax: Axes | None = None,
    *,
    xlabel: str,
    ylabel: str,
    value: str,
) -> Axes:
    """Measured values, shape (len(y), len(x)), as colours, with predicted curves y(x) on top.

    The y axis is logarithmic, the x axis has a place for each value. Each cell holds its number, so
    that colour is not all.

    Raises ValueError when the shape of ``values`` is another one.
    """
    alone = ax is None
    ax = _figure(1, 1, (6.6, 3.6)).axes[0] if ax is None else ax
    across, up, cells = (np.asarray(one, float) for one in (x, y, values))
    if cells.shape != (len(up), len(across)):
        raise ValueError(f"values must have shape {(len(up), len(across))}, got {cells.shape}")
    places = np.arange(len(across))  # cells of equal width, however the values are spaced
    mesh = ax.pcolormesh(places, up, cells, cmap="cividis", shading="nearest")
    ax.figure.colorbar(mesh, ax=ax, label=value).ax.set_label("<colours>")
    middle = (cells.max() + cells.min()) / 2
    for (row, column), cell in np.ndenumerate(cells):
        ink = "white" if cell < middle else "black"
        ax.text(column, up[row], f"{cell:.2f}", color=ink, ha="center", va="center",
                fontsize="small", zorder=5,
                path_effects=[withStroke(linewidth=3, foreground=mesh.to_rgba(cell))])  # fmt: skip
    ends = ax.get_xlim(), ax.get_ylim()
    for number, (label, curve) in enumerate((predicted or {}).items()):
        ax.plot(places, np.asarray(curve, float), linestyle=_DASHES[number % 4],
                color="#C85200", linewidth=2.5, label=label)  # fmt: skip
    ax.set(yscale="log", xlim=ends[0], ylim=(max(ends[1][0], up[0] * 0.6), ends[1][1]))
    ax.set(xlabel=xlabel, xticks=places, xticklabels=[f"{one:g}" for one in across])
    ax.set(ylabel=ylabel, yticks=up, yticklabels=[f"{one:g}" for one in up])
    ax.minorticks_off()
    ax.set_label(
        f"{value} from {_short(cells.min())} to {_short(cells.max())}, over {xlabel} from "
        f"{_short(across[0])} to {_short(across[-1])} and {ylabel} from {_short(up[0])} to "
        f"{_short(up[-1])}."
    )
    if alone and predicted:
        _legend_of_all(ax.figure)
    return ax


def plot_spectra(
    measured: Mapping[str, ArrayLike],
    predicted: Mapping[str, ArrayLike] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Singular values from the largest to the smallest, given by their natural logarithms.

    Each is drawn as a power of ten, so that spectra over many decades fit. ``predicted`` holds
    logarithms, too, one for each singular value or one for all.
    """
    sizes = {len(np.atleast_1d(logs)) for logs in measured.values()}
    if len(sizes) != 1:
        raise ValueError(f"measured must hold spectra of one size, got sizes {sorted(sizes)}")
    found, expected = (
        {label: np.asarray(logs, float) / np.log(10) for label, logs in (each or {}).items()}
        for each in (measured, predicted)
    )
    rank, ylabel = np.arange(1, sizes.pop() + 1), "log₁₀ of the singular value"
    return plot_curves(rank, found, expected, ax, xlabel="rank", ylabel=ylabel)
