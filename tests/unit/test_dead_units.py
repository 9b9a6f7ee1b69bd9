"""Units that are zero for every input of a batch: how many, and that theory says so.

The setting is scikit-learn's digits, standardized, in ten ReLU layers of 500 units with PyTorch's
default: weights and biases uniform between ±1/√fan-in.
"""

from functools import cache

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from scipy import stats
from sklearn.datasets import load_digits

import d2l_init as di

WIDTH, DEPTH, SEEDS = 500, 10, 8
BATCHES = (128, 500, 1797)


@pytest.fixture(autouse=True)
def numpy_arrays():
    with mx.util.np_shape(True), mx.util.np_array(True):
        yield


@cache
def digits():
    pixels = load_digits().data
    spread = pixels.std(axis=0)
    assert (spread == 0).sum() == 3  # which dividing would turn into nan
    return (pixels - pixels.mean(axis=0)) / np.where(spread > 0, spread, 1)


def tenth_layer(biased, seed, scale=1 / 3, X=None):
    """Pre-activations of the tenth layer, (inputs, units)."""
    net = nn.HybridSequential(prefix="")
    for layer in range(DEPTH):
        fan_in = WIDTH if layer else 64
        bound = fan_in**-0.5
        bias = di.Mixture([(1.0, (-bound, bound))], seed=seed) if biased else "zeros"
        net.add(nn.Dense(WIDTH, in_units=fan_in, bias_initializer=bias, prefix=f"{layer}_"))
        net.add(nn.Activation("relu"))
    net.cast("float64")
    net.initialize(di.VarianceScaling(scale, "fan_in", "uniform", seed=seed))
    return net[:-1](mx.np.array(digits() if X is None else X)).asnumpy()


def dead(h, inputs):
    return (h[:inputs] <= 0).all(axis=0).mean()


@cache
def measured(biased):
    """Dead share for each seed and batch, and correlation of the pre-activations of 500 inputs."""
    rows = []
    for seed in range(SEEDS):
        h = tenth_layer(biased, seed)
        rows.append([*(dead(h, inputs) for inputs in BATCHES), correlation(h[:500] @ h[:500].T)])
    return np.array(rows)


def correlation(gram):
    length = np.sqrt(np.diag(gram))
    return (gram / np.outer(length, length))[~np.eye(len(gram), dtype=bool)].mean()


def predicted_gram(X, biased):
    """E[h(x) h(x′)] in the tenth layer of a wide net (Cho & Saul 2009's arc-cosine kernel)."""
    gram = X @ X.T / 3 / 64 + biased / (3 * 64)
    for _ in range(DEPTH - 1):
        length = np.sqrt(np.diag(gram))
        angle = np.arccos(np.clip(gram / np.outer(length, length), -1, 1))
        after = np.outer(length, length) * (np.sin(angle) + (np.pi - angle) * np.cos(angle))
        gram = after / (2 * np.pi) / 3 + biased / (3 * WIDTH)
    return gram


def predicted(c, inputs):
    """P(all of N normal values, equally correlated, are negative): ∫φ(t) Φ(−√(c/(1−c)) t)^N dt."""
    slope = np.sqrt(c / (1 - c))
    return stats.norm().expect(
        lambda t: stats.norm.cdf(-slope * t) ** inputs, epsabs=1e-10, limit=500
    )


def test_with_pytorchs_biases_all_inputs_become_one_and_half_the_units_are_dead():
    shares, alike = measured(True)[:, :3], measured(True)[:, 3]
    assert (alike > 0.9999).all()
    assert (np.abs(shares - 0.5) < 4 * 0.5 / np.sqrt(WIDTH)).all()  # each unit is a fair coin
    assert (np.abs(shares.mean(axis=0) - 0.5) < 4 * 0.5 / np.sqrt(len(shares) * WIDTH)).all()


def test_theory_says_how_alike_the_inputs_become():
    gram = predicted_gram(digits()[:500], biased=True)
    assert 1 - measured(True)[:, 3].mean() == pytest.approx(1 - correlation(gram), rel=0.1)
    gram = predicted_gram(digits()[:500], biased=False)
    assert measured(False)[:, 3].mean() == pytest.approx(correlation(gram), abs=0.02)


def test_with_its_biases_each_unit_is_on_or_off_for_nearly_all_inputs():
    on = (tenth_layer(True, 0) > 0).mean(axis=0)
    assert ((on == 0) | (on == 1)).mean() > 0.97
    for inputs in BATCHES:
        assert predicted(correlation(predicted_gram(digits()[:500], True)), inputs) == (
            pytest.approx(0.496, abs=0.001)
        )


def test_without_biases_the_dead_share_follows_the_batchs_size():
    shares = measured(False)[:, :3]
    error = shares.std(axis=0) / np.sqrt(SEEDS)
    for inputs, share, spread in zip(BATCHES, shares.mean(axis=0), error, strict=True):
        c = correlation(predicted_gram(digits()[:inputs], biased=False))
        assert abs(share - predicted(c, inputs)) < 4 * spread
        assert share == pytest.approx(predicted(c, inputs), rel=0.2)
    assert (np.diff(shares, axis=1) < 0).all()


def test_the_formula_is_near_the_wide_nets_own_share():
    """It takes all pairs as equally correlated; a draw with their own correlations does not."""
    for inputs in BATCHES[:2]:
        gram = predicted_gram(digits()[:inputs], biased=False)
        values, vectors = np.linalg.eigh(gram)
        factor = vectors * np.sqrt(np.maximum(values, 0))
        draws = factor @ np.random.default_rng(0).normal(size=(inputs, 20_000))
        share = (draws <= 0).all(axis=0).mean()
        assert predicted(correlation(gram), inputs) == pytest.approx(share, rel=0.1)


@pytest.mark.parametrize("scale", [1e-3, 2, 100])
def test_without_biases_the_weights_scale_changes_nothing(scale):
    X = digits()[:200]
    plain, scaled = tenth_layer(False, 0, X=X), tenth_layer(False, 0, scale, X=X)
    assert dead(plain, 200) == dead(scaled, 200) > 0
    assert np.std(scaled) != pytest.approx(np.std(plain), rel=0.5)


def test_what_is_predicted_for_an_independent_and_for_a_repeated_input():
    assert predicted(0.0, 7) == pytest.approx(0.5**7)
    assert predicted(0.5, 2) == pytest.approx(1 / 3)  # the orthant: 1/4 + arcsin(1/2) / 2π
    assert predicted(1 - 1e-12, 100) == pytest.approx(0.5, abs=1e-4)
