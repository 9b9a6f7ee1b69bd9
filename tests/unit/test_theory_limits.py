"""Mean-field theory where numbers are hard to come by: limits, jumps, steep functions, rounding.

What is expected comes from closed forms, or from scipy's integrals.
"""

from math import acos, asin, exp, inf, log, pi, sqrt

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from scipy import integrate, optimize, special, stats

from d2l_init import critical_sigma_w, gain, mean_field
from d2l_init.lab import theory as theory_of
from d2l_init.quadrature import normal_mean, normal_mean_of_two, slope_moment

DENSITY = stats.norm.pdf

# --- where there is no fixed point, or a number far out ------------------------------------------


def hard_tanh(z):
    return np.clip(z, -1, 1)


def test_gelu_and_swish_jump_over_the_edge_of_chaos():
    for activation, sigma_b, sigmas in [("gelu", 0.3, (1.46, 1.47)), ("swish", 0.2, (1.64, 1.65))]:
        below, above = (mean_field(activation, sigma_w, sigma_b, 1) for sigma_w in sigmas)
        assert (below.q_star < 1, below.chi_1 < 0.9) == (True, True)
        assert (above.q_star, above.chi_1 > 1.05) == (inf, True)


@pytest.mark.parametrize(
    ("setting", "depth", "limit"),
    [
        (("tanh", 1, 0), 300, 0.44071),  # by Gauss–Hermite, as the next two
        (("tanh", 0.9, 0), 60, 0.45757),
        (("gelu", sqrt(2), 0), 40, 0.58818),
        (("linear", 1, 0), 9, 0.5),
        (("linear", 3, 1), 40, 1 - 0.5 / (1 + 1 / 8)),
        ((lambda z: np.tanh(z).astype("float32"), 0.5, 0), 12, 0.47097),
    ],
)
def test_where_the_limit_of_the_correlation_depends_on_the_first_it_is_nan(setting, depth, limit):
    theory = mean_field(*setting, depth, c0=0.5)
    assert np.isnan([theory.c_star, theory.xi_c]).all()
    assert theory.c[-1] == pytest.approx(limit, abs=2e-5)
    assert mean_field(*setting, depth, c0=0.2).c[-1] < limit - 0.05


def test_a_hard_tanh_without_bias_comes_to_leave_correlations_alone():
    theory = mean_field(hard_tanh, 1, 0, 1)
    assert theory.q_star == 0
    assert np.isnan(theory.c_star)


@pytest.mark.parametrize("setting", [("relu", 1, 0), ("leaky_relu", 3, 0), ("relu", sqrt(2), 0.5)])
def test_without_a_second_moment_that_stays_relu_still_merges_all_inputs(setting):
    theory = mean_field(*setting, 2)
    assert (theory.c_star, theory.xi_c) == (1, inf)


@pytest.mark.parametrize(
    ("activation", "sigma_w", "q0", "q_star", "chi_1", "c_star", "slope"),
    [
        # E of products of powers of two normals: 9c + 6c³, 1 + 2c²
        (lambda z: z**3, 1, 0.01, 0, 0, 0, 9 / 15),
        (lambda z: z**3, 1, 1, inf, inf, 0, 9 / 15),
        (lambda z: z**2, 1, 0.1, 0, 0, 1 / 2, 2 / 3),
        (lambda z: z**2, 1, 10, inf, inf, 1 / 2, 2 / 3),
        ("relu", 1, 1, 0, 1 / 2, 1, 1),
        ("gelu", 2, 1, inf, 2, 1, 1),
        ("softrelu", 2, 1, inf, 2, 1, 1),
    ],
)
def test_limits_at_zero_and_infinity(activation, sigma_w, q0, q_star, chi_1, c_star, slope):
    theory = mean_field(activation, sigma_w, 0, 2, q0)
    assert (theory.q_star, theory.chi_1) == pytest.approx((q_star, chi_1))
    assert theory.c_star == pytest.approx(c_star, abs=1e-9)
    assert theory.xi_c == pytest.approx(inf if slope == 1 else -1 / log(slope), rel=1e-6)
    assert np.isnan(theory.xi_q) == (q_star == inf)


