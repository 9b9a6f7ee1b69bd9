"""Nets that others wrote: the right numbers, or one sentence."""

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon
from mxnet.gluon import contrib, nn, rnn
from mxnet.gluon.model_zoo.vision import mobilenet

import d2l_init as di
from d2l_init.lab import signals

RANDOM = np.random.default_rng(0)
MEAN = lambda out, y: out.reshape((len(out), -1)).mean(axis=1)  # noqa: E731


class Reader(gluon.Block):
    """A block as a reader writes one."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class HardSwish(Reader):
    """An activation of a class that Gluon doesn't have."""


nd = mx.nd
ACTIVATIONS = {
    "relu by name": (nn.HybridLambda("relu"), "relu"),
    "relu by function": (nn.HybridLambda(lambda F, x: F.relu(x)), "relu"),
    "a reader's relu": (Reader(nd.relu), "relu"),
    "a reader's tanh": (Reader(nd.tanh), "tanh"),
    "relu6": (mobilenet.RELU6(), "relu6"),
    "hard swish": (HardSwish(lambda x: x * nd.clip(x / 6 + 0.5, 0, 1)), "hard_swish"),
    "unknown": (Reader(lambda x: nd.sin(x)), "reader"),
    "threshold": (HardSwish(lambda x: (x > 0.3).astype("float32")), "hardswish"),
    "a slope": (Reader(lambda x: nd.LeakyReLU(x, act_type="leaky", slope=0.3)), "reader"),
    "LeakyReLU": (nn.LeakyReLU(0.3), "leaky_relu"),
    "scaling": (Reader(lambda x: 3 * x + 1), ""),
    "nothing": (Reader(lambda x: x), ""),
    "a copy": (Reader(lambda x: x.copy()), ""),
    "softmax": (Reader(nd.softmax), ""),
    "norm": (Reader(lambda x: (x - x.mean(axis=1, keepdims=True)) / 7), ""),
    "sort": (Reader(lambda x: nd.sort(x)), ""),
    "dropout": (nn.Dropout(0.5), ""),
    "nan": (Reader(lambda x: x * float("nan")), ""),
    "flatten": (nn.Flatten(), ""),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_known_by_what_it_does(name, training):
    block, expected = ACTIVATIONS[name]
    net = nn.Sequential()
    net.add(nn.Dense(30, in_units=8), block)
    net.initialize(mx.init.Normal(1))
    X = nd.array(RANDOM.standard_normal((20, 8)))
    rows = di.trace(net, X, training=training).rows
    assert [row["activation"] for row in rows] == ["", expected]


@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 3, 5, 6), 1), ((4, 3, 2, 5, 6), 1), ((4, 5, 3), 2), ((4, 3), 1)]
)
def test_units_of_a_block_without_layout_lie_where_channels_do(shape, axis):
    """A unit is dead that is 0 for all inputs and places; here it is one of three."""
    dead = np.ones(3)
    dead[1] = 0
    along = [3 if place == axis else 1 for place in range(len(shape))]
    mask = nd.array(np.broadcast_to(dead.reshape(along), shape))
    net = nn.Sequential()
    net.add(
        nn.Dense(int(np.prod(shape[1:])), in_units=2), Reader(lambda x: x.reshape(shape) * mask)
    )
    net.initialize(mx.init.Normal(1))
    row = di.trace(net, nd.array(RANDOM.standard_normal((4, 2)))).rows[1]
    assert row["dead"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", list(signals._ENTRYWISE))
def test_every_activation_known_by_name_is_mxnets_own(name):
    own = {
        "relu": nd.relu, "tanh": nd.tanh, "sigmoid": nd.sigmoid, "softsign": nd.softsign,
        "softrelu": lambda x: nd.Activation(x, act_type="softrelu"),
        "log_sigmoid": lambda x: nd.log(nd.sigmoid(x)),
        "leaky_relu": lambda x: nd.LeakyReLU(x, act_type="leaky", slope=0.01),
        "elu": lambda x: nd.LeakyReLU(x, act_type="elu", slope=1),
        "selu": lambda x: nd.LeakyReLU(x, act_type="selu"),
        "gelu": lambda x: nd.LeakyReLU(x, act_type="gelu"),
        "swish": lambda x: x * nd.sigmoid(x),
        "relu6": lambda x: nd.clip(x, 0, 6),
        "hard_sigmoid": lambda x: nd.hard_sigmoid(x, alpha=1 / 6),
        "hard_swish": lambda x: x * nd.hard_sigmoid(x, alpha=1 / 6),
        "mish": lambda x: x * nd.tanh(nd.Activation(x, act_type="softrelu")),
    }[name]  # fmt: skip
    x = np.linspace(-8, 8, 1001)
    y = own(nd.array(x, dtype="float32")).asnumpy()
    assert signals._ENTRYWISE[name](x) == pytest.approx(y, abs=1e-5)
    assert signals.recognized(x, y, ["reader"]) == name


def test_a_relu_that_meets_no_negative_value_is_known_by_its_name():
    net = nn.Sequential()
    net.add(nn.Dense(30, in_units=8), nn.HybridLambda("relu"), mobilenet.RELU6())
    net.initialize(mx.init.One())
    rows = di.trace(net, nd.ones((20, 8)) / 9).rows
    assert [row["activation"] for row in rows] == ["", "relu", "relu6"]


def test_containers_have_rows_on_request_and_change_no_number():
    inner = nn.HybridSequential(prefix="inner_")
    inner.add(nn.Dense(3, in_units=4, prefix="a_"), nn.Activation("relu", prefix="b_"))
    net = nn.HybridSequential(prefix="net_")
    net.add(inner, nn.Dense(2, in_units=3, activation="tanh", prefix="c_"))
    net.initialize(di.he_normal(seed=0))
    X, y = nd.array(RANDOM.standard_normal((5, 4))), nd.zeros((5,))
    plain = di.trace(net, X, y, MEAN).to_frame()
    whole = di.trace(net, X, y, MEAN, containers=True).to_frame()
    assert list(whole.index) == ["a", "b", "inner", "c", "net"]
    assert list(whole["weights"]) == [12, 0, 0, 6, 0]
    for name in plain.index:
        assert whole.loc[name].equals(plain.loc[name])
    numbers = ["mean_square", "grad_mean_square"]
    assert np.allclose(whole.loc["inner", numbers].to_list(), whole.loc["b", numbers].to_list())
    assert list(whole["activation"]) == ["", "relu", "", "tanh", ""]


@pytest.mark.parametrize(
    "embedding",
    [lambda: nn.Embedding(9, 4, sparse_grad=True), lambda: contrib.nn.SparseEmbedding(9, 4)],
)
def test_sparse_parameters_have_the_gradient_of_dense_ones(embedding):
    def traced(layer):
        net = nn.Sequential()
        net.add(layer, nn.Dense(2, in_units=12))
        net.initialize(mx.init.Constant(0.5))
        gluon.Trainer(net.collect_params(), "sgd")  # sparse parameters ask for one
        X = nd.array([[1, 2, 2], [5, 1, 0]])
        return net, di.trace(net, X, nd.zeros(2), MEAN).to_frame()

    (net, mine), (_, dense) = traced(embedding()), traced(nn.Embedding(9, 4))
    columns = ["weights", "weight_std", "weight_grad_std", "grad_mean_square"]
    assert mine.iloc[0][columns].to_list() == pytest.approx(dense.iloc[0][columns].to_list())
    assert "weight: 36 entries, std 0 measured" in di.caption(di.plot_weights(net))


class WeightDrop(gluon.Parameter):
    """What hands out something made of its values, as weight dropout does."""

    def data(self, ctx=None):
        return mx.nd.Dropout(super().data(ctx), p=0.5)


def test_a_wrapped_parameter_has_the_gradient_of_its_leaf():
    layer = nn.Dense(3, in_units=4, use_bias=False, prefix="a_")
    plain = nn.Dense(3, in_units=4, use_bias=False, prefix="a_")
    wrapped = WeightDrop("a_weight", shape=(3, 4))
    layer._reg_params["weight"] = layer.params._params["a_weight"] = wrapped
    layer.weight.__class__ = type(wrapped)
    object.__setattr__(layer, "weight", wrapped)
    X, y = nd.array(RANDOM.standard_normal((5, 4))), nd.zeros((5,))
    rows = []
    for net in (layer, plain):
        net.initialize(di.he_normal(seed=0))
        rows.append(di.trace(net, X, y, MEAN).rows[0])
    assert rows[0]["weight_grad_std"] == pytest.approx(rows[1]["weight_grad_std"])


@pytest.mark.parametrize("cell", [
    lambda: rnn.ZoneoutCell(rnn.GRUCell(5), 0.3, 0.3),
    lambda: contrib.rnn.VariationalDropoutCell(rnn.GRUCell(5), 0.3, 0.3, 0.3),
])  # fmt: skip
def test_a_hybridized_cell_keeps_what_it_remembers(cell):
    class Steps(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.cell = cell()

        def hybrid_forward(self, F, x):
            self.cell.reset()
            return self.cell.unroll(3, x, layout="NTC", merge_outputs=True)[0]

    net = Steps()
    net.initialize(mx.init.Normal(0.5))
    X, y = nd.array(RANDOM.standard_normal((4, 3, 2))), nd.zeros(4)
    plain = di.trace(net, X, y, MEAN).rows
    net.hybridize()
    net(X)
    before = dict(vars(net.cell))
    assert di.trace(net, X, y, MEAN).rows == plain
    assert {name: id(value) for name, value in vars(net.cell).items()} == {
        name: id(value) for name, value in before.items()
    }


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", [rnn.LSTM, rnn.GRU, rnn.RNN])
def test_stacked_recurrent_layers_have_the_gradients_of_single_ones(kind, layers, dtype, training):
    """In float64 MXNet's own are wrong; those of three plain layers can't be helped."""
    whole, parts = kind(3, layers, prefix="r_"), nn.Sequential()
    parts.add(*[kind(3, prefix=f"l{layer}_") for layer in range(layers)])
    X = nd.array(RANDOM.standard_normal((5, 2, 4)), dtype=dtype)
    for net, kind_of in ((whole, dtype), (parts, "float32")):
        net.cast(kind_of)
        net.initialize()
        net(X.astype(kind_of))
    for name, parameter in whole.collect_params().items():
        value = nd.array(RANDOM.uniform(-0.5, 0.5, parameter.shape))
        parameter.set_data(value.astype(dtype))
        parts.collect_params()[f"{name[2:4]}_l0{name[4:]}"].set_data(value)
    given = X, nd.zeros(5), lambda out, y: MEAN(out.square(), y)
    if (kind, layers, dtype) == (rnn.RNN, 3, "float64"):
        with pytest.raises(ValueError, match=r"net must have float32, or .*of r MXNet gives wrong"):
            di.trace(whole, *given)
        return
    with autograd.record(train_mode=False):
        out = parts(X.astype("float32"))
        out.attach_grad()
        value = given[2](out, None).mean()
    value.backward(train_mode=False)
    expected = out.grad.asnumpy()
    with autograd.record(train_mode=False):
        value = given[2](parts(X.astype("float32")), None).mean()
    value.backward(train_mode=False)
    gradients = [p.grad().asnumpy().ravel() for p in parts.collect_params(".*weight").values()]
    for _ in range(2):
        row = di.trace(whole, *given, training=training).rows[0]
        assert row["weight_grad_std"] == pytest.approx(np.concatenate(gradients).std(), rel=1e-4)
        assert row["grad_mean_square"] == pytest.approx((expected**2).mean(), rel=1e-4)


def test_a_signal_beyond_its_square_is_infinite_not_an_error():
    net = nn.Dense(3, in_units=2)
    net.cast("float64")
    net.initialize(mx.init.Constant(1e160))
    (row,) = di.trace(net, nd.ones((2, 2), dtype="float64")).rows
    assert (row["mean_square"], row["nonfinite"]) == (float("inf"), 0)


def test_a_net_without_weights_says_what_it_has():
    net = nn.Sequential()
    net.add(nn.Dropout(0.5), nn.LayerNorm(in_channels=3))
    net.initialize()
    with pytest.raises(ValueError, match="a block with weights, got Dropout, LayerNorm; blocks"):
        di.plot_signals(di.trace(net, nd.ones((2, 3))))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("layer", [rnn.GRU, rnn.RNN, rnn.LSTM])
def test_what_lies_in_front_of_a_frozen_recurrent_layer_has_its_gradient(layer, frozen):
    """MXNet's kernel for float64 gives a wrong one where no weight of it is trained."""
    net = nn.Sequential()
    net.add(nn.Dense(4, in_units=3, flatten=False), layer(5))
    net.cast("float64")
    net.initialize(mx.init.Normal(0.5))
    X = nd.array(RANDOM.standard_normal((6, 7, 3)), dtype="float64")
    net(X)
    with autograd.record(train_mode=False):
        value = net(X).square().mean()
    value.backward(train_mode=False)
    expected = net[0].weight.grad().asnumpy().std()
    if frozen:
        net[1].collect_params().setattr("grad_req", "null")
    rows = di.trace(net, X, nd.zeros(6), lambda out, y: out.square().mean()).rows
    assert rows[0]["weight_grad_std"] == pytest.approx(expected)
    assert np.isnan(rows[1]["weight_grad_std"]) == frozen
