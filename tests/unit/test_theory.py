"""Mean-field theory against closed forms, and against nets that are really drawn.

The drawn nets are plain NumPy: each weight is drawn, nothing is taken from the theory.
"""

import subprocess
import sys
from functools import cache
from itertools import pairwise
from math import acos, asin, exp, inf, log, pi, sqrt

import numpy as np
import pytest
from scipy import integrate, special, stats

from d2l_init import critical_sigma_w, mean_field

DENSITY = stats.norm.pdf


def integral(function, *kinks):
    """E[function(z)] by scipy's adaptive rule, told where the kinks are."""
    ends = sorted({-9.0, 0.0, 9.0, *kinks})
    return sum(
        integrate.quad(lambda z: function(z) * DENSITY(z), a, b, epsabs=1e-13, limit=400)[0]
        for a, b in pairwise(ends)
    )


# --- closed forms -------------------------------------------------------------------------------


def test_relu_maps_correlation_by_the_arccosine_kernel():
    theory = mean_field("relu", sqrt(2), 0, depth=30, c0=-0.5)
    c = [-0.5]
    for _ in range(29):  # Cho & Saul 2009, eq. 6
        c.append((sqrt(1 - c[-1] ** 2) + c[-1] * (pi - acos(c[-1]))) / pi)
    assert np.allclose(theory.c, c, atol=1e-9)


@pytest.mark.parametrize(("sigma_w", "sigma_b"), [(0.8, 0.3), (1.5, 0.1), (4, 0.3)])
def test_erf_has_the_arcsine_kernel(sigma_w, sigma_b):
    theory = mean_field(special.erf, sigma_w, sigma_b, depth=20, c0=0.3)
    q, c = 1.0, 0.3
    for layer in range(1, 20):  # Williams 1998, eq. 11
        ends = [2 / pi * asin(2 * k / (1 + 2 * q)) for k in (q, c * q)]
        after = [sigma_w**2 * end + sigma_b**2 for end in ends]
        q, c = after[0], after[1] / after[0]
        assert theory.q[layer] == pytest.approx(q, rel=1e-8)
        assert theory.c[layer] == pytest.approx(c, abs=1e-8)
    chi = sigma_w**2 * 4 / pi / sqrt(1 + 4 * theory.q_star)
    assert theory.chi_1 == pytest.approx(chi, rel=1e-7)


@pytest.mark.parametrize("sigma_w", [0.5, 1.5, 4, 20])
def test_steep_tanh_is_right_to_five_digits(sigma_w):
    theory = mean_field("tanh", sigma_w, 0.3, depth=2)
    moment = integral(lambda z: np.tanh(z) ** 2)
    assert theory.q[1] == pytest.approx(sigma_w**2 * moment + 0.09, rel=1e-6)
    scale = sqrt(theory.q_star)
    fixed = sigma_w**2 * integral(lambda z: np.tanh(scale * z) ** 2, -1 / scale, 1 / scale) + 0.09
    slope = integral(
        lambda z: np.cosh(np.minimum(abs(scale * z), 300)) ** -4.0, -2 / scale, 2 / scale
    )
    assert theory.q_star == pytest.approx(fixed, rel=1e-6)
    assert theory.chi_1 == pytest.approx(sigma_w**2 * slope, rel=1e-5)


def test_kinks_away_from_zero_are_found():
    def clip(z):
        return np.clip(z, -1, 1)

    theory = mean_field(clip, 1.3, 0.1, depth=3)
    scale = sqrt(theory.q_star)
    inside = 2 * stats.norm.cdf(1 / scale) - 1
    assert theory.chi_1 == pytest.approx(1.69 * inside, rel=1e-5)


def test_the_stable_correlation_is_a_fixed_point_whose_slope_gives_the_depth_scale():
    start = mean_field("tanh", 2.5, 0.3, depth=2).q_star
    far = mean_field("tanh", 2.5, 0.3, depth=120, q0=start, c0=0.3)
    assert far.c[-1] == pytest.approx(far.c_star, abs=1e-6)
    falls = np.diff(np.log(abs(far.c - far.c_star)))[20:40]
    assert -1 / falls.mean() == pytest.approx(far.xi_c, rel=1e-3)


def test_the_critical_tanh_net_loses_its_signal_like_one_over_twice_the_layer():
    theory = mean_field("tanh", 1, 0, depth=3000)
    layer = np.arange(1, 3001)
    assert np.allclose((2 * layer * theory.q)[[299, 2999]], 1, rtol=0.02)
    assert (theory.q_star, theory.xi_q) == (0.0, inf)
    assert theory.chi_1 == pytest.approx(1, abs=1e-9)