@pytest.mark.parametrize(
    ("setting", "q0", "q_star"),
    [
        (("tanh", 1.5, 0), [1e-300, 1e-20, 1e20, 1e300], None),
        (("tanh", 1, 0), [1e-300, 1e-20, 1e300], 0),
        (("tanh", 0.5, 1e-10), [1e-25, 1], 1e-20 / (1 - 0.25)),
        (("sigmoid", 1e-10, 0), [1e-30, 1, 1e30], 1e-20 / 4),
        ((hard_tanh, 1, 0), [1e-20, 0.005, 1, 1e20], 0),
        ((lambda z: np.where(abs(z) > 1, 2 * z, z), 1, 0), [1e-20, 1], inf),
        ((lambda z: np.where(abs(z) > 1, z, z / 2), 1, 0), [1e-20, 1], 0),
        ((lambda z: np.where(abs(z) > 1, z, 2 * z), 1, 0), [1e20], inf),
        (("relu", 2, 0), [1e-30, 1e300], inf),
        (("relu", 1.3, 0), [1e300], 0),
        ((np.exp, 0.3, 0), [1e-20, 0.3], -special.lambertw(-0.18).real / 2),  # q = 0.09 e^{2q}
    ],
)
def test_the_second_moment_settles_wherever_it_starts(setting, q0, q_star):
    if q_star is None:
        q_star = mean_field(*setting, 1).q_star
        assert 0.5 < q_star < 1
    for start in q0:
        assert mean_field(*setting, 1, start).q_star == pytest.approx(q_star, rel=1e-4), start


def test_of_two_close_fixed_points_the_first_on_the_way_counts():
    reached = mean_field("gelu", 1.472, 0.3, 900, 0.1).q[-1]  # another is at 1.3 times that
    for q0 in np.geomspace(0.1, 0.5, 9):
        assert mean_field("gelu", 1.472, 0.3, 1, q0).q_star == pytest.approx(reached, rel=1e-6)
    assert mean_field("gelu", 1.472, 0.3, 1, 1.5 * reached).q_star == inf


@pytest.mark.parametrize("q0", [1e-300, 0.3, 7, 1e300])
def test_any_second_moment_stays_where_a_homogeneous_activation_keeps_it(q0):
    assert mean_field("relu", sqrt(2), 0, 1, q0).q_star == q0
    settled = mean_field("tanh", 1.5, 0.1, 1).q_star
    assert mean_field("tanh", 1.5, 0.1, 1, settled).q_star == pytest.approx(settled, rel=1e-9)


@pytest.mark.parametrize("sigma_w", [0.1, 30])
def test_signals_below_and_above_all_numbers_keep_their_correlation_and_spread(sigma_w):
    theory = mean_field("relu", sigma_w, 0, depth=150, c0=0.3, width=100)
    assert theory.q[-1] == 0 or sigma_w > 1
    c = [0.3]
    while len(c) < 150:
        c.append((sqrt(1 - c[-1] ** 2) + c[-1] * (pi - acos(c[-1]))) / pi)
    assert np.allclose(theory.c, c, atol=1e-8)
    assert theory.spread[-1] == pytest.approx(sqrt((5 * 149 + 2) / 100), rel=1e-6)
    assert theory.chi[-1] == pytest.approx(sigma_w**2 / 2)
    assert mean_field("relu", 30, 0, depth=230).q[-1] == inf


# --- functions that are hard to integrate --------------------------------------------------------


def test_equal_and_opposite_inputs():
    for c0, after in [(1, 1), (-1, 0)]:  # the arc-cosine kernel's ends
        assert mean_field("relu", 1, 0, 2, c0=c0).c[1] == pytest.approx(after, abs=1e-12)
        assert mean_field("tanh", 2, 0, 2, c0=c0).c[1] == pytest.approx(c0, abs=1e-12)


def step(z):
    return z > 0


def three(z):
    return np.clip(np.round(z), -1, 1)


def pairs_of_three(c, q):
    """E[f(√q u) f(√q v)] of ``three``, from probabilities of corners."""
    edge = -0.5 / sqrt(q)
    low, both = (
        stats.multivariate_normal(cov=[[1, r], [r, 1]], allow_singular=True).cdf([edge, edge])
        for r in (-c, c)
    )
    return 2 * (both - low)


JUMPS = [  # (function, E[f(√q u) f(√q v)] from c and q): Sheppard's formula
    (np.sign, lambda c, q: 2 / pi * asin(c)),
    (lambda z: np.sign(z).astype("int8"), lambda c, q: 2 / pi * asin(c)),
    (step, lambda c, q: 1 / 4 + asin(c) / 2 / pi),
    (three, pairs_of_three),
]


