"""Means over a normal variable, right for kinks and steep functions too."""

from collections.abc import Callable
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Function = Callable[[Floats], Floats]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)  # type: ignore[no-untyped-call]
_END = 9.0  # standard deviations; beyond lie 2e-19
_MESH = np.linspace(-_END, _END, 25)


def _nodes(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Places and weights of Gauss–Legendre's rule on panels: their shape and an axis of 12."""
    reach = (high - low)[..., None] / 2
    z = (high + low)[..., None] / 2 + reach * _NODES
    return z, reach * _WEIGHTS * np.exp(-z * z / 2) / sqrt(2 * np.pi)


def _halves(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    middle = (low + high) / 2
    return _nodes(np.stack([low, middle], axis=1), np.stack([middle, high], axis=1))


_FIRST = _nodes(_MESH[:-1], _MESH[1:]), _halves(_MESH[:-1], _MESH[1:])


def normal_mean(function: Function, scale: float) -> float:
    """E[function(scale · z)] under N(0, 1)."""
    return _refined(function, scale)[0]


def _refined(function: Function, scale: float) -> tuple[float, Floats]:
    """E[function(scale · z)], and edges of panels of z on which the function is smooth.

    Panels are halved until halving changes nothing, or rounding makes thousands of them. (Gauss–
    Hermite is slow for kinks and steep activations.)
    """
    low, high = _MESH[:-1], _MESH[1:]
    (z, weight), (fine, fine_weight) = _FIRST
    whole = (weight * function(scale * z)).sum(-1)
    mean = size = 0.0
    edges = [_MESH]
    for _ in range(26):
        parts = (fine_weight * function(scale * fine)).sum(-1)
        sums, sizes = parts.sum(1), abs(parts).sum(1)
        rough = abs(whole - sums) > 1e-9 * (size + sizes.sum())
        mean, size = mean + float(sums[~rough].sum()), size + float(sizes[~rough].sum())
        if not rough.any() or len(low) > 2000:
            mean += float(sums[rough].sum())
            break
        middle = (low[rough] + high[rough]) / 2
        low, high = np.concatenate([low[rough], middle]), np.concatenate([middle, high[rough]])
        whole = np.concatenate([parts[rough, 0], parts[rough, 1]])
        edges.append(middle)
        fine, fine_weight = _halves(low, high)
    else:
        mean += float(whole.sum())
    return mean, np.sort(np.concatenate(edges))


def normal_mean_of_two(function: Function, scale: float, c: float) -> float:
    """E[f(scale · u) f(scale · v)] for standard normal u, v of correlation c."""
    if abs(c) > 1 - 1e-13:
        return normal_mean(lambda z: function(z) * function(np.sign(c) * z), scale)
    mesh = _refined(lambda z: function(z) ** 2, scale)[1]
    mesh = mesh if len(mesh) < 200 else _MESH  # else too many pairs
    u, weight = _nodes(mesh[:-1], mesh[1:])
    rest = sqrt((1 - c) * (1 + c))
    # for each u, panels of v = c u + rest · w end where the function's do, or w's density asks
    ends = (mesh - c * u[..., None]) / rest
    fixed = np.broadcast_to(np.linspace(-_END, _END, 13), (*u.shape, 13))
    edges = np.sort(np.clip(np.concatenate([ends, fixed], axis=-1), -_END, _END), axis=-1)
    w, inner = _nodes(edges[..., :-1], edges[..., 1:])
    inner *= function(scale * (c * u[..., None, None] + rest * w))
    return float((weight * function(scale * u) * inner.sum((-2, -1))).sum())
