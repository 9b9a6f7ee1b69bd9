"""What `explore` draws is what law and theory say, and its controls redraw it."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

import d2l_init
from d2l_init.figures import color
from d2l_init.lab import explore
from d2l_init.lab.explore import CHOICES, Explorer, Setting

START = {"initializer": "normal", "gain": 1.0, "depth": 20, "width": 100, "activation": "tanh"}


def setting(**changes):
    return Setting(**{**START, "seed": 0, **changes})


@pytest.fixture
def outputs(monkeypatch):
    """What was displayed, and then what took its place."""
    shown = []

    def display(one, display_id):
        place = SimpleNamespace(now=one)
        place.update = lambda new: setattr(place, "now", new)
        shown.append(place)
        return place

    monkeypatch.setattr(explore, "display", display)
    return shown


@pytest.fixture
def reader(monkeypatch):
    monkeypatch.setattr(explore, "front_end", object)


def lines(ax):
    return [line for line in ax.get_lines() if to_hex(line.get_color()) == color(0).lower()]


@pytest.mark.parametrize("initializer", CHOICES["initializer"])
def test_the_curve_on_the_histogram_is_the_initializers_law(initializer):
    figure = Explorer(setting(initializer=initializer, gain=1.5)).figure
    x, y = lines(figure.axes[0])[0].get_data()
    own = {"orthogonal": d2l_init.HaarOrthogonal(1.5)}
    law = own.get(initializer) or d2l_init.VarianceScaling(2.25, distribution=initializer)
    np.testing.assert_allclose(y, d2l_init.law(law, (100, 100)).pdf(x))


@pytest.mark.parametrize("initializer", CHOICES["initializer"])
def test_the_weights_are_drawn_from_that_law(initializer):
    one = setting(initializer=initializer, gain=0.7, width=200)
    weights = one.weights(1)
    assert weights.std() == pytest.approx(one.law.std, rel=0.03)
    assert one.law.support[0] <= weights.min() < weights.max() <= one.law.support[1]
    assert not np.array_equal(weights, one.weights(2))
    assert not np.array_equal(weights, setting(initializer=initializer, seed=1).weights(1))


def test_the_line_and_the_band_are_mean_fields():
    ax = Explorer(setting(gain=1.5, activation="relu")).figure.axes[1]
    theory = d2l_init.mean_field("relu", 1.5, 0.0, 20, q0=2.25, width=100)
    curve = next(line for line in lines(ax) if line.get_linestyle() == "-")
    np.testing.assert_allclose(curve.get_ydata(), np.sqrt(theory.q))
    (band,) = ax.collections
    y = band.get_paths()[0].vertices[:, 1]
    assert y.min() == pytest.approx(np.sqrt(theory.q_low).min())
    assert y.max() == pytest.approx(np.sqrt(theory.q_high).max())


def test_orthogonal_weights_have_a_line_without_a_band():
    ax = Explorer(setting(initializer="orthogonal")).figure.axes[1]
    assert not ax.collections
    assert "band" not in d2l_init.caption(ax)


def test_orthogonal_linear_layers_keep_the_signal_as_it_was():
    rms = setting(initializer="orthogonal", activation="linear", gain=1.1, depth=30).rms()
    np.testing.assert_allclose(rms, 1.1 ** np.arange(1, 31))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_points_are_what_a_gluon_net_of_these_weights_does(activation, numpy_semantics):
    from mxnet import np as mnp
    from mxnet.gluon import nn

    one = setting(depth=5, width=30, activation=activation)
    net = nn.Sequential()
    for layer in range(1, 6):
        net.add(nn.Dense(30, use_bias=False, in_units=30), nn.Activation(activation))
        net[-2].cast("float64")
        net[-2].initialize("zeros")
        net[-2].weight.set_data(mnp.array(one.weights(layer), dtype="float64"))
    x = np.random.default_rng(0).standard_normal(30)
    x = mnp.array(x[None] / np.sqrt(np.mean(x**2)), dtype="float64")
    table = d2l_init.trace(net, x).to_frame()
    rms = np.sqrt(table.loc[table["weights"] > 0, "mean_square"])
    np.testing.assert_allclose(one.rms(), rms, rtol=1e-10)
    drawn = lines(Explorer(one).figure.axes[1])
    points = next(line for line in drawn if line.get_marker() != "None")
    np.testing.assert_allclose(points.get_ydata(), rms, rtol=1e-10)


@pytest.mark.parametrize("activation", CHOICES["activation"])
@pytest.mark.parametrize("initializer", ["normal", "orthogonal"])
def test_one_net_follows_the_theory_for_every_activation(initializer, activation):
    one = setting(initializer=initializer, activation=activation, width=200, depth=10)
    np.testing.assert_allclose(one.rms(), np.sqrt(one.theory.q), rtol=0.35)


@pytest.mark.parametrize("gain", CHOICES["gain"])
@pytest.mark.parametrize("activation", CHOICES["activation"])
def test_the_ends_of_the_sliders_are_drawn_without_a_warning(gain, activation, recwarn):
    Explorer(setting(gain=gain, activation=activation, depth=100, width=10))._seen()
    assert [str(one.message) for one in recwarn] == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"initializer": "norml"}, "initializer must be one of .* did you mean 'normal'"),
        ({"activation": "rleu"}, "activation must be one of .* did you mean 'relu'"),
        ({"gain": 0}, "gain must be from 0.1 to 3.0, got 0.0"),
        ({"gain": float("nan")}, "gain must be a finite number, got nan"),
        ({"depth": 101}, "depth must be from 2 to 100, got 101"),
        ({"depth": 2.5}, "depth must be a whole number of at least 2, got 2.5"),
        ({"width": 9}, "width must be a whole number of at least 10, got 9"),
        ({"seed": None}, "seed must be a whole number of at least 0, got None"),
    ],
)
def test_a_bad_value_is_refused_by_name(bad, message):
    with pytest.raises(ValueError, match=message):
        d2l_init.explore(**bad)


def test_without_a_reader_it_leaves_the_figure_and_its_caption(outputs):
    d2l_init.explore()
    picture, words = (place.now.data for place in outputs)
    assert picture["image/png"].startswith(b"\x89PNG")
    assert words["text/markdown"] == f"*{words['text/plain']}*"
    assert words["text/plain"].startswith("20 tanh layers of 100 units, normal weights of gain 1. ")
    assert "0.1 predicted" in words["text/plain"]
    assert plt.get_fignums() == []


def test_a_reader_gets_controls_above_them_named_as_the_arguments(outputs, reader):
    explorer = Explorer(setting(gain=1.25))
    explorer.show()
    assert len(outputs) == 3
    assert "application/vnd.jupyter.widget-view+json" in outputs[0].now.data
    assert "children" not in outputs[0].now.data["text/plain"]
    assert [one.description for one in explorer.controls.values()] == list(CHOICES)
    assert explorer.controls["gain"].value == 1.25


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("initializer", "uniform"), ("gain", 1.4), ("depth", 30), ("width", 50),
        ("activation", "relu"), ("seed", 3),
    ],
)  # fmt: skip
def test_a_control_redraws_the_figure_as_a_call_would_draw_it(outputs, name, value):
    explorer = Explorer(setting())
    explorer.show()
    before = [place.now.data for place in outputs]
    explorer.controls[name].value = value
    after = [place.now.data for place in outputs]
    assert before[0]["image/png"] != after[0]["image/png"]
    assert before[1] != after[1]
    asked = Explorer(setting(**{name: value}))
    asked.show()
    assert after == [place.now.data for place in outputs[2:]]


def test_nothing_of_the_readers_own_settings_shows(outputs):
    d2l_init.explore()
    with plt.rc_context({"savefig.dpi": 30, "font.size": 30, "savefig.facecolor": "red"}):
        d2l_init.explore()
    assert outputs[0].now.data == outputs[2].now.data
