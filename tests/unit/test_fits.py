"""Weights of nets that others drew: which law was taken, and whether the draw fits it."""

import datetime
from itertools import pairwise

import matplotlib.pyplot as plt
import mxnet as mx
import numpy as np
import pytest
from mxnet import init
from mxnet.gluon import nn
from scipy import stats

import d2l_init as di
from d2l_init.fits import Sample


def net_of(*layers, start=None):
    net = nn.HybridSequential(prefix="")
    net.add(*layers)
    net.initialize(start or di.he_normal(seed=1))
    return net


def dense(count=1, width=40, **options):
    return [nn.Dense(width, in_units=width, prefix=f"n_dense{k}_", **options) for k in range(count)]


def told(net, *args, **options):
    return di.caption(di.plot_weights(net, *args, **options))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(1, stats.norm(5, 2))], 3),
        ([(1, stats.uniform(-1, 2))], 1.8),
        ([(1, stats.laplace(1, 3))], 6),
        ([(0.5, 0.0), (0.5, stats.norm(0, 1))], 6),
        ([(0.5, -1.0), (0.5, 1.0)], 1),
        ([(1, 3.0)], 1),
    ],
)
def test_kurtosis_of_known_laws(parts, expected):
    assert di.Law(parts).kurtosis == pytest.approx(expected)


@pytest.mark.parametrize(
    "initializer",
    [di.he_normal(), di.he_uniform(), di.HaarOrthogonal(), di.Sparse(5), init.Normal(0.1),
     di.Mixture([(0.3, 0), (0.7, stats.laplace(0, 2))])],
    ids=lambda one: type(one).__name__,
)  # fmt: skip
def test_right_draws_fit_and_their_spread_is_the_one_expected(initializer):
    mx.random.seed(2)
    draws = []
    for _ in range(300):
        parameter = mx.gluon.Parameter("weight", shape=(30, 20), init=initializer)
        parameter.initialize()
        draws.append(Sample("w", parameter.data().asnumpy(), initializer))
    assert max(one.misfit for one in draws) < 5
    off = [(one.counted.std / one.law.std - 1) / one.error for one in draws]
    assert np.std(off) < 1.1  # of dependent entries it is smaller
    if not isinstance(initializer, (di.HaarOrthogonal, di.Sparse)):
        assert np.std(off) > 0.9


@pytest.mark.parametrize(
    ("wrong", "factor"),
    [(lambda w: 1.3 * w, "scale"), (lambda w: w + 0.03, "mean"), (lambda w: -3 * abs(w), "end")],
)
def test_a_draw_that_does_not_fit_is_told(wrong, factor):
    layer = net_of(*dense(2))
    layer[1].weight.set_data(wrong(layer[1].weight.data()))
    words = told(layer, di.he_normal())
    first, second = words.split("n_dense1_weight")[:2]
    assert "does not fit" not in first, factor
    assert "This draw does not fit its law." in second


def test_a_mean_that_is_off_is_told_where_the_law_has_no_ends():
    layer = net_of(*dense(1, 100), start=init.Normal(0.1))
    assert Sample("w", layer[0].weight.data().asnumpy(), init.Normal(0.1)).misfit < 4
    layer[0].weight.set_data(layer[0].weight.data() + 0.01)  # ten standard errors
    found = Sample("w", layer[0].weight.data().asnumpy(), init.Normal(0.1)).misfit
    assert 6 < found < 14


def test_more_kinds_than_fit_into_a_sentence_are_counted():
    kinds = [nn.Dense(40, in_units=40, prefix=f"n_{k}_", weight_initializer=init.Normal(0.1 + k))
             for k in range(6)]  # fmt: skip
    words = told(net_of(*kinds))
    assert "Normal(sigma=3.1) of n_3_weight and of 2 more kinds." in words
    assert "Normal(sigma=4.1)" not in words


