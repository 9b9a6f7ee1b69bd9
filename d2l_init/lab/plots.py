"""What signals do in a net, with the theory's prediction in the same axes.

Everything is drawn from the record that :func:`d2l_init.trace` returns, never from a net.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from re import match
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ..figures import (
    GREY,
    brief,
    clipped,
    color,
    describe,
    new_figure,
    plot_curves,
    short,
    styled,
)
from ..laws import Floats
from .theory import Activation, MeanField, critical_sigma_w, mean_field


@styled
def plot_signals(
    trace: Any,
    theory: MeanField | Mapping[str, MeanField] | None = None,
    *,
    after: bool | None = None,
    blocks: str | Sequence[str] | None = None,
) -> Figure:
    """Root mean square of the signal at each layer, and of its gradient where that was traced.

    ``trace`` is one :class:`Trace` or a mapping from label to Trace, ``theory`` a MeanField or a
    mapping with the same labels. Like is compared with like: drawn are pre-activations, the outputs
    of layers (blocks with weights); or activations, with ``after`` or where they are built into
    layers, as in ``Dense(8, activation="relu")``. ``blocks`` chooses others: a class, a pattern at
    the beginning of a name, or several. The theory's line has a band around it when it was given a
    width; of the gradient it predicts the growth from its last layer back, so its line is tied to
    that layer. What lies behind the theory's depth, such as an output layer, is not drawn.

    Raises ValueError for labels of ``theory`` that ``trace`` doesn't have, and without a layer.
    """
    traces = dict(trace) if isinstance(trace, Mapping) else {"net": trace}
    theories = dict(theory) if isinstance(theory, Mapping) else dict.fromkeys(traces, theory)
    if unknown := [label for label in theories if label not in traces]:
        raise ValueError(f"theory must have labels of trace ({', '.join(traces)}), got {unknown}")
    fields = {name: field for name, field in theories.items() if field}
    whole = {name: one.to_frame() for name, one in traces.items()}
    chosen, what = _selected(whole, after, blocks)
    after = what == "activations"
    frames = {
        name: frame[: fields[name].depth if name in fields else None]
        for name, frame in chosen.items()
    }
    gradients = all("grad_mean_square" in frame for frame in frames.values())
    figure = new_figure(3.4 if not gradients else 5.6, 1 + gradients, sharex=True)
    forward = {name: _signal(field, len(frames[name]), after) for name, field in fields.items()}
    _plot_rms(figure.axes[0], frames, "mean_square", forward, what)
    if gradients:
        back = {name: _gradient(field, frames[name], after) for name, field in fields.items()}
        _plot_rms(figure.axes[1], frames, "grad_mean_square", back, "gradients")
        figure.axes[0].set_xlabel("")
        if legend := figure.axes[1].get_legend():
            legend.remove()  # the same as above
    _name_layers(figure.axes[-1], frames.values())
    return figure


def _selected(
    frames: Mapping[str, pd.DataFrame], after: bool | None, blocks: Any
) -> tuple[dict[str, pd.DataFrame], str]:
    """The rows to draw, and what they are."""
    if blocks is not None:
        rows = {
            name: frame.iloc[_matching(frame, "blocks", blocks)] for name, frame in frames.items()
        }
        active = all((one["activation"] != "").all() for one in rows.values())
        layers = all((_is_layer(one) & (one["activation"] == "")).all() for one in rows.values())
        return rows, "activations" if active else "pre-activations" if layers else "outputs"
    if after is None:
        after = any((_is_layer(one) & (one["activation"] != "")).any() for one in frames.values())
    return (
        {name: _like(frame, after) for name, frame in frames.items()},
        "activations" if after else "pre-activations",
    )


def _is_layer(frame: pd.DataFrame) -> pd.Series:
    """Blocks with weights; in a record made elsewhere, that may not tell, all but activations."""
    return frame["weights"] > 0 if "weights" in frame else frame["activation"] == ""


def _like(frame: pd.DataFrame, after: bool) -> pd.DataFrame:
    active = frame["activation"] != ""
    rows = frame[active] if after and active.any() else frame[_is_layer(frame) & ~active]
    if rows.empty:
        classes = ", ".join(dict.fromkeys(frame["block"]))
        raise ValueError(
            f"trace must have a block with weights, got {classes}; blocks=... chooses others"
        )
    return rows


def _matching(frame: pd.DataFrame, argument: str, wanted: str | Sequence[str]) -> list[int]:
    """Places of the rows of a class in ``wanted`` or whose name begins with a pattern in it."""
    places: list[int] = []
    for one in [wanted] if isinstance(wanted, str) else wanted:
        found = [k for k, (name, block) in enumerate(zip(frame.index, frame["block"], strict=True))
                 if one in (name, block) or match(one, name)]  # fmt: skip
        if not found:
            known = ", ".join([*dict.fromkeys(frame["block"]), *frame.index])
            raise ValueError(f"{argument} must be among {clipped(known, 300)}, got {one!r}")
        places += [found[0]] if argument == "layers" and one in frame.index else found
    return sorted(set(places)) if argument == "blocks" else places


def _plot_rms(
    ax: Axes, frames: Mapping[str, Any], column: str, predicted: Mapping[str, Floats], what: str
) -> None:
    most = max(map(len, frames.values()))

    def filled(values: Floats) -> Floats:
        lacking = np.full((*values.shape[:-1], most - values.shape[-1]), np.nan)
        return np.append(values, lacking, axis=-1)

    rms = {name: filled(np.sqrt(frame[column].to_numpy(float))) for name, frame in frames.items()}
    theory = {name: filled(curve) for name, curve in predicted.items()}
    x = np.arange(1, most + 1)
    plot_curves(x, rms, theory, ax, xlabel="layer", ylabel=f"rms of {what}", log="y")


def _name_layers(ax: Axes, frames: Iterable[pd.DataFrame]) -> None:
    """On the axis, where all have the same names and there is room."""
    (names, *others) = dict.fromkeys(tuple(brief(list(one.index), 16)) for one in frames)
    room = sum(len(name) + 2 for name in names) < 90
    if room and not others and len(set(names)) == len(names):
        ax.set_xticks(range(1, len(names) + 1), names)


def _signal(theory: MeanField, depth: int, after: bool) -> Floats:
    """The line and, for a width, the ends of its band."""
    band = [] if theory.width is None else [theory.q_low, theory.q_high]
    q = np.array([theory.q, *band])[:, :depth]
    return np.asarray(np.sqrt(theory.after_activation(q) if after else q))


def _gradient(theory: MeanField, frame: pd.DataFrame, after: bool) -> Floats:
    """From the last layer back: a layer multiplies by its χ, an activation by the next layer's."""
    chi = theory.chi[1 : len(frame)] if after else theory.chi[: len(frame) - 1]
    back = np.append(np.cumprod(chi[::-1])[::-1], 1.0)
    return np.asarray(np.sqrt(frame["grad_mean_square"].iloc[-1] * back))


