"""Pictures of signals: what is drawn was measured and predicted, and the caption says it."""

import numpy as np
import pytest
from mxnet import np as mnp
from mxnet.gluon import loss, nn

import d2l_init as di

DEPTH, WIDTH = 12, 60


pytestmark = pytest.mark.usefixtures("numpy_semantics")


def traced(scale, **options):
    net = nn.Sequential()
    for layer in range(1, DEPTH + 1):
        net.add(nn.Dense(WIDTH, use_bias=False, prefix=f"layer{layer}_"))
        net.add(nn.Activation("tanh", prefix=f"tanh{layer}_"))
    net.add(nn.Dense(4, use_bias=False, prefix="output_"))
    net.cast("float64")
    net.initialize(di.VarianceScaling(scale, distribution="normal", seed=0))
    random = np.random.default_rng(0)
    X = mnp.array(random.standard_normal((30, WIDTH)), dtype="float64")
    y = mnp.array(random.integers(0, 4, 30))
    return di.trace(net, X, y, loss.SoftmaxCrossEntropyLoss(), **options)


def theory(scale):
    return di.mean_field("tanh", scale**0.5, 0, DEPTH, q0=scale, width=WIDTH)


def lines(ax, kind):
    """The data of what was measured (points) or predicted (lines), case by case."""
    style = {"measured": "None", "predicted": "-"}[kind]
    return [one.get_data() for one in ax.get_lines() if one.get_linestyle() == style]


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_signals_are_the_trace_and_the_theory_on_logarithmic_axes():
    trace, field = traced(1.5), theory(1.5)
    signals, gradients = di.plot_signals(trace, field).axes
    frame = trace.to_frame()
    dense = frame[frame["block"] == "Dense"]
    dense = dense[:DEPTH]  # the output layer is not the theory's
    ((_, measured),), ((_, predicted),) = lines(signals, "measured"), lines(signals, "predicted")
    assert np.allclose(measured, dense["mean_square"] ** 0.5)
    assert np.allclose(predicted, field.q**0.5)
    assert np.allclose(lines(gradients, "measured")[0][1], dense["grad_mean_square"] ** 0.5)
    assert signals.get_yscale() == gradients.get_yscale() == "log"
    (band,) = signals.collections
    corners = band.get_paths()[0].vertices[:, 1]
    assert corners.min() == pytest.approx((field.q_low**0.5).min())
    assert corners.max() == pytest.approx((field.q_high**0.5).max())


def test_the_gradient_is_predicted_from_the_last_hidden_layer_back():
    field = theory(2.0)
    ((x, y),) = lines(di.plot_signals(traced(2.0), field).axes[1], "predicted")
    assert len(x) == DEPTH
    assert np.allclose(y[:-1] ** 2 / y[1:] ** 2, field.chi[:-1])


def test_activations_are_compared_with_what_the_activation_makes_of_q():
    trace, field = traced(1.5), theory(1.5)
    signals = di.plot_signals(trace, field, after=True).axes[0]
    predicted = field.after_activation(field.q) ** 0.5
    assert np.allclose(lines(signals, "predicted")[0][1], predicted)
    assert lines(signals, "measured")[0][1][3] ** 2 == pytest.approx(
        trace.to_frame().loc["tanh4", "mean_square"]
    )


def test_the_caption_counts_the_layers_inside_the_band():
    trace, field = traced(1.5), theory(1.5)
    q = trace.to_frame().filter(regex="^layer", axis=0)["mean_square"].to_numpy()
    inside = ((field.q_low <= q) & (q <= field.q_high)).sum()
    words = di.caption(di.plot_signals(trace, field))
    assert f"inside the band at {inside} of {DEPTH} points" in words
    assert f"from {q[0] ** 0.5:.3g} to {q[-1] ** 0.5:.3g}" in words
    assert f"predicted from {field.q[0] ** 0.5:.3g} to {field.q[-1] ** 0.5:.3g}" in words


def test_a_net_outside_the_band_is_counted_outside():
    words = di.caption(di.plot_signals(traced(3.0), theory(1.0)))
    assert f"inside the band at {DEPTH} of" not in words


