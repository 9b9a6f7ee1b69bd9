"""Mean-field theory: what a random network of great width does to signals, layer by layer.

Pre-activations of many units are normal. Their second moment q and the correlation c between two
inputs' say everything: a layer maps (q, c) to the next, and fixed points and slopes of that map
tell how deep a signal travels. Weights have variance σ_w²/fan-in, biases σ_b².
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import exp, inf, isclose, isfinite, isnan, log, nan, sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.special import erf, expit, log_expit

from ..arguments import number, one_of, whole
from ..quadrature import (
    Floats,
    Function,
    as_function,
    normal_mean,
    normal_mean_of_two,
    slope_moment,
)

Activation = Function

ACTIVATIONS: dict[str, Activation] = {
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
            c.append(self._next_c(c[-1], q))
        return np.array(c)

    @cached_property
    def q_star(self) -> float:
        """Second moment that the layers settle at from q0; 0 or infinity where there is none."""
        return _limit(self._next_q, self.q0)

    @cached_property
    def chi_1(self) -> float:
        """σ_w² E[φ′(√q* z)²], a layer's factor on the gradient's mean square (Schoenholz 2017).

        Infinite for an activation with a jump.
        """
        chi = self._chi(self._scale**2)
        if self.q_star in (0, inf) and not isclose(chi, self._chi(self._scale**1.5), rel_tol=0.01):
            return self.q_star  # φ is no straight line there, and χ₁ goes where q goes
        return chi

    @cached_property
    def chi(self) -> Floats:
        """The same factor at each layer, where the second moment is q, shape (depth,)."""
        return np.array([self._chi(float(q)) for q in self.q])

    @cached_property
    def c_star(self) -> float:
        """The stable correlation: 1 in the ordered phase, below 1 in the chaotic one.

        nan where layers come to leave any c as it is, so that the limit depends on c0: linear ones,
        and others where without bias the signal dies until only φ's slope at 0 counts.
        """
        q = self._scale**2
        if all(abs(self._next_c(c, max(q, 1e-12)) - c) < 1e-8 for c in (0.3, 0.7)):
            return nan
        # the map is convex on [0, 1] (its power series has no negative term): through 0 and 1 it
        # runs below the diagonal, and otherwise crosses it once more where it is steep at 1
        if self._next_c(0.0, q) < 1e-15:
            return 0.0
        if self._slope_at_1 <= 1 + 1e-7:
            return 1.0
        below = (c for c in 1 - 10.0 ** -np.arange(1, 10) if self._next_c(c, q) < c)
        if not (top := next(below, 0.0)):
            return 1.0
        return float(brentq(lambda c: self._next_c(c, q) - c, 0.0, top, xtol=1e-18))

    @cached_property
    def xi_q(self) -> float:
        """Layers in which the distance of q from q* falls by a factor e; nan where q* is ∞."""
        return nan if self.q_star == inf else _depth_scale(self._slope_of_q(self._scale**2))

    @cached_property
    def xi_c(self) -> float:
        """The same for c and ``c_star``; infinite at the edge of chaos (Schoenholz 2017, eq. 9)."""
        if isnan(self.c_star):
            return nan
        if self.c_star == 1:
            return _depth_scale(self._slope_at_1)
        slope = normal_mean_of_two(self._phi, self._scale, self.c_star, slope=True)
        return _depth_scale(self.sigma_w**2 * slope / self._next_q(self._scale**2))

    @cached_property
    def spread(self) -> Floats:
        """Standard deviation of log q over nets of this width, for one input, shape (depth,).

        The kernel's (Roberts, Yaida & Hanin 2022, ch. 4), and 2/width for a mean over its units.
        """
        if self.width is None:
            raise ValueError("width must be given to mean_field for a band, got None")
        variance = [0.0]  # relative to q²
        for q in map(_told, self.q[:-1]):
            fourth, after = normal_mean(lambda z: self._phi(z) ** 4, sqrt(q)), self._next_q(q)
            if not after:  # nothing is left to scatter
                return np.full(self.depth, nan)
            fresh = (self.sigma_w**2 / after) ** 2 * (fourth - self._moment(q) ** 2) / self.width
            variance.append(fresh + (self._slope_of_q(q) * q / after) ** 2 * variance[-1])
        return np.asarray(np.sqrt(np.array(variance) + 2 / self.width))

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
        return normal_mean(lambda z: self._phi(z) ** 2, sqrt(q)) if isfinite(q) else q

    def _next_q(self, q: float) -> float:
        return self.sigma_w**2 * self._moment(q) + self.sigma_b**2

    def _next_c(self, c: float, q: float) -> float:
        q = _told(q)
        product, after = normal_mean_of_two(self._phi, sqrt(q), c), self._next_q(q)
        if after in (0, inf):
            return nan if after else c
        return (self.sigma_w**2 * product + self.sigma_b**2) / after

    def _chi(self, q: float) -> float:
        scale = sqrt(min(max(q, 1e-16), 1e70))
        return self.sigma_w**2 * slope_moment(self._phi, scale) if self.sigma_w else 0.0

    def _slope_of_q(self, q: float) -> float:
        # by Gaussian integration by parts: no derivative of φ, so kinks do no harm
        scale = sqrt(max(q, 1e-16))
        curved = normal_mean(lambda z: self._phi(z) ** 2 * ((z / scale) ** 2 - 1), scale)
        return self.sigma_w**2 * curved / (2 * scale**2)

    @cached_property
    def _scale(self) -> float:
        """√q*, or where only limits exist a number near 0 or far out."""
        return {0.0: 1e-8, inf: 1e8}.get(self.q_star, sqrt(self.q_star))

    @property
    def _slope_at_1(self) -> float:
        q = self._scale**2
        return self._chi(q) * q / self._next_q(q)


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

    ``activation`` is MXNet's name of it or a function of NumPy's or MXNet's arrays. ``q0`` is the
    second moment of the first layer's pre-activations, σ_w² times the mean square of the input plus
    σ_b²; ``c0`` their correlation between two inputs. With a ``width``, ``q_low`` and ``q_high``
    bound the band in which one net lies 95 times in 100: for one input, and fresh weights and
    biases in each.

    >>> theory = mean_field("tanh", 1.5, 0.2, depth=10)
    >>> round(theory.q_star, 4), round(theory.chi_1, 4), round(theory.xi_c, 2)
    (0.8709, 1.1009, 14.54)
    >>> round(float(mean_field("relu", 2**0.5, 0, depth=50, width=100).spread[-1]), 2)
    1.57

    Raises ValueError for a negative sigma, q0 that is not positive, c0 outside [−1, 1], depth or
    width below 1, and an activation that is unknown or doesn't work entry by entry. Numbers that
    come later raise it where the activation bends or jumps too often for an integral.
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
    raise ValueError(
        f"activation must have a σ_w at which χ₁ = 1 is reached from q0 = 1, none was found for "
        f"sigma_b = {sigma_b:g} (χ₁ may jump over 1 where q* jumps to infinity)"
    )


def _where_critical(phi: Activation, sigma_b: float) -> Iterator[float]:
    """Each σ_w at which some second moment q is a fixed point and has χ₁ = 1."""

    def critical(q: float) -> float:
        return 1 / max(slope_moment(phi, sqrt(q)), 1e-300)

    def excess(q: float) -> float:
        """By how much the next second moment is then above q, as a share of q."""
        try:
            moment = normal_mean(lambda z: phi(z) ** 2, sqrt(q))
            return (critical(q) * moment + sigma_b**2) / q - 1
        except ValueError:  # there φ changes too often
            return nan

    grid = np.geomspace(1e-12, 1e12, 97)
    over = [excess(q) for q in grid]
    if abs(over[0]) < 1e-6:
        yield sqrt(critical(1e-16))  # without bias: where the signal is small
    for q, after, here, there in zip(grid, grid[1:], over, over[1:], strict=False):
        if here > 0 > there:
            yield sqrt(critical(float(brentq(excess, q, after, rtol=1e-13))))
    if abs(over[-1]) < 1e-6:
        yield sqrt(critical(1e16))  # φ is homogeneous: one σ_w for every q


def _not_negative(argument: str, value: float) -> float:
    if not 0 <= number(argument, value) <= 1e30:
        raise ValueError(f"{argument} must be from 0 to 1e30, got {value!r}")
    return float(value)


def _function(activation: str | Activation) -> Activation:
    if isinstance(activation, str):
        return ACTIVATIONS[one_of("activation", activation, ACTIVATIONS)]
    return as_function(activation)


def _told(q: float) -> float:
    """q, or where squares would be too small or large to be told from 0 or ∞ one that is not."""
    return float(min(max(q, 1e-40), 1e40))


def _depth_scale(slope: float) -> float:
    if abs(abs(slope) - 1) < 1e-7:
        return inf
    return -1 / log(abs(slope)) if abs(slope) > 1e-8 else 0.0  # less is rounding


def _limit(step: Callable[[float], float], start: float) -> float:
    """Where iterating a map of second moments leads: the first fixed point on the way."""

    def share(q: float) -> float:
        return step(q) / q - 1

    def change(q: float) -> float:
        return 0.0 if abs(share(q)) < 1e-12 else share(q)

    q, rise = start, change(start)
    if not rise:
        if change(q * 1.05) or change(q / 1.05):
            return q
        # so small or large a q stays for long: see which way it goes further in, if any
        further = map(float, np.geomspace(q, 1e30 if q < 1 else 1e-30, 200))
        q = next((far for far in further if change(far)), 0.0)
        if not q:
            return start
        rise = change(q)
        if (rise > 0) != (q > start):
            return 0.0 if rise < 0 else inf
    near, lowest = q, 0.0 if step(0.0) else 1e-24
    while True:
        # a step, or a fixed share where steps are slow, as long as no fixed point lies between
        pace = 1.05 if 1e-8 < q < 1e8 else 2.0
        q = max(step(q), q * pace) if rise > 0 else min(step(q), q / pace)
        if rise > 0 and q > 1e70:
            return inf
        if rise < 0 and q <= lowest:
            return 0.0
        if change(q) * rise < 0:
            return exp(brentq(lambda x: share(exp(x)), log(near), log(q), xtol=1e-14))
        near = q if change(q) else near
