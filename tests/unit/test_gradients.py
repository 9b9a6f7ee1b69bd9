"""Gradients in predict mode: those of small differences, whatever stands behind."""

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon
from mxnet.gluon import contrib, nn, rnn

import d2l_init as di

IMAGE, SERIES = (1, 4, 6, 6), (1, 4, 9)


class Functional(nn.HybridBlock):
    """Max pooling as readers write it in a ``forward`` of their own."""

    def hybrid_forward(self, F, x):
        return F.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type="max")


class Recurrent(gluon.Block):
    """A recurrent layer over one example, time first inside."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.transpose((1, 0, 2))).transpose((1, 0, 2))


LAYERS = {
    "Dense": (lambda: nn.Dense(5, activation="tanh"), (1, 4)),
    "Conv1D": (lambda: nn.Conv1D(4, 3), SERIES),
    "Conv2D": (lambda: nn.Conv2D(4, 3, padding=1), IMAGE),
    "Conv3D": (lambda: nn.Conv3D(2, 3), (1, 2, 4, 4, 4)),
    "Conv1DTranspose": (lambda: nn.Conv1DTranspose(4, 3), SERIES),
    "Conv2DTranspose": (lambda: nn.Conv2DTranspose(4, 3), IMAGE),
    "Conv3DTranspose": (lambda: nn.Conv3DTranspose(2, 2), (1, 2, 2, 2, 2)),
    "MaxPool1D": (lambda: nn.MaxPool1D(2), SERIES),
    "MaxPool2D": (lambda: nn.MaxPool2D(3, 2, 1), IMAGE),
    "MaxPool3D": (lambda: nn.MaxPool3D(2), (1, 2, 4, 4, 4)),
    "GlobalMaxPool1D": (nn.GlobalMaxPool1D, SERIES),
    "GlobalMaxPool2D": (nn.GlobalMaxPool2D, IMAGE),
    "GlobalMaxPool3D": (nn.GlobalMaxPool3D, (1, 2, 4, 4, 4)),
    "a reader's max pooling": (Functional, IMAGE),
    "AvgPool1D": (lambda: nn.AvgPool1D(2), SERIES),
    "AvgPool2D": (lambda: nn.AvgPool2D(3, 2, 1), IMAGE),
    "AvgPool3D": (lambda: nn.AvgPool3D(2), (1, 2, 4, 4, 4)),
    "GlobalAvgPool2D": (nn.GlobalAvgPool2D, IMAGE),
    "BatchNorm": (nn.BatchNorm, IMAGE),
    "BatchNorm, global": (lambda: nn.BatchNorm(use_global_stats=True), IMAGE),
    "BatchNormReLU": (nn.BatchNormReLU, IMAGE),
    "InstanceNorm": (nn.InstanceNorm, IMAGE),
    "LayerNorm": (nn.LayerNorm, (1, 3, 4)),
    "GroupNorm": (lambda: nn.GroupNorm(2), IMAGE),
    "Dropout": (lambda: nn.Dropout(0.5), (1, 8)),
    "Flatten": (nn.Flatten, IMAGE),
    "ReflectionPad2D": (lambda: nn.ReflectionPad2D(1), IMAGE),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.1), (1, 8)),
    "PReLU": (nn.PReLU, IMAGE),
    "ELU": (nn.ELU, (1, 8)),
    "Swish": (nn.Swish, (1, 8)),
    "GELU": (nn.GELU, (1, 8)),
    "PixelShuffle2D": (lambda: contrib.nn.PixelShuffle2D(2), IMAGE),
    "LSTM": (lambda: Recurrent(rnn.LSTM(3, 2, dropout=0.5)), (1, 3, 4)),
    "GRU": (lambda: Recurrent(rnn.GRU(3, 2, dropout=0.5)), (1, 3, 4)),
    "RNN": (lambda: Recurrent(rnn.RNN(3, 2, dropout=0.5, activation="tanh")), (1, 3, 4)),
    **{
        f"Activation {name}": (lambda name=name: nn.Activation(name), (1, 8))
        for name in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
    },
}
ONLY_FLOAT32 = {"Conv3DTranspose", "BatchNormReLU", "InstanceNorm"}


def made(name, dtype):
    """The layer with weights and statistics that are far from 0 and 1, and an input."""
    make, shape = LAYERS[name]
    random = np.random.default_rng(3)
    x = mx.nd.array(random.standard_normal(shape), dtype=dtype)
    layer = make()
    layer.cast(dtype)
    layer.initialize(mx.init.Zero())
    layer(x)
    for parameter in layer.collect_params().values():
        parameter.set_data(mx.nd.array(random.uniform(0.3, 1, parameter.shape), dtype=dtype))
    return layer, x


def small_differences(layer, x, step):
    columns = []
    for place in range(x.size):
        ends = []
        for sign in (1, -1):
            moved = x.asnumpy().astype("float64")
            moved.flat[place] += sign * step
            ends.append(layer(mx.nd.array(moved, dtype=x.dtype)).asnumpy().astype("float64"))
        columns.append((ends[0] - ends[1]).ravel() / (2 * step))
    return np.stack(columns, axis=1)


CASES = [(name, dtype) for name in LAYERS for dtype in ("float32", "float64")
         if dtype == "float32" or name not in ONLY_FLOAT32]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_every_operator_has_the_slope_of_small_differences(name, dtype):
    layer, x = made(name, dtype)
    exact = "float32" if name in ONLY_FLOAT32 else "float64"
    expected = small_differences(*made(name, exact), 1e-3 if exact == "float32" else 1e-4)
    for _ in range(2):  # wrong ones change from call to call
        found = di.jacobian(layer, x)
        assert abs(found - expected).max() < 2e-3 * abs(expected).max()


def conv_net(*middle, dtype="float32"):
    """The weights are the same whatever stands in the middle."""
    net = nn.HybridSequential(prefix="n_")
    with net.name_scope():
        net.add(nn.Conv2D(8, 3, padding=1, in_channels=3, prefix="conv_"), *middle)
        net.add(nn.Dense(4, prefix="dense_"))
    net.initialize(di.he_normal(seed=1))
    X = mx.nd.array(np.random.default_rng(0).standard_normal((2, 3, 8, 8)))
    net(X)
    net.cast(dtype)
    return net, X.astype(dtype)


def first_gradients(net, X):
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    frame = di.trace(net, X, mx.nd.array([0, 1]), loss).to_frame()
    return [*frame["grad_mean_square"][[0, -1]], *frame["weight_grad_std"][[0, -1]]]


def imported(net, X, folder):
    """The net in the form in which others deploy it: a graph without blocks."""
    net.hybridize()
    net(X)
    net.export(str(folder / "net"))
    return gluon.SymbolBlock.imports(
        str(folder / "net-symbol.json"), ["data"], str(folder / "net-0000.params")
    )


@pytest.mark.parametrize("pool", [lambda: nn.MaxPool2D(3, 2, 1), Functional, nn.GlobalMaxPool2D])
def test_a_trace_in_front_of_max_pooling_is_that_in_float64(pool):
    assert first_gradients(*conv_net(pool())) == pytest.approx(
        first_gradients(*conv_net(pool(), dtype="float64")), rel=1e-5
    )


def test_a_trace_in_front_of_a_fused_batch_norm_is_that_of_its_parts():
    parts = conv_net(nn.BatchNorm(), nn.Activation("relu"))
    assert first_gradients(*conv_net(nn.BatchNormReLU())) == pytest.approx(
        first_gradients(*parts), rel=1e-5
    )


def test_an_imported_graph_has_the_gradients_of_its_net_and_stays_as_it_was(tmp_path):
    middle = nn.BatchNorm(), nn.MaxPool2D(3, 2, 1), nn.Dropout(0.5)
    net, X = conv_net(*middle)
    graph = imported(net, X, tmp_path)
    before, out = dict(vars(graph)), graph(X).asnumpy()
    expected = di.jacobian(net, X[:1])
    for _ in range(2):
        assert di.jacobian(graph, X[:1]) == pytest.approx(expected, rel=1e-5, abs=1e-9)
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    row = di.trace(graph, X, mx.nd.array([0, 1]), loss).to_frame().iloc[0]
    gradients = [p.grad().asnumpy().ravel() for p in plain_gradients(net, X) if p.grad().ndim > 1]
    assert row["weight_grad_std"] == pytest.approx(np.concatenate(gradients).std(), rel=1e-4)
    assert {**vars(graph), "_cached_op": 0, "_cached_op_args": 0} == {
        **before, "_cached_op": 0, "_cached_op_args": 0
    }  # fmt: skip
    assert (graph(X).asnumpy() == out).all()


def plain_gradients(net, X):
    """Those of Gluon alone, with its max pooling in training mode: it has no other state."""
    with autograd.record(train_mode=False):
        x = net[1](net[0](X))
        with autograd.train_mode():
            x = net[2](x)
        value = gluon.loss.SoftmaxCrossEntropyLoss()(net[4](x), mx.nd.array([0, 1])).mean()
    value.backward(train_mode=False)
    return [p for p in net.collect_params().values() if p.grad_req != "null"]


def test_a_reader_s_own_recording_finds_mxnet_as_it_was():
    from mxnet.ndarray import register

    before = register._imperative_invoke
    net, X = conv_net(nn.MaxPool2D(2))
    first_gradients(net, X)
    di.jacobian(net, X[:1])
    with pytest.raises(ValueError, match="loss must return"):
        di.trace(net, X, X, lambda out, y: out)
    assert register._imperative_invoke is before


def test_a_net_of_two_inputs_has_no_jacobian():
    class Two(gluon.Block):
        def __init__(self):
            super().__init__()
            self.layer = nn.Dense(2, in_units=3)

        def forward(self, x, y):
            return self.layer(x + y)

    net = Two()
    net.initialize()
    with pytest.raises(ValueError, match=r"net must take one array, x, and fails: .*forward"):
        di.jacobian(net, mx.nd.ones((1, 3)))
    with pytest.raises(ValueError, match=r"x must be an MXNet batch of one example.*got tuple"):
        di.jacobian(net, (mx.nd.ones((1, 3)), mx.nd.ones((1, 3))))
