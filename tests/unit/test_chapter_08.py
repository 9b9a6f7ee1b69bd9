"""What chapter 08 concludes, by its own functions, over seeds that it doesn't use."""

from math import e, log, pi, sqrt
from pathlib import Path

import numpy as np
import pytest
from mxnet import init, npx
from unit import chapters

import d2l_init

PATH = Path(__file__).parents[2] / "notebooks" / "08-residual-and-attention.ipynb"
DATA = {"ctx", "digits", "X", "y", "z", "density", "T", "grid", "squares", "softmax_loss"}
SEEDS = range(20, 25)


@pytest.fixture(autouse=True)
def _semantics():
    npx.set_np()


@pytest.fixture(scope="module")
def chapter():
    npx.set_np()
    return chapters.definitions(PATH, DATA)


def slope(widths, values):
    """Of the mean logarithm over runs, for values of shape (runs, widths)."""
    return np.polyfit(np.log(widths), np.log(values).mean(0), 1)[0]


# Adding


@pytest.mark.parametrize("a", [1, 0.5, 0.2])
def test_one_block_multiplies_the_second_moment_and_scatters_as_predicted(chapter, a):
    q = chapter.streams(a, nets=4000, depth=1, n=40)[:, 1]
    assert q.mean() == pytest.approx(1 + a**2, rel=0.015)
    assert q.var() == pytest.approx((4 * a**2 + 7 * a**4) / 40, rel=0.12)


def test_scaled_branches_stay_below_e_in_the_mean_and_full_ones_double(chapter):
    assert all(e > (1 + 1 / L) ** L for L in range(1, 2000))
    ends = chapter.streams(20**-0.5, nets=400, depth=20)[:, -1]
    assert ends.mean() == pytest.approx(1.05**20, rel=0.05)
    assert np.median(chapter.streams(1, nets=400, depth=20)[:, -1]) / 2**20 > 0.4
    assert (chapter.streams(0, nets=3, depth=20) == 1).all()


@pytest.mark.parametrize("a", [1, 30**-0.5])
def test_about_19_nets_in_20_end_in_the_band(chapter, a):
    middle, low, high = chapter.band(a, depth=30)[:, -1]
    ends = chapter.streams(a, nets=400, depth=30)[:, -1]
    assert 0.92 <= ((low < ends) & (ends < high)).mean() <= 1
    assert np.median(ends) == pytest.approx(middle, rel=0.25)
    assert np.log(ends).std() == pytest.approx(np.log(high / low) / 3.92, rel=0.15)


STARTS = {
    "scaled": {"a": 32**-0.5},
    "SkipInit": {"a": 0, "learned": True},
    "Fixup": {"a": 1, "inner": 1 / 32, "outer": 0},
}


@pytest.fixture(scope="module")
def learning(chapter):
    npx.set_np()

    def train(lr, steps, **start):
        nets = [chapter.residual_net(32, seed, **start) for seed in SEEDS]
        return d2l_init.train(nets, chapter.X, chapter.y, lr=lr, steps=steps)

    return {name: train(0.03, 60, **start) for name, start in STARTS.items()}, train


@pytest.mark.parametrize("name", STARTS)
def test_a_residual_net_whose_branches_start_small_learns(learning, name):
    losses = learning[0][name]
    assert (losses[:, -10:].mean(1) < 0.8).all()  # from log 10 or more
    assert (losses[:, 0] > 2).all()


@pytest.mark.parametrize("lr", [0.03, 1e-4])
def test_full_branches_diverge_at_usual_rates(learning, lr):
    assert not np.isfinite(learning[1](lr, 20, a=1)[:, -1]).any()


def test_at_a_tiny_rate_full_branches_learn_little(learning):
    losses = learning[1](1e-6, 40, a=1)
    assert (losses[:, -1] < losses[:, 0] / 10).all()
    assert (losses[:, -1] > 30).all()


def test_skipinit_and_fixup_share_their_first_loss_alone(learning):
    same = learning[0]["SkipInit"] == learning[0]["Fixup"]
    assert same[:, 0].all()
    assert not same[:, 1:].any()


# Attention


