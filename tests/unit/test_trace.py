"""trace: the statistics against NumPy and finite differences, and nothing left behind."""

import functools
import operator
import pickle

import mxnet as mx
import numpy as onp
import pytest
from mxnet import autograd, gluon, init, np, npx
from mxnet.gluon import nn, rnn

from d2l_init.lab.signals import Trace, histogram, moments
from d2l_init.lab.trace import trace

pytestmark = pytest.mark.usefixtures("numpy_semantics")


def normal(*shape, seed=0, dtype="float32"):
    return np.array(onp.random.default_rng(seed).normal(size=shape), dtype=dtype)


def chain(kind=nn.Sequential, dtype="float32"):
    """Two hidden layers, whose shapes are known."""
    net = kind(prefix="")
    net.add(
        nn.Dense(7, in_units=5, prefix="first_"),
        nn.Activation("tanh", prefix="tanh_"),
        nn.Dense(6, in_units=7, prefix="second_"),
        nn.Activation("relu", prefix="relu_"),
        nn.Dense(3, in_units=6, prefix="last_"),
    )
    mx.random.seed(1)
    net.initialize(init.Normal(0.8))  # which knows float32 only
    net.cast(dtype)
    return net


def built(*blocks, weights=None):
    net = nn.Sequential(prefix="")
    net.add(*blocks)
    mx.random.seed(1)
    net.initialize(weights or init.Normal(0.5))
    return net


def squared(out, y):
    return ((out - y) ** 2).mean(axis=1)


X, Y = normal(4, 5), normal(4, 3, seed=1)
NAMES = ["first", "tanh", "second", "relu", "last"]


class Shifted(nn.HybridBlock):
    """Parameters of its own and a child."""

    def __init__(self, **about):
        super().__init__(**about)
        with self.name_scope():
            self.inner = nn.Dense(5, in_units=5, prefix="inner_")
            self.scale = self.params.get("scale", shape=(5, 5))

    def hybrid_forward(self, F, x, scale):
        return F.npx.fully_connected(self.inner(x), scale, num_hidden=5, no_bias=True)


class Scaled(nn.HybridBlock):
    def __init__(self, **about):
        super().__init__(**about)
        self.scale = self.params.get("scale", shape=(1, 5))

    def hybrid_forward(self, F, x, scale):
        return x * scale


class Failing(nn.Block):
    def forward(self, x):
        raise RuntimeError("on purpose")


class Lambda(nn.Block):
    def __init__(self, function, **about):
        super().__init__(**about)
        self.function = function

    def forward(self, *args):
        return self.function(*args)


# What a row says


def test_rows_are_the_calls_in_order_with_their_class_and_shape():
    frame = trace(chain(), X).to_frame()
    assert list(frame.index) == NAMES
    assert list(frame["block"]) == ["Dense", "Activation", "Dense", "Activation", "Dense"]
    assert list(frame["shape"]) == [(4, 7), (4, 7), (4, 6), (4, 6), (4, 3)]


def test_columns_without_a_loss_and_with_one():
    plain = [
        "block",
        "shape",
        "weights",
        "activation",
        "mean",
        "std",
        "mean_square",
        "zero",
        "dead",
        "saturated",
        "nonfinite",
    ]
    more = ["grad_std", "grad_mean_square", "weight_std", "weight_grad_std", "update_ratio"]
    assert list(trace(chain(), X).to_frame()) == plain
    assert list(trace(chain(), X, Y, squared).to_frame()) == plain + more


