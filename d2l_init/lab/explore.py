"""One figure and the controls that redraw it: a net's weights, and what they do to a signal."""

from dataclasses import asdict, dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from IPython.display import display

from ..arguments import number, one_of, whole
from ..figures import caption, new_figure, plot_curves, short, styled
from ..initializers import HaarOrthogonal, VarianceScaling
from ..laws import Floats, Law, law
from ..plots import plot_histogram
from .controls import controls, panel
from .front_end import front_end
from .theory import ACTIVATIONS, MeanField, mean_field

CHOICES: dict[str, tuple[Any, ...]] = {
    "initializer": ("normal", "uniform", "truncated_normal", "orthogonal"),
    "gain": (0.1, 3.0),
    "depth": (2, 100),
    "width": (10, 200),
    "activation": tuple(ACTIVATIONS),
    "seed": (0, 99),
}
NO_WIDGETS = "Controls stand here where the notebook runs and JupyterLab has ipywidgets."


def explore(
    *,
    initializer: str = "normal",
    gain: float = 1.0,
    depth: int = 20,
    width: int = 100,
    activation: str = "tanh",
    seed: int = 0,
) -> None:
    """Shows the weights of a plain net with their law, and a signal's rms layer by layer.

    Weights have variance gain²/fan-in, biases are 0, and the input has mean square 1.
    ``initializer`` is ``normal``, ``uniform`` or ``truncated_normal`` (as in
    :class:`VarianceScaling`) or ``orthogonal`` (:class:`HaarOrthogonal`, whose prediction has no
    band: the theory of finite widths is that of independent weights). ``activation`` is MXNet's
    name of one.

    The figure and its caption stand there wherever the call runs. In a notebook that somebody has
    open, sliders and menus above it redraw both; all take the keyboard. After the page was
    reloaded, run the cell again.

    >>> explore(depth=3, width=50)  # doctest: +ELLIPSIS, +NORMALIZE_WHITESPACE
    <...Figure size 660x340 with 2 Axes>
    3 tanh layers of 50 units, normal weights of gain 1. Weights of layer 1: 2500 entries, std 0.143
    measured, 0.141 predicted. They run from −0.514 to 0.506. rms of pre-activations against layer.
    tanh from 0.92 to 0.42, predicted from 1 to 0.486, inside the band at 3 of 3 points.

    Raises ValueError for an unknown word, and for a number outside the range of its slider.
    """
    Explorer(Setting(initializer, gain, depth, width, activation, seed)).show()


@dataclass(frozen=True)
class Setting:
    """Where the controls stand, and what follows from it."""

    initializer: str
    gain: float
    depth: int
    width: int
    activation: str
    seed: int

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            object.__setattr__(self, name, _checked(name, value))

    def __str__(self) -> str:
        kind = self.initializer.replace("_", " ")
        net = f"{self.depth} {self.activation} layers of {self.width} units"
        return f"{net}, {kind} weights of gain {short(self.gain)}"

    @property
    def law(self) -> Law:
        """What theory says of a weight."""
        return law(_drawing(self.initializer, self.gain), (self.width, self.width))

    @property
    def theory(self) -> MeanField:
        """What theory says of the signal."""
        width = None if self.initializer == "orthogonal" else self.width
        return mean_field(self.activation, self.gain, 0.0, self.depth, self.gain**2, width=width)

    def weights(self, layer: int) -> Floats:
        """What was drawn for a layer. The gain is a factor, so one draw serves all gains."""
        return self.gain * _of_gain_1(self.initializer, self.width, 1000 * self.seed + layer)

    def rms(self) -> Floats:
        """Root mean square of the pre-activations at each layer, of one input of mean square 1."""
        h = np.random.default_rng(self.seed).standard_normal(self.width)
        h, found = h / np.sqrt(np.mean(h**2)), []
        for layer in range(1, self.depth + 1):
            z = self.weights(layer) @ h
            found.append(np.sqrt(np.mean(z**2)))
            h = ACTIVATIONS[self.activation](z)
        return np.array(found)