@pytest.mark.parametrize("d", [4, 16, 64, 256])
def test_logits_have_variance_d_and_1_when_divided(chapter, d):
    found = [[chapter.attention_weights(d, f, k)[0] for k in SEEDS] for f in (1, d**-0.5)]
    assert np.mean(found[0]) == pytest.approx(d, rel=0.08)
    assert np.mean(found[1]) == pytest.approx(1, rel=0.08)


@pytest.mark.parametrize("s", [0.1, 1, 4, 16])
@pytest.mark.parametrize("T", [32, 64])
def test_the_integral_gives_what_softmax_of_normal_logits_does(chapter, s, T):
    logits = s * np.random.default_rng(7).standard_normal((40000, T))
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    entropies = -(p * np.log(p + 1e-300)).sum(1)
    assert chapter.entropy(s, T) == pytest.approx(entropies.mean(), rel=0.02)
    assert 1 - chapter.slope_of_F(s, T) / s == pytest.approx((p**2).sum(1).mean(), rel=0.02)
    if s < 1:
        assert chapter.entropy(s, T) == pytest.approx(log(T) - s**2 / 2, rel=1e-4)


@pytest.mark.parametrize("d", [16, 64, 256])
def test_the_entropy_of_attention_is_predicted_with_and_without_the_division(chapter, d):
    plain, divided = (
        np.mean([chapter.attention_weights(d, f, k)[1] for k in range(20, 40)])
        for f in (1, d**-0.5)
    )
    assert plain == pytest.approx(chapter.entropy(d**0.5), abs=0.1 if d < 64 else 0.03)
    assert divided == pytest.approx(chapter.entropy(1), rel=0.01)


def test_at_d_4_queries_of_all_lengths_leave_more_entropy_than_predicted(chapter):
    found = [chapter.attention_weights(4, 1, k)[1] for k in range(20, 60)]
    lengths = np.random.default_rng(1).chisquare(4, 60)  # |q|² of the queries
    assert np.mean(found) > chapter.entropy(2) + 0.1
    assert np.mean(found) == pytest.approx(
        np.mean([chapter.entropy(v**0.5) for v in lengths]), 0.05
    )


@pytest.mark.parametrize(("s", "near"), [(0.1, 0.02), (0.5, 0.03), (1, 0.05)])
def test_the_first_layers_cosine_is_that_of_32_tokens(chapter, s, near):
    found = np.mean([chapter.attention_only(s, k, layers=1)[0] for k in range(20, 60)])
    predicted = 1 / 32 / chapter.sum_of_squares(s)
    assert found == pytest.approx(predicted, rel=near)
    assert (found - np.exp(-(s**2)) > 0.03) == (s == 1)  # infinitely many tokens: too small


@pytest.mark.parametrize("seed", SEEDS)
def test_attention_alone_makes_tokens_one_adding_delays_it_small_branches_prevent_it(chapter, seed):
    alone = chapter.attention_only(1, seed, layers=6)
    added = chapter.attention_only(1, seed, keep=1)
    scaled = chapter.attention_only(1, seed, keep=1, a=48**-0.5)
    assert alone[1] > 0.9
    assert alone[-1] > 1 - 1e-6
    assert added[5] < 0.6
    assert added[-1] == pytest.approx(chapter.predicted_cosines(keep=1)[-1], abs=0.02)
    assert scaled[-1] == pytest.approx(chapter.predicted_cosines(a=48**-0.5)[-1], abs=0.03)


@pytest.mark.parametrize(("a", "near"), [(1, 0.12), (48**-0.5, 0.04)])
def test_the_stream_of_a_transformer_grows_as_predicted(chapter, a, near):
    runs = [chapter.transformer(a, seed) for seed in range(20, 28)]
    q = np.mean([q for q, _ in runs], axis=0)
    predicted, cosine = chapter.transformer_theory(a)
    assert q == pytest.approx(predicted, rel=near)
    assert np.mean([c for _, c in runs]) == pytest.approx(cosine[-1], abs=0.03)
    assert 1.5 < (predicted[24] - 1) / (predicted[12] - 1) < 2.5  # linear, not doubling
    assert a == 1 or predicted[-1] <= 2


# Width


@pytest.fixture(scope="module")
def steps(chapter):
    npx.set_np()

    def of(rule, lr, widths):
        return np.array([[chapter.one_step(n, k, rule, lr) for n in widths] for k in SEEDS])

    return {
        "standard": of("standard", 0.001, (64, 256, 1024)),
        "μP": of("μP", 0.01, (64, 256, 1024)),
    }