def test_several_traces_share_the_axes():
    figure = di.plot_signals(
        {"a": traced(1.0), "b": traced(2.0)}, {"a": theory(1.0), "b": theory(2.0)}
    )
    assert words(figure.axes[0]) == ["a", "b"]
    assert len(lines(figure.axes[0], "measured")) == len(lines(figure.axes[0], "predicted")) == 2
    key = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert key == ["measured", "95 % of nets", "predicted"]
    assert "; b from" in di.caption(figure)


def test_unknown_labels_of_the_theory_are_named():
    with pytest.raises(ValueError, match=r"theory must have labels of trace \(a\), got \['b'\]"):
        di.plot_signals({"a": traced(1.0)}, {"b": theory(1.0)})


def built_in(layers=10, width=60):
    """The commonest style of Gluon: activations inside the layers."""
    net = nn.HybridSequential(prefix="n_")
    with net.name_scope():
        for _ in range(layers):
            net.add(nn.Dense(width, activation="relu", use_bias=False, in_units=width))
        net.add(nn.Dense(4, in_units=width))
    net.initialize(di.VarianceScaling(2, distribution="normal", seed=1))
    random = np.random.default_rng(0)
    X = mnp.array(random.standard_normal((200, width)), dtype="float32")
    y = mnp.array(random.integers(0, 4, 200))
    trace = di.trace(net, X, y, loss.SoftmaxCrossEntropyLoss(), containers=True)
    q0 = 2 * float((X**2).mean())
    return trace, di.mean_field("relu", 2**0.5, 0, layers, q0=q0, width=width)


def test_built_in_activations_are_compared_with_activations():
    trace, field = built_in()
    figure = di.plot_signals(trace, field)
    signals, gradients = figure.axes
    measured = trace.to_frame().query("activation == 'relu'")
    assert signals.get_ylabel() == "rms of activations"
    assert lines(signals, "measured")[0][1] == pytest.approx(measured["mean_square"] ** 0.5)
    expected = field.after_activation(field.q) ** 0.5
    assert lines(signals, "predicted")[0][1] == pytest.approx(expected)
    assert "inside the band at 10 of 10 points" in di.caption(figure)
    (_, back) = lines(gradients, "predicted")[0]
    assert back[:-1] ** 2 / back[1:] ** 2 == pytest.approx(field.chi[1:])
    grown = measured["grad_mean_square"].to_numpy()
    assert grown[0] / grown[-1] == pytest.approx((back[0] / back[-1]) ** 2, rel=0.5)


def test_blocks_are_chosen_by_class_or_pattern_and_named_on_the_axis():
    trace, _ = built_in(3)
    for blocks, names, what in (
        ("Dense", ["dense0", "dense1", "dense2", "dense3"], "outputs"),
        ("n_dense[12]", ["dense1", "dense2"], "activations"),
        (["n_dense3"], ["n_dense3"], "pre-activations"),
        (["HybridSequential", "n_dense0"], ["n_dense0", "n"], "outputs"),
    ):
        signals, gradients = di.plot_signals(trace, blocks=blocks).axes
        assert [tick.get_text() for tick in gradients.get_xticklabels()] == names, blocks
        assert signals.get_ylabel() == f"rms of {what}"
    histograms = di.trace(two_layers(), mnp.ones((3, 4)), bins=9)
    assert len(di.plot_layer_histograms(histograms, "Dense").axes[0].get_yticklabels()) == 2
    with pytest.raises(ValueError, match=r"blocks must be among Dense, .*n_dense3.*got 'Conv2D'"):
        di.plot_signals(trace, blocks="Conv2D")


def two_layers():
    net = nn.Sequential()
    net.add(nn.Dense(3, in_units=4), nn.Dense(3, in_units=3))
    net.initialize()
    return net