def _checked(name: str, value: Any) -> Any:
    low, high = CHOICES[name][0], CHOICES[name][-1]
    if isinstance(low, str):
        return one_of(name, value, CHOICES[name])
    value = whole(name, value, low) if isinstance(low, int) else number(name, value)
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {value!r}")
    return value


def _drawing(initializer: str, gain: float, seed: int | None = None) -> Any:
    if initializer == "orthogonal":
        return HaarOrthogonal(gain, seed=seed)
    return VarianceScaling(gain**2, "fan_in", initializer, seed=seed)


@lru_cache(maxsize=128)  # more layers than a net has; 40 MB where all are of the largest width
def _of_gain_1(initializer: str, width: int, seed: int) -> Floats:
    return np.asarray(_drawing(initializer, 1.0, seed).sample((width, width), "float64"))


class Explorer:
    """The figure with its caption, and the controls that redraw both."""

    @styled
    def __init__(self, setting: Setting) -> None:
        self.figure = new_figure(3.4, 1, 2)
        # fixed, so that nothing jumps when it is redrawn, and that a picture takes half the time
        self.figure.set_layout_engine(None)
        self.figure.subplots_adjust(0.04, 0.15, 0.85, 0.88, wspace=0.34)
        self.controls = controls(asdict(setting), CHOICES)
        for control in self.controls.values():
            control.observe(self._redraw, "value")
        self._draw(setting)

    def show(self) -> None:
        """Display the figure and its caption, under the controls if somebody is there to use them.

        Elsewhere no widget is displayed: a notebook that is recorded or exported holds none.
        """
        if front_end():
            view = panel(self.controls.values())._repr_mimebundle_()
            _display(_Shown({**view, "text/plain": NO_WIDGETS}))
        self._outputs = [_display(one) for one in self._seen()]

    def _redraw(self, _change: Any) -> None:
        self._draw(Setting(**{name: control.value for name, control in self.controls.items()}))
        for output, new in zip(self._outputs, self._seen(), strict=True):
            output.update(new)

    @styled
    def _draw(self, setting: Setting) -> None:
        weights, signal = self.figure.axes
        weights.clear()
        edge = 4 * max(1.0, setting.gain) / setting.width**0.5
        weights.set_xlim(-edge, edge)  # the same for all gains below 1, which can be compared
        plot_histogram(setting.weights(1), setting.law, weights, name="Weights of layer 1")
        signal.clear()
        rms, theory = setting.rms(), setting.theory
        band = [] if theory.width is None else [theory.q_low, theory.q_high]
        predicted = np.sqrt([theory.q, *band])
        signal.set_ylim(min(0.1, rms.min() / 2), max(10, 2 * rms.max()))
        plot_curves(np.arange(1, setting.depth + 1), {setting.activation: rms},
                    {setting.activation: predicted}, signal,
                    xlabel="layer", ylabel="rms of pre-activations", log="y")  # fmt: skip
        self.figure.suptitle(str(setting), x=0.01, ha="left")
        self.words = f"{setting}. {caption(self.figure)}"

    @styled
    def _seen(self) -> tuple[Any, Any]:
        png = BytesIO()
        self.figure.savefig(png, format="png")
        picture = {"image/png": png.getvalue(), "text/plain": repr(self.figure)}
        words = {"text/markdown": f"*{self.words}*", "text/plain": self.words}
        return _Shown(picture), _Shown(words)


@dataclass(frozen=True)
class _Shown:
    """Something to display, in all its forms; as plain text where there is no notebook."""

    data: dict[str, Any]

    def __repr__(self) -> str:
        return str(self.data["text/plain"])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return self.data


def _display(one: _Shown) -> Any:
    return display(one, display_id=True)  # type: ignore[no-untyped-call]
