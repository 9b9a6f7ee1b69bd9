"""Plots and the words that go with them."""

import io
import subprocess
import sys
import tracemalloc

import matplotlib as mpl
import matplotlib.pyplot as plt
import mxnet as mx
import numpy as np
import pytest
from matplotlib.figure import Figure
from mxnet import init
from mxnet.gluon import nn
from scipy import stats
from unit.draws import STRANGE

import d2l_init as di


@pytest.fixture
def net():
    net = nn.Sequential()
    net.add(nn.Dense(30, in_units=20, prefix="body_"), nn.Dense(2, in_units=30, prefix="head_"))
    mx.random.seed(0)
    net.initialize(init.Normal(0.1))
    return net


def key(ax):
    """What the small grey key says."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def words(ax):
    """What is written in the axes: names at ends, guide lines, spreads."""
    return [text.get_text() for text in ax.texts]


def titles(figure):
    return [ax.get_title("left") for ax in figure.axes]


def test_weights_show_name_shape_and_spread_measured_and_predicted(net):
    figure = di.plot_weights(net, init.Normal(0.1))
    std = f"{net[0].weight.data().asnumpy().std():.3g}"
    assert titles(figure) == ["body_weight 30×20", "head_weight 2×30"]
    assert words(figure.axes[0]) == [f"std {std}, law 0.1"]
    assert key(figure.axes[0]) == ["measured", "law"]
    assert f"body_weight: 600 entries, std {std} measured, 0.1 predicted." in di.caption(figure)


def test_parameters_of_one_value_are_given_in_words_together(net):
    figure = di.plot_weights(net, init.Normal(0.1))
    assert len(figure.axes) == 2
    assert di.caption(figure).endswith(" body_bias, head_bias: all 0, as the law says.")
    assert "body_bias, head_bias: all 0, as the law says" in figure._supxlabel.get_text()
    net[0].bias.set_data(mx.nd.ones(30))
    assert "body_bias: all 1 (law: all 0); head_bias: all 0" in di.caption(di.plot_weights(net))


def test_a_net_of_constants_is_drawn_all_the_same():
    layer = nn.Dense(3, in_units=2, prefix="flat_")
    layer.initialize(init.One())
    figure = di.plot_weights(layer, init.One())
    assert titles(figure) == ["flat_weight 3×2", "flat_bias 3"]
    assert figure.axes[0].get_ylabel() == "share"


def test_the_law_that_is_drawn_is_the_density(net):
    ax = di.plot_weights(net, init.Normal(0.1)).axes[0]
    (line,) = ax.get_lines()
    x, y = line.get_data()
    assert np.allclose(y, stats.norm(0, 0.1).pdf(x))


def test_bars_are_the_histogram_of_all_finite_entries():
    values = np.random.default_rng(0).normal(size=3_000_001).astype("float32")
    ax = di.plot_histogram(values, di.law(init.Normal(1), values.shape))
    (stairs,) = ax.patches
    heights, edges, _ = stairs.get_data()
    assert (heights * np.diff(edges)).sum() == pytest.approx(1)
    counts = np.histogram(values, edges)[0]
    assert np.allclose(heights, counts / values.size / np.diff(edges))


def test_bars_beside_atoms_have_the_mass_that_is_left():
    values = di.Mixture(STRANGE, seed=0).sample((300, 300))
    ax = di.plot_histogram(values, di.Mixture(STRANGE).law((300, 300)))
    heights, edges, _ = ax.patches[0].get_data()
    zeros = (values == 0).mean()
    assert (heights * np.diff(edges)).sum() == pytest.approx(1 - zeros)
    assert f"a share of {zeros:.3g} is exactly 0, 0.5 predicted" in di.caption(ax)


def test_a_mapping_says_which_pattern_was_drawn_with_what(net):
    net.collect_params("head.*weight").initialize(init.Constant(3), force_reinit=True)
    laws = {"body.*": init.Normal(0.1), "head.*weight": init.Constant(3)}
    assert "head_weight: all 3, as the law says" in di.caption(di.plot_weights(net, laws))


def test_a_parameters_own_initializer_is_found_and_unknown_ones_get_no_law(net):
    assert "body_bias, head_bias: all 0, as the law says" in di.caption(di.plot_weights(net))
    std = f"{net[0].weight.data().asnumpy().std():.3g}"
    for unknown in (None, init.Orthogonal()):
        caption = di.caption(di.plot_weights(net, unknown))
        assert f"body_weight: 600 entries, std {std} measured." in caption


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_entries_that_are_not_finite_are_counted_and_left_out(dtype):
    values = np.array([1, 2, np.nan, np.inf, 3], dtype)
    ax = di.plot_histogram(values, name="w")
    assert words(ax) == ["2 not finite"]
    assert di.caption(ax).startswith("w: 5 entries, std 0.816 measured; 2 not finite.")
    nothing = di.plot_histogram(np.full(3, np.nan), name="w")
    assert di.caption(nothing) == "w: 3 entries, none of them finite."


@pytest.mark.parametrize("values", [np.full((8, 4), 0.3), np.ones(1), np.zeros((3, 3), "float16")])
def test_constants_and_single_entries_can_be_drawn(values):
    value = float(values.flat[0])
    for law in (
        None,
        di.law(init.Constant(value), values.shape),
        di.law(init.Normal(1), values.shape),
    ):
        ax = di.plot_histogram(values, law)
        ax.figure.savefig("/dev/null", format="png")
        assert "std 0 measured" in di.caption(ax)


def test_a_share_of_one_in_32_bits_counts_as_the_atom():
    values = di.Identity(0.1).sample((4, 4))
    assert "a share of 0.25 is exactly 0.1, 0.25 predicted" in di.caption(
        di.plot_histogram(values, di.law(di.Identity(0.1), (4, 4)))
    )


def test_half_precision_and_mxnet_arrays_are_read():
    ax = di.plot_histogram(mx.nd.array([1, 2, 3], dtype="float16"), name="half")
    assert di.caption(ax) == "half: 3 entries, std 0.816 measured. They run from 1 to 3."


def test_ax_is_used_and_returned():
    ax = Figure().subplots()
    assert di.plot_histogram([1, 2], ax=ax) is ax
    assert di.plot_curves([1, 2], {"a": [1, 2]}, ax=ax, xlabel="x", ylabel="y") is ax


def test_gallery_draws_each_with_its_law_and_its_own_shape():
    shelf = {"small": init.Normal(0.01), "gates": (init.LSTMBias(), (32,)), "own": di.Sparse(2)}
    figure = di.gallery(shelf, (8, 8))
    assert titles(figure) == ["small 8×8", "own 8×8"]
    assert "gates: 75 % are 0, 25 % are 1, as the law says." in di.caption(figure)
    assert titles(di.gallery(["xavier", (di.Sparse(2), (5, 5))], (4, 4)))[1] == "Sparse 5×5"


def test_a_share_beside_bars_is_a_stem_on_a_scale_from_0_to_1():
    values = di.Sparse(2, seed=0).sample((8, 8))
    ax = di.plot_histogram(values, di.Sparse(2).law((8, 8)))
    stem, point = [line for line in ax.get_lines() if line.get_transform() != ax.transData]
    assert stem.get_ydata() == pytest.approx([0, 0.75])
    assert point.get_ydata() == pytest.approx([0.75])
    assert words(ax) == ["75 % exactly 0"]


def test_curves_tell_where_they_start_and_end():
    ax = di.plot_curves([1, 2, 3], {"loss": [[3, 9, 1], [1, 9, 1], [2, 9, 2]]}, {"floor": 0.5},
                        xlabel="step", ylabel="loss", log="y")  # fmt: skip
    assert di.caption(ax) == (
        "loss against step. loss, median of 3, from 2 to 1 (between 1 and 9); floor at 0.5."
    )
    assert ax.get_yscale() == "log"
    assert key(ax) == ["median of 3", "all 3"]


def test_a_case_has_one_colour_and_its_name_at_its_end():
    options = {"xlabel": "x", "ylabel": "y"}
    ax = di.plot_curves([1, 2], {"a": [1, 2], "b": [2, 3]}, {"b": [2, 2.5], "c": [0, 1]}, **options)
    points = {line.get_color(): line for line in ax.get_lines() if line.get_linestyle() == "None"}
    lines = [line for line in ax.get_lines() if line.get_linestyle() == "-"]
    assert len(points) == 2
    assert len({line.get_marker() for line in points.values()}) == 2
    assert [line.get_color() in points for line in lines] == [True, False]
    names = {text.get_text(): text.get_color() for text in ax.texts}
    assert names["b"] == lines[0].get_color()
    assert set(names) == {"a", "b", "c"}
    assert key(ax) == ["measured", "predicted"]
    assert di.caption(ax) == "y against x. a from 1 to 2; b from 2 to 3, predicted from 2 to 2.5; c from 0 to 1."  # fmt: skip  # noqa: E501


def test_many_points_are_a_line_unless_a_prediction_is_beside_them():
    x, curve = np.arange(100), np.linspace(2, 1, 100)
    options = {"xlabel": "x", "ylabel": "y"}
    (line,) = di.plot_curves(x, {"a": curve}, **options).get_lines()
    assert (line.get_linestyle(), len(line.get_xdata())) == ("-", 100)
    measured, predicted = di.plot_curves(x, {"a": curve}, {"a": curve}, **options).get_lines()
    assert (measured.get_linestyle(), len(measured.get_xdata())) == ("None", 25)
    assert (predicted.get_linestyle(), len(predicted.get_xdata())) == ("-", 100)


@pytest.mark.parametrize("ends", [[1, 1, 1, 1], [0, 1, 1, 0], [3, np.nan, np.inf, -5]])
def test_names_at_ends_do_not_lie_on_each_other(ends):
    measured = {f"case {k}": [0.5, end] for k, end in enumerate(ends)}
    ax = di.plot_curves([1, 2], measured, xlabel="x", ylabel="y")
    heights = sorted(text.xy[1] for text in ax.texts)
    assert len(heights) == 4
    assert min(np.diff(heights)) > 0.05
    assert min(heights) > -0.3
    assert max(heights) < 1.3


def test_nothing_global_changes_and_no_figure_stays_open(net):
    before, open_before = dict(mpl.rcParams), plt.get_fignums()
    di.plot_weights(net)
    di.gallery([init.Normal()], (4, 4))
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == open_before
    assert not mx.util.is_np_array()


@pytest.fixture
def shown(monkeypatch):
    seen = []
    monkeypatch.setattr("d2l_init.figures.display", lambda what, **kw: seen.append(what))
    return seen


def test_show_displays_a_figure_once_with_its_caption_as_text(shown):
    figure, ax = plt.subplots()
    ax.plot([1, 2], label="line")
    ax.set(xlabel="x", ylabel="y", title="T")
    di.show(ax)
    assert shown[0] is figure
    assert shown[1] == {"text/markdown": "*T: y against x. line from 1 to 2.*",
                        "text/plain": "T: y against x. line from 1 to 2."}  # fmt: skip
    assert figure.number not in plt.get_fignums()


def test_a_title_says_what_is_to_be_seen_and_opens_the_caption(shown, net):
    ax = di.plot_histogram([1.0, 2.0], name="two")
    di.show(ax, "Two numbers")
    assert ax.get_title("left") == "Two numbers"
    assert shown[1]["text/plain"].startswith("Two numbers. two: 2 entries, std 0.5 measured.")
    figure = di.plot_weights(net)
    di.show(figure, "Weights")
    assert figure._suptitle.get_text() == "Weights"
    assert shown[3]["text/plain"].startswith("Weights. body_weight: 600 entries")


def test_a_readers_own_settings_change_no_picture():
    def picture():
        ax = di.plot_curves(range(40), {"a": range(40)}, {"floor": 3}, xlabel="x", ylabel="y")
        kept = io.BytesIO()
        ax.figure.savefig(kept, format="png", facecolor="auto", dpi="figure")
        return kept.getvalue()

    plain = picture()
    settings = {"figure.dpi": 150, "font.size": 20, "axes.grid": True, "xtick.color": "red"}
    with mpl.rc_context({**settings, "figure.facecolor": "black"}):
        assert picture() == plain


def test_counting_makes_no_second_copy_of_the_weights():
    values = np.random.default_rng(0).normal(size=2**24).astype("float32")
    di.plot_histogram(values[:100])
    tracemalloc.start()
    di.plot_histogram(values, di.law(init.Normal(1), values.shape))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.6 * values.nbytes


def test_importing_the_package_imports_nothing_that_could_be_missing():
    code = (
        "import sys, d2l_init; d2l_init.record; dir(d2l_init);"
        "heavy = {'mxnet', 'numpy', 'scipy', 'matplotlib', 'IPython'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_laws_theory_and_figures_do_without_mxnet():
    """What reads a record taken elsewhere works where MXNet isn't installed."""
    modules = "laws filling counting figures lab.theory lab.signals lab.plots machine.doctor"
    code = "import sys; sys.modules['mxnet'] = None; from importlib import import_module\n"
    code += f"for name in {modules.split()!r}: import_module('d2l_init.' + name)\n"
    code += "import d2l_init; print(round(d2l_init.mean_field('tanh', 1.5, 0.2, 9).chi_1, 4))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "1.1009"


def test_every_public_name_has_words_and_leads_somewhere():
    for name in di.__all__:
        assert getattr(di, name).__doc__.strip(), name
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        di.nosuch  # noqa: B018


def test_a_vertical_guide_line_is_given_by_its_place():
    ax = di.plot_curves(
        [1, 2], {"loss": [3, 1]}, {"level": 2}, xlabel="gain", ylabel="loss", vlines={"√2": 2**0.5}
    )
    assert di.caption(ax) == ("loss against gain. loss from 3 to 1; level at 2; √2 stands at 1.41.")


def test_a_caption_can_tell_where_a_curve_is_lowest():
    options = {"xlabel": "gain", "ylabel": "loss", "summary": "minimum"}
    ax = di.plot_curves([1, 1.5, 2], {"loss": [[3, 1, 2], [4, 1, np.inf]]}, **options)
    assert di.caption(ax) == "loss against gain. loss, median of 2, is lowest at 1.5."
    with pytest.raises(ValueError, match="summary must be one of course, minimum, got 'mean'"):
        di.plot_curves([1], {"loss": [1]}, xlabel="gain", ylabel="loss", summary="mean")
