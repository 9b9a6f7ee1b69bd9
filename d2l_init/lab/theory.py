"""Mean-field theory: what a random network of great width does to signals, layer by layer.

Pre-activations of many units are normal. Their second moment q and the correlation c between two
inputs' say everything: a layer maps (q, c) to the next, and fixed points and slopes of that map
tell how deep a signal travels. Weights have variance σ_w²/fan-in, biases σ_b².
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, log, sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.special import erf, expit, log_expit

from ..arguments import number, one_of, whole
from ..quadrature import Floats, Function, normal_mean, normal_mean_of_two

Activation = Function

_ACTIVATIONS: dict[str, Activation] = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "tanh": np.tanh,
    "sigmoid": expit,
    "log_sigmoid": log_expit,
    "softrelu": lambda z: np.logaddexp(z, 0),
    "softsign": lambda z: z / (1 + abs(z)),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "selu": lambda z: (
        1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(np.minimum(z, 0)))
    ),
    "gelu": lambda z: z * (1 + erf(z / sqrt(2))) / 2,
    "swish": lambda z: z * expit(z),
}


@dataclass(frozen=True)
class MeanField:
    """What :func:`mean_field` predicts; every number is computed when it is first asked for."""

    activation: str | Activation
    sigma_w: float
    sigma_b: float
    depth: int
    q0: float
    c0: float
    width: int | None
    _phi: Activation = field(repr=False, compare=False)

    @cached_property
    def q(self) -> Floats:
        """Second moment of the pre-activations at each layer, shape (depth,)."""
        q = [self.q0]
        while len(q) < self.depth:
            q.append(self._next_q(q[-1]))
        return np.array(q)

    @cached_property
    def c(self) -> Floats:
        """Correlation between the pre-activations of two inputs at each layer, shape (depth,)."""
        c = [self.c0]
        for q in self.q[:-1]:
            c.append(self._next_c(c[-1], float(q)))
        return np.array(c)

    @cached_property
    def q_star(self) -> float:
        """Second moment that the layers settle at from q0; 0 or infinity where there is none."""
        return _limit(self._next_q, self.q0)

    @cached_property
    def chi_1(self) -> float:
        """σ_w² E[φ′(√q* z)²], a layer's factor on the gradient's mean square (Schoenholz 2017)."""
        return self.sigma_w**2 * _slope_moment(self._phi, self._scale)

    @cached_property
    def chi(self) -> Floats:
        """The same factor at each layer, where the second moment is q, shape (depth,)."""
        slopes = [_slope_moment(self._phi, max(sqrt(q), 1e-150)) for q in map(float, self.q)]
        return self.sigma_w**2 * np.array(slopes)

    @cached_property
    def c_star(self) -> float:
        """The stable correlation: 1 in the ordered phase, below 1 in the chaotic one."""
        q = self._scale**2
        if self._slope_at_1 <= 1 + 1e-7:
            return 1.0
        if self._next_c(0.0, q) < 1e-12:
            return 0.0
        # the map is convex on [0, 1] (its power series has no negative term): one more crossing
        top = 1 - 1e-9
        if self._next_c(top, q) >= top:
            return 1.0
        return float(brentq(lambda c: self._next_c(c, q) - c, 0.0, top, xtol=1e-13))

    @cached_property
    def xi_q(self) -> float:
        """Layers in which the distance of q from q* falls by a factor e."""
        return _depth_scale(self._slope_of_q(self._scale**2))

    @cached_property
    def xi_c(self) -> float:
        """The same for c and ``c_star``; infinite at the edge of chaos (Schoenholz 2017, eq. 9)."""
        if self.c_star == 1:
            return _depth_scale(self._slope_at_1)
        slope = _derivative(self._phi, self._scale)
        return _depth_scale(self.sigma_w**2 * normal_mean_of_two(slope, self._scale, self.c_star))

    @cached_property
    def spread(self) -> Floats:
        """Standard deviation of log q over nets of this width, for one input, shape (depth,).

        The kernel's (Roberts, Yaida & Hanin 2022, ch. 4), and 2/width for a mean over its units.
        """
        if self.width is None:
            raise ValueError("width must be given to mean_field for a band, got None")
        variance = [0.0]
        for q in map(float, self.q[:-1]):
            fourth = normal_mean(lambda z: self._phi(z) ** 4, sqrt(q))
            fresh = self.sigma_w**4 * (fourth - self._moment(q) ** 2) / self.width
            variance.append(fresh + self._slope_of_q(q) ** 2 * variance[-1])
        return np.asarray(np.sqrt(np.array(variance) / self.q**2 + 2 / self.width))

    @property
    def q_low(self) -> Floats:
        """Lower end of the band in which one net of this width lies 95 times in 100."""
        return np.asarray(self.q * np.exp(-(self.spread**2) / 2 - 1.96 * self.spread))

    @property
    def q_high(self) -> Floats:
        """Upper end of that band."""
        return np.asarray(self.q * np.exp(-(self.spread**2) / 2 + 1.96 * self.spread))

    def after_activation(self, q: Floats) -> Floats:
        """E[φ(z)²] of what the activation hands on, for pre-activations of second moment q."""
        return np.array([self._moment(float(one)) for one in np.ravel(q)]).reshape(np.shape(q))

    def _moment(self, q: float) -> float:
        return normal_mean(lambda z: self._phi(z) ** 2, sqrt(q))

    def _next_q(self, q: float) -> float:
        return self.sigma_w**2 * self._moment(q) + self.sigma_b**2

    def _next_c(self, c: float, q: float) -> float:
        if q == 0:
            return c
        product, after = normal_mean_of_two(self._phi, sqrt(q), c), self._next_q(q)
        return (self.sigma_w**2 * product + self.sigma_b**2) / after if after else c

    def _slope_of_q(self, q: float) -> float:
        # by Gaussian integration by parts: no derivative of φ, so kinks do no harm
        scale = max(sqrt(q), 1e-150)
        curved = normal_mean(lambda z: self._phi(z) ** 2 * ((z / scale) ** 2 - 1), scale)
        return self.sigma_w**2 * curved / (2 * scale**2)

    @property
    def _scale(self) -> float:
        """√q*, kept away from 0 and infinity, where only limits exist."""
        return sqrt(min(max(self.q_star, 1e-16), 1e16))

    @property
    def _slope_at_1(self) -> float:
        after = self._next_q(self._scale**2)
        return self.chi_1 * self._scale**2 / after if after > 0 else self.chi_1


def mean_field(
    activation: str | Activation,
    sigma_w: float,
    sigma_b: float,
    depth: int,
    q0: float = 1.0,
    *,
    c0: float = 0.0,
    width: int | None = None,
) -> MeanField:
    """Mean-field prediction for a plain net of ``depth`` layers (Poole et al. 2016).

    ``activation`` is MXNet's name of it or a function of NumPy arrays. ``q0`` is the second moment
    of the first layer's pre-activations, σ_w² times the mean square of the input plus σ_b²; ``c0``
    their correlation between two inputs. With a ``width``, ``q_low`` and ``q_high`` bound the band
    in which one net lies 95 times in 100: for one input, and fresh weights and biases in each.

    >>> theory = mean_field("tanh", 1.5, 0.2, depth=10)
    >>> round(theory.q_star, 4), round(theory.chi_1, 4), round(theory.xi_c, 2)
    (0.8709, 1.1009, 14.54)
    >>> mean_field("relu", 2**0.5, 0, depth=50, width=100).spread[-1].round(2)
    1.57

    Raises ValueError for a negative sigma, q0 that is not positive, c0 outside [−1, 1], depth or
    width below 1, and an activation that is unknown or doesn't work entry by entry.
    """
    if abs(number("c0", c0)) > 1:
        raise ValueError(f"c0 must be from -1 to 1, got {c0!r}")
    sigmas = _not_negative("sigma_w", sigma_w), _not_negative("sigma_b", sigma_b)
    depth, q0 = whole("depth", depth, 1), number("q0", q0, positive=True)
    width = None if width is None else whole("width", width, 1)
    return MeanField(activation, *sigmas, depth, q0, float(c0), width, _function(activation))


def critical_sigma_w(activation: str | Activation, sigma_b: float) -> float:
    """The edge of chaos: the σ_w at which χ₁ = 1 for this σ_b (Poole et al. 2016).

    >>> round(critical_sigma_w("tanh", 0), 6), round(critical_sigma_w("relu", 0) ** 2, 6)
    (1.0, 2.0)

    Raises ValueError for a negative sigma_b and where no σ_w is critical.
    """
    phi, sigma_b = _function(activation), _not_negative("sigma_b", sigma_b)
    for sigma_w in _where_critical(phi, sigma_b):
        if abs(mean_field(activation, sigma_w, sigma_b, 1).chi_1 - 1) < 1e-4:
            return sigma_w
    reached = "activation must have a σ_w at which χ₁ = 1 is reached from q0 = 1"
    raise ValueError(f"{reached}, none was found for sigma_b = {sigma_b:g}")


def _where_critical(phi: Activation, sigma_b: float) -> Iterator[float]:
    """Each σ_w at which some second moment q is a fixed point and has χ₁ = 1."""

    def critical(q: float) -> float:
        return 1 / max(_slope_moment(phi, sqrt(q)), 1e-300)

    def excess(q: float) -> float:
        """By how much the next second moment is then above q, as a share of q."""
        return (critical(q) * normal_mean(lambda z: phi(z) ** 2, sqrt(q)) + sigma_b**2) / q - 1

    grid = np.geomspace(1e-12, 1e12, 97)
    over = [excess(q) for q in grid]
    if abs(over[0]) < 1e-6:
        yield sqrt(critical(grid[0]))  # without bias: where the signal is small
    for q, after, here, there in zip(grid, grid[1:], over, over[1:], strict=False):
        if here > 0 > there:
            yield sqrt(critical(float(brentq(excess, q, after, rtol=1e-13))))
    if abs(over[-1]) < 1e-6:
        yield sqrt(critical(grid[-1]))  # φ is homogeneous: one σ_w for every q


def _not_negative(argument: str, value: float) -> float:
    if number(argument, value) < 0:
        raise ValueError(f"{argument} must be at least 0, got {value!r}")
    return float(value)


def _function(activation: str | Activation) -> Activation:
    if isinstance(activation, str):
        return _ACTIVATIONS[one_of("activation", activation, _ACTIVATIONS)]
    if not callable(activation):
        raise ValueError(f"activation must be a name or a function, got {activation!r}")
    z = np.linspace(-2, 2, 6).reshape(2, 3)
    try:
        value = np.asarray(activation(z), float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"activation must take NumPy arrays, but fails: {error}") from None
    if value.shape != z.shape or not np.isfinite(value).all():
        raise ValueError(f"activation must give a finite number for each, got {value.tolist()}")
    return lambda z: np.asarray(activation(z), float)


def _depth_scale(slope: float) -> float:
    if abs(abs(slope) - 1) < 1e-7:
        return inf
    return -1 / log(abs(slope)) if slope else 0.0


def _limit(step: Callable[[float], float], start: float) -> float:
    """Where iterating an increasing map leads: the first fixed point on the way."""
    q, after = start, step(start)
    if abs(after - q) <= 1e-10 * q:
        return q
    up = after > q
    while 1e-14 < q < 1e14:
        # a step, or a fixed share where steps are slow, as long as no fixed point lies between
        far = q * 1.05 if up else q / 1.05
        if (step(far) > far) != up:
            return float(brentq(lambda x: step(x) - x, q, far, rtol=1e-13))
        q = far
    return inf if up else 0.0


def _slope_moment(function: Activation, scale: float) -> float:
    slope = _derivative(function, scale)
    return normal_mean(lambda z: slope(z) ** 2, scale)


def _derivative(function: Activation, scale: float) -> Activation:
    step = 1e-5 * scale
    return lambda x: (function(x + step) - function(x - step)) / (2 * step)
