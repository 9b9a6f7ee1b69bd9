"""Means over a normal variable, right for kinks, jumps and steep functions too."""

import sys
from collections.abc import Callable
from functools import cache, partial
from math import ceil, hypot, inf, isclose, log, sqrt
from typing import Any

import numpy as np
from numpy.polynomial.legendre import legder, leggauss, legroots, legval, legvander
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Function = Callable[[Floats], Floats]
Rule = tuple[Floats, Floats, Floats]  # places, their weights, half the width of their panel

_INNER: tuple[Floats, Floats] = leggauss(12)  # type: ignore[no-untyped-call]
# Lobatto's rule has nodes at both ends, so that neighbours share a value and no jump hides
_P = np.eye(13)  # Legendre's polynomials
_ENDED = np.array([-1.0, *np.real(legroots(legder(_P[12]))), 1.0])  # type: ignore[no-untyped-call]
_WEIGHTS = 2 / (12 * 13 * legval(_ENDED, _P[12]) ** 2)  # type: ignore[no-untyped-call]
_SLOPES = legvander(_ENDED, 11) @ legder(_P) @ np.linalg.inv(legvander(_ENDED, 12))  # type: ignore[no-untyped-call]
_END = 9.0  # standard deviations; beyond lie 2e-19
_AROUND = (-7, -4, -2, 0, 2, 4, 7)
_DEEPEST = 40  # halvings: from there on a panel's ends are the same number, to 12 digits


def _nodes(low: Floats, high: Floats, rule: tuple[Floats, Floats] = (_ENDED, _WEIGHTS)) -> Rule:
    """A rule of Gauss's on panels: arrays of their shape and an axis more."""
    reach = (high - low)[..., None] / 2
    z = (high + low)[..., None] / 2 + reach * rule[0]
    return z, reach * rule[1] * np.exp(-z * z / 2) / sqrt(2 * np.pi), reach


def _halves(low: Floats, high: Floats) -> Rule:
    middle = (low + high) / 2
    return _nodes(np.stack([low, middle], axis=1), np.stack([middle, high], axis=1))


@cache
def _start(levels: int) -> tuple[Floats, Rule, Rule]:
    """A first mesh: even, but finer and finer towards 0."""
    near = 0.75 * 0.25 ** np.arange(1, levels + 1)
    return _rules(np.sort(np.concatenate([np.linspace(-_END, _END, 25), near, -near])))


def _rules(mesh: Floats) -> tuple[Floats, Rule, Rule]:
    return mesh, _nodes(mesh[:-1], mesh[1:]), _halves(mesh[:-1], mesh[1:])


def _first(scale: float) -> tuple[Floats, Rule, Rule]:
    """The mesh on which a function that changes near x = 0, over a length of 1, is seen to."""
    return _start(ceil(log(max(scale, 1.0), 4)))


def normal_mean(function: Function, scale: float) -> float:
    """E[function(scale · z)] under N(0, 1).

    Raises ValueError where the function changes too often for it.
    """
    return _mean(function, scale, slope=False)


def slope_moment(function: Function, scale: float) -> float:
    """E[function′(scale · z)²] under N(0, 1), infinite for a jump.

    Raises ValueError where the function changes too often for it.
    """
    return _mean(function, scale, slope=True)


def _mean(function: Function, scale: float, slope: bool) -> float:
    for tolerance in (1e-9 if slope else 1e-10, 1e-5):  # float32 is too rough for the first
        mean, left, doubt, _ = _refined(function, scale, slope, tolerance=tolerance)
        if slope and left > 0.01:
            return inf
        if not left + doubt > 1e-5 or abs(mean) < 1e-290:  # less has few digits
            return mean
    raise _too_rough(scale)


def _too_rough(scale: float) -> ValueError:
    return ValueError(
        "activation must bend or jump less often: no mean can be computed where pre-activations "
        f"have second moment {scale**2:.3g}"
    )


@np.errstate(over="ignore", invalid="ignore")  # a mean may be infinite
def _refined(
    function: Function,
    scale: float,
    slope: bool = False,
    mesh: Floats | None = None,
    *,
    tolerance: float,
) -> tuple[float, float, float, Floats]:
    """E[function(scale · z)], or of its slope's square, and how it was found.

    Panels are halved until halving changes nothing, or they are too many. (Gauss–Hermite is slow
    for kinks and steep activations.) Next come, as shares of the mean size, the
    part from panels that were halved to the last and the error elsewhere, and edges of the panels.
    """

    def share(rule: Rule) -> Floats:
        z, weight, reach = rule
        value = function(scale * z)
        if slope:  # of the polynomial through the panel's nodes
            value = ((value - value[..., :1]) @ _SLOPES.T / (reach * scale)) ** 2
        return np.asarray((weight * value).sum(-1))

    mesh, coarse, fine = _first(scale) if mesh is None else _rules(mesh)
    whole, low, high = share(coarse), mesh[:-1], mesh[1:]
    mean = size = left = 0.0
    edges, off = [mesh], np.zeros(0)
    for _ in range(_DEEPEST):
        parts = share(fine)
        both, sizes = parts.sum(1), abs(parts).sum(1)
        error, most = abs(whole - both), size + float(sizes.sum())
        rough = error > tolerance * most
        if len(low) > (2000 if error[rough].sum() > 1e-6 * most else 600):  # small: it's rounding
            rough[:] = False
        mean, size = mean + float(both[~rough].sum()), size + float(sizes[~rough].sum())
        off = np.append(off, (whole - both)[~rough])
        if not rough.any():
            break
        middle = (low[rough] + high[rough]) / 2
        low, high = np.concatenate([low[rough], middle]), np.concatenate([middle, high[rough]])
        whole = np.concatenate([parts[rough, 0], parts[rough, 1]])
        edges.append(middle)
        fine = _halves(low, high)
    else:
        left = float(whole.sum())
        mean, size = mean + left, size + abs(left)
    # errors of many panels add up, or scatter and cancel by chance
    doubt = hypot(float(off.sum()), *off)
    return mean, left / (size or 1.0), doubt / (size or 1.0), np.sort(np.concatenate(edges))


