"""Laws of initial weights: which distribution an initializer draws a weight from.

A law is what theory says before anything is drawn: mean, standard deviation, density. The plots
lay it over histograms, the tests hold draws to it.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import isroutine
from math import comb, isclose, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .arguments import number, one_of
from .frameworks import mxnet_needed
from .quadrature import as_function, normal_mean

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """The distribution of one entry of a weight array.

    Everything follows from ``parts``, a sequence of (probability, distribution), where a
    distribution is a frozen one of scipy.stats or a number that is taken with certainty.

    >>> half_zero = Law([(0.5, 0.0), (0.5, stats.uniform(-1, 2))])
    >>> half_zero.mean, round(half_zero.std, 4), half_zero.atoms
    (0.0, 0.4082, {0.0: 0.5})
    >>> half_zero.pdf([-2, 0.3]), half_zero.cdf([-1, 0, 1])
    (array([0.  , 0.25]), array([0.  , 0.75, 1.  ]))

    Raises ValueError when the probabilities are negative or don't sum to 1.
    """

    parts: Sequence[tuple[float, Any]]

    def __post_init__(self) -> None:
        chances = [chance for chance, _ in self.parts]
        if not all(chance >= 0 for chance in chances) or not isclose(sum(chances), 1):
            raise ValueError(f"probabilities must be at least 0 and sum to 1, got {chances}")
        object.__setattr__(self, "parts", tuple(self.parts))

    @property
    def mean(self) -> float:
        """Expected value."""
        return float(sum(chance * _mean(part) for chance, part in self.parts))

    @property
    def std(self) -> float:
        """Standard deviation: the root of the variance within the parts plus that between them."""
        centre = self.mean
        return sqrt(sum(p * (_var(part) + (_mean(part) - centre) ** 2) for p, part in self.parts))

    @property
    def kurtosis(self) -> float:
        """Fourth central moment over the square of the variance: 3 of a normal law."""
        c = self.mean
        fourth = sum(chance * _fourth(part, c) for chance, part in self.parts)
        return float(fourth / self.std**4) if self.std else 1.0

    @property
    def atoms(self) -> dict[float, float]:
        """Probability of each single value that has one."""
        found: dict[float, float] = {}
        for chance, part in self.parts:
            if _is_number(part):
                found[float(part)] = found.get(float(part), 0.0) + chance
        return dict(sorted(found.items()))

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest possible value."""
        ends = [(part, part) if _is_number(part) else part.support() for _, part in self.parts]
        return float(min(low for low, _ in ends)), float(max(high for _, high in ends))

    def pdf(self, x: ArrayLike) -> Floats:
        """Density of the continuous part at x; it integrates to 1 minus the atoms' probability."""
        x = np.asarray(x, dtype=float)
        dense = [p * part.pdf(x) for p, part in self.parts if not _is_number(part)]
        return np.asarray(sum(dense, np.zeros_like(x)))

    def cdf(self, x: ArrayLike) -> Floats:
        """Probability of a value of at most x."""
        x = np.asarray(x, dtype=float)
        below = [p * ((x >= part) if _is_number(part) else part.cdf(x)) for p, part in self.parts]
        return np.asarray(sum(below, np.zeros_like(x)))


def _is_number(part: Any) -> bool:
    return not hasattr(part, "cdf")


def _mean(part: Any) -> float:
    return float(part if _is_number(part) else part.mean())


def _fourth(part: Any, c: float) -> float:
    """E[(x − c)⁴], from the moments of the distribution about 0."""
    first = [1.0, *(_moment(part, order) for order in range(1, 5))]
    return float(sum(comb(4, k) * first[k] * (-c) ** (4 - k) for k in range(5)))


def _moment(part: Any, order: int) -> float:
    return float(part**order if _is_number(part) else part.moment(order))


def _var(part: Any) -> float:
    return 0.0 if _is_number(part) else float(part.var())