@styled
def plot_layer_histograms(trace: Any, layers: str | Sequence[str] | None = None) -> Figure:
    """Histograms of what a few layers put out and, where traced, of the gradients there.

    ``layers`` are chosen as in :func:`plot_signals`; by default they are up to five activations,
    from the first to the last.
    Each row is as high as its tallest bar. Gradients are drawn in units of their own root mean
    square, which stands beside them: their shape shows however small they are.

    Raises ValueError when the trace was made without ``bins``, or lacks a layer.
    """
    frame = trace.to_frame()
    if not trace.histograms:
        raise ValueError("trace must be made with bins=... to have histograms, got none")
    chosen = _chosen(frame, layers)
    gradients = trace.histograms[chosen[0]].gradients is not None
    figure = new_figure(0.7 + 0.55 * len(chosen), 1, 1 + gradients)
    kept = [trace.histograms[row] for row in chosen]
    about = frame.iloc[chosen]
    _draw_rows(figure.axes[0], about, [one.outputs for one in kept], "output")
    if gradients:
        _draw_rows(figure.axes[1], about, [one.gradients for one in kept], "gradient / its rms")
    return figure


def _chosen(frame: pd.DataFrame, layers: str | Sequence[str] | None) -> list[int]:
    if layers is not None:
        return _matching(frame, "layers", layers)
    active = np.flatnonzero(frame["activation"] != "")
    every = active if len(active) else np.arange(len(frame))
    return [int(every[round(k)]) for k in np.linspace(0, len(every) - 1, min(5, len(every)))]