@pytest.mark.parametrize(("function", "pairs"), JUMPS, ids=["sign", "whole numbers", "step", "3"])
@pytest.mark.parametrize("sigma_b", [0, 0.3])
def test_jumps_have_an_infinite_slope_and_the_right_correlation(function, pairs, sigma_b):
    theory = mean_field(function, 1.5, sigma_b, 4, c0=0.9)
    q = theory.q_star
    assert q == pytest.approx(2.25 * pairs(1, q) + sigma_b**2, rel=1e-6)
    assert (theory.chi_1, theory.chi[0]) == (inf, inf)
    assert theory.xi_q == 0 or function is three

    def after(c):
        return (2.25 * pairs(c, q) + sigma_b**2) / q

    fixed = 0.0 if abs(after(0)) < 1e-6 else optimize.brentq(lambda c: after(c) - c, 0, 0.99)
    assert theory.c_star == pytest.approx(fixed, abs=1e-5)
    slope = (after(fixed + 1e-2) - after(fixed - 1e-2)) / 2e-2
    assert theory.xi_c == pytest.approx(-1 / log(slope), rel=1e-3)
    settled = mean_field(function, 1.5, sigma_b, 2, q, c0=0.9)
    assert settled.c[1] == pytest.approx(after(0.9), abs=1e-5)


def test_the_stable_correlation_of_a_step_is_the_one_its_layers_reach():
    assert mean_field(step, 1, 0, 1).c_star == pytest.approx(0.7898, abs=1e-4)
    assert mean_field(step, 1, 0, 40, c0=0.2).c[-1] == pytest.approx(0.7898, abs=1e-4)


@pytest.mark.parametrize("sigma_w", [3e3, 1e4, 1e6, 1e12, 1e30])
def test_the_steepest_tanh_is_right(sigma_w):
    theory = mean_field("tanh", sigma_w, 0, 1)
    scale = sqrt(theory.q_star)

    def near_0(power):  # ∫ sech(x)^power N(x/s) dx, where x = s z
        return integrate.quad(lambda x: np.cosh(x) ** -power * DENSITY(x / scale), -40, 40)[0]

    assert theory.q_star == pytest.approx(sigma_w**2 * (1 - near_0(2) / scale), rel=1e-8)
    assert theory.chi_1 == pytest.approx(sigma_w**2 * near_0(4) / scale, rel=1e-6)
    assert theory.c_star == 0
    assert theory.xi_c == pytest.approx(1 / log(pi / 2), rel=3 / sigma_w)  # sign's
    with_bias = mean_field("tanh", sigma_w, sigma_w / 5, 1)  # in units of σ_w: sign with 0.2
    assert with_bias.c_star == pytest.approx(
        mean_field(np.sign, 1, 0.2, 1).c_star, rel=3 / sigma_w, abs=1e-9
    )


@pytest.mark.parametrize("steepness", [1e3, 1e6, 1e9])
@pytest.mark.parametrize("place", [0, 0.3])
def test_steep_places_are_found_wherever_they_are(steepness, place):
    found = slope_moment(lambda z: np.tanh(steepness * (z - place)), 1.0)
    assert found == pytest.approx(steepness * 4 / 3 * DENSITY(place), rel=1e-5)
    bump = normal_mean(lambda z: np.exp(-((steepness * z) ** 2)), 1.0)
    assert bump == pytest.approx(1 / sqrt(1 + 2 * steepness**2), rel=1e-5)


@pytest.mark.parametrize("scale", [1, 30, 1000])
def test_waves_are_integrated_or_refused(scale):
    assert normal_mean(lambda z: np.sin(z) ** 2, scale) == pytest.approx(
        (1 - exp(-2 * scale**2)) / 2, rel=1e-5
    )
    assert slope_moment(np.sin, scale) == pytest.approx((1 + exp(-2 * scale**2)) / 2, rel=1e-5)
    for function in (normal_mean, slope_moment):
        with pytest.raises(
            ValueError, match=r"^activation must bend or jump less often: .* 1e\+10"
        ):
            function(np.sin, 1e5)


