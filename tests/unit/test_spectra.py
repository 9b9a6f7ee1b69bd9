"""Singular values through depth: right over many decades, and as random-matrix theory says."""

import re
from functools import cache
from itertools import pairwise
from math import log

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from scipy import optimize, stats
from scipy.special import polygamma, psi

import d2l_init as di
from d2l_init.lab.spectra import jacobian, log_singular_values

DEPTH = 50
HAAR, GAUSS = "Haar", "Gaussian"


@pytest.fixture(autouse=True)
def numpy_arrays():
    with mx.util.np_shape(True), mx.util.np_array(True):
        yield


def weights(kind, variance=1.0, seed=0):
    """Weights of variance ``variance`` / n: Gaussian, or Haar-orthogonal times its root."""
    if kind == HAAR:
        return di.HaarOrthogonal(variance**0.5, seed=seed)
    return di.VarianceScaling(variance, "fan_in", "normal", seed=seed)


def matrices(kind, size, seed=0, depth=DEPTH):
    net = dense(size, depth, None, weights(kind, seed=seed))
    return [layer.weight.data().asnumpy() for layer in net]


def dense(width, depth, activation, weight, bias="zeros"):
    net = nn.HybridSequential(prefix="")
    for layer in range(depth):
        net.add(nn.Dense(width, in_units=width, bias_initializer=bias, prefix=f"{layer}_"))
        if activation:
            net.add(nn.Activation(activation))
    net.cast("float64")
    net.initialize(weight)
    return net


def example(*shape, seed=0, scale=1.0):
    return mx.np.array(scale * np.random.default_rng(seed).normal(size=(1, *shape)))


# --- log_singular_values ---------------------------------------------------------------------


@pytest.mark.parametrize(("decades", "span"), [(3.2, 160), (0.5, 25), (1e-9, 0)])
def test_known_singular_values_come_out_to_12_digits_over_any_number_of_decades(decades, span):
    frames = [di.HaarOrthogonal(seed=k).sample((30, 30), "float64") for k in range(DEPTH + 1)]
    exponents = np.random.default_rng(0).uniform(0, decades, (DEPTH, 30))
    stretch = 10.0 ** -np.sort(exponents, axis=1)
    layers = zip(stretch, pairwise(frames), strict=True)
    product = [after * stretched @ before.T for stretched, (before, after) in layers]
    known = np.log(stretch).sum(axis=0)
    assert (known[0] - known[-1]) / log(10) == pytest.approx(span, rel=0.1, abs=1)
    np.testing.assert_allclose(log_singular_values(product), known, rtol=0, atol=1e-11)


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_exact_integers(seed):
    factors = np.random.default_rng(seed).integers(-5, 6, (300, 2, 2))
    factors = [m for m in factors.tolist() if m[0][0] * m[1][1] != m[0][1] * m[1][0]]
    product = [[1, 0], [0, 1]]
    for m in factors:
        rows, columns = m, list(zip(*product, strict=True))
        product = [[sum(a * b for a, b in zip(r, c, strict=True)) for c in columns] for r in rows]
    (a, b), (c, d) = product
    largest = log(a * a + b * b + c * c + d * d) / 2  # the other one's square is far below 1e-16
    expected = [largest, log(abs(a * d - b * c)) - largest]
    assert expected[0] - expected[1] > 40 * log(10)
    np.testing.assert_allclose(log_singular_values(factors), expected, rtol=0, atol=1e-11)


def test_multiplied_out_in_float64_the_product_floors_at_rounding():
    factors = matrices(GAUSS, 100)
    plain = np.log10(np.linalg.svd(np.linalg.multi_dot(factors[::-1]), compute_uv=False))
    ours = log_singular_values(factors) / log(10)
    seen = ours > ours[0] - 12
    np.testing.assert_allclose(plain[seen], ours[seen], atol=1e-3)
    assert plain[-1] > plain[0] - 25
    assert ours[0] - ours[-1] > 60


def test_the_first_matrix_is_applied_first():
    first, last = matrices(GAUSS, 7, depth=2)
    expected = np.log(np.linalg.svd(last @ first, compute_uv=False))
    np.testing.assert_allclose(log_singular_values([first, last]), expected, atol=1e-12)
    assert not np.allclose(log_singular_values([last, first]), expected, atol=1e-3)


def test_they_sum_to_the_logarithm_of_the_determinant():
    factors = matrices(GAUSS, 100)
    volume = sum(np.linalg.slogdet(factor)[1] for factor in factors)
    assert log_singular_values(factors).sum() == pytest.approx(volume, rel=1e-12)