def test_relu_keeps_any_second_moment_at_two_and_halves_it_at_one():
    assert mean_field("relu", sqrt(2), 0, 5, q0=7.0).q_star == pytest.approx(7)
    assert np.allclose(mean_field("relu", 1, 0, 5).q, 0.5 ** np.arange(5))
    assert mean_field("relu", 2, 0, 5).q_star == inf


def test_selu_at_lecun_normal_has_its_fixed_point_at_one_and_a_growing_gradient():
    theory = mean_field("selu", 1, 0, depth=2)
    assert theory.q_star == pytest.approx(1, abs=1e-9)
    assert theory.chi_1 == pytest.approx(1.0716, abs=1e-4)


@pytest.mark.parametrize("activation", ["tanh", "softsign", "selu", "elu", "sigmoid", "relu"])
@pytest.mark.parametrize("sigma_b", [0.1, 0.5])
def test_chi_is_one_on_the_critical_line(activation, sigma_b):
    sigma_w = critical_sigma_w(activation, sigma_b)
    assert mean_field(activation, sigma_w, sigma_b, 1).chi_1 == pytest.approx(1, abs=1e-6)


def test_the_critical_line_of_tanh_is_the_published_one():
    # Schoenholz et al. 2017, figure 2: (σ_w², σ_b²) = (1.76, 0.05)
    assert critical_sigma_w("tanh", sqrt(0.05)) ** 2 == pytest.approx(1.76, abs=0.005)


def test_the_band_of_relu_has_the_published_width():
    theory = mean_field("relu", sqrt(2), 0, depth=50, width=100)
    assert theory.spread[-1] == pytest.approx(sqrt((5 * 49 + 2) / 100), rel=1e-6)
    middle = np.log(theory.q_low * theory.q_high) / 2
    assert middle[-1] == pytest.approx(-(5 * 49 + 2) / 200, rel=1e-6)


# --- nets that are drawn ------------------------------------------------------------------------

PHASES = [
    ("relu", sqrt(2), 0.0),
    ("tanh", 1.0, 0.3),
    ("tanh", 1.3955839752, 0.3),
    ("tanh", 2.5, 0.3),
]
FUNCTIONS = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}


@cache
def second_moments_of_a_thousand_nets(depth=50, width=100, nets=1000):
    """Mean square per layer, (setting, layer, net); the four settings share each net's draws."""
    random = np.random.Generator(np.random.SFC64(5))
    result = np.empty((len(PHASES), depth, nets))
    for block in range(0, nets, 125):
        z = np.empty((125, width, len(PHASES)), "float32")
        first = random.standard_normal((125, width), dtype="float32")
        z[:] = (first / np.sqrt((first**2).mean(1, keepdims=True)))[:, :, None]  # |x|² = width
        for layer in range(depth):
            weight = random.standard_normal((125, width, width), dtype="float32") / sqrt(width)
            bias = random.standard_normal((125, width), dtype="float32")
            if layer:
                for k, (activation, _, _) in enumerate(PHASES):
                    z[:, :, k] = FUNCTIONS[activation](z[:, :, k])
            z = weight @ z
            for k, (_, sigma_w, sigma_b) in enumerate(PHASES):
                first_w = (
                    sqrt(1 - sigma_b**2) if layer == 0 else sigma_w
                )  # so that q at layer 1 is 1
                z[:, :, k] = first_w * z[:, :, k] + sigma_b * bias
            result[:, layer, block : block + 125] = (z**2).mean(1).T
    return result


@pytest.mark.parametrize("number", range(len(PHASES)), ids=[f"{p[0]} {p[1]:.2f}" for p in PHASES])
def test_the_band_holds_ninety_to_ninety_eight_nets_of_a_hundred(number):
    theory = mean_field(*PHASES[number], depth=50, width=100)
    measured = second_moments_of_a_thousand_nets()[number]
    inside = (theory.q_low[:, None] < measured) & (measured < theory.q_high[:, None])
    shares = inside.mean(1)[9::10]
    print(shares)
    assert len(shares) == 5
    assert (shares >= 0.90).all()
    assert (shares <= 0.98).all()


WIDE = [(0.9, 0.3), (1.1, 0.3), (1.3, 0.3), (1.3955839752, 0.3), (1.0, 0.5), (1.7, 0.3), (2.5, 0.3)]