def _draw_rows(ax: Axes, about: pd.DataFrame, counted: Sequence[Any], what: str) -> None:
    of_outputs, words = what == "output", []
    squares = about["mean_square" if of_outputs else "grad_mean_square"].to_numpy(float)
    for row, (name, (counts, edges)) in enumerate(zip(about.index, counted, strict=True)):
        rms, floor = sqrt(squares[row]), -row
        edges = edges if of_outputs or rms == 0 else edges / rms
        density = counts / np.diff(edges)
        heights = floor + 0.8 * density / max(density.max(), 1e-300)
        ax.stairs(heights, edges, baseline=floor, fill=True, alpha=0.25, color=color(0))
        ax.stairs(heights, edges, baseline=floor, color=color(0))
        ax.annotate(f"rms {short(rms)}", (1, floor + 0.3), (4, 0), fontsize="small", color=GREY,
                    xycoords=ax.get_yaxis_transform(), textcoords="offset points")  # fmt: skip
        words.append(f"{name}, rms {short(rms)}")
        if of_outputs and np.isfinite(saturated := about["saturated"].iloc[row]):
            words[-1] += f", saturated share {short(saturated)}"
    if not of_outputs:
        ax.set_xlim(-4, 4)
    rows = -np.arange(len(about))
    ax.set(xlabel=what, yticks=rows, yticklabels=brief(list(about.index), 22) if of_outputs else [])
    ax.tick_params(left=False)
    ax.spines["left"].set_visible(False)
    describe(ax, f"{what.capitalize()}: {'; '.join(words)}.")


@styled
def plot_phases(
    activation: str | Activation,
    sigma_w: ArrayLike,
    sigma_b: ArrayLike,
    points: Sequence[tuple[float, float]] = (),
) -> Axes:
    """χ₁ over the plane of σ_w and σ_b, with the edge of chaos, χ₁ = 1, as a line.

    ``sigma_w`` and ``sigma_b`` are the increasing values at which χ₁ is computed, ``points`` pairs
    (σ_w, σ_b) to mark. Source: Poole et al. 2016, figure 1; Schoenholz et al. 2017, figure 2.
    """
    ax = new_figure().axes[0]
    across, up = np.asarray(sigma_w, float), np.asarray(sigma_b, float)
    chi = np.array([[mean_field(activation, w, b, 1).chi_1 for w in across] for b in up])
    norm = TwoSlopeNorm(1, min(chi.min(), 0.99), max(chi.max(), 1.01))
    mesh = ax.pcolormesh(across, up, chi, cmap="PuOr", norm=norm, shading="gouraud")
    ax.figure.colorbar(mesh, ax=ax, label="χ₁")
    line = np.linspace(up[0], up[-1], 31)
    edge = np.array([critical_sigma_w(activation, b) for b in line])
    ax.plot(edge, line, color="black", linewidth=1.5)
    ax.annotate("χ₁ = 1", (edge[22], line[22]), (6, -4), textcoords="offset points")
    if points:
        ax.plot(*zip(*points, strict=True), "ko", markerfacecolor="white", clip_on=False)
    for x, word, side in ((0.03, "ordered", "left"), (0.97, "chaotic", "right")):
        ax.text(x, 0.93, word, transform=ax.transAxes, ha=side, va="top", color="white")
    ax.set(xlim=across[[0, -1]], ylim=up[[0, -1]], xlabel="σ_w", ylabel="σ_b")
    marked = f"; {len(points)} nets are marked." if points else "."
    describe(
        ax,
        f"χ₁ from {short(chi.min())} to {short(chi.max())}. The edge of chaos runs from σ_w = "
        f"{short(edge[0])} at σ_b = {short(up[0])} to {short(edge[-1])} at {short(up[-1])}{marked}",
    )
    return ax


