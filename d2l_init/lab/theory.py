"""Mean-field theory: what a random network of great width does to signals, layer by layer.

In a layer of many units the pre-activations are normal. Two numbers then say everything about a
pair of inputs: the second moment q of the pre-activations and the correlation c between the two
inputs'. A layer maps (q, c) to the next (q, c); fixed points and slopes of that map tell how deep a
signal travels. Weights have variance σ_w²/fan-in, biases σ_b².
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, log, sqrt
from numbers import Integral, Real

import numpy as np
from scipy.optimize import brentq
from scipy.special import erf, expit, log_expit

from ..arguments import one_of
from ..quadrature import END, Floats, mesh_of, nodes, normal_mean

Activation = Callable[[Floats], Floats]

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _elu(z: Floats, alpha: float = 1.0) -> Floats:
    return np.asarray(np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0))))


_ACTIVATIONS: dict[str, Activation] = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "tanh": np.tanh,
    "sigmoid": expit,
    "log_sigmoid": log_expit,
    "softrelu": lambda z: np.logaddexp(z, 0),
    "softsign": lambda z: z / (1 + abs(z)),
    "elu": _elu,
    "selu": lambda z: SELU_SCALE * _elu(z, SELU_ALPHA),
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
        """σ_w² E[φ′(√q* z)²]: the factor on the gradient's second moment at each layer.

        It is also the slope of the correlation map at c = 1, as long as q* is neither 0 nor
        infinite (Schoenholz et al. 2017, eq. 5).
        """
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
        """Layers in which the distance of c from the stable correlation falls by a factor e.

        −1/log of the slope there, which in the chaotic phase is not at c = 1; infinite on the
        critical line (Schoenholz et al. 2017, eq. 9).
        """
        if self.c_star == 1:
            return _depth_scale(self._slope_at_1)
        slope = _derivative(self._phi, self._scale)
        return _depth_scale(self.sigma_w**2 * _mean_of_two(slope, self._scale, self.c_star))

    @cached_property
    def spread(self) -> Floats:
        """Standard deviation of log q over nets of this width, for one input, shape (depth,).

        Roberts, Yaida & Hanin 2022, chapter 4, for the kernel's variance V; the mean of a layer's
        squares adds 2/width of its own. Raises ValueError when no width was given.
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
        product = _mean_of_two(self._phi, sqrt(q), c)
        return (self.sigma_w**2 * product + self.sigma_b**2) / self._next_q(q)

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
        q = self._scale**2
        after = self._next_q(q)
        return self.chi_1 * q / after if after > 0 else self.chi_1


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

    ``activation`` is MXNet's name of it or a function of NumPy arrays; weights have variance
    ``sigma_w``²/fan-in, biases ``sigma_b``². ``q0`` is the second moment of the first layer's
    pre-activations, σ_w² times the mean square of the input plus σ_b²; ``c0`` their correlation
    between two inputs. With a ``width``, ``q_low`` and ``q_high`` bound the band in which one net
    lies 95 times in 100: for one input, and with fresh weights and biases in each net.

    >>> theory = mean_field("tanh", 1.5, 0.2, depth=10)
    >>> round(theory.q_star, 4), round(theory.chi_1, 4), round(theory.xi_c, 2)
    (0.8709, 1.1009, 14.54)
    >>> mean_field("relu", 2**0.5, 0, depth=50, width=100).spread[-1].round(2)
    1.57

    Raises ValueError for a negative sigma, q0 that is not positive, c0 outside [−1, 1], depth or
    width below 1, and an activation that is unknown or does not map arrays to arrays elementwise.
    """
    if depth is True or not isinstance(depth, Integral) or depth < 1:
        raise ValueError(f"depth must be a whole number of at least 1, got {depth!r}")
    if width is not None and (width is True or not isinstance(width, Integral) or width < 1):
        raise ValueError(f"width must be a whole number of at least 1, got {width!r}")
    c0 = _number("c0", c0, -1.0)
    if c0 > 1:
        raise ValueError(f"c0 must be at most 1, got {c0!r}")
    q0 = _number("q0", q0, 0.0)
    if q0 == 0:
        raise ValueError(f"q0 must be positive, got {q0!r}")
    return MeanField(
        activation,
        _number("sigma_w", sigma_w, 0.0),
        _number("sigma_b", sigma_b, 0.0),
        int(depth),
        q0,
        c0,
        None if width is None else int(width),
        _function(activation),
    )


def critical_sigma_w(activation: str | Activation, sigma_b: float) -> float:
    """The edge of chaos: the σ_w at which χ₁ = 1 for this σ_b (Poole et al. 2016).

    >>> round(critical_sigma_w("tanh", 0), 6), round(critical_sigma_w("relu", 0) ** 2, 6)
    (1.0, 2.0)

    Raises ValueError for a negative sigma_b and where no σ_w is critical.
    """
    phi, sigma_b = _function(activation), _number("sigma_b", sigma_b, 0.0)
    for sigma_w in _where_critical(phi, sigma_b):
        if abs(mean_field(activation, sigma_w, sigma_b, 1).chi_1 - 1) < 1e-4:
            return sigma_w
    raise ValueError(
        "activation must have a σ_w at which χ₁ = 1 is reached from q0 = 1, "
        f"none was found for sigma_b = {sigma_b:g}"
    )


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
    for k in range(len(grid) - 1):
        if over[k] > 0 > over[k + 1]:
            yield sqrt(critical(float(brentq(excess, grid[k], grid[k + 1], rtol=1e-13))))
    if abs(over[-1]) < 1e-6:
        yield sqrt(critical(grid[-1]))  # φ is homogeneous: one σ_w for every q


def _number(argument: str, value: float, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= value < inf:
        raise ValueError(f"{argument} must be a finite number of at least {least:g}, got {value!r}")
    return float(value)


def _function(activation: str | Activation) -> Activation:
    if isinstance(activation, str):
        return _ACTIVATIONS[one_of("activation", activation, _ACTIVATIONS)]
    if not callable(activation):
        raise ValueError(f"activation must be a name or a function, got {activation!r}")
    z = np.linspace(-2, 2, 6).reshape(2, 3)
    try:
        value = np.asarray(activation(z))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"activation must take NumPy arrays, got one that fails: {error}"
        ) from None
    if value.shape != z.shape:
        raise ValueError(
            f"activation must return the shape it is given, {z.shape}, got {value.shape}"
        )
    if not np.isfinite(value).all():
        raise ValueError(f"activation must be finite, got {value.ravel().tolist()} on [-2, 2]")
    return activation


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


def _mean_of_two(function: Activation, scale: float, c: float) -> float:
    """E[f(scale · u) f(scale · v)] for standard normal u, v of correlation c."""
    if abs(c) > 1 - 1e-13:
        return normal_mean(lambda z: function(z) * function(np.sign(c) * z), scale)
    mesh = mesh_of(lambda z: function(z) ** 2, scale)
    u, weight = nodes(mesh)
    rest = sqrt((1 - c) * (1 + c))
    # for each u, panels of v = c u + rest · w end where the function's do, or w's density asks
    ends = (mesh - c * u[:, None]) / rest
    fixed = np.broadcast_to(np.linspace(-END, END, 13), (len(u), 13))
    edges = np.sort(np.clip(np.concatenate([ends, fixed], axis=1), -END, END), axis=1)
    w, inner_weight = nodes(edges)
    inner = (inner_weight * function(scale * (c * u[:, None] + rest * w))).sum(1)
    return float(weight @ (function(scale * u) * inner))


def _slope_moment(function: Activation, scale: float) -> float:
    slope = _derivative(function, scale)
    return normal_mean(lambda z: slope(z) ** 2, scale)


def _derivative(function: Activation, scale: float) -> Activation:
    step = 1e-5 * scale
    return lambda x: (function(x + step) - function(x - step)) / (2 * step)