def test_a_direction_that_is_lost_is_minus_infinity():
    lost = [np.diag([1.0, 0, 2])] * 3
    assert log_singular_values(lost).tolist() == [pytest.approx(3 * log(2)), 0, -np.inf]
    assert log_singular_values([np.zeros((2, 2))] * 2).tolist() == [-np.inf, -np.inf]
    masks = np.arange(20) < 12
    factors = [masks[:, None] * factor for factor in matrices(HAAR, 20)]
    assert np.isinf(log_singular_values(factors)).sum() == 8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], r"got shapes \[\]"),
        ([np.ones((2, 3))], r"square and of one size, got shapes \[\(2, 3\)\]"),
        ([np.eye(2), np.eye(3)], r"got shapes \[\(2, 2\), \(3, 3\)\]"),
        ([np.ones(3)], r"got shapes \[\(3,\)\]"),
        ([1.0], r"got shapes \[\(\)\]"),
        ([np.ones((0, 0))], r"got shapes \[\(0, 0\)\]"),
        ([np.eye(2), np.full((2, 2), np.nan)], "finite, got inf or nan"),
        ([np.diag([1, 1e-200])] * 2, "at most 300 decades, got 400"),
    ],
)
def test_bad_matrices_are_refused_with_the_rule_and_the_value(given, message):
    with pytest.raises(ValueError, match=message):
        log_singular_values(given)


# --- products of random matrices -------------------------------------------------------------


@cache
def gaussian_spectra():
    return np.array([log_singular_values(matrices(GAUSS, 100, seed=seed)) for seed in range(20)])


def lyapunov(size, depth=DEPTH):
    """Newman 1986: expected growth of the k-th direction, and its standard deviation."""
    degrees = size - np.arange(size)  # of the chi-squared length left for the k-th direction
    mean = depth * (psi(degrees / 2) + log(2 / size)) / 2
    return mean, np.sqrt(depth * polygamma(1, degrees / 2)) / 2


def test_fifty_gaussian_matrices_stretch_as_newman_1986_predicts():
    mean, spread = lyapunov(100)
    found = gaussian_spectra().mean(axis=0)
    # Exact for infinitely many matrices; after fifty the largest still lie about 2 higher.
    assert (np.abs(found - mean) < 2.6 + 4 * spread / np.sqrt(20)).all()
    assert np.abs(found - mean)[5:75].max() < 1.5  # of 35 by which the spectrum has fallen there
    assert (found[0] - found[-1]) / log(10) == pytest.approx(64, abs=5)


def test_their_mean_logarithm_is_predicted_exactly_at_every_depth():
    mean, spread = lyapunov(100)
    z = (gaussian_spectra().mean(axis=1) - mean.mean()) / (np.sqrt((spread**2).sum()) / 100)
    assert stats.kstest(z, stats.norm.cdf).pvalue > 1e-4
    assert abs(z.mean()) * np.sqrt(20) < 3.9


def test_the_largest_is_nearer_to_that_of_a_wide_product():
    """√((L + 1)^(L + 1) / L^L), the edge for width n → ∞ (Penson & Życzkowski 2011)."""
    edge = ((DEPTH + 1) * log(DEPTH + 1) - DEPTH * log(DEPTH)) / 2
    assert gaussian_spectra()[:, 0].mean() == pytest.approx(edge, abs=1)


def test_fifty_orthogonal_matrices_stretch_nothing():
    assert np.abs(log_singular_values(matrices(HAAR, 100))).max() < 1e-12


# --- jacobian --------------------------------------------------------------------------------


def by_differences(net, x, step=1e-6):
    flat = x.asnumpy().ravel()

    def value(inputs):
        return net(mx.np.array(inputs.reshape(x.shape))).asnumpy().ravel()

    moved = [value(flat + step * way) - value(flat - step * way) for way in np.eye(flat.size)]
    return np.stack(moved, axis=1) / (2 * step)


def normed():
    net = nn.HybridSequential()
    for _ in range(2):
        net.add(nn.Dense(6), nn.BatchNorm(), nn.Activation("tanh"), nn.Dropout(0.5))
    return net, example(5)


def convolved():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(3, 3, padding=1), nn.Activation("sigmoid"), nn.Flatten(), nn.Dense(4))
    return net, example(2, 4, 4)


def stack_of_images():
    return nn.Conv2D(3, 3, padding=1), example(2, 4, 4)