@styled
def plot_map(
    x: ArrayLike,
    y: ArrayLike,
    values: ArrayLike,
    predicted: Mapping[str, ArrayLike] | None = None,
    *,
    xlabel: str,
    ylabel: str,
    value: str,
) -> Axes:
    """Measured values, shape (len(y), len(x)), as coloured cells, and predicted curves y(x) on top.

    Cells are of equal size, however the values of x and y are spaced; between the values of y a
    curve's place is interpolated on a logarithmic scale. Each cell holds its number, so that colour
    is not all.

    Raises ValueError when the shape of ``values`` is another one.
    """
    ax = new_figure().axes[0]
    across, up, cells = (np.asarray(one, float) for one in (x, y, values))
    if cells.shape != (len(up), len(across)):
        raise ValueError(f"values must have shape {(len(up), len(across))}, got {cells.shape}")
    mesh = ax.pcolormesh(cells, cmap="cividis", edgecolors="white", linewidth=1.5)
    ax.figure.colorbar(mesh, ax=ax, label=value)
    middle = (cells.max() + cells.min()) / 2
    for (row, column), cell in np.ndenumerate(cells):
        ink = "white" if cell < middle else "black"
        ax.text(column + 0.5, row + 0.5, f"{cell:.2f}", color=ink, ha="center", va="center")
    for number, (label, curve) in enumerate((predicted or {}).items(), 1):
        _draw_across(ax, label, np.asarray(curve, float), up, number)
    for axis, name, places in (("x", xlabel, across), ("y", ylabel, up)):
        ax.set(**{f"{axis}label": name, f"{axis}ticks": np.arange(len(places)) + 0.5,
                  f"{axis}ticklabels": [f"{one:g}" for one in places]})  # fmt: skip
    ax.tick_params(length=0)
    describe(
        ax,
        f"{value} from {short(cells.min())} to {short(cells.max())}, over {xlabel} from "
        f"{short(across[0])} to {short(across[-1])} and {ylabel} from {short(up[0])} to "
        f"{short(up[-1])}.",
    )
    return ax


def _draw_across(ax: Axes, label: str, curve: Floats, up: Floats, number: int) -> None:
    steps = np.log(up[[0, -1]]) - np.log(up[[1, -2]])  # beyond the cells, go on as between the last
    ends = np.log(up[[0, -1]]) + 9 * steps
    logs = [ends[0], *np.log(up), ends[1]]
    rows = np.interp(np.log(curve), logs, [-8.5, *np.arange(0.5, len(up)), len(up) + 8.5])
    columns = np.arange(0.5, len(curve))
    limits = ax.get_xlim(), ax.get_ylim()
    ax.plot(columns, rows, color=color(number), linewidth=2)
    ax.set(xlim=limits[0], ylim=limits[1])
    if (seen := (rows > 0) & (rows < len(up))).any():
        place = int(np.where(seen, rows, -1).argmax())
        spot = columns[place] - 0.3, min(rows[place], len(up) - 0.4)
        box = {"facecolor": color(number), "linewidth": 0, "pad": 2}
        ax.annotate(label, spot, (0, 11), textcoords="offset points", color="white", bbox=box,
                    ha="center", fontsize="small")  # fmt: skip