def test_parameters_that_were_never_drawn_are_named():
    net = net_of(nn.Dense(40, in_units=40, prefix="n_"), nn.Dense(3, prefix="late_"))
    words = told(net, di.he_normal())
    assert "Law: VarianceScaling(scale=2.0). Without values: late_weight." in words


def test_a_constant_without_a_law_is_told_as_it_is():
    net = net_of(*dense(1), start=init.Normal(1))
    net[0].bias.set_data(mx.nd.ones(40) * 3)
    net[0].bias.init = None
    assert "n_dense0_bias: all 3." in told(net)


def test_the_caption_says_which_initializer_was_taken_for_which_parameter():
    own = dense(2, weight_initializer=init.Normal(0.02))[1]
    words = told(net_of(*dense(1), own), di.he_normal())
    law = (
        "Law: VarianceScaling(scale=2.0) of n_dense0_weight; Normal(sigma=0.02) of n_dense1_weight."
    )
    assert f"{law} n_dense0_bias, n_dense1_bias: all 0, as the law says." in words


def test_a_parameters_own_initializer_wins_as_in_gluon():
    net = net_of(*dense(1), start=init.Normal(0.01))
    words = told(net, {".*": init.Normal(0.01)})
    assert "n_dense0_bias: all 0, as the law says" in words
    assert "0.01 predicted" in words


def test_a_full_name_overrules_it_and_the_first_pattern_counts():
    net = net_of(*dense(2), start=init.Normal(0.01))
    net[0].bias.initialize(init.Constant(0.5), force_reinit=True)
    laws = {".*0_weight": init.Normal(0.01), ".*weight": init.Normal(9)}
    words = told(net, laws | {"n_dense0_bias": init.Constant(0.5)})
    assert "n_dense0_bias: all 0.5, as the law says" in words
    assert "n_dense0_weight: 1600 entries, std 0.00" in words
    assert words.count("does not fit") == 1  # that of n_dense1_weight, said to be 900 times wider


@pytest.mark.parametrize(
    ("init_", "message"),
    [
        (di.he_normal, r"init must be an initializer: initializer must be called first: he_normal"),
        (di.Sparse, r"must be called first: Sparse\(\.\.\.\), got Sparse"),
        ("normel", "init must be an initializer: no initializer is registered as 'normel'"),
        (0.01, "init must be an initializer or a registered name, got 0.01"),
        ({".*": di.he_normal}, "must be called first"),
        ({".*wieght": init.Zero()}, r"patterns that match a parameter, got \['\.\*wieght'\]"),
    ],
)
def test_what_cannot_have_drawn_the_net_is_an_error(init_, message):
    with pytest.raises(ValueError, match=message):
        di.plot_weights(net_of(*dense(1)), init_)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: init.Normal(-0.01), "sigma must be a positive number, got -0.01"),
        (lambda: init.Normal(0), "sigma must be a positive number, got 0"),
        (lambda: init.Normal(float("nan")), "sigma must be a positive number, got nan"),
        (lambda: init.Uniform(-1), "scale must be at least 0, got -1"),
        (lambda: init.Uniform(float("inf")), "scale must be a finite number, got inf"),
        (lambda: init.Xavier(magnitude=-1), "magnitude must be at least 0, got -1"),
        (lambda: init.Xavier("gaussian", magnitude=0), "magnitude must be a positive number"),
        (lambda: init.Xavier(magnitude=float("nan")), "magnitude must be a finite number, got nan"),
        (lambda: di.he_normal, r"initializer must be called first: he_normal\(\.\.\.\)"),
        (lambda: init.Zero, r"initializer must be called first: Zero\(\.\.\.\)"),
    ],
)
def test_what_mxnet_refuses_has_no_law(made, message):
    with pytest.raises(ValueError, match=message):
        di.law(made(), (8, 4))


@pytest.mark.parametrize("initializer", [init.Uniform(0), init.Xavier(magnitude=0)])
def test_a_scale_of_zero_is_zero(initializer):
    assert di.law(initializer, (8, 4)).atoms == {0.0: 1.0}


