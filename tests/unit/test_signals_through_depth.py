"""The classic results on signals through fifty layers, traced in Gluon nets that are really drawn.

Digits, each pixel centred and one scale for all; width 200, float64, no biases, one draw each. At
this width and depth the log of a second moment has a standard deviation of about 1.1 for ReLU and
of 0.7 for a linear net (2 in place of 5): bounds below are three of those, or the theory's band.
"""

from functools import cache
from math import sqrt

import numpy as np
import pytest
from mxnet import np as mnp
from mxnet.gluon import loss, nn
from sklearn.datasets import load_digits

import d2l_init as di

pytestmark = pytest.mark.usefixtures("numpy_semantics")

DEPTH, WIDTH = 50, 200


def digits():
    X, y = load_digits(return_X_y=True)
    X = X - X.mean(0)
    return mnp.array((X / X.std())[:200], dtype="float64"), mnp.array(y[:200])


@cache
def layers(activation, scale, distribution="normal", size=1.0, depth=DEPTH):
    """Second moments of pre-activations and of their gradients, and the activations' rows."""
    net = nn.Sequential()
    for layer in range(1, depth + 1):
        net.add(nn.Dense(WIDTH, use_bias=False, prefix=f"layer{layer}_"))
        kind = nn.SELU if activation == "selu" else lambda **a: nn.Activation(activation, **a)
        net.add(kind(prefix=f"act{layer}_"))
    net.add(nn.Dense(10, use_bias=False, prefix="output_"))
    net.cast("float64")
    net.initialize(di.VarianceScaling(scale, distribution=distribution, seed=0))
    X, y = digits()
    frame = di.trace(net, size * X, y, loss.SoftmaxCrossEntropyLoss()).to_frame()
    dense = frame.filter(regex="^layer", axis=0)
    signal, gradient = dense["mean_square"].to_numpy(), dense["grad_mean_square"].to_numpy()
    return signal, gradient, frame.filter(regex="^act", axis=0)


def theory(activation, scale, size=1.0, depth=DEPTH):
    return di.mean_field(activation, sqrt(scale), 0, depth, q0=scale * size**2, width=WIDTH)


def in_band(signal, field):
    return ((field.q_low < signal) & (signal < field.q_high)).all()


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_tanh_with_a_third_of_the_variance_loses_a_factor_of_three_a_layer(distribution):
    signal, gradient, _ = layers("tanh", 1 / 3, distribution)
    assert in_band(signal, theory("tanh", 1 / 3))
    lost = (signal[-1] / signal[0]) ** (1 / 49)
    assert 1 / lost == pytest.approx(3.06, rel=0.05)
    back = (gradient[0] / gradient[-1]) ** (1 / 49)
    assert 1 / back == pytest.approx(3.04, rel=0.05)


def test_tanh_with_glorots_variance_falls_like_one_over_twice_the_layer():
    signal, gradient, _ = layers("tanh", 1.0)
    field = theory("tanh", 1.0)
    assert in_band(signal, field)
    assert np.allclose(2 * np.arange(10, 51) * field.q[9:], 1, atol=0.2)
    # a power of the depth and no exponential: far from 1.2 to the 49th
    assert 0.004 < gradient[0] / gradient[-1] < 0.06


def test_tanh_with_gain_five_thirds_holds_the_signal_and_lets_gradients_grow():
    signal, gradient, _ = layers("tanh", 25 / 9)
    field = theory("tanh", 25 / 9)
    assert in_band(signal, field)
    assert signal[10:] == pytest.approx(field.q_star, rel=0.25)
    growth = (gradient[10] / gradient[-1]) ** (1 / 39)
    assert growth == pytest.approx(field.chi_1, rel=0.03)
    assert gradient[0] / gradient[-1] > 1000


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("scale", [1 / 3, 1.0, 2.0, 25 / 9])
def test_gradients_follow_the_product_of_chi(activation, scale):
    _, gradient, _ = layers(activation, scale)
    log_ratio = np.log(gradient[0] / gradient[-1] / theory(activation, scale).chi[:49].prod())
    assert abs(log_ratio) < 3 * sqrt(5 * 49 / WIDTH)


def test_relu_halves_the_second_moment_at_one_over_n():
    signal, _, _ = layers("relu", 1.0)
    field = theory("relu", 1.0)
    assert np.allclose(field.q, 0.5 ** np.arange(DEPTH))
    assert in_band(signal, field)


def test_relu_is_level_at_two_over_n_inside_the_band():
    signal, _, rows = layers("relu", 2.0)
    field = theory("relu", 2.0)
    assert np.allclose(field.q, 2)
    assert in_band(signal, field)
    # behind the activation it is the second moment that is half, not the variance
    assert (rows["mean_square"] / signal).mean() == pytest.approx(0.5, abs=0.04)
    assert (rows["std"] ** 2 / signal).mean() == pytest.approx(0.5 - 0.5 / np.pi, abs=0.04)


@pytest.mark.parametrize("size", [0.1, 3.0, 10.0])
def test_selu_brings_every_size_to_mean_zero_and_variance_one(size):
    _, _, rows = layers("selu", 1.0, size=size, depth=30)
    reached = rows.loc["act21"]
    assert reached["mean"] == pytest.approx(0, abs=0.1)
    assert reached["std"] == pytest.approx(1, abs=0.1)
    field = theory("selu", 1.0, size, 30)
    assert field.q_star == pytest.approx(1, abs=1e-9)
    assert field.chi_1 == pytest.approx(1.0716, abs=1e-4)