def test_what_is_infinite_is_told_from_what_is_unknown():
    assert slope_moment(lambda z: np.sqrt(abs(z)), 1.0) == inf  # its integral diverges like log
    with pytest.raises(ValueError, match="activation must bend"):
        slope_moment(lambda z: abs(z) ** 0.6, 1.0)
    with pytest.raises(ValueError, match="activation must bend"):
        normal_mean_of_two(np.floor, 100.0, 0.5)
    with pytest.raises(ValueError, match=r"activation must give a finite number .* got inf at 7"):
        _ = mean_field(lambda z: np.log(1 + np.exp(z)), 1.5, 0.2, 1).q_star


@pytest.mark.parametrize("c", [-0.7, 0, 0.3, 0.9, 0.999])
def test_means_of_two_and_their_slopes_have_closed_forms(c):
    turn = pi - acos(c)
    table = [  # function, scale, mean, slope in c
        (np.sign, 2.0, 2 / pi * asin(c), 2 / pi / sqrt(1 - c**2)),
        (lambda z: np.maximum(z, 0), 2.0, 4 * (sqrt(1 - c**2) + c * turn) / 2 / pi, 2 * turn / pi),
        (np.cos, 1.5, exp(-2.25) * np.cosh(2.25 * c), 2.25 * exp(-2.25) * np.sinh(2.25 * c)),
        (special.erf, 40.0, 2 / pi * asin(c * 3200 / 3201), None),
        (lambda z: np.round(3 * z) / 3, 1.0, None, None),
    ]
    for function, scale, mean, slope in table:
        if mean is not None:
            assert normal_mean_of_two(function, scale, c) == pytest.approx(mean, abs=1e-8)
        if slope is not None:
            found = normal_mean_of_two(function, scale, c, slope=True)
            assert found == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize(
    "setting",
    [(hard_tanh, 1.5, 0.2), (lambda z: np.clip(z, 0, 6), 2.5, 0.4), ("tanh", 1e4, 1e3),
     (lambda z: np.exp(-z * z), 2.5, 0.4), ("tanh", 0.9, 0.3), ("sigmoid", 15, 0.1)],
)  # fmt: skip
def test_the_depth_scales_are_those_of_the_layers_themselves(setting):
    settled = mean_field(*setting, 1)
    start = settled.c_star + (0.01 if settled.c_star < 0.9 else -0.01)
    near = mean_field(*setting, 8, settled.q_star, c0=start)
    falls = np.diff(np.log(abs(near.c - settled.c_star)))
    assert -1 / falls[-1] == pytest.approx(settled.xi_c, rel=0.02)
    off = mean_field(*setting, 2, 1.001 * settled.q_star).q / settled.q_star - 1
    assert -1 / log(abs(off[1] / off[0])) == pytest.approx(settled.xi_q, rel=0.01)


def test_just_above_the_edge_the_stable_correlation_is_just_below_one():
    edge = critical_sigma_w(hard_tanh, 0.1)
    near = [mean_field(hard_tanh, share * edge, 0.1, 1) for share in (1.0003, 1.001)]
    # behind a kink 1 − c* goes with the square of χ₁ − 1
    found = [(1 - one.c_star) / (one.chi_1 - 1) ** 2 for one in near]
    assert found[0] == pytest.approx(found[1], rel=0.05)
    assert mean_field(hard_tanh, 1.00001 * edge, 0.1, 1).c_star == pytest.approx(1, abs=1e-6)
    for share, least, most in [(1.0001, 0.99999, 1), (1.001, 0.999, 0.9999), (1.3, 0.1, 0.2)]:
        above = mean_field(hard_tanh, share * edge, 0.1, 1)
        c = above.c_star
        assert least < c < most
        stays = mean_field(hard_tanh, share * edge, 0.1, 2, above.q_star, c0=c)
        assert stays.c[1] == pytest.approx(c, abs=1e-8)
    assert mean_field(hard_tanh, 0.99 * edge, 0.1, 1).c_star == 1


WAVE = optimize.brentq(lambda q: q * np.tanh(q) - 1, 1, 2)
BIASED = optimize.brentq(lambda q: q - np.tanh(q) - 0.09, 0.1, 2)
BUMP = (1 + sqrt(2)) / 2