def test_a_parameter_that_it_cannot_have_drawn_does_not_refuse_the_figure():
    class Scale(nn.Dense):
        """Its one-axis parameter was drawn by somebody else."""

    net = net_of(
        Scale(40, in_units=40, bias_initializer=None, prefix="n_scale0_"), start=init.Normal(0.1)
    )
    words = told(net, di.he_normal())
    assert "n_scale0_weight" in words
    assert "n_scale0_bias: 40 entries, std" in words
    assert "does not fit" in words


@pytest.mark.parametrize(
    ("name", "start"), [("n_gamma", "ones"), ("n_running_var", "ones"), ("n_bias", "zeros")]
)
def test_the_advice_for_one_axis_is_what_it_starts_from(name, start):
    for call in (lambda: di.law(di.he_normal(), (8,), name=name),
                 lambda: di.he_normal()(init.InitDesc(name, {"__init__": di.he_normal().dumps()}),
                                        mx.nd.zeros(8))):  # fmt: skip
        with pytest.raises(ValueError, match=f"an initializer of its own, such as '{start}'"):
            call()


def test_delta_orthogonal_says_how_to_take_it_where_it_fits():
    from d2l_init import DeltaOrthogonal, he_normal

    net = net_of(nn.Conv2D(8, 3, in_channels=3), nn.Conv2D(4, 3, in_channels=8), nn.Dense(2))
    net(mx.nd.zeros((1, 3, 8, 8)))
    with pytest.raises(ValueError, match="at least as many outputs as inputs") as caught:
        net.initialize(DeltaOrthogonal(), force_reinit=True)
    line = str(caught.value).split("once shapes are known: ")[1]
    exec(line, {"net": net, "DeltaOrthogonal": DeltaOrthogonal, "he_normal": he_normal})
    first, second = net[0].weight.data().asnumpy(), net[1].weight.data().asnumpy()
    assert (first != 0).mean() < 0.12
    assert (second != 0).all()
    assert (net[0].bias.data().asnumpy() == 0).all()


LARGE = net_of(*dense(20), nn.BatchNorm(in_channels=40))


def test_a_large_net_is_one_page_with_the_worst_fit_first():
    net = net_of(*dense(20), nn.BatchNorm(in_channels=40))
    net[7].weight.set_data(2 * net[7].weight.data())
    figure = di.plot_weights(net, di.he_normal())
    (ax,) = figure.axes
    assert figure.get_figheight() < 10
    assert ax.get_yticklabels()[0].get_text() == "dense7_weight 40×40"
    assert len(ax.get_yticklabels()) == 20
    (points,) = [line for line in ax.get_lines() if line.get_marker() == "o"]
    ratio = net[7].weight.data().asnumpy().std() / (2 / 40) ** 0.5
    assert points.get_xdata()[0] == pytest.approx(ratio, rel=1e-5)
    bars = ax.patches[0]
    assert bars.get_width() == pytest.approx(2 * 1.96 * Sample(
        "w", net[7].weight.data().asnumpy(), di.he_normal()).error)  # fmt: skip
    words = di.caption(figure)
    assert "of 20 parameters, 32000 entries" in words
    assert f"No fit to its law: n_dense7_weight ({ratio:.3g})." in words
    assert "running_var: all 1, as the law says" in words
    assert len(words) < 1000


def test_without_a_law_a_large_net_shows_what_was_measured():
    figure = di.plot_weights(LARGE)
    assert "Measured std of 20 parameters" in di.caption(figure)
    assert figure.axes[0].get_lines()[0].get_xdata()[0] == pytest.approx((2 / 40) ** 0.5, rel=0.1)