@cache
def wide_tanh_nets(depth=30, width=1000):
    """Layers of one net for each setting: inputs u, v of correlation 1/2 at unit second moment.

    Returns q, c of (u, v), and how much a small push of u grows, each (setting, layer).
    """
    random = np.random.Generator(np.random.SFC64(8))
    pair = random.standard_normal((2, width))
    u, v, push = pair[0], (pair[0] + sqrt(3) * pair[1]) / 2, random.standard_normal(width)
    signals = np.array([[u, v, push]] * len(WIDE)).transpose(0, 2, 1)  # (setting, unit, kind)
    q, c, growth = (np.empty((len(WIDE), depth)) for _ in range(3))
    scale = np.array(WIDE)[:, :1]
    for layer in range(depth):
        weight = random.standard_normal((width, width)) / sqrt(width)
        bias = random.standard_normal(width) * np.array(WIDE)[:, 1:]
        z = np.stack([weight @ one for one in signals]) * scale[:, None]
        z[:, :, :2] += bias[:, :, None]
        q[:, layer] = (z[:, :, :2] ** 2).mean((1, 2))
        c[:, layer] = (z[:, :, 0] * z[:, :, 1]).mean(1) / np.sqrt(
            (z[:, :, :2] ** 2).mean(1).prod(1)
        )
        before = (signals[:, :, 2] ** 2).mean(1)
        signals = np.tanh(z)
        signals[:, :, 2] = z[:, :, 2] * (1 - signals[:, :, 0] ** 2)
        growth[:, layer] = (signals[:, :, 2] ** 2).mean(1) / before
        signals[:, :, 2] /= np.sqrt((signals[:, :, 2] ** 2).mean(1, keepdims=True))
    return q, c, growth


@pytest.mark.parametrize("number", range(len(WIDE)), ids=[f"{w:.2f} {b}" for w, b in WIDE])
def test_a_net_a_thousand_wide_settles_in_the_band_at_q_star(number):
    q, _, _ = wide_tanh_nets()
    theory = mean_field("tanh", *WIDE[number], depth=30, width=1000)
    assert theory.q[-1] == pytest.approx(theory.q_star, rel=0.02)
    assert theory.q_low[-1] < q[number, -1] < theory.q_high[-1]


@pytest.mark.parametrize("number", range(len(WIDE)), ids=[f"{w:.2f} {b}" for w, b in WIDE])
def test_a_small_push_grows_by_chi_1_a_layer(number):
    _, _, growth = wide_tanh_nets()
    theory = mean_field("tanh", *WIDE[number], depth=30)
    # a layer's factor scatters by about √(4/1000); a mean over 20 layers by less than 0.02
    measured = exp(np.log(growth[number, 10:]).mean())
    assert measured == pytest.approx(theory.chi_1, rel=0.05)


@cache
def differences_in_ordered_nets(sigmas=(0.9, 1.1, 1.2, 1.3), sigma_b=0.3, depth=50, width=1000):
    """1 − c at each layer, (σ_w, layer): 50 pairs in each of 5 nets, from 1 − c = 0.001."""
    random = np.random.Generator(np.random.SFC64(4))
    total = np.zeros((len(sigmas), depth))
    for _ in range(5):
        first, other = random.standard_normal((2, width, 50))
        near = 0.999 * first + sqrt(1 - 0.999**2) * other
        q = [mean_field("tanh", s, sigma_b, 1).q_star for s in sigmas]
        z = np.concatenate([sqrt(one) * np.hstack([first, near]) for one in q], axis=1)
        z = z.astype("float32")
        for layer in range(depth):
            if layer:
                weight = random.standard_normal((width, width), dtype="float32") / sqrt(width)
                bias = random.standard_normal((width, 1), dtype="float32") * sigma_b
                z = (weight @ np.tanh(z)) * np.repeat(sigmas, 100).astype("float32") + bias
            each = z.reshape(width, len(sigmas), 2, 50).astype(float)
            apart = ((each[:, :, 0] - each[:, :, 1]) ** 2).mean(0) / 2
            total[:, layer] += (apart / (each**2).mean((0, 2))).mean(1) / 5
    return dict(zip(sigmas, total, strict=True))


@pytest.mark.parametrize("sigma_w", [0.9, 1.1, 1.2, 1.3])
def test_in_the_ordered_phase_differences_fall_with_the_predicted_depth_scale(sigma_w):
    apart = differences_in_ordered_nets()[sigma_w]
    xi = mean_field("tanh", sigma_w, 0.3, 1).xi_c
    last = min(int(3 * xi), 49)
    slope = np.polyfit(np.arange(2, last), np.log(apart[2:last]), 1)[0]
    print(f"ξ {-1 / slope:.2f} measured, {xi:.2f} predicted")
    assert -1 / slope == pytest.approx(xi, rel=0.10)