@pytest.mark.parametrize(
    ("activation", "sigma_b", "square"),
    [  # from E[φ²] and E[φ′²] in closed form, with q at its fixed point
        (np.cos, 0, 2 / (1 - exp(-2 * WAVE))),
        (np.sin, 0, 1),
        (np.sin, 0.3, 2 / (1 + exp(-2 * BIASED))),
        (lambda z: np.exp(-z * z), 0, (1 + 4 * BUMP) ** 1.5 / (4 * BUMP)),
        ("softsign", 0, 1),
        ("elu", 0, 1),
        ("softrelu", 0.2, 2),
        ("log_sigmoid", 0, 2),
        ("leaky_relu", 0.3, 2 / 1.0001),
        (lambda z: np.tanh(z).astype("float32"), 0, 1),
        (lambda z: np.maximum(z, 0).astype("float32"), 0.1, 2),
    ],
)
def test_the_edge_of_chaos_has_closed_forms(activation, sigma_b, square):
    assert critical_sigma_w(activation, sigma_b) ** 2 == pytest.approx(square, rel=1e-6)


@pytest.mark.parametrize("function", [np.tanh, special.expit, lambda z: np.maximum(z, 0)])
def test_a_function_in_float32_gives_four_digits_without_taking_all_memory(function):
    rough = mean_field(lambda z: function(z.astype("float32")), 1.2, 0.2, 5, c0=0.5, width=9)
    exact = mean_field(function, 1.2, 0.2, 5, c0=0.5, width=9)
    for name in ("q", "c", "chi", "spread", "q_star", "chi_1", "c_star", "xi_q", "xi_c"):
        assert getattr(rough, name) == pytest.approx(getattr(exact, name), rel=1e-4), name


def test_mxnets_own_functions_are_taken():
    theories = [
        (np.tanh, "tanh"),
        (mx.np.tanh, "tanh"),
        (mx.npx.relu, "relu"),
        (lambda z: z * mx.npx.sigmoid(z), "swish"),
        (lambda z: mx.np.where(z > 0, z, 0.01 * z), "leaky_relu"),
        (mx.nd.relu, "relu"),
        (nn.GELU(), "gelu"),
    ]
    for numpy_semantics in (False, True):
        with mx.util.np_shape(numpy_semantics), mx.util.np_array(numpy_semantics):
            for function, name in theories:
                found, known = (mean_field(one, 1.2, 0.1, 3) for one in (function, name))
                expected = [known.q_star, known.chi_1, known.c[-1]]
                found = [found.q_star, found.chi_1, found.c[-1]]
                assert found == pytest.approx(expected, rel=1e-6), name
    assert gain(mx.np.tanh) == pytest.approx(gain(np.tanh))
    assert critical_sigma_w(mx.np.tanh, 0.2) == pytest.approx(critical_sigma_w("tanh", 0.2))
    with pytest.raises(ValueError, match="activation must take NumPy arrays, but fails") as error:
        mean_field(mx.nd.dot, 1, 0, 1)
    assert "\n" not in str(error.value)


def leaky(kind, **options):
    return lambda z: mx.nd.LeakyReLU(z, act_type=kind, **options)


OPERATORS = {
    "linear": lambda z: z,
    "leaky_relu": leaky("leaky", slope=0.01),
    "elu": leaky("elu", slope=1),
    "log_sigmoid": lambda z: mx.nd.log(mx.nd.sigmoid(z)),  # MXNet 1.9.1 has no operator of it
    "selu": leaky("selu"),
    "gelu": leaky("gelu"),
    "swish": nn.Swish(),
}


@pytest.mark.parametrize("name", theory_of.ACTIVATIONS)
def test_a_name_means_what_it_means_in_mxnet(name):
    z = np.linspace(-20, 20, 401)
    operator = OPERATORS.get(name) or (lambda z: mx.nd.Activation(z, act_type=name))
    expected = operator(mx.nd.array(z, dtype="float64")).asnumpy()
    assert expected.dtype == "float64"
    assert np.allclose(theory_of.ACTIVATIONS[name](z), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [0.2, 1.0, 7.0, 300.0])
@pytest.mark.parametrize("edge", [0.0, 0.1, 1.0])
def test_means_find_a_kink_wherever_it_is(edge, scale):
    z = edge / scale  # E[max(s x − e, 0)] = s φ(e/s) − e Φ(−e/s)
    expected = scale * DENSITY(z) - edge * stats.norm.cdf(-z)
    found = normal_mean(lambda x: np.maximum(x - edge, 0), scale)
    assert found == pytest.approx(expected, rel=1e-5)