def test_moments_and_zeros_are_those_of_the_partial_nets():
    net = chain()
    frame = trace(net, X).to_frame()
    for row, size in zip(frame.itertuples(), range(1, 6), strict=True):
        out = net[:size](X).asnumpy().astype(float)
        expected = [out.mean(), out.std(), (out**2).mean(), (out == 0).mean()]
        assert onp.allclose([row.mean, row.std, row.mean_square, row.zero], expected, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_sums_are_wider_than_the_outputs(dtype):
    out = 100 + normal(400, 500, dtype=dtype)
    row = trace(built(nn.Dense(1, in_units=1), Lambda(lambda x: out)), X[:, :1]).rows[1]
    values = out.asnumpy().astype(float)
    found = [row["mean"], row["std"], row["mean_square"]]
    assert onp.allclose(found, [values.mean(), values.std(), (values**2).mean()], rtol=1e-9)


def test_a_constant_output_has_no_spread_and_a_tiny_one_does_not_underflow():
    constant, tiny = Lambda(lambda x: x * 0 + 0.3), Lambda(lambda x: X * 1e-30)
    rows = trace(built(nn.Dense(300, in_units=5), constant, tiny), X).rows
    assert rows[1]["std"] == 0
    assert rows[2]["std"] == pytest.approx(float(X.std()) * 1e-30, rel=1e-5)


def test_dead_units_of_a_dense_layer_are_features():
    net = built(nn.Dense(4, in_units=5, use_bias=False, activation="relu"))
    weight = onp.abs(normal(4, 5).asnumpy())
    weight[1] *= -1
    net[0].weight.set_data(np.array(weight))
    assert trace(net, np.abs(X)).rows[0]["dead"] == 1 / 4


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (nn.Conv1D, (3, 2, 9)),
        (nn.Conv2D, (3, 2, 9, 9)),
        (nn.Conv3D, (3, 2, 5, 5, 5)),
    ],
    ids=["1D", "2D", "3D"],
)
def test_dead_units_of_a_convolution_are_channels_also_after_its_activation(kind, shape):
    conv = kind(4, 3, in_channels=2)
    net = built(conv, nn.Activation("relu"))
    conv.bias.set_data(np.array([-100.0, 0, -100, 0]))
    conv_row, relu_row = trace(net, normal(*shape)).rows
    assert conv_row["dead"] == 0
    assert relu_row["dead"] == 2 / 4


@pytest.mark.parametrize(
    ("activation", "low", "high", "sigma"),
    [("tanh", -0.99, 0.99, 2), ("sigmoid", 0.01, 0.99, 2), ("softsign", -0.99, 0.99, 60)],
)
def test_saturated_is_the_share_near_a_bound(activation, low, high, sigma):
    net = built(nn.Dense(50, in_units=5), nn.Activation(activation), weights=init.Normal(sigma))
    rows = trace(net, X).rows
    out = net(X).asnumpy()
    share = ((out < low) | (out > high)).mean()
    assert 0 < share < 1
    assert onp.isnan(rows[0]["saturated"])
    assert rows[1]["saturated"] == share


def test_a_built_in_activation_is_one_row_with_the_block_it_belongs_to():
    net = built(nn.Dense(8, in_units=5, activation="tanh", prefix="both_"), weights=init.Normal(3))
    (row,) = trace(net, X, X[:, :1], lambda out, y: out.sum(axis=1)).rows
    assert (row["name"], row["block"]) == ("both", "Dense")
    assert row["saturated"] > 0
    assert row["weight_std"] == pytest.approx(float(net[0].weight.data().asnumpy().std()))


# Gradients


def differences(net, place, out, h=1e-5):
    """d mean loss / d the output at this place, by moving each entry there and going on."""
    found = onp.zeros(out.shape)
    for index in onp.ndindex(*out.shape):
        for sign in (1, -1):
            moved = out.copy()
            moved[index] += sign * h
            value = squared(net[place:](np.array(moved, dtype="float64")), Y64).mean()
            found[index] += sign * float(value.asnumpy()) / (2 * h)
    return found


X64, Y64 = normal(4, 5, dtype="float64"), normal(4, 3, seed=1, dtype="float64")


def test_gradients_of_outputs_are_those_of_finite_differences():
    net = chain(dtype="float64")
    rows = trace(net, X64, Y64, squared).rows
    for place in range(1, 5):
        expected = differences(net, place, net[:place](X64).asnumpy())
        row = rows[place - 1]
        assert row["grad_std"] == pytest.approx(expected.std(), rel=1e-6)
        assert row["grad_mean_square"] == pytest.approx((expected**2).mean(), rel=1e-6)