def test_in_the_chaotic_phase_correlations_follow_the_map_to_the_stable_one():
    sigma_w, sigma_b, width, depth = 2.5, 0.3, 1000, 12
    settled = mean_field("tanh", sigma_w, sigma_b, 1)
    start = settled.c_star + 0.3
    theory = mean_field("tanh", sigma_w, sigma_b, depth, settled.q_star, c0=start)
    random = np.random.Generator(np.random.SFC64(3))
    measured = np.zeros(depth)
    for _ in range(3):
        first, other = random.standard_normal((2, width, 300))
        near = start * first + sqrt(1 - start**2) * other
        z = sqrt(settled.q_star) * np.hstack([first, near])
        for layer in range(depth):
            if layer:
                weight = random.standard_normal((width, width)) * sigma_w / sqrt(width)
                z = weight @ np.tanh(z) + sigma_b * random.standard_normal((width, 1))
            u, v = z[:, :300], z[:, 300:]
            measured[layer] += (
                (u * v).mean(0) / np.sqrt((u**2).mean(0) * (v**2).mean(0))
            ).mean() / 3
    assert np.allclose(measured, theory.c, atol=0.01)
    away = slice(1, 5)
    fits = [
        np.polyfit(range(1, 5), np.log(c[away] - settled.c_star), 1)[0]
        for c in (measured, theory.c)
    ]
    assert fits[0] == pytest.approx(fits[1], rel=0.10)


def test_the_log_of_q_in_relu_nets_has_the_predicted_mean():
    last = np.log(second_moments_of_a_thousand_nets()[0, -1])
    theory = mean_field("relu", sqrt(2), 0, depth=50, width=100)
    assert last.mean() == pytest.approx(-(theory.spread[-1] ** 2) / 2, abs=4 * 1.6 / sqrt(1000))
    assert last.std() == pytest.approx(theory.spread[-1], rel=4 / sqrt(2000))


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"depth": 0}, "depth must be a whole number of at least 1, got 0"),
        ({"depth": 2.5}, "depth must be a whole number"),
        ({"sigma_w": -1}, "sigma_w must be from 0 to 1e30, got -1"),
        ({"sigma_w": 1e31}, "sigma_w must be from 0 to 1e30, got 1e\\+31"),
        ({"sigma_b": float("nan")}, "sigma_b must be a finite number"),
        ({"q0": 0}, "q0 must be a positive number, got 0"),
        ({"c0": 1.1}, "c0 must be from -1 to 1, got 1.1"),
        ({"width": 0}, "width must be a whole number"),
        ({"activation": "tanhh"}, "activation must be one of linear, relu, leaky_relu, tanh"),
        ({"activation": 3}, "activation must be a name or a function"),
        (
            {"activation": lambda z: 1.0 if z > 0 else 0.0},
            "activation must take NumPy arrays, but fails: The truth value of an array",
        ),
        ({"activation": lambda z: z.sum()}, "activation must return the shape it is given"),
        (
            {"activation": lambda z: z.astype("float16")},
            "activation must return float32 or float64",
        ),
        ({"activation": lambda z: z / abs(z)}, "activation must give a finite number for each"),
        ({"activation": lambda z: np.log(z - 9)}, "activation must give a finite number for each"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_bad_input_is_named(arguments, words):
    good = {"activation": "tanh", "sigma_w": 1.5, "sigma_b": 0.1, "depth": 3}
    with pytest.raises(ValueError, match="^" + words.replace("(", r"\(")) as error:
        mean_field(**{**good, **arguments})
    assert "\n" not in str(error.value)


def test_a_band_without_a_width_is_refused():
    with pytest.raises(ValueError, match="width must be given"):
        _ = mean_field("tanh", 1, 0, 3).q_low


def test_an_activation_without_a_critical_line_is_refused():
    for activation, sigma_b in [("gelu", 0.3), ("swish", 0.2)]:
        with pytest.raises(
            ValueError, match=r"activation must have a σ_w at which .* may jump over"
        ):
            critical_sigma_w(activation, sigma_b)
    with pytest.raises(ValueError, match="sigma_b must be from 0 to 1e30"):
        critical_sigma_w("tanh", -0.1)


def test_a_dead_end_is_no_crash():
    theory = mean_field("relu", 0, 0, depth=4, q0=2.0)
    assert theory.q.tolist() == [2, 0, 0, 0]
    assert (theory.q_star, theory.chi_1, theory.xi_q) == (0, 0, 0)
    assert np.isnan([theory.c_star, theory.xi_c]).all()
    assert np.isnan(mean_field("relu", 0, 0, depth=4, width=9).spread).all()
    assert log(mean_field("tanh", 0, 0.5, depth=3).q_star) == pytest.approx(log(0.25))


def test_theory_needs_no_mxnet():
    code = "import sys, d2l_init.lab.theory; sys.exit('mxnet' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