def law(initializer: Any, shape: Sequence[int], *, name: str = "weight") -> Law:
    """The law of one entry of a parameter of this shape, drawn by this initializer.

    ``initializer`` is an object or a registered name (those of this package are registered once
    ``d2l_init.initializers`` has been imported). ``name`` is the parameter's, for errors: Gluon
    never lets it decide what is drawn.

    >>> from mxnet import init
    >>> law(init.Xavier(), (8, 4)).support
    (-0.7071067811865476, 0.7071067811865476)
    >>> law("normal", (8, 4)).std
    0.01

    PyTorch's are functions of ``torch.nn.init``, their names, or a ``functools.partial`` of them.

    A class is known by itself, not by its parents: a subclass draws what its author wrote.
    Raises LookupError when no law is known, ValueError when the initializer can't fill the shape,
    has arguments that MXNet refuses, or is none.
    """
    initializer = created(initializer)
    kind = type(initializer)
    if isinstance(initializer, Law):
        return initializer
    try:
        if "law" in vars(kind):
            return initializer.law(tuple(shape))  # type: ignore[no-any-return]
        if kind.__module__ == "mxnet.initializer" and kind.__name__ in _BUILT_IN:
            return _BUILT_IN[kind.__name__](initializer, tuple(shape))
    except ValueError as error:
        raise refusal(name, tuple(shape), error) from None
    raise LookupError(f"no law is known for {kind.__name__}: {_NO_LAW.get(kind.__name__, _HOW)}")


_HOW = "give its class a method law(shape) that returns a d2l_init.Law"
_NO_LAW = {
    "Orthogonal": "MXNet's takes the singular vectors as LAPACK signs them, which is not the "
    "uniform (Haar) law; d2l_init.HaarOrthogonal has one",
    "FusedRNN": "it hands each piece of one long vector to another initializer",
}


def refusal(name: str, shape: Sequence[int], error: ValueError) -> ValueError:
    """The error with the parameter's name, and for one axis with what it usually starts from."""
    start = "ones" if name.endswith(("gamma", "var")) else "zeros"
    hint = f"; give this parameter an initializer of its own, such as {start!r}"
    return ValueError(f"parameter {name!r}: {error}{hint * (len(shape) == 1)}")


def created(initializer: Any) -> Any:
    """The initializer that a registered name stands for; ValueError for what can't be one."""
    in_place = isinstance(initializer, str) and initializer.endswith("_")  # a name of PyTorch's
    if "torch" in sys.modules and (in_place or _module_of(initializer) == "torch.nn.init"):
        return import_module(".torch_weights", __package__).rule(initializer)
    if isinstance(initializer, type) or isroutine(initializer):
        name = initializer.__name__
        raise ValueError(f"initializer must be called first: {name}(...), got {name}")
    if not isinstance(initializer, str):
        return initializer
    with mxnet_needed(f"The initializer {initializer!r}"):
        from mxnet import init
    try:
        return init.create(initializer)
    except AssertionError:
        raise LookupError(
            f"no initializer is registered as {initializer!r} "
            "(those of this package are once d2l_init.initializers is imported)"
        ) from None


def _module_of(initializer: Any) -> str:
    return str(getattr(getattr(initializer, "func", initializer), "__module__", ""))


def _uniform(argument: str, value: float, per_unit: float | None = None) -> Law:
    """U(−value, value); or with variance ``value · per_unit`` / 3."""
    if number(argument, value) < 0:
        raise ValueError(f"{argument} must be at least 0, got {value!r}")
    high = value if per_unit is None else sqrt(value * per_unit)
    return Law([(1.0, stats.uniform(-high, 2 * high) if high > 0 else 0.0)])


def _normal(argument: str, value: float, per_unit: float | None = None) -> Law:
    """N(0, value²); or with variance ``value · per_unit``."""
    std = number(argument, value, positive=True)
    return Law([(1.0, stats.norm(0.0, std if per_unit is None else sqrt(std * per_unit)))])