def test_which_chooses_by_pattern_dictionary_or_number():
    assert len(di.plot_weights(LARGE, which=".*dense[0-2]_weight").axes) == 3
    assert len(di.plot_weights(LARGE, which=LARGE[3].collect_params(".*weight")).axes) == 1
    assert len(di.plot_weights(LARGE, di.he_normal(), which=5).axes) == 5
    assert len(di.plot_weights(LARGE, di.he_normal(), which=14).axes) == 14
    assert len(told(LARGE, di.he_normal(), which=12)) < 1000
    with pytest.raises(ValueError, match=r"got n_dense0_weight.*, which='conv'"):
        di.plot_weights(LARGE, which="conv")
    for wrong in (0, True):
        with pytest.raises(ValueError, match="which must be a whole number of at least 1"):
            di.plot_weights(LARGE, which=wrong)


def test_long_names_do_not_overprint_each_other():
    names = [f"a_very_long_prefix_that_somebody_chose_for_layer_number_{k}_" for k in range(3)]
    net = net_of(*[nn.Dense(64, in_units=64, prefix=name) for name in names], start=init.Normal(1))
    figure = di.plot_weights(net, init.Normal(1))
    figure.canvas.draw()
    notes = [text.get_window_extent() for ax in figure.axes for text in ax.texts]
    titles = [ax._left_title.get_window_extent() for ax in figure.axes]
    for row in (titles, notes):
        assert all(a.x1 <= b.x0 for a, b in pairwise(row))
    assert len(notes) == 3


def test_names_that_begin_with_an_underscore_are_names():
    net = nn.Dense(30, in_units=40, prefix="_head_")
    net.initialize(di.he_normal())
    figure = di.plot_weights(net, di.he_normal())
    assert figure.axes[0].get_title("left").startswith("_head_weight")
    assert "_head_weight: 1200 entries" in di.caption(figure)
    ax = di.plot_curves([1, 2], {"_a": [1, 2]}, xlabel="x", ylabel="y")
    assert "_a from 1 to 2" in di.caption(ax)
    assert "_a" in [text.get_text() for text in ax.texts]
    assert "<b>: 2 entries" in di.caption(di.plot_histogram([1.0, 2.0], name="<b>"))


def test_a_parameter_can_be_handed_over_as_it_is():
    layer = nn.Dense(30, in_units=40, prefix="head_")
    layer.initialize(di.he_normal())
    assert "head_weight: 1200 entries" in di.caption(di.plot_histogram(layer.weight))
    with pytest.raises(ValueError, match="'late_weight' has no values yet"):
        di.plot_histogram(nn.Dense(3, prefix="late_").weight)


DAYS = [datetime.date(2026, 11, day) for day in (1, 2)]


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda ax: ax.plot(["a", "b"], [1, 2], label="l"), "l from 1 to 2."),
        (lambda ax: ax.plot(DAYS, [1, 2], label="l"), "l from 1 to 2."),
        (lambda ax: ax.plot([1, 2], DAYS, label="l"), "l from 2026-11-01 to 2026-11-02."),
        (lambda ax: ax.bar(["a", "b"], [1, 2]), "bars from 1 to 2."),
        (lambda ax: ax.hist([1, 2, 2], bins=2), "bars from 1 to 2."),
        (lambda ax: ax.imshow([[0, 1, 2]]), "an image of 1 × 3 values, 0 to 2."),
        (lambda ax: ax.scatter([1, 2], [3, 4]), "points: 2."),
        (lambda ax: ax.plot([1, 2], [3, 4]), "a line from 3 to 4."),
        (lambda ax: ax.plot([1, 2], [3, 4], label="_x"), "_x from 3 to 4."),
        (lambda ax: None, ""),
    ],
)
def test_any_figure_has_a_caption(draw, words):
    figure, ax = plt.subplots()
    draw(ax)
    assert di.caption(figure) == words
    plt.close(figure)


@pytest.mark.parametrize("x", [["a", "b"], DAYS])
def test_words_and_dates_stand_side_by_side(x):
    ax = di.plot_curves(x, {"s": [1, 2]}, xlabel="x", ylabel="y")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list(map(str, x))