@pytest.mark.parametrize("rule", ["standard", "μP"])
def test_one_step_changes_layers_with_the_predicted_powers_of_the_width(steps, rule):
    powers = {"standard": [0, -0.5, 0.5, 1], "μP": [-0.5, 0, 0, 0]}[rule]
    found = [slope((64, 256, 1024), steps[rule][..., k]) for k in range(4)]
    assert found == pytest.approx(powers, abs=0.1)


def test_all_of_the_logits_change_with_the_width_in_a_standard_net_only(chapter, steps):
    wide = np.array(
        [[chapter.one_step(n, k, "standard", 0.001)[4] for n in (512, 2048)] for k in SEEDS]
    )
    assert 0.75 < slope((64, 256, 1024), steps["standard"][..., 4]) < 0.95
    assert slope((512, 2048), wide) == pytest.approx(1, abs=0.1)
    assert slope((64, 256, 1024), steps["μP"][..., 4]) == pytest.approx(0, abs=0.1)


def test_the_share_of_the_first_layer_does_not_grow(chapter):
    def share(n, seed):
        net, (images, labels) = chapter.wide_net(n, seed, 1), chapter.sixteen(seed)
        before = chapter.backward(net, images, labels)[-1]
        net[0].weight.set_data(net[0].weight.data() - 0.001 * net[0].weight.grad())
        return chapter.rms(net(images) - before)

    widths = (64, 256, 1024)
    assert abs(slope(widths, np.array([[share(n, k) for n in widths] for k in SEEDS]))) < 0.1


@pytest.mark.parametrize("n", [64, 256, 1024])
def test_gradients_are_aligned_with_their_inputs_and_weights_are_not(chapter, n):
    weights, one, sixteen = np.transpose([chapter.alignments(n, seed) for seed in SEEDS])
    assert one == pytest.approx(1, abs=1e-4)
    assert ((sixteen > 0.25) & (sixteen < 0.6)).all()
    assert weights.mean() * sqrt(n) == pytest.approx(1, rel=0.08)


@pytest.mark.parametrize(("rule", "powers"), [("standard", [0, 1, 1]), ("μP", [0, 0, 0])])
def test_a_sign_step_grows_with_the_width_unless_its_rates_fall(chapter, rule, powers):
    widths = (64, 256, 1024)
    found = np.array([[chapter.one_sign_step(n, k, rule) for n in widths] for k in SEEDS])
    assert [slope(widths, found[..., k]) for k in range(3)] == pytest.approx(powers, abs=0.1)


# Plain layers, and a factor of zero


def test_the_leaky_slope_is_that_of_the_closed_form(chapter):
    c = 0.0
    for _ in range(50):  # Cho & Saul 2009's integral for a slope on the negative side
        c += (1 - 0.4305) ** 2 / (pi * (1 + 0.4305**2)) * (sqrt(1 - c * c) - c * np.arccos(c))
    assert c == pytest.approx(0.9, abs=1e-4)
    assert chapter.correlations(0.4305)[-1] == pytest.approx(c, abs=1e-4)


def test_leaky_nets_keep_inputs_apart_and_relu_nets_do_not(chapter):
    leaky = [chapter.plain_net(0.4305, seed, n=400)[-1] for seed in range(20, 30)]
    relu = [chapter.plain_net(0, seed, n=400)[-1] for seed in SEEDS]
    assert np.mean(leaky) == pytest.approx(0.9, abs=0.04)
    assert min(relu) > 0.97 > max(leaky)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_zero_factor_learns_and_two_never_move(chapter, seed):
    some = chapter.normal(1, seed)
    only_b, only_a = chapter.adapt(some, init.Zero()), chapter.adapt(init.Zero(), some)
    neither = chapter.adapt(init.Zero(), init.Zero())
    assert only_b[:2] == [True, False]
    assert only_a[:2] == [False, True]
    assert neither[:2] == [True, True]
    assert only_b[3] < only_b[2] - 1
    assert only_a[3] < only_a[2] - 1
    assert neither[2] == neither[3]
    assert [one[4] for one in (only_b, only_a, neither)] == [False, False, True]
