"""What decides whether a deep net trains, on handwritten digits; five seeds each, in float64.

Width 64, as many as the digits have pixels, no biases unless drawn. A final loss is the mean over
the last 20 batches. Where theory puts a net beyond the edge of chaos, its last digits differ
between processors: such nets are held to wide bounds only.
"""

import numpy as np
import pytest
from mxnet.gluon import nn
from scipy import stats
from sklearn.datasets import load_digits

import d2l_init as di
from d2l_init.lab.theory import mean_field
from d2l_init.lab.training import accuracy, train

SEEDS, CHANCE = range(5), np.log(10)
SIGMA_B = 0.05**0.5


pytestmark = pytest.mark.usefixtures("numpy_semantics")


@pytest.fixture(scope="module")
def digits():
    """Each pixel centred, and one scale for all: three of them never change."""
    X, y = load_digits(return_X_y=True)
    X = X - X.mean(0)
    return X / X.std(), y


def plain(depth, activation, initializer, bias=None):
    net = nn.HybridSequential(prefix="")
    options = {"use_bias": bias is not None, "bias_initializer": bias, "in_units": 64}
    for layer in range(depth - 1):
        net.add(nn.Dense(64, prefix=f"hidden{layer}_", **options))
        if activation:
            net.add(nn.Activation(activation))
    net.add(nn.Dense(10, prefix="output_", **options))
    net.cast("float64")
    net.initialize(initializer)
    return net


def normal(gain, seed):
    return di.VarianceScaling(gain**2, "fan_in", "normal", seed=seed)


def final_losses(digits, depth, activation, gains, **options):
    """One row a gain, one column a seed."""
    nets = [plain(depth, activation, normal(gain, seed)) for gain in gains for seed in SEEDS]
    losses = train(nets, *digits, **options)
    return losses[:, -20:].mean(1).reshape(len(gains), -1), nets


def test_he_learns_at_thirty_layers_with_sgd_where_variance_one_over_n_stays_at_chance(digits):
    options = {"lr": 0.002, "momentum": 0.9, "steps": 300, "batch_size": 128}
    losses, nets = final_losses(digits, 30, "relu", [1, np.sqrt(2)], **options)
    right = accuracy(nets, *digits).reshape(2, -1)
    np.testing.assert_allclose(losses[0], CHANCE, atol=2e-3)
    assert (right[0] < 0.15).all()
    assert (losses[1] < 1).all()
    assert (right[1] > 0.75).all()


def test_adam_rescues_variance_one_over_n_in_part(digits):
    options = {"lr": 0.001, "optimizer": "adam", "steps": 200, "batch_size": 128}
    losses, _ = final_losses(digits, 30, "relu", [1, np.sqrt(2)], **options)
    assert (losses[0] < 1.6).all()
    assert (losses[1] < 0.4).all()
    assert losses[0].min() > 2 * losses[1].max()


def test_at_thirty_layers_the_best_gain_for_relu_is_within_a_grid_step_of_root_two(digits):
    gains = np.arange(1, 1.71, 0.1)
    options = {"lr": 0.004, "momentum": 0.9, "steps": 200}
    losses, _ = final_losses(digits, 30, "relu", gains, **options)
    level = np.nan_to_num(losses, nan=np.inf).mean(1)
    assert abs(gains[level.argmin()] - np.sqrt(2)) < 0.1
    np.testing.assert_allclose(losses[:2], CHANCE, atol=5e-3)
    assert np.isnan(losses[-1]).all()


def test_at_thirty_layers_the_best_gain_for_tanh_lies_between_one_and_five_thirds(digits):
    gains = np.arange(1, 1.71, 0.1)
    options = {"lr": 0.005, "momentum": 0.9, "steps": 100}
    losses, _ = final_losses(digits, 30, "tanh", gains, **options)
    best = losses.mean(1).argmin()
    assert 1.2 <= round(gains[best], 1) <= 1.4
    # every seed agrees: the two ends are worse by half at least
    assert (losses[[0, -2, -1]] > 1.5 * losses[best]).all()


def test_at_five_layers_every_gain_from_1_to_2_8_learns(digits):
    gains = np.arange(1, 2.81, 0.2)
    options = {"lr": 0.004, "momentum": 0.9, "steps": 200}
    losses, _ = final_losses(digits, 5, "relu", gains, **options)
    assert (losses < 0.4).all()


def test_depth_against_xi_decides_which_nets_train(digits):
    depths, sigmas = (5, 10, 20, 40), np.array([0.8, 1, 1.2, 1.5, 3])
    xi = np.array([mean_field("tanh", sigma, SIGMA_B, 3).xi_c for sigma in sigmas])
    right = np.array([trained_accuracy(digits, depth, sigmas) for depth in depths])
    ratio, ordered = np.array(depths)[:, None] / xi, sigmas < 1.327
    assert (right[(ratio > 12) & ordered] < 0.15).all()
    assert (right[(ratio < 3) & ordered] > 0.75).all()
    # the chaotic side, measured: it stops training at about 4.5 ξ
    assert (right[(ratio < 2.6) & ~ordered] > 0.7).all()
    assert (right[(ratio > 5.5) & ~ordered] < 0.5).all()


def trained_accuracy(digits, depth, sigmas):
    """Shape (sigmas, seeds)."""
    biases = [di.Mixture([(1, stats.norm(0, SIGMA_B))], seed=seed) for seed in range(2)]
    nets = [plain(depth, "tanh", normal(s, b.seed), b) for s in sigmas for b in biases]
    train(nets, *digits, lr=0.02, steps=150)
    return accuracy(nets, *digits).reshape(len(sigmas), -1)


def steps_to_learn(digits, depth, initializers):
    """The first step at which the mean of the last ten losses is under ½; inf where none is."""
    nets = [plain(depth, None, initializer) for initializer in initializers]
    losses = train(nets, *digits, lr=0.1 / depth, steps=150)
    level = np.apply_along_axis(np.convolve, 1, losses, np.full(10, 0.1), "valid")
    return np.where((level < 0.5).any(1), (level < 0.5).argmax(1) + 10, np.inf)


def test_orthogonal_linear_nets_learn_as_fast_at_100_layers_and_gaussian_ones_never(digits):
    haar, gauss = ([make(seed) for seed in SEEDS] for make in (haar_orthogonal, lecun))
    times = {depth: steps_to_learn(digits, depth, haar) for depth in (12, 100)}
    assert times[100].max() <= 1.4 * times[12].min()
    slower = [steps_to_learn(digits, depth, gauss) for depth in (3, 12, 30, 100)]
    assert (np.diff(np.median(slower, axis=1)[:3]) > 5).all()
    assert np.isinf(slower[3]).all()


def haar_orthogonal(seed):
    return di.HaarOrthogonal(seed=seed)


def lecun(seed):
    return normal(1, seed)