def test_gradients_in_float32_are_those_in_float64():
    found = trace(chain(), X, Y, squared).to_frame()
    expected = trace(chain(dtype="float64"), X64, Y64, squared).to_frame()
    columns = ["std", "grad_std", "weight_grad_std", "update_ratio"]
    a, b = (frame[columns].astype(float).to_numpy() for frame in (found, expected))
    assert onp.allclose(a, b, rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize(
    ("dtype", "rel"), [("float16", 3e-3), ("float32", 1e-6), ("float64", 1e-7)]
)
def test_every_dtype_has_gradients(dtype, rel):
    """The gradient of mean h² by h is 2h/n, whatever h; MXNet's Dense knows no float16 on CPUs."""
    net = Scaled(prefix="scaled_")
    net.initialize(init.One())
    net.cast(dtype)
    (row,) = trace(net, X.astype(dtype), Y, lambda out, y: (out**2).mean(axis=1)).rows
    assert row["std"] == pytest.approx(float(X.asnumpy().std()), rel=rel)
    assert row["grad_std"] == pytest.approx(2 / 20 * row["std"], rel=rel)
    assert row["weight_grad_std"] > 0


def test_weight_columns_are_those_of_an_autograd_pass():
    net = chain()
    frame = trace(net, X, Y, squared).to_frame()
    with autograd.record(train_mode=False):
        value = squared(net(X), Y).mean()
    value.backward(train_mode=False)
    for name, block in [("first", net[0]), ("second", net[2]), ("last", net[4])]:
        std, grad_std = (
            float(w.asnumpy().std()) for w in (block.weight.data(), block.weight.grad())
        )
        row = frame.loc[name]
        assert row["weight_std"] == pytest.approx(std, rel=1e-5)
        assert row["weight_grad_std"] == pytest.approx(grad_std, rel=1e-5)
        assert row["update_ratio"] == pytest.approx(grad_std / std, rel=1e-5)
    assert frame.loc["tanh", ["weight_std", "update_ratio"]].isna().all()


def test_the_loss_is_the_mean_over_the_batch():
    net = chain()
    found = trace(net, X, Y, gluon.loss.L2Loss())
    assert found.loss == pytest.approx(float(gluon.loss.L2Loss()(net(X), Y).mean().asnumpy()))
    scalar = trace(net, X, Y, lambda out, y: gluon.loss.L2Loss()(out, y).mean())
    assert scalar.rows[0]["grad_std"] == pytest.approx(found.rows[0]["grad_std"], rel=1e-6)


def test_frozen_weights_have_no_gradient_but_their_outputs_do():
    net = chain()
    net[0].weight.grad_req = "null"
    row = trace(net, X, Y, squared).rows[0]
    assert onp.isnan(row["weight_grad_std"])
    assert row["weight_std"] > 0
    assert row["grad_std"] == pytest.approx(trace(chain(), X, Y, squared).rows[0]["grad_std"])


def test_constant_weights_have_an_infinite_update_ratio():
    net = built(nn.Dense(3, in_units=5), weights=init.One())
    assert trace(net, X, Y, squared).rows[0]["update_ratio"] == onp.inf


def test_an_output_that_the_loss_does_not_see_has_gradient_zero():
    aside = nn.Dense(2, in_units=5, prefix="aside_")
    net = built(aside, nn.Dense(3, in_units=5, prefix="seen_"))
    both = Lambda(lambda x: (aside(x), net[1](x))[1])
    both.register_child(aside)
    both.register_child(net[1])
    frame = trace(both, X, Y, squared).to_frame()
    assert list(frame["grad_std"] == 0) == [True, False]


# Histograms


def test_bins_keep_a_histogram_of_outputs_and_of_gradients():
    net = chain()
    found = trace(net, X, Y, squared, bins=6)
    assert len(found.histograms) == len(found.rows)
    for size, one in enumerate(found.histograms, 1):
        counts, edges = onp.histogram(net[:size](X).asnumpy().astype(float), 6)
        assert (one.outputs[0] == counts).all()
        assert onp.allclose(one.outputs[1], edges)
        assert one.gradients[0].sum() == counts.sum()
        assert len(one.gradients[0]) == 6


@pytest.mark.parametrize("edges", [[-1, 0, 0.5, 1], onp.linspace(-1, 1, 4)])
def test_edges_are_those_of_the_outputs_and_only_their_number_that_of_the_gradients(edges):
    one = trace(chain(), X, Y, squared, bins=edges).histograms[1]
    assert (one.outputs[1] == edges).all()
    assert one.outputs[0].sum() == 28
    assert len(one.gradients[1]) == 4


def test_without_bins_or_loss_nothing_more_is_kept():
    assert trace(chain(), X, Y, squared).histograms == []
    assert trace(chain(), X, bins=5).histograms[0].gradients is None


# Kinds of nets and blocks


@pytest.mark.parametrize("with_loss", [False, True])
def test_a_hybridized_net_gives_the_same_and_stays_hybridized(with_loss):
    given = (X, Y, squared) if with_loss else (X,)
    net = chain(nn.HybridSequential)
    expected = trace(net, *given).to_frame()
    net.hybridize()
    before = net(X).asnumpy()
    graph = net._cached_op
    assert trace(net, *given).to_frame().equals(expected)
    assert net._active
    assert net[0]._active
    assert net._cached_op is graph
    assert (net(X).asnumpy() == before).all()


@pytest.mark.parametrize("hybridized", [False, True])
def test_deferred_shapes_are_settled_by_the_pass(hybridized):
    net = nn.HybridSequential()
    net.add(nn.Dense(6, prefix="a_"), nn.BatchNorm(prefix="b_"), nn.Dense(3, prefix="c_"))
    net.initialize()
    if hybridized:
        net.hybridize()
    frame = trace(net, X, Y, squared).to_frame()
    assert list(frame.index) == ["a", "b", "c"]
    assert net[0].weight.shape == (6, 5)
    assert net(X).shape == (4, 3)


def test_nested_nets_are_rows_of_their_leaves():
    inner = nn.HybridSequential()
    inner.add(nn.Dense(5, in_units=5, prefix="in_"), nn.HybridSequential())
    inner[1].add(nn.Dense(5, in_units=5, prefix="deep_"))
    net = built(inner, nn.Dense(3, in_units=5, prefix="out_"))
    assert list(trace(net, X).to_frame().index) == ["in", "deep", "out"]


def test_a_block_called_twice_has_two_rows_and_one_gradient_of_its_weight():
    twice = nn.Dense(5, in_units=5, prefix="twice_")
    net = built(twice, nn.Activation("tanh", prefix="tanh_"), twice)
    frame = trace(net, X, X, squared).to_frame()
    assert list(frame.index) == ["twice", "tanh", "twice"]
    with autograd.record(train_mode=False):
        value = squared(net(X), X).mean()
    value.backward(train_mode=False)
    expected = float(twice.weight.grad().asnumpy().std())
    assert list(frame.loc["twice", "weight_grad_std"]) == pytest.approx([expected] * 2, rel=1e-5)
    assert frame["grad_std"].iloc[0] != frame["grad_std"].iloc[2]


def test_a_net_may_be_one_block():
    net = nn.Dense(3, in_units=5, prefix="only_")
    net.initialize(init.Normal(1))
    (row,) = trace(net, X, Y, squared).rows
    grad = 2 / 3 / 4 * (net(X) - Y).asnumpy()
    assert row["grad_std"] == pytest.approx(grad.std(), rel=1e-5)


@pytest.mark.parametrize("hybridized", [False, True])
def test_a_block_with_parameters_and_children_has_a_row_after_theirs(hybridized):
    net = Shifted(prefix="own_")
    net.initialize(init.Normal(1))
    if hybridized:
        net.hybridize()
    frame = trace(net, X, X, squared).to_frame()
    assert list(frame.index) == ["own_inner", "own"]
    assert (frame["weight_std"] > 0).all()


def test_convolution_normalization_dropout_and_pooling():
    net = built(
        nn.Conv2D(3, 3, in_channels=1, prefix="conv_"),
        nn.BatchNorm(in_channels=3, prefix="norm_"),
        nn.Dropout(0.5, prefix="drop_"),
        nn.GlobalAvgPool2D(prefix="pool_"),
        nn.Flatten(prefix="flat_"),
    )
    for training in (False, True):
        frame = trace(net, normal(4, 1, 8, 8), Y, squared, training=training).to_frame()
        assert list(frame.index) == ["conv", "norm", "drop", "pool", "flat"]
        assert (frame["grad_std"] > 0).all()
    assert frame.loc["norm", "std"] == pytest.approx(1, rel=1e-3)
    assert frame.loc["drop", "zero"] == pytest.approx(0.5, abs=0.1)


def test_embedding_takes_whole_numbers():
    net = built(nn.Embedding(10, 4, prefix="words_"), nn.Dense(3, in_units=12, prefix="out_"))
    words = np.array([[1, 2, 3], [4, 5, 5]], dtype="int32")
    frame = trace(net, words, Y[:2], squared).to_frame()
    assert list(frame["shape"]) == [(2, 3, 4), (2, 3)]
    assert (frame["weight_grad_std"] > 0).all()


@pytest.mark.parametrize("kind", [rnn.LSTM, rnn.GRU])
@pytest.mark.parametrize("states", [False, True])
def test_recurrent_blocks_count_their_first_output(kind, states):
    net = kind(6, input_size=5, prefix="rnn_")
    net.initialize(init.Normal(0.5))
    x = normal(7, 4, 5)
    given = (x, net.begin_state(4)) if states else x
    expected = net(*given)[0] if states else net(x)

    def loss(out, y):
        return ((out[0] if states else out) ** 2).mean(axis=(0, 2))

    (row,) = trace(net, given, np.zeros(4), loss).rows
    assert row["std"] == pytest.approx(float(expected.asnumpy().std()), rel=1e-5)
    assert row["grad_std"] == pytest.approx(row["std"] * 2 / (7 * 6 * 4), rel=1e-5)
    weights = [p.data().asnumpy().ravel() for p in net.params.values() if p.name.endswith("weight")]
    assert row["weight_std"] == pytest.approx(float(onp.concatenate(weights).std()), rel=1e-5)


def test_several_outputs_in_a_dict_pass_on_with_the_gradient_of_the_first():
    def split(x):
        return {"a": x * 2, "b": [x * 3]}

    net = built(
        nn.Dense(3, in_units=5),
        Lambda(split, prefix="split_"),
        Lambda(lambda parts: parts["a"] + parts["b"][0], prefix="sum_"),
    )
    frame = trace(net, X, Y, squared).to_frame()
    assert frame.loc["split", "grad_std"] == frame.loc["sum", "grad_std"]
    assert frame["grad_std"].iloc[0] == pytest.approx(5 * frame.loc["sum", "grad_std"], rel=1e-5)


def test_an_output_of_whole_numbers_has_no_gradient():
    net = built(
        nn.Dense(3, in_units=5, prefix="a_"),
        Lambda(lambda x: (x > 0).astype("int32"), prefix="sign_"),
    )
    frame = trace(net, X, Y, lambda out, y: squared(out.astype("float32"), y)).to_frame()
    assert onp.isnan(frame.loc["sign", "grad_std"])


def test_a_block_that_returns_no_array_has_no_row():
    net = built(nn.Dense(3, in_units=5, prefix="a_"), Lambda(lambda x: None, prefix="b_"))
    found = trace(net, X)
    assert list(found.to_frame().index) == ["a"]
    assert not found.never_called


def test_several_inputs_come_as_a_tuple():
    net = Lambda(lambda a, b: net.inner(a) - b, prefix="outer_")
    net.inner = nn.Dense(3, in_units=5, prefix="inner_")
    net.initialize()
    assert list(trace(net, (X, Y)).to_frame().index) == ["inner"]


def test_legacy_arrays_work_too():
    npx.reset_np()
    net = built(nn.Dense(3, in_units=5), nn.Activation("tanh"))
    x, y = (mx.nd.array(a.asnumpy()) for a in (X, Y))
    rows = trace(net, x, y, gluon.loss.L2Loss()).rows
    assert rows[0]["std"] == pytest.approx(net[0](x).asnumpy().std(), rel=1e-5)
    assert 0 < rows[0]["grad_std"] < rows[1]["grad_std"]


# As if it had not run


def batch_normed():
    net = built(nn.Dense(6, in_units=5), nn.BatchNorm(in_channels=6), nn.Dense(3, in_units=6))
    net[0].weight.grad_req = "add"
    net[2].bias.grad_req = "null"
    with autograd.record():
        value = squared(net(X), Y).mean()
    value.backward()
    return net


def contents(net):
    parameters = net.collect_params().values()
    data = [p.data().asnumpy() for p in parameters]
    return data + [p.grad().asnumpy() for p in parameters if p.grad_req != "null"]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("with_loss", [False, True])
def test_parameters_running_statistics_and_gradients_stay(training, with_loss):
    net = batch_normed()
    before, settings = contents(net), [p.grad_req for p in net.collect_params().values()]
    arrays = [id(p.data()) for p in net.collect_params().values()]
    trace(net, X, *((Y, squared) if with_loss else ()), training=training)
    assert all((a == b).all() for a, b in zip(before, contents(net), strict=True))
    assert settings == [p.grad_req for p in net.collect_params().values()]
    assert arrays == [id(p.data()) for p in net.collect_params().values()]


def test_outputs_and_later_gradients_are_as_without_it():
    def step(traced):
        net = chain()
        if traced:
            trace(net, X, Y, squared)
        with autograd.record():
            out = net(X)
            value = squared(out, Y).mean()
        value.backward()
        return out.asnumpy(), net[0].weight.grad().asnumpy()

    for plain, after in zip(step(False), step(True), strict=True):
        assert (plain == after).all()


@pytest.mark.parametrize("with_loss", [False, True])
def test_the_random_state_stays_in_predict_mode(with_loss):
    net = built(nn.Dense(3, in_units=5), nn.Dropout(0.5))
    mx.random.seed(3)
    expected = np.random.normal(size=5).asnumpy()
    mx.random.seed(3)
    trace(net, X, *((Y, squared) if with_loss else ()))
    assert (np.random.normal(size=5).asnumpy() == expected).all()


def left_behind(net):
    blocks = []
    net.apply(blocks.append)
    return [b for b in blocks if "forward" in vars(b) or b._forward_hooks or b._forward_pre_hooks]


def test_no_hook_is_left():
    net = chain()
    trace(net, X, Y, squared)
    assert not left_behind(net)


def test_nothing_is_left_after_an_exception_in_a_block():
    inner = nn.HybridSequential()
    inner.add(nn.Dense(3, in_units=5), nn.BatchNorm(in_channels=3))
    net = built(inner, Failing())
    net.hybridize()
    arrays = [id(p.data()) for p in net.collect_params().values()]
    with pytest.raises(RuntimeError, match="on purpose"):
        trace(net, X, Y, squared, training=True)
    assert not left_behind(net)
    assert arrays == [id(p.data()) for p in net.collect_params().values()]
    assert net[0]._active
    assert not autograd.is_recording()
    assert not autograd.is_training()


def test_a_forward_and_a_hook_of_the_readers_own_stay():
    net, seen = chain(), []
    own = net[0].forward
    net[0].forward = lambda x: own(x) * 2
    kept = net[0].forward
    net[1].register_forward_hook(lambda *given: seen.append(1))
    row = trace(net, X).rows[0]
    assert net[0].forward is kept
    assert len(net[1]._forward_hooks) == len(seen) == 1
    assert row["std"] == pytest.approx(2 * trace(chain(), X).rows[0]["std"], rel=1e-6)


def test_a_graph_that_the_caller_records_is_not_disturbed():
    def gradients(between):
        net, x = chain(), X.copy()
        x.attach_grad()
        with autograd.record():
            value = squared(net(x), Y).mean()
            if between:
                trace(net, x, Y, squared)
                assert autograd.is_recording()
                assert autograd.is_training()
            value = value + squared(net(2 * x), Y).mean()
        value.backward()
        return [x.grad.asnumpy(), net[0].weight.grad().asnumpy()]

    for plain, between in zip(gradients(False), gradients(True), strict=True):
        assert (plain == between).all()


def test_the_callers_mode_does_not_decide():
    net = built(nn.Dense(300, in_units=5), nn.Dropout(0.5, prefix="drop_"))
    with autograd.train_mode():
        assert trace(net, X).rows[1]["zero"] == 0
        assert autograd.is_training()
    assert trace(net, X, training=True).rows[1]["zero"] == pytest.approx(0.5, abs=0.1)


# What a reader sees


def test_it_shows_as_its_table():
    found = trace(chain(), X)
    assert "..." not in repr(found)
    for name, row in found.to_frame().iterrows():
        lines = [line.split() for line in repr(found).split("\n") if line.startswith(f"{name} ")]
        assert f"{row['mean_square']:.3g}" in functools.reduce(operator.iadd, lines, [])
    assert "<table" in found._repr_html_()
    assert "second" in found._repr_html_()


def test_a_block_that_is_never_called_is_named():
    net, aside = chain(), nn.Dense(2, in_units=2, prefix="aside_")
    aside.initialize()
    net.register_child(aside)
    first = Lambda(lambda x: net[0](x))
    first.register_child(net)
    found = trace(first, X)
    assert list(found.to_frame().index) == ["first"]
    assert found.never_called == ["tanh", "second", "relu", "last", "aside"]
    assert "never called: tanh, second" in repr(found)
    assert "never called: tanh, second" in found._repr_html_()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [onp.nan, onp.inf, -onp.inf])