def _counted(values: ArrayLike) -> Law:
    """The law of one entry, picked at random, of an array that is always the same."""
    found, counts = np.unique(np.asarray(values, dtype=float), return_counts=True)
    return Law([(count / counts.sum(), value) for value, count in zip(found, counts, strict=True)])


def _constant(initializer: Any, shape: tuple[int, ...]) -> Law:
    value = initializer.value
    return _counted(value.asnumpy() if hasattr(value, "asnumpy") else value)


def _xavier(initializer: Any, shape: tuple[int, ...]) -> Law:
    if len(shape) < 2:
        raise ValueError(f"{type(initializer).__name__} needs at least 2 axes, got shape {shape}")
    # MXNet's own fans, which differ from ours for grouped, transposed and channels-last weights
    fan_in, fan_out = prod(shape[1:]), shape[0] * prod(shape[2:])
    factors = {"avg": (fan_in + fan_out) / 2, "in": fan_in, "out": fan_out}
    factor = factors[one_of("factor_type", initializer.factor_type, factors)]
    kinds = {"uniform": _uniform, "gaussian": _normal}
    draw = kinds[one_of("rnd_type", initializer.rnd_type, kinds)]
    return draw("magnitude", initializer.magnitude, 1 / factor)


def _bilinear(initializer: Any, shape: tuple[int, ...]) -> Law:
    if len(shape) != 4:
        raise ValueError(f"Bilinear needs 4 axes, got shape {shape}")
    half = -(-shape[3] // 2)
    centre = (2 * half - 1 - half % 2) / (2 * half)
    tent = [1 - np.abs(np.arange(size) / half - centre) for size in shape[2:]]
    return _counted(np.outer(*tent).astype("float32"))


def _lstm_bias(initializer: Any, shape: tuple[int, ...]) -> Law:
    forget = shape[0] // 4 / shape[0]  # the second of the four gates stacked in the vector
    return Law([(forget, initializer.forget_bias), (1 - forget, 0.0)])


def haar_entry(gain: float, rows: int, columns: int) -> list[tuple[float, Any]]:
    """A row (or column) is uniform on the unit sphere of the longer side's dimension."""
    half = (max(rows, columns) - 1) / 2
    if half == 0:
        return [(0.5, -gain), (0.5, gain)]
    return [(1.0, stats.beta(half, half, loc=-gain, scale=2 * gain))]


def else_zero(chance: float, parts: list[tuple[float, Any]]) -> Law:
    drawn = [(chance * share, part) for share, part in parts]
    return Law([*drawn, (1 - chance, 0.0)] if chance < 1 else drawn)


_BUILT_IN: dict[str, Callable[[Any, tuple[int, ...]], Law]] = {
    "Zero": lambda initializer, shape: Law([(1.0, 0.0)]),
    "One": lambda initializer, shape: Law([(1.0, 1.0)]),
    "Constant": _constant,
    "Uniform": lambda initializer, shape: _uniform("scale", initializer.scale),
    "Normal": lambda initializer, shape: _normal("sigma", initializer.sigma),
    "Xavier": _xavier,
    "MSRAPrelu": _xavier,
    "Bilinear": _bilinear,
    "LSTMBias": _lstm_bias,
}


def axes(shape: Sequence[int], layout: str | None = None, groups: int = 1) -> str:
    """The letters of a weight's axes: O and I for outputs and inputs, D, H, W for space.

    >>> axes((8, 4)), axes((8, 4, 3)), axes((8, 3, 3, 4), "OHWI")
    ('OI', 'OIW', 'OHWI')

    Raises ValueError when the shape has fewer than 2 or more than 5 axes or an unknown size, when
    the layout doesn't fit it, or when the first axis can't be divided by ``groups``.
    """
    if not 2 <= len(shape) <= 5:
        raise ValueError(
            f"a shape of 2 to 5 axes is needed to tell inputs from outputs, got {tuple(shape)}"
        )
    if min(shape) < 1:
        raise ValueError(f"every size in shape must be known and positive, got {tuple(shape)}")
    known = _layouts(_SPACES[len(shape) - 2])
    letters = known[0] if layout is None else one_of("layout", layout, known)
    if groups < 1 or shape[0] % groups:
        raise ValueError(f"groups must divide the first size of {tuple(shape)}, got {groups}")
    return letters


_SPACES = ("", "W", "HW", "DHW")


def _layouts(space: str) -> list[str]:
    return list(dict.fromkeys([f"OI{space}", f"O{space}I", f"IO{space}", f"I{space}O"]))


def fans(shape: Sequence[int], *, layout: str | None = None, groups: int = 1) -> tuple[int, int]:
    """Fan-in and fan-out: how many inputs one output sums, how many outputs one input reaches.

    ``layout`` names the axes of the weight as MXNet stores them: ``OIHW`` (the default), ``OHWI``
    for channels-last convolutions, ``IOHW`` and ``IHWO`` for transposed ones, and the same with
    W or DHW; ``groups`` is the layer's ``groups``.

    >>> fans((8, 4)), fans((16, 8, 3, 3)), fans((16, 4, 3, 3), groups=2)
    ((4, 8), (72, 144), (36, 72))

    A transposed convolution of stride s spreads its input over s times as many places along each
    axis, so that one output sums about 1/s per axis of its fan-in: no fan shows that. An embedding
    sums nothing: neither of its fans means anything.
    Source: He et al. 2015, section 2.2. Raises ValueError as :func:`axes` does.
    """
    letters = axes(shape, layout, groups)
    sizes = dict(zip(letters, shape, strict=True))
    taps = prod(shape) // (sizes["I"] * sizes["O"])
    sizes[letters[0]] //= groups  # the other axis is stored per group already
    return sizes["I"] * taps, sizes["O"] * taps


def of_layout(layout: str | None) -> str | None:
    """``layout`` if weights of some number of axes have it; otherwise ValueError."""
    known = [letters for space in _SPACES for letters in _layouts(space)]
    return layout if layout is None else one_of("layout", layout, known)


_GAINS = {
    "linear": lambda slope: 1.0,
    "sigmoid": lambda slope: 1.0,
    "tanh": lambda slope: 5 / 3,
    "relu": lambda slope: sqrt(2.0),
    "leaky_relu": lambda slope: sqrt(2 / (1 + slope**2)),
    "selu": lambda slope: 3 / 4,
}


def gain(activation: str | Callable[[Floats], Floats], slope: float = 0.01) -> float:
    """The factor on a weight's standard deviation, 1/√fan-in, that an activation asks for.

    By name it is the table in use: linear 1, sigmoid 1 and tanh 5/3 (conventions of Torch, kept by
    PyTorch's ``calculate_gain``), relu √2 and leaky_relu √(2/(1 + slope²)) (He et al. 2015, eqs.
    10 and 15), selu 3/4 (from a forum post; Klambauer et al. 2017 need 1). For a function of
    NumPy's or MXNet's arrays it is computed: 1/√E[φ(z)²] with z standard normal, which keeps the
    second moment of the next layer's inputs at 1.

    >>> gain("relu"), round(gain(lambda z: np.maximum(z, 0)), 12)
    (1.4142135623730951, 1.414213562373)
    >>> round(gain("tanh"), 3), round(gain(np.tanh), 3)
    (1.667, 1.593)

    Raises ValueError for an unknown name, a slope that is no finite number, and for a function
    that doesn't work entry by entry, returns a value that is not finite, or zero everywhere.
    """
    slope = number("slope", slope)
    if isinstance(activation, str):
        return _GAINS[one_of("activation", activation, _GAINS)](slope)
    return 1 / sqrt(_second_moment(activation))


def _second_moment(activation: Callable[[Floats], Floats]) -> float:
    """E[φ(z)²] for a standard normal z."""
    function = as_function(activation)
    moment = normal_mean(lambda z: function(z) ** 2, 1.0)
    if not 0 < moment < np.inf:
        raise ValueError(f"activation must have a finite E[φ(z)²] above 0, got {moment}")
    return moment
