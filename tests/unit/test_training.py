"""Nets trained side by side do what each does alone under gluon.Trainer."""

import warnings

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon, npx
from mxnet.gluon import nn

import d2l_init as di
from d2l_init.lab import training
from d2l_init.lab.training import accuracy, train

BLOCKS = {
    "relu": lambda: nn.Activation("relu"),
    "tanh": lambda: nn.Activation("tanh"),
    "sigmoid": lambda: nn.Activation("sigmoid"),
    "softrelu": lambda: nn.Activation("softrelu"),
    "softsign": lambda: nn.Activation("softsign"),
    "LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "SELU": lambda: nn.SELU(),
}
OPTIMIZERS = {
    "sgd": {},
    "sgd with momentum": {"momentum": 0.9},
    "adam": {"optimizer": "adam"},
}


pytestmark = pytest.mark.usefixtures("numpy_semantics")


def examples(count=90, features=6, classes=4):
    stream = np.random.default_rng(0)
    return stream.normal(size=(count, features)), stream.integers(0, classes, count)


def plain(seed, activation="tanh", *, bias=True, dtype="float64", widths=(7, 5), in_units=0):
    net = nn.HybridSequential(prefix="")
    for number, width in enumerate(widths):
        net.add(nn.Dense(width, use_bias=bias, prefix=f"{number}_", in_units=in_units))
        net.add(BLOCKS[activation]())
        in_units = width if in_units else 0
    net.add(nn.Dense(4, use_bias=bias, prefix="out_", in_units=in_units))
    net.cast(dtype)
    net.initialize(di.VarianceScaling(1.5, "fan_in", "normal", seed=seed))
    return net


def values(net):
    return [p.data().asnumpy() for p in net.collect_params().values()]


def alone(net, X, y, *, lr, steps, batch_size, seed, optimizer="sgd", **options):
    """The loop that a reader would write."""
    trainer = gluon.Trainer(net.collect_params(), optimizer, {"learning_rate": lr, **options})
    loss, losses = gluon.loss.SoftmaxCrossEntropyLoss(), []
    for rows in training._batches(len(X), steps, batch_size, seed):
        with autograd.record():
            batch = loss(net(mx.np.array(X[rows], dtype="float64")), mx.np.array(y[rows])).mean()
        batch.backward()
        trainer.step(1)
        losses.append(float(batch))
    return losses


def assert_same_as_alone(make, tolerance=1e-10, **options):
    X, y = examples()
    settings = {"lr": 0.05, "steps": 25, "batch_size": 20, "seed": 3, **options}
    nets, singles = [make(seed) for seed in range(5)], [make(seed) for seed in range(5)]
    losses = train(nets, X, y, **settings)
    expected = [alone(net, X, y, **settings) for net in singles]
    np.testing.assert_allclose(losses, expected, rtol=tolerance)
    for net, single in zip(nets, singles, strict=True):
        for ours, theirs in zip(values(net), values(single), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=10 * tolerance, atol=tolerance)
    assert losses[0, -1] < losses[0, 0]


@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
@pytest.mark.parametrize("options", OPTIMIZERS.values(), ids=list(OPTIMIZERS))
@pytest.mark.parametrize("activation", ["relu", "tanh", "LeakyReLU", "SELU"])
def test_each_net_does_what_it_does_alone(activation, options, bias):
    # MXNet rounds what a leaky unit makes of a negative number to single precision
    tolerance = 1e-6 if activation == "LeakyReLU" else 1e-10
    assert_same_as_alone(lambda seed: plain(seed, activation, bias=bias), tolerance, **options)


@pytest.mark.parametrize("activation", ["sigmoid", "softrelu", "softsign"])
def test_the_other_activations_have_the_right_slopes(activation):
    assert_same_as_alone(lambda seed: plain(seed, activation))


def test_nested_nets_and_activations_inside_dense_are_understood():
    def nested(seed):
        inner = nn.Sequential()
        inner.add(nn.Dense(6, "tanh", prefix="a_"), nn.Dense(5, prefix="b_"), nn.Activation("relu"))
        net = nn.Sequential()
        net.add(nn.Dense(7, activation="relu", prefix="first_"), inner, nn.Dense(4, prefix="last_"))
        net.cast("float64")
        net.initialize(di.he_normal(seed=seed))
        return net

    assert_same_as_alone(nested, momentum=0.5)


def test_a_lone_dense_block_and_a_hybridized_net_are_nets():
    X, y = examples()
    dense, net = nn.Dense(4, in_units=6), plain(0)
    dense.initialize()
    net.hybridize()
    assert train([dense], X, y, lr=0.1, steps=3).shape == (1, 3)
    train([net], X, y, lr=0.1, steps=3)
    ours = (net(mx.np.array(X, dtype="float64")).argmax(1).asnumpy() == y).mean()
    assert accuracy([net], X, y)[0] == ours


def test_float32_nets_stay_in_float32():
    X, y = examples()
    net = plain(0, dtype="float32")
    assert train([net], X, y, lr=0.1, steps=3).dtype == np.float32
    assert {value.dtype for value in values(net)} == {np.dtype("float32")}