def test_the_first_block_with_an_output_that_is_not_finite_is_named(value):
    net = chain()
    weight = net[2].weight.data()
    weight[0, 0] = value
    found = trace(net, X, Y, squared, bins=4)
    assert found.first_nonfinite == "second"
    assert found.to_frame()["nonfinite"].loc["second"] == 1 / 6
    assert f"first output that is not finite: {found.first_nonfinite}" in repr(found)


def test_finite_outputs_name_no_block():
    assert trace(chain(), X).first_nonfinite is None


# Bad input


def uninitialized():
    net = nn.Sequential()
    net.add(nn.Dense(3, in_units=5, prefix="bare_"))
    return net


def blind():
    net = Lambda(lambda x: x, prefix="blind_")
    net.inner = nn.Dense(3, in_units=5, prefix="inner_")
    net.initialize()
    return net


BAD = {
    "no block": (lambda: trace(len, X), "net must be a Gluon block, got builtin_function"),
    "no parameters": (lambda: trace(nn.Activation("relu"), X), "net must have parameters"),
    "uninitialized": (lambda: trace(uninitialized(), X), "initialized.*'bare_weight'"),
    "never called": (lambda: trace(blind(), X), "call one of its blocks at least.*'inner'"),
    "numpy": (lambda: trace(chain(), X.asnumpy()), "X must be an MXNet array.*got ndarray"),
    "none": (lambda: trace(chain(), None), "X must be an MXNet array.*got NoneType"),
    "y alone": (lambda: trace(chain(), X, Y), "given together, got y without loss"),
    "loss alone": (lambda: trace(chain(), X, loss=squared), "together, got loss without y"),
    "loss no function": (lambda: trace(chain(), X, Y, 3), "loss must be callable.*got 3"),
    "loss of each entry": (
        lambda: trace(chain(), X, Y, lambda out, y: (out - y) ** 2),
        r"one for each of the \[4\] examples, got \(4, 3\)",
    ),
    "loss of each output": (
        lambda: trace(chain(), X, Y, lambda out, y: (out - y).mean(axis=0)),
        r"one for each of the \[4\] examples, got \(3,\)",
    ),
    "loss a float": (lambda: trace(chain(), X, Y, lambda out, y: 0.5), "examples, got float"),
    "bins 0": (
        lambda: trace(chain(), X, bins=0),
        "bins must be a whole number of at least 1, got 0",
    ),
    "bins True": (lambda: trace(chain(), X, bins=True), "bins must be .*got True"),
    "bins falling": (lambda: trace(chain(), X, bins=[1, 0]), r"rising edges, got \[1, 0\]"),
    "bins a word": (lambda: trace(chain(), X, bins="auto"), "bins must be .*got 'auto'"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=list(BAD))
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_labels_need_not_be_an_array():
    found = trace(chain(), X, 0.5, lambda out, y: squared(out, y))
    assert found.loss == pytest.approx(float(squared(chain()(X), 0.5).mean().asnumpy()))


def test_a_refused_loss_leaves_nothing_behind():
    net = chain(nn.HybridSequential)
    net.hybridize()
    with pytest.raises(ValueError, match="loss must return"):
        trace(net, X, Y, lambda out, y: out)
    assert not left_behind(net)
    assert net._active
    assert not autograd.is_recording()


# The record


def plain_parts(value):
    """Everything that a nested record is made of."""
    if isinstance(value, dict):
        return {part for item in value.items() for one in item for part in plain_parts(one)}
    if isinstance(value, (tuple, list)):
        return {part for one in value for part in plain_parts(one)}
    return {type(value)}


def test_the_record_is_plain_numbers_and_survives_pickling():
    found = trace(chain(), X, Y, squared, bins=4)
    assert plain_parts(vars(found)) <= {str, int, float, onp.ndarray}
    again = pickle.loads(pickle.dumps(found))
    assert again.to_frame().equals(found.to_frame())
    assert again.loss == found.loss


def test_a_record_may_be_made_by_hand():
    assert Trace([{"name": "a", "mean": 1.0}]).first_nonfinite is None
    assert "mean" in repr(Trace([{"name": "a", "mean": 1.0}], never_called=["b"]))


ACTIVATIONS = {
    "relu": nn.Activation("relu"),
    "softrelu": nn.Activation("softrelu"),
    "leaky_relu": nn.LeakyReLU(0.1),
    "prelu": nn.PReLU(),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "gelu": nn.GELU(),
    "swish": nn.Swish(),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_known_by_its_name(name):
    rows = trace(built(nn.Dense(3, in_units=5), ACTIVATIONS[name]), X).rows
    assert [row["activation"] for row in rows] == ["", name]


@pytest.mark.parametrize("with_loss", [False, True])
def test_a_built_in_activation_is_named_and_its_units_are_the_layers(with_loss):
    conv = nn.Conv1D(4, 3, in_channels=2, activation="relu")
    net = built(conv)
    conv.bias.set_data(np.array([-100.0, 0, -100, 0]))
    given = (Y[:3], lambda out, y: (out**2).mean(axis=(1, 2))) if with_loss else ()
    (row,) = trace(net, normal(3, 2, 9), *given).rows
    assert (row["block"], row["activation"], row["dead"]) == ("Conv1D", "relu", 2 / 4)


# Gradients that MXNet gets wrong in predict mode


@pytest.mark.parametrize("pool", [nn.MaxPool2D(3, 2, 1), nn.GlobalMaxPool2D()])
def test_gradients_before_max_pooling_are_right_in_float32(pool):
    net = built(nn.Conv2D(8, 3, padding=1, in_channels=3), pool, nn.Dense(3))

    def squares(dtype):
        net.cast(dtype)
        x, y = normal(2, 3, 8, 8).astype(dtype), normal(2, 3, seed=1).astype(dtype)
        return trace(net, x, y, squared).to_frame()["grad_mean_square"].to_numpy()

    assert onp.allclose(squares("float32"), squares("float64"), rtol=1e-4)


# Histograms of odd values


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_histograms_are_numpys(dtype):
    values = onp.random.default_rng(0).normal(size=3000).astype(dtype)
    counts, edges = histogram(values, 20)
    expected = onp.histogram(values.astype(float), 20)
    assert (counts == expected[0]).all()
    assert onp.allclose(edges, expected[1])


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ([], [0, 0]),
        ([3.0, 3.0], [0, 2]),
        ([1e30] * 3, [0, 3]),
        ([1e-320, 0.0, 3e-320], [0, 3]),  # numpy.histogram: IndexError
        ([onp.nan, onp.inf, -onp.inf, 1.0, 2.0], [1, 1]),
        ([onp.nan], [0, 0]),
    ],
    ids=["none", "constant", "large", "vanishing", "not finite", "nan"],
)
def test_a_histogram_counts_every_finite_value(values, counts):
    found, edges = histogram(onp.array(values), 2)
    assert found.tolist() == counts
    assert (onp.diff(edges) > 0).all()


def test_moments_of_several_arrays_are_those_of_their_entries():
    parts = [onp.random.default_rng(k).normal(k, size=(k + 1, 70_000)) for k in range(3)]
    every = onp.concatenate([part.ravel() for part in parts])
    expected = every.mean(), every.std(), (every**2).mean()
    assert moments(*parts) == pytest.approx(expected, rel=1e-12)


def test_weights_that_the_loss_does_not_see_have_gradient_zero():
    aside = nn.Dense(2, in_units=5, prefix="aside_")
    both = Lambda(lambda x: (aside(x), both.seen(x))[1])
    both.aside, both.seen = aside, nn.Dense(3, in_units=5, prefix="seen_")
    both.initialize(init.Normal(1))
    frame = trace(both, X, Y, squared).to_frame()
    assert frame["weight_grad_std"].loc["aside"] == 0 < frame["weight_grad_std"].loc["seen"]