def test_norms_poolings_and_dropout_are_no_layers():
    net = nn.Sequential(prefix="n_")
    with net.name_scope():
        net.add(nn.Conv2D(4, 3), nn.BatchNorm(), nn.Activation("relu"), nn.MaxPool2D())
        net.add(nn.Dropout(0.5), nn.Dense(2))
    net.initialize()
    ax = di.plot_signals(di.trace(net, mnp.ones((2, 3, 8, 8)))).axes[0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["conv0", "dense0"]
    assert ax.get_ylabel() == "rms of pre-activations"


def test_layer_histograms_have_the_shape_of_the_densities_of_the_chosen_layers():
    trace = traced(4.0, bins=40)
    outputs, gradients = di.plot_layer_histograms(trace, ["tanh1", "tanh12"]).axes
    rows = list(trace.to_frame().index)
    for ax, part in ((outputs, 0), (gradients, 1)):
        for place, name in enumerate(["tanh1", "tanh12"]):
            counts = trace.histograms[rows.index(name)][part][0]
            heights = ax.patches[2 * place].get_data().values
            assert np.allclose(heights + place, 0.8 * counts / counts.max())
    saturated = trace.to_frame().loc["tanh1", "saturated"]
    assert f"saturated share {saturated:.3g}" in di.caption(outputs)


def test_five_activations_are_chosen_by_default():
    ax = di.plot_layer_histograms(traced(1.0, bins=20)).axes[0]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [f"tanh{layer}" for layer in (1, 4, 7, 9, 12)]


def test_a_record_taken_elsewhere_is_drawn_by_the_same_code():
    rows = [{"name": f"layer{k}", "block": "Linear", "activation": "", "mean_square": 2.0**-k}
            for k in range(1, DEPTH + 1)]  # fmt: skip
    figure = di.plot_signals(di.Trace(rows), theory(1.0))
    assert lines(figure.axes[0], "measured")[0][1][1] == pytest.approx(0.5)
    assert "inside the band at" in di.caption(figure)


@pytest.mark.parametrize(
    ("options", "layers", "words"),
    [({}, None, "must be made with bins"), ({"bins": 9}, ["no"], "layers must be among")],
)
def test_histograms_that_are_not_there_are_named(options, layers, words):
    with pytest.raises(ValueError, match=words):
        di.plot_layer_histograms(traced(1.0, **options), layers)


def test_the_phase_diagram_draws_the_critical_line_and_the_nets():
    up = [0.0, 0.2, 0.4]
    ax = di.plot_phases("tanh", [0.8, 1.4, 2.0], up, [(1, 0.1), (1.5, 0.3)])
    ((x, y),), ((marked, _),) = lines(ax, "predicted"), lines(ax, "measured")
    assert np.allclose(x, [di.critical_sigma_w("tanh", b) for b in y])
    assert (y[0], y[-1]) == (up[0], up[-1])
    assert list(marked) == [1, 1.5]
    assert set(words(ax)) == {"χ₁ = 1", "ordered", "chaotic"}
    assert "The edge of chaos runs from σ_w = 1 at σ_b = 0" in di.caption(ax.figure)


def test_a_map_writes_its_numbers_and_draws_the_prediction():
    ax = di.plot_map(
        [1, 2, 3], [5, 10], [[0.1, 0.5, 0.9], [0.1, 0.2, 0.3]], {"3 ξ": [4, 6, 12]},
        xlabel="σ_w", ylabel="depth", value="accuracy",
    )  # fmt: skip
    assert words(ax) == ["0.10", "0.50", "0.90", "0.10", "0.20", "0.30", "3 ξ"]
    ((columns, rows),) = lines(ax, "predicted")
    assert list(columns) == [0.5, 1.5, 2.5]
    assert rows == pytest.approx([0.5 + np.log2(y / 5) for y in (4, 6, 12)])
    assert di.caption(ax.figure) == (
        "accuracy from 0.1 to 0.9, over σ_w from 1 to 3 and depth from 5 to 10."
    )


def test_a_map_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"values must have shape \(2, 3\), got \(3, 2\)"):
        di.plot_map([1, 2, 3], [5, 10], np.zeros((3, 2)), xlabel="x", ylabel="y", value="v")


def test_no_figure_is_left_open():
    import matplotlib.pyplot as plt

    di.plot_signals(traced(1.0), theory(1.0))
    assert plt.get_fignums() == []