@np.errstate(over="ignore", invalid="ignore")
def normal_mean_of_two(function: Function, scale: float, c: float, slope: bool = False) -> float:
    """E[f(scale · u) f(scale · v)] for standard normal u, v of correlation c, or its slope in c."""
    if abs(c) > 1 - 1e-13:
        return normal_mean(lambda z: function(z) * function(np.sign(c) * z), scale)
    mesh = _few(lambda z: function(z) ** 2, scale)
    rest = sqrt((1 - c) * (1 + c))
    # the mean over v smooths each bend or jump of the function, at 0 or between two close edges
    bends = np.append(mesh[:-1][np.diff(mesh) < rest], 0.0) if rest < 0.3 else np.zeros(0)
    smoothed = np.clip(np.add.outer(bends, rest * np.array(_AROUND)), -_END, _END)
    outer = np.union1d(mesh, smoothed)
    fixed = np.broadcast_to(np.linspace(-_END, _END, 13), (12, 13))
    mean = 0.0
    for u, weight in zip(*_nodes(outer[:-1], outer[1:], _INNER)[:2], strict=True):
        # for each u, panels of v = c u + rest · w end where the function's do, or w's density asks
        ends = (mesh - c * u[:, None]) / rest
        edges = np.sort(np.clip(np.concatenate([ends, fixed], axis=1), -_END, _END), axis=1)
        w, inner, _ = _nodes(edges[:, :-1], edges[:, 1:], _INNER)
        if slope:  # by Gaussian integration by parts: no derivative of f, so jumps do no harm
            inner = inner * (u[:, None, None] * w / rest - c * (w * w - 1) / rest**2)
        inner = inner * function(scale * (c * u[:, None, None] + rest * w))
        mean += float((weight * function(scale * u) * inner.sum((1, 2))).sum())
    return mean


def _few(function: Function, scale: float) -> Floats:
    """Edges of not too many panels, for pairs of them, on which the function is smooth."""
    for tolerance in (1e-10, 1e-6):
        mean, _, _, mesh = _refined(function, scale, tolerance=tolerance)
        width = np.diff(mesh)
        # panels that are narrower than their neighbours hold a jump or a kink; those in between,
        # halved for its sake, can be one
        beside = np.r_[False, width[1:] > width[:-1]] | np.r_[width[1:] < width[:-1], False]
        kept = np.union1d(_start(0)[0], np.r_[mesh[:-1][~beside], mesh[1:][~beside]])
        again, _, _, fewer = _refined(function, scale, mesh=kept, tolerance=tolerance)
        mesh = fewer if isclose(mean, again, rel_tol=1e-7) else mesh
        if len(mesh) < 200:
            return mesh
    raise _too_rough(scale)


def as_function(activation: Any) -> Function:
    """The activation from arrays of float64 to such arrays; MXNet's own get arrays of MXNet.

    Raises ValueError where it doesn't work entry by entry, or returns less than float32.
    """
    if not callable(activation):
        raise ValueError(f"activation must be a name or a function, got {activation!r}")
    z = np.linspace(-2, 2, 9).reshape(3, 3)
    problems = []
    for array in _arrays():
        try:
            value = _plain(activation(array(z)))
            finite = np.isfinite(value.astype(float))
            break
        except Exception as error:
            problems.append(" ".join(str(error).split()))
    else:
        raise ValueError(f"activation must take NumPy arrays, but fails: {problems[0]}") from None
    if value.shape != z.shape:
        shapes = f"{z.shape}, got {value.shape}"
        raise ValueError(f"activation must return the shape it is given, {shapes}")
    if value.dtype == np.float16:
        raise ValueError("activation must return float32 or float64, got float16")
    if not finite.all():
        raise ValueError(f"activation must give a finite number for each, got {value.tolist()}")

    def function(z: Floats) -> Floats:
        value = np.asarray(_plain(activation(array(z))), float)
        if not (finite := np.isfinite(value)).all():
            got = f"{value[~finite][0]} at {z[~finite][0]:.4g}"
            raise ValueError(f"activation must give a finite number for each, got {got}")
        return value

    return function


def _arrays() -> list[Callable[[Floats], Any]]:
    """What a function may take: NumPy's arrays, or one of MXNet's two kinds."""
    mx = sys.modules.get("mxnet")  # who has such a function has imported it
    kinds = (mx.np.array, mx.nd.array) if mx else ()
    return [np.asarray, *(partial(kind, dtype="float64") for kind in kinds)]


def _plain(array: Any) -> NDArray[Any]:
    return np.asarray(array.asnumpy() if hasattr(array, "asnumpy") else array)
