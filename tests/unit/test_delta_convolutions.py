"""Fifty linear 3 × 3 convolutions of 8 × 8 images: what keeps a signal, and what borders cost it.

Gaussian weights have variance 1/fan-in = 1/(9 · channels), so that a position's expected square is
the mean of its nine neighbours' squares; beyond the border these are zeros.
"""

from functools import cache

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from sklearn.datasets import load_digits

import d2l_init as di

CHANNELS, DEPTH, NETS = 32, 50, 30


@pytest.fixture(autouse=True)
def numpy_arrays():
    with mx.util.np_shape(True), mx.util.np_array(True):
        yield


def convolutions(weight, inputs=CHANNELS, channels=CHANNELS, padding=1, depth=DEPTH):
    net = nn.HybridSequential(prefix="")
    for layer in range(depth):
        fed = channels if layer else inputs
        net.add(
            nn.Conv2D(
                channels, 3, padding=padding, in_channels=fed, use_bias=False, prefix=f"{layer}_"
            )
        )
    net.cast("float64")
    net.initialize(weight)
    return net


def image(channels=CHANNELS):
    return mx.np.array(np.random.default_rng(0).normal(size=(1, channels, 8, 8)))


def digits():
    return mx.np.array(load_digits().images[:4, None] / 16)


def square(h):
    return float((h.asnumpy() ** 2).sum())


def gaussian(seed):
    return di.VarianceScaling(1.0, "fan_in", "normal", seed=seed)


def predicted(x, depth=DEPTH):
    """Expected square kept: each layer is the mean over the 3 × 3 neighbours, zeros outside, so
    rows and columns each pass the same band of thirds."""
    band = np.tri(8, k=1) * np.tri(8, k=1).T / 3
    passed = np.linalg.matrix_power(band, depth)
    squares = (x.asnumpy() ** 2).sum(axis=(0, 1))
    return (passed @ squares @ passed).sum() / squares.sum()


@cache
def zero_padded():
    return np.array([square(convolutions(gaussian(s))(image())) for s in range(NETS)])


@cache
def wrapped():
    """The same weights around a torus, where there is no border."""
    squares = []
    for seed in range(NETS):
        h = image()
        for layer in convolutions(gaussian(seed), padding=0):
            h = layer(mx.np.array(np.pad(h.asnumpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), "wrap")))
        squares.append(square(h))
    return np.array(squares)


@pytest.mark.parametrize("x", [image, digits])
def test_delta_orthogonal_keeps_the_norm_to_one_in_a_thousand(x):
    x = x()
    for seed in range(3):
        out = convolutions(di.DeltaOrthogonal(seed=seed), inputs=x.shape[1])(x)
        assert square(out) ** 0.5 == pytest.approx(square(x) ** 0.5, rel=1e-3)


def test_it_does_so_in_float32_too():
    net = convolutions(di.DeltaOrthogonal(seed=0))
    net.cast("float32")
    out = net(image().astype("float32"))
    assert square(out) ** 0.5 == pytest.approx(square(image()) ** 0.5, rel=1e-3)


def test_identity_hands_it_on_exactly():
    assert (convolutions(di.Identity())(image()).asnumpy() == image().asnumpy()).all()


def test_gaussian_weights_lose_99_percent_to_zero_padding_as_predicted():
    kept = zero_padded() / square(image())
    expected = predicted(image())
    assert expected == pytest.approx(0.0132, abs=0.0005)
    assert abs(kept.mean() - expected) < 4 * kept.std() / np.sqrt(NETS)
    assert kept.mean() == pytest.approx(expected, rel=0.3)


def test_without_a_border_they_keep_it_on_average():
    kept = wrapped() / square(image())
    assert abs(kept.mean() - 1) < 4 * kept.std() / np.sqrt(NETS)
    assert kept.mean() == pytest.approx(1, abs=0.3)
    assert np.median(wrapped() / zero_padded()) > 50  # the same weights: padding alone


def test_after_one_layer_a_corner_keeps_4_ninths_and_an_edge_6():
    many = [convolutions(gaussian(seed), depth=1)(image()).asnumpy() for seed in range(200)]
    squares = (np.array(many) ** 2).mean(axis=(0, 1, 2))
    x = (image().asnumpy() ** 2).mean(axis=(0, 1))
    around = np.pad(x, 1)
    for row, column in [(0, 0), (0, 3), (4, 4)]:
        expected = around[row : row + 3, column : column + 3].sum() / 9
        assert squares[row, column] == pytest.approx(expected, rel=0.1)
    assert predicted(mx.np.ones((1, 1, 8, 8)), 1) == pytest.approx(
        (36 + 24 * 6 / 9 + 4 * 4 / 9) / 64
    )
