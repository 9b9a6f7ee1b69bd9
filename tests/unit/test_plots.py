"""Plots and the words that go with them."""

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


def labels(figure):
    return {label for ax in figure.axes for label in ax.get_legend_handles_labels()[1]}


def titles(figure):
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


def test_weights_show_name_shape_and_spread_measured_and_predicted(net):
    figure = di.plot_weights(net, init.Normal(0.1))
    std = f"{net[0].weight.data().asnumpy().std():.3g}"
    assert titles(figure)[0] == f"body_weight 30×20\nstd {std}, law 0.1"
    assert labels(figure) == {"measured", "predicted", "measured share", "predicted share"}
    assert f"body_weight: 600 entries, std {std} measured, 0.1 predicted." in di.caption(figure)
    assert "body_bias: 30 entries" in di.caption(figure)


def test_the_law_that_is_drawn_is_the_density(net):
    ax = di.plot_weights(net, init.Normal(0.1)).axes[0]
    (line,) = [line for line in ax.get_lines() if line.get_label() == "predicted"]
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
    caption = di.caption(di.plot_weights(net, laws))
    assert (
        "head_weight: 60 entries, std 0 measured, 0 predicted; a share of 1 is exactly 3" in caption
    )


def test_a_parameters_own_initializer_is_found_and_unknown_ones_get_no_law(net):
    assert "body_bias: 30 entries, std 0 measured, 0 predicted" in di.caption(di.plot_weights(net))
    std = f"{net[0].weight.data().asnumpy().std():.3g}"
    for unknown in (None, init.Orthogonal()):
        caption = di.caption(di.plot_weights(net, unknown))
        assert f"body_weight: 600 entries, std {std} measured." in caption


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_entries_that_are_not_finite_are_counted_and_left_out(dtype):
    values = np.array([1, 2, np.nan, np.inf, 3], dtype)
    ax = di.plot_histogram(values, name="w")
    assert ax.get_title() == "2 not finite"
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
    assert [title.split("\n")[0] for title in titles(figure)] == [
        "small 8×8",
        "gates 32",
        "own 8×8",
    ]
    assert "gates: 32 entries, std 0.433 measured, 0.433 predicted" in di.caption(figure)
    assert titles(di.gallery(["xavier", di.Identity()], (4, 4)))[1].startswith("Identity 4×4")


def test_curves_tell_where_they_start_and_end():
    ax = di.plot_curves([1, 2, 3], {"loss": [[3, 9, 1], [1, 9, 1], [2, 9, 2]]}, {"floor": 0.5},
                        xlabel="step", ylabel="loss", log="y")  # fmt: skip
    assert di.caption(ax) == (
        "loss against step. loss, median of 3 from 2 to 1 (between 1 and 9); floor at 0.5."
    )
    assert ax.get_yscale() == "log"


def test_measured_and_predicted_differ_in_more_than_colour():
    ax = di.plot_curves(
        [1, 2], {"a": [1, 2], "b": [2, 3]}, {"c": 1, "d": 2}, xlabel="x", ylabel="y"
    )
    looks = {(line.get_linestyle(), line.get_marker()) for line in ax.get_lines()}
    assert len(looks) == 4


def test_nothing_global_changes_and_no_figure_stays_open(net):
    before, open_before = dict(mpl.rcParams), plt.get_fignums()
    di.plot_weights(net)
    di.gallery([init.Normal()], (4, 4))
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == open_before
    assert not mx.util.is_np_array()


def test_show_displays_a_figure_once_with_its_caption_as_text(monkeypatch):
    shown = []
    monkeypatch.setattr("d2l_init.plots.display", lambda what, **kw: shown.append(what))
    figure, ax = plt.subplots()
    ax.plot([1, 2], label="line")
    ax.set(xlabel="x", ylabel="y", title="T")
    di.show(ax)
    assert shown[0] is figure
    assert shown[1] == {"text/markdown": "*T: y against x. line from 1 to 2.*",
                        "text/plain": "T: y against x. line from 1 to 2."}  # fmt: skip
    assert figure.number not in plt.get_fignums()


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


def test_every_public_name_has_words_and_leads_somewhere():
    for name in di.__all__:
        assert getattr(di, name).__doc__.strip(), name
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        di.nosuch  # noqa: B018


def test_an_upright_guide_line_is_told_by_its_place():
    ax = di.plot_curves(
        [1, 2], {"loss": [3, 1]}, {"level": 2}, xlabel="gain", ylabel="loss", upright={"√2": 2**0.5}
    )
    assert di.caption(ax) == ("loss against gain. loss from 3 to 1; level at 2; √2 stands at 1.41.")


def test_a_caption_can_tell_where_a_curve_is_lowest():
    options = {"xlabel": "gain", "ylabel": "loss", "told": "lowest"}
    ax = di.plot_curves([1, 1.5, 2], {"loss": [[3, 1, 2], [4, 1, np.inf]]}, **options)
    assert di.caption(ax) == "loss against gain. loss, median of 2, is lowest at 1.5."
    with pytest.raises(ValueError, match="told must be one of values, lowest, got 'mean'"):
        di.plot_curves([1], {"loss": [1]}, xlabel="gain", ylabel="loss", told="mean")
