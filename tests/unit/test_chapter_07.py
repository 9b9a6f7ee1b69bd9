"""What chapter 07 concludes, over seeds that it doesn't use."""

from math import log, pi, sqrt

import numpy as onp
import pytest
from mxnet import gluon, np, random
from mxnet.gluon import nn
from sklearn.datasets import load_digits

import d2l_init

pytestmark = pytest.mark.usefixtures("numpy_semantics")

digits = load_digits()
centred = digits.data - digits.data.mean(0)
X, y = np.array(centred / centred.std(), dtype="float64"), np.array(digits.target)
cross_entropy = gluon.loss.SoftmaxCrossEntropyLoss()


def plain(depth, width, activation, last=None, seed=0):
    net = nn.Sequential()
    for layer in range(depth):
        net.add(nn.Dense(width, activation=activation, use_bias=False, prefix=f"layer{layer}_"))
    net.add(nn.Dense(10, use_bias=False, prefix="output_"))
    net.cast("float64")
    net.initialize(d2l_init.he_normal(seed=seed))
    net(X[:1])
    if last:
        net[-1].initialize(d2l_init.TruncatedNormal(last, seed=seed), force_reinit=True)
    return net


def at_start(*args, examples=400, **options):
    logits = plain(*args, **options)(X[:examples])
    return cross_entropy(logits, y[:examples]).mean().item(), (logits**2).mean().item()


def expected_loss(square):
    """log C + E log mean e^z by quadrature: of a sum of 10 log-normals, by its Laplace form."""
    # E log S = ∫ (e^-t − E e^{-tS}) / t dt, and E e^{-tS} is a tenth power of one integral
    nodes, weights = onp.polynomial.hermite_e.hermegauss(60)
    weights = weights / sqrt(2 * pi)
    logs = onp.linspace(-30, 12, 4001)
    t = onp.exp(logs)
    one = (onp.exp(-t[:, None] * onp.exp(sqrt(square) * nodes)) * weights).sum(1)
    return float(onp.trapz(onp.exp(-t) - one**10, logs))


def test_the_loss_of_hes_start_is_predicted_within_two_per_cent():
    assert expected_loss(1e-6) == pytest.approx(log(10), rel=1e-4)
    found = [at_start(1, 100, "relu", seed=100 + k, examples=1797)[0] for k in range(160)]
    assert onp.mean(found) == pytest.approx(expected_loss(2), rel=0.02)
    assert expected_loss(2) == pytest.approx(3.11, abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_a_small_last_layer_starts_at_log_10(seed):
    assert at_start(1, 100, "relu", last=0.001, seed=seed)[0] == pytest.approx(log(10), rel=1e-3)


def test_deep_nets_start_lower_and_follow_once_each_has_its_own_variance():
    nets = onp.array([at_start(50, 50, "relu", seed=200 + k) for k in range(40)])
    own = onp.mean([expected_loss(square) for square in nets[:, 1]])
    assert nets[:, 0].mean() < 0.93 * expected_loss(2)
    assert nets[:, 0].mean() == pytest.approx(own, rel=0.05)


def test_after_lsuv_tanh_gradients_grow_by_the_predicted_factor():
    chi = d2l_init.mean_field("tanh", d2l_init.gain(onp.tanh), 0, 1).chi[0]
    assert chi == pytest.approx(1.178, abs=5e-4)
    factors = []
    for seed in range(5):
        random.seed(100 + seed)
        net = plain(50, 200, "tanh")
        frame = d2l_init.lsuv(net, X[:256])
        assert frame["variance"].between(0.9, 1.1).all()
        squares = d2l_init.trace(net, X[:256], y[:256], cross_entropy).to_frame()[
            "grad_mean_square"
        ]
        factors.append((squares.iloc[4] / squares.iloc[44]) ** (1 / 40))
    assert factors == pytest.approx([chi] * 5, rel=0.01)


def normed(depth, width, inputs, weights):
    net = nn.Sequential()
    for layer in range(depth):
        fan_in, name = width if layer else inputs, f"layer{layer}_"
        net.add(nn.Dense(width, in_units=fan_in, use_bias=False, prefix=name))
        net.add(nn.BatchNorm(in_channels=width), nn.Activation("relu"))
    net.cast("float64")
    net.initialize(weights)
    return net


@pytest.mark.parametrize("s", [3e-4, 6e-4, 1e-3, 3e-3, 0.1])
def test_epsilon_defeats_batch_norm_where_predicted(s):
    width, epsilon = 32, 1e-5
    r = 64 * s**2 / (64 * s**2 + epsilon)
    for _ in range(5):
        v = width * s**2 * (pi - 1) / (2 * pi) * r
        r = v / (v + epsilon)
    found = []
    for seed in range(5):
        net = normed(6, width, 64, d2l_init.TruncatedNormal(s, bound=4, seed=50 + seed))
        frame = d2l_init.trace(net, X[:512], training=True).to_frame()
        found.append(frame[frame["block"] == "BatchNorm"]["mean_square"].iloc[-1])
    assert onp.median(found) == pytest.approx(r, rel=0.4)
    assert (r < 0.05) == (s < 0.7 * sqrt(2 * pi * epsilon / (width * (pi - 1))))


@pytest.mark.parametrize(("batch", "factor"), [(16, 1.6), (128, pi / (pi - 1)), (512, 1.44)])
def test_gradients_through_batch_norm_grow_by_the_limit_at_128_examples(batch, factor):
    found = []
    for seed in range(5):
        net = normed(50, 128, 128, d2l_init.he_normal(seed=50 + seed))
        random.seed(seed)
        inputs, target = (np.random.normal(size=(batch, 128), dtype="float64") for _ in range(2))
        frame = d2l_init.trace(
            net, inputs, target, lambda out, y: (out * y).sum(1), training=True
        ).to_frame()
        squares = frame[frame["block"] == "Dense"]["grad_mean_square"]
        found.append((squares.iloc[4] / squares.iloc[44]) ** (1 / 40))
    assert onp.median(found) == pytest.approx(factor, rel=0.015)


def sixfold(s, seed, norm, follow=False):
    net = nn.HybridSequential()
    for layer in range(6):
        fan_in, name = 32 if layer else 64, f"layer{layer}_"
        net.add(nn.Dense(32, in_units=fan_in, use_bias=not norm, prefix=name))
        net.add(nn.BatchNorm(in_channels=32) if norm else nn.Activation("relu"))
        net.add(nn.Activation("relu"))
        if follow:
            net[-3].weight.lr_mult = s**2 * 32 / 2
    net.add(nn.Dense(10, in_units=32, prefix="output_"))
    net.cast("float64")
    net.initialize(d2l_init.TruncatedNormal(s, bound=4, seed=seed))
    return net


def test_with_a_norm_the_scale_is_a_learning_rate_and_without_one_it_decides():
    def final(s, **options):
        nets = [sixfold(s, seed=50 + k, **options) for k in range(5)]
        losses = d2l_init.train(nets, X, y, lr=0.1, momentum=0.9, steps=40)
        return onp.median(losses[:, -10:].mean(1))

    followed = [final(s, norm=True, follow=True) for s in (0.005, 0.05, 0.25)]
    assert max(followed) < 1.6 * min(followed) < 1
    assert final(0.005, norm=True) > 1.5 * followed[0]
    assert final(2e-4, norm=True, follow=True) == pytest.approx(log(10), rel=0.01)  # by ε
    assert final(0.05, norm=False) == pytest.approx(log(10), rel=0.01)
    assert final(0.25, norm=False) < 1.5