@pytest.mark.parametrize("options", OPTIMIZERS.values(), ids=list(OPTIMIZERS))
def test_company_and_threads_change_no_bit(options, monkeypatch):
    X, y = examples()
    settings = {"lr": 0.05, "steps": 20, "batch_size": 30, **options}
    together = train([plain(seed) for seed in range(5)], X, y, **settings)
    for cores, group in [(1, 1), (1, 3), (4, 2)]:
        monkeypatch.setattr("d2l_init.threads.cores", lambda cores=cores: cores)
        monkeypatch.setattr(training, "_TOGETHER", group)
        again = train([plain(seed) for seed in range(5)], X, y, **settings)
        np.testing.assert_array_equal(together, again)


def test_a_net_that_diverges_disturbs_no_other():
    X, y = examples()
    wild = [plain(seed, "relu", in_units=6) for seed in range(3)]
    for parameter in wild[1].collect_params(".*weight").values():
        parameter.set_data(parameter.data() * 1e200)
    losses = train(wild, X, y, lr=0.05, steps=20)
    calm = train([plain(0, "relu"), plain(2, "relu")], X, y, lr=0.05, steps=20)
    np.testing.assert_array_equal(losses[[0, 2]], calm)
    assert not np.isfinite(losses[1, -1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = accuracy(wild, X, y)
    np.testing.assert_array_equal(right[[0, 2]], accuracy([wild[0], wild[2]], X, y))


def test_every_example_is_seen_once_in_an_epoch_and_epochs_differ():
    rows = training._batches(90, 12, 15, 0).reshape(2, 90)
    assert [sorted(epoch) for epoch in rows.tolist()] == [list(range(90))] * 2
    assert (rows[0] != rows[1]).any()
    assert (training._batches(90, 12, 15, 1).reshape(2, 90) != rows).any()


def test_mxnet_arrays_are_taken_and_neither_they_nor_random_streams_change():
    X, y = (mx.np.array(a) for a in examples())
    before, net = X.asnumpy(), plain(0)
    np.random.seed(1)
    mx.random.seed(1)
    expected = np.random.random(), float(mx.np.random.uniform())
    np.random.seed(1)
    mx.random.seed(1)
    train([net], X, y, lr=0.1, steps=5)
    assert (np.random.random(), float(mx.np.random.uniform())) == expected
    np.testing.assert_array_equal(X.asnumpy(), before)


def test_it_works_with_the_classic_arrays_too():
    npx.reset_np()
    X, y = examples()
    assert np.isfinite(train([plain(0)], X, y, lr=0.1, steps=2)).all()


def with_block(block):
    net = nn.HybridSequential()
    net.add(nn.Dense(4), block)
    net.initialize()
    return net


class Doubled(nn.Dense):
    """A block whose forward pass train can't know."""


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (nn.BatchNorm(), "BatchNorm"),
        (nn.Dropout(0.5), "Dropout"),
        (nn.Conv2D(3, 3), "Conv2D"),
        (nn.PReLU(), "PReLU"),
        (Doubled(4), "Doubled"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unknown_block_is_named(block, named):
    with pytest.raises(ValueError, match=f"nets must be Sequentials of Dense.*got {named}"):
        train([with_block(block)], *examples(), lr=0.1, steps=1)


@pytest.mark.parametrize(
    "other",
    [
        lambda: plain(1, widths=(7, 6)),
        lambda: plain(1, widths=(7,)),
        lambda: plain(1, "relu"),
        lambda: plain(1, bias=False),
        lambda: plain(1, dtype="float32"),
    ],
    ids=["width", "depth", "activation", "bias", "dtype"],
)
def test_nets_that_differ_are_refused(other):
    with pytest.raises(ValueError, match="nets must all have one shape"):
        train([plain(0), other()], *examples(), lr=0.1, steps=1)


def empty():
    return nn.HybridSequential()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0}, "lr must be a positive number, got 0"),
        ({"lr": float("nan")}, "lr must be a finite number|lr must be a positive number"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"batch_size": 91}, "batch_size must be at most 90, the examples, got 91"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"optimizer": "sdg"}, "optimizer must be one of sgd, adam, got 'sdg'; did you mean 'sgd'"),
        ({"momentum": float("inf")}, "momentum must be a finite number, got inf"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"nets": []}, "nets must have at least one net, got none"),
        ({"nets": [empty()]}, "nets must have a Dense block, got HybridSequential"),
        ({"X": np.ones((90, 5))}, r"X must be \(examples, 6\), got shape \(90, 5\)"),
        ({"X": np.ones(90)}, r"X must be \(examples, 6\), got shape \(90,\)"),
        ({"y": np.ones(89)}, "y must be 90 classes from 0 to 3, got"),
        ({"y": np.full(90, 4)}, "y must be 90 classes from 0 to 3, got"),
        ({"y": np.full(90, 0.5)}, "y must be 90 classes from 0 to 3, got"),
    ],
    ids=str,
)
def test_a_bad_argument_is_named_with_its_rule_and_value(change, message):
    X, y = examples()
    arguments = {"nets": [plain(0, in_units=6)], "X": X, "y": y, "lr": 0.1, "steps": 1, **change}
    with pytest.raises(ValueError, match=message):
        train(arguments.pop("nets"), arguments.pop("X"), arguments.pop("y"), **arguments)
