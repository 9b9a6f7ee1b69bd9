"""What is wrong with a net, in words: findings, and how they are shown.

Nothing here knows MXNet: findings about a record made elsewhere are shown alike.
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from math import prod, sqrt
from textwrap import indent, wrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..figures import (
    GREY,
    caption,
    clipped,
    describe,
    draw_guide,
    draw_points,
    new_figure,
    short,
    styled,
)

# From the worst to the least (one often explains those below it), with chapter and section.
_WHY = {
    "nonfinite": ("05", "What does one layer do to the size of a signal?"),
    "inputs": ("05", "Which variance does the first layer need?"),
    "symmetry": ("02", "What if all weights are the same number?"),
    "dead units": ("06", "Where do dead units come from?"),
    "initializer not used": ("03", "Who wins when two apply?"),
    "residual growth": ("08", "What does adding do to a signal?"),
    "saturated": ("05", "What does an rms hide?"),
    "signal vanishes": ("05", "Can thirty layers keep it?"),
    "signal explodes": ("05", "Can thirty layers keep it?"),
    "gradient vanishes": ("05", "What happens to the gradient on its way back?"),
    "gradient explodes": ("05", "What happens to the gradient on its way back?"),
    "no gradient": ("02", "Can all weights start at zero?"),
    "inputs merged": ("06", "Do two inputs stay apart?"),
    "loss at start": ("07", "What should the loss be before training?"),
    "output bias": ("03", "What should the bias of an output layer be?"),
    "update size": ("05", "How large should an update be?"),
    "never called": ("01", "What is inside a new net?"),
}
FAULTS = tuple(_WHY)


@dataclass(frozen=True)
class Finding:
    """One fault: where it begins, what was measured, and a line of code that cures it.

    >>> Finding("inputs", "X", "The rms is 100; it should be 1.", "X = X / 100").why
    'chapter 05, "Which variance does the first layer need?"'
    """

    fault: str
    where: str
    what: str
    cure: str

    @property
    def why(self) -> str:
        """The chapter and section that explain it."""
        chapter, section = _WHY[self.fault]
        return f'chapter {chapter}, "{section}"'


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What :func:`d2l_init.diagnose` found, worst first; a notebook shows a table and a picture.

    Each of ``findings`` has ``fault``, ``where``, ``what``, ``why`` and ``cure``. ``looked`` says
    what was looked at, ``remarks`` what else there is to know, ``rows`` are those of the trace.

    >>> Diagnosis([], "1 layer")
    Nothing found. Looked at: 1 layer.
    """

    findings: Sequence[Finding]
    looked: str
    remarks: Sequence[str] = ()
    rows: Sequence[dict[str, Any]] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_frame(self) -> pd.DataFrame:
        """A pandas frame with one row a finding."""
        columns = ["fault", "where", "what", "why", "cure"]
        cells = [[getattr(one, column) for column in columns] for one in self.findings]
        return pd.DataFrame(cells, columns=columns)

    def plot(self) -> Figure:
        """Signal and gradient at each layer, with the places that were found marked."""
        return _plotted([row for row in self.rows if row["layer"]], self.findings)

    def __repr__(self) -> str:
        parts = [self._summary()]
        for number, one in enumerate(self.findings, 1):
            lines = [*wrap(f"{one.what} See {one.why}.", 92), f"Cure: {one.cure}"]
            parts.append(f"{number}. {one.fault}: {one.where}\n" + indent("\n".join(lines), "   "))
        return "\n".join([*parts, *self.remarks])

    def _repr_html_(self) -> str:
        return "\n".join(self._in_html())

    def _in_html(self) -> Iterator[str]:
        yield f"<p>{escape(self._summary())}</p>"
        if not self.ok:
            frame = self.to_frame()
            yield "<table><thead><tr>"
            yield "".join(f'<th style="text-align:left">{one}</th>' for one in frame.columns)
            yield "</tr></thead><tbody>"
            for *told, cure in frame.itertuples(index=False):
                cells = [*map(escape, told), f"<code>{escape(cure)}</code>"]
                yield f"<tr>{''.join(_CELL.format(cell) for cell in cells)}</tr>"
            yield "</tbody></table>"
        if any(row["layer"] for row in self.rows):
            figure, file = self.plot(), BytesIO()
            figure.savefig(file, format="png", dpi=80)
            picture = b64encode(file.getvalue()).decode()
            yield f'<img alt="{escape(caption(figure))}" src="data:image/png;base64,{picture}"/>'
        yield from (f"<p>{escape(remark)}</p>" for remark in self.remarks)

    def _summary(self) -> str:
        count = len(self.findings)
        found = f"{count} finding{'s, worst first' * (count > 1)}" if count else "Nothing found"
        return f"{found}. Looked at: {self.looked}."


_CELL = '<td style="text-align:left;vertical-align:top;overflow-wrap:anywhere">{}</td>'


@styled
def _plotted(layers: Sequence[dict[str, Any]], findings: Sequence[Finding]) -> Figure:
    names = [row["name"] for row in layers]
    curves = {"rms of signal": [sqrt(row["mean_square"]) for row in layers]}
    if any("grad_mean_square" in row for row in layers):
        curves["size of gradient"] = [gradient_size(row) for row in layers]
    figure = new_figure(1.9 * len(curves) + 0.3, len(curves), sharex=True)
    marked = {}  # by place: the worst fault there
    for one in reversed(findings):
        if one.where in names:
            marked[names.index(one.where) + 1] = one.fault
    for number, (ax, (what, values)) in enumerate(zip(figure.axes, curves.items(), strict=True)):
        _draw(ax, np.array(values, float), what, number)
        for place, fault in marked.items():
            draw_guide(ax, fault * (number == 0), x=place)
    if marked:
        told = ", ".join(f"{fault} at {names[place - 1]}" for place, fault in marked.items())
        describe(figure.axes[0], f"{figure.axes[0].get_label()} Marked: {told}.")
    figure.axes[-1].set_xlabel(f"layer, from {clipped(names[0])} to {clipped(names[-1])}")
    return figure


def _draw(ax: Axes, values: Any, what: str, number: int) -> None:
    x, seen = np.arange(1, len(values) + 1), np.isfinite(values) & (values > 0)
    if seen.any():
        ax.set_yscale("log")
        draw_points(ax, x[seen], values[seen], number)
        ends = f"from {short(values[seen][0])} to {short(values[seen][-1])}"
    else:
        ends = "nowhere a positive number"
    ax.set_xlim(0.5, len(values) + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel(what, color=GREY)
    describe(ax, f"{what.capitalize()} at {len(values)} layers: {ends}.")


def gradient_size(row: dict[str, Any]) -> float:
    """Length of the gradient with respect to all that the block puts out."""
    return sqrt(row.get("grad_mean_square", 0.0) * prod(row["shape"]))