def without_parameters():
    return nn.Activation("tanh"), example(5)


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize("make", [normed, convolved, stack_of_images, without_parameters])
def test_a_jacobian_is_what_small_differences_say(make, hybridized):
    net, x = make()
    net.cast("float64")
    net.initialize(weights(GAUSS))
    if hybridized:
        net.hybridize()
    found = jacobian(net, x)
    expected = by_differences(net, x)
    assert (found.shape, found.dtype) == (expected.shape, np.float64)
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_of_a_linear_net_it_is_the_product_of_the_weights():
    net = dense(6, 3, None, weights(GAUSS))
    first, middle, last = (layer.weight.data().asnumpy() for layer in net)
    np.testing.assert_allclose(jacobian(net, example(6)), last @ middle @ first, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])  # MXNet has no float16 on a CPU
def test_it_comes_in_the_nets_own_dtype(dtype):
    layer = nn.Dense(3)
    layer.cast(dtype)
    layer.initialize(weights(GAUSS))
    found = jacobian(layer, example(4))
    assert found.dtype == dtype
    assert (found == layer.weight.data().asnumpy()).all()


@pytest.mark.parametrize("hybridized", [False, True])
def test_afterwards_everything_is_as_before(hybridized):
    net, x = normed()
    net.cast("float64")
    net.initialize(weights(GAUSS))
    if hybridized:
        net.hybridize()
    x.attach_grad()
    with mx.autograd.record():
        net(x).sum().backward()
    parameters = net.collect_params().values()

    def state():
        mx.nd.waitall()
        data = [p.data().asnumpy() for p in parameters]
        slopes = [p.grad().asnumpy() for p in parameters if p.grad_req != "null"]
        return [*data, *slopes, x.grad.asnumpy(), x.asnumpy()]

    before, settings = state(), [p.grad_req for p in parameters]
    mx.random.seed(1)
    expected = mx.np.random.uniform(size=3).asnumpy()
    mx.random.seed(1)
    with mx.autograd.record():
        jacobian(net, x)
        assert (mx.autograd.is_recording(), mx.autograd.is_training()) == (True, True)
    assert (mx.np.random.uniform(size=3).asnumpy() == expected).all()
    assert not mx.autograd.is_recording()
    assert settings == [p.grad_req for p in parameters]
    assert all((a == b).all() for a, b in zip(before, state(), strict=True))


def test_it_works_on_arrays_of_the_older_kind():
    with mx.util.np_array(False), mx.util.np_shape(False):  # np_array first: MXNet's rule
        layer = nn.Dense(3)
        layer.initialize()
        found = jacobian(layer, mx.nd.ones((1, 4)))
        assert (found == layer.weight.data().asnumpy()).all()


@pytest.mark.parametrize("shape", [(4,), (2, 4), (0, 4)])
def test_anything_but_one_example_is_refused(shape):
    layer = nn.Dense(3, in_units=4)
    layer.initialize()
    with pytest.raises(ValueError, match=r"x must be an MXNet batch of one example, .*got \("):
        jacobian(layer, mx.np.ones(shape))


def test_a_numpy_array_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match=r"x must be an MXNet batch.*got ndarray$"):
        jacobian(nn.Dense(3), np.ones((1, 4)))


@pytest.mark.parametrize(
    ("function", "got"),
    [(lambda x: [x, x], "list"), (lambda x: x.sum(), "()"), (lambda x: x.T, "(4, 1)")],
)
def test_a_net_without_one_row_an_example_is_refused(function, got):
    message = f"net must return an array with a row for each example, got {got}"
    with pytest.raises(ValueError, match=re.escape(message)):
        jacobian(nn.Lambda(function), mx.np.ones((1, 4)))


# --- jacobians of deep nets ------------------------------------------------------------------


def squares(net, x):
    """Mean of the squared singular values, and their variance relative to its square."""
    slopes = jacobian(net, x)
    gram = slopes @ slopes.T
    mean = np.trace(gram) / len(gram)
    return mean, (gram**2).sum() / len(gram) / mean**2 - 1


def averages(activation, kind, variance, bias=0.0, q=1.0, nets=8, width=200):
    """Both, for ``nets`` nets whose first pre-activations have second moment q."""
    found = []
    for seed in range(nets):
        biases = di.Mixture([(1, stats.norm(0, bias))], seed=seed) if bias else "zeros"
        net = dense(width, DEPTH, activation, weights(kind, variance, seed), biases)
        x = example(width, seed=seed, scale=((q - bias**2) / variance) ** 0.5)
        found.append(squares(net, x))
    return np.mean(found, axis=0)


def moment(power, q, slope):
    """E[φ'(h)^power] for h ~ N(0, q)."""
    return stats.norm(0, q**0.5).expect(lambda h: slope(h) ** power)


def predicted(kind, slope, q):
    """Pennington et al. 2017: relative variance of s² after L critical layers."""
    ratio = moment(4, q, slope) / moment(2, q, slope) ** 2
    return DEPTH * (ratio - 1 + (kind == GAUSS))


def tanh_slope(h):
    return 1 - np.tanh(h) ** 2


def relu_slope(h):
    return np.where(h > 0, 1.0, 0.0)


def critical(q):
    """Variance of tanh's weights and standard deviation of its biases that make q the fixed point
    with slope χ₁ = 1."""
    variance = 1 / moment(2, q, tanh_slope)
    kept = variance * stats.norm(0, q**0.5).expect(lambda h: np.tanh(h) ** 2)
    return variance, (q - kept) ** 0.5


def test_a_linear_orthogonal_net_keeps_every_length_and_a_gaussian_one_does_not():
    net = dense(100, DEPTH, None, weights(HAAR))
    assert np.abs(np.linalg.svd(jacobian(net, example(100)))[1] - 1).max() < 1e-12
    mean, variance = averages(None, GAUSS, 1.0)
    assert mean == pytest.approx(1, abs=0.35)
    assert variance == pytest.approx(DEPTH, rel=0.2)


@pytest.mark.parametrize("kind", [HAAR, GAUSS])
def test_hes_variance_keeps_the_mean_square_through_relu_whatever_the_law(kind):
    nets = [dense(100, 10, "relu", weights(kind, 2.0, seed)) for seed in range(40)]
    means = [squares(net, example(100, seed=seed))[0] for seed, net in enumerate(nets)]
    assert abs(np.mean(means) - 1) < 4 * np.std(means) / np.sqrt(40)
    assert np.std(means) / np.sqrt(40) < 0.1


@pytest.mark.parametrize(("kind", "expected"), [(HAAR, DEPTH), (GAUSS, 2 * DEPTH)])
def test_orthogonal_weights_do_not_save_relu(kind, expected):
    assert predicted(kind, relu_slope, 1.0) == pytest.approx(expected)
    assert averages("relu", kind, 2.0)[1] == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize(
    ("kind", "limit"), [(HAAR, lambda t: (2 * t - 1) / t), (GAUSS, lambda t: 2 * t - 1)]
)
def test_half_of_a_relu_nets_directions_are_lost_and_the_rest_fall_as_predicted(kind, limit):
    """The share t of log singular values is below L/2 · log(limit(t)): Haagerup & Möller 2013."""
    found = np.array([relu_spectrum(kind, seed) for seed in range(5)])
    assert np.isinf(found).mean() == pytest.approx(lost_share(100), abs=0.04)
    shares = np.array([0.75, 0.85])
    measured = np.quantile(found, shares, axis=1, method="nearest").mean(axis=1)
    np.testing.assert_allclose(measured, DEPTH / 2 * np.log(limit(shares)), rtol=0.2)


def lost_share(width):
    """The narrowest layer decides: in each the units that are on are that many fair coins."""
    narrowest = (stats.binom(width, 0.5).sf(np.arange(width)) ** DEPTH).sum()
    return 1 - narrowest / width


def relu_spectrum(kind, seed, width=100):
    """Layer by layer, so that nothing floors at rounding."""
    net, h, layers = dense(width, DEPTH, "relu", weights(kind, 2.0, seed)), example(width), []
    for layer in net:
        layers.append(jacobian(layer, h))
        h = layer(h)
    return log_singular_values(layers)


@pytest.mark.parametrize("q", [0.5 / DEPTH, 1 / DEPTH, 5 / DEPTH])
def test_a_critical_tanh_net_with_orthogonal_weights_is_nearly_isometric_as_q_nears_0(q):
    variance, bias = critical(q)
    mean, found = averages("tanh", HAAR, variance, bias, q)
    assert mean == pytest.approx(1, abs=0.15)
    assert found == pytest.approx(predicted(HAAR, tanh_slope, q), rel=0.12)


def test_with_gaussian_weights_it_is_not():
    q = 1 / DEPTH
    variance, bias = critical(q)
    assert predicted(GAUSS, tanh_slope, q) == pytest.approx(DEPTH, rel=0.01)
    assert averages("tanh", GAUSS, variance, bias, q)[1] == pytest.approx(DEPTH, rel=0.2)


def test_critical_means_critical():
    variance, bias = critical(0.1)

    def gap(q):
        return variance * stats.norm(0, q**0.5).expect(lambda h: np.tanh(h) ** 2) + bias**2 - q

    assert optimize.brentq(gap, 1e-3, 1) == pytest.approx(0.1, rel=1e-3)
