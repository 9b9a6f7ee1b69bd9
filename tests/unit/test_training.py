"""Each net does what it does alone under gluon.Trainer, by the rule and by the short path."""

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


def start_alike(net, other, x):
    """Where blocks bear other names, seeded initializers draw other values."""
    net(x), other(x)
    pairs = zip(net.collect_params().values(), other.collect_params().values(), strict=True)
    for parameter, copy in pairs:
        copy.set_data(parameter.data())


def assert_same_as_alone(make, tolerance=1e-10, **options):
    X, y = examples()
    settings = {"lr": 0.05, "steps": 25, "batch_size": 20, "seed": 3, **options}
    nets, singles = [make(seed) for seed in range(5)], [make(seed) for seed in range(5)]
    for net, single in zip(nets, singles, strict=True):
        start_alike(net, single, mx.np.array(X[:1], dtype="float64"))
    losses = train(nets, X, y, **settings)
    expected = [alone(net, X, y, **settings) for net in singles]
    np.testing.assert_allclose(losses, expected, rtol=tolerance)
    for net, single in zip(nets, singles, strict=True):
        for ours, theirs in zip(values(net), values(single), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=10 * tolerance, atol=tolerance)
    assert losses[:, -5:].mean() < losses[:, :5].mean()


@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
@pytest.mark.parametrize("options", OPTIMIZERS.values(), ids=list(OPTIMIZERS))
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_each_net_does_what_it_does_alone(activation, options, bias):
    assert_same_as_alone(lambda seed: plain(seed, activation, bias=bias), **options)


@pytest.mark.parametrize("activation", ["sigmoid", "LeakyReLU", "SELU"])
def test_other_activations_are_trained_by_gluon(activation):
    assert_same_as_alone(lambda seed: plain(seed, activation), optimizer="adam")


def test_the_plain_nets_of_chapters_take_the_short_path(monkeypatch):
    monkeypatch.setattr(training, "_by_gluon", None)
    for net in (plain(0), plain(0, "relu", bias=False), plain(0, dtype="float32"), plain(0)):
        train([net], *examples(), lr=0.1, steps=1)


class Branched(nn.HybridBlock):
    """Tokens to scores of tokens by one shared matrix; one layer is not used."""

    def __init__(self, **options):
        super().__init__(**options)
        with self.name_scope():
            self.embedding = nn.Embedding(5, 4)
            self.mixer, self.unused = (
                nn.Dense(4, flatten=False, in_units=4),
                nn.Dense(3, in_units=2),
            )
            self.scores = nn.Dense(5, flatten=False, params=self.embedding.params, use_bias=False)

    def hybrid_forward(self, F, tokens):
        return self.scores(self.mixer(self.embedding(tokens)))


def of_blocks(*blocks, seed=0):
    net = nn.HybridSequential()
    net.add(*blocks)
    net.cast("float64")
    net.initialize(di.VarianceScaling(1.5, "fan_in", "normal", seed=seed))
    return net


def tied(seed):
    first = nn.Dense(6, "tanh", in_units=6)
    return of_blocks(first, nn.Dense(6, in_units=6, params=first.params), nn.Dense(4), seed=seed)


def twice(seed):
    block = nn.Dense(6, "tanh", in_units=6)
    return of_blocks(block, block, nn.Dense(4), seed=seed)


def frozen(seed):
    net = plain(seed, in_units=6)
    net[0].collect_params().setattr("grad_req", "null")
    return net


def slow(seed):
    net = plain(seed, in_units=6)
    net[0].weight.lr_mult = 0.1
    return net


class Doubled(nn.Dense):
    """A block that looks like Dense."""

    def hybrid_forward(self, F, x, *args, **parameters):
        return 2 * super().hybrid_forward(F, x, *args, **parameters)


ODD = {
    "tied": tied,
    "a block twice": twice,
    "frozen": frozen,
    "lr_mult": slow,
    "a subclass": lambda seed: of_blocks(Doubled(7, "tanh"), nn.Dense(4), seed=seed),
    "two activations": lambda seed: of_blocks(
        nn.Dense(7), nn.Activation("tanh"), nn.Activation("tanh"), nn.Dense(4), seed=seed
    ),
    "activation first": lambda seed: of_blocks(nn.Activation("tanh"), nn.Dense(4), seed=seed),
    "batch norm": lambda seed: of_blocks(nn.Dense(7), nn.BatchNorm(), nn.Dense(4), seed=seed),
}


def test_hooks_run():
    net, seen = plain(0), []
    net[2].register_forward_hook(lambda *arguments: seen.append(1))
    train([net], *examples(), lr=0.1, steps=3)
    assert len(seen) == 4  # the pass that shows that X fits, too


@pytest.mark.parametrize("make", ODD.values(), ids=list(ODD))
def test_any_other_net_is_trained_as_gluon_trains_it(make):
    assert_same_as_alone(make, momentum=0.9)


def test_layers_that_are_frozen_stay_and_a_tied_weight_stays_one():
    net, pair = frozen(0), tied(0)
    before, last = net[0].weight.data().asnumpy(), net[-1].weight.data().asnumpy()
    train([net, pair], *examples(), lr=0.1, steps=3)
    np.testing.assert_array_equal(net[0].weight.data().asnumpy(), before)
    assert (net[-1].weight.data().asnumpy() != last).any()
    assert pair[0].weight is pair[1].weight


def test_convolutional_nets_take_images_and_language_models_a_class_for_each_token():
    images, y = np.random.default_rng(0).normal(size=(40, 1, 6, 6)), np.arange(40) % 4
    convolutional = of_blocks(nn.Conv2D(3, 3, activation="relu"), nn.MaxPool2D(), nn.Dense(4))
    losses = train([convolutional], images, y, lr=0.1, momentum=0.9, steps=60, batch_size=20)
    assert losses[:, -5:].mean() < losses[:, :5].mean()
    tokens, model = np.random.default_rng(0).integers(0, 5, (30, 7)), Branched()
    model.initialize(di.he_normal(seed=0))
    losses = train([model], tokens, tokens, lr=0.05, steps=80, batch_size=30, optimizer="adam")
    assert losses[0, -1] < losses[0, 0] / 2
    assert accuracy([model], tokens, tokens)[0] > 0.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nets_of_any_dtype_on_any_context_are_trained_there(dtype):
    X, y = examples()
    for block in (nn.Dense(4), nn.LayerNorm()):
        net = nn.HybridSequential()
        net.add(block, nn.Dense(4))
        net.cast(dtype)
        net.initialize(di.he_normal(seed=0), ctx=mx.cpu(1))
        losses = train([net], X, y, lr=0.1, steps=20)
        assert losses.dtype == np.dtype(dtype)
        assert losses[0, -1] < losses[0, 0]
        assert net[0].collect_params().list_ctx() == [mx.cpu(1)]


def test_nets_that_differ_are_trained_as_each_is_alone():
    X, y = examples()
    makes = [plain, frozen, lambda seed: plain(seed, "relu", widths=(3,)), plain]
    together = train([make(k) for k, make in enumerate(makes)], X, y, lr=0.1, steps=4)
    for k, make in enumerate(makes):
        np.testing.assert_array_equal(train([make(k)], X, y, lr=0.1, steps=4)[0], together[k])


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
    for cores in (1, 4):
        monkeypatch.setattr("d2l_init.threads.cores", lambda cores=cores: cores)
        again = train([plain(seed) for seed in range(5)], X, y, **settings)
        np.testing.assert_array_equal(together, again)
    np.testing.assert_array_equal(together[3:4], train([plain(3)], X, y, **settings))


def test_a_net_that_diverges_disturbs_no_other():
    X, y = examples()
    wild = [plain(seed, "relu", in_units=6) for seed in range(3)]
    for parameter in wild[1].collect_params(".*weight").values():
        parameter.set_data(parameter.data() * 1e200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
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


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_it_works_with_the_classic_arrays_too(activation):
    npx.reset_np()
    X, y = examples()
    net = plain(0, activation)
    losses = train([net], X, y, lr=0.1, steps=30)
    assert losses[:, -5:].mean() < losses[:, :5].mean()
    ours = (net(mx.nd.array(X, dtype="float64")).argmax(1).asnumpy() == y).mean()
    assert accuracy([net], X, y)[0] == ours


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
        ({"nets": [empty()]}, "nets must have parameters, .*got HybridSequential"),
        (
            {"X": np.ones((90, 5))},
            r"X must be examples that (.|\n)* takes, got some of shape \(5,\)",
        ),
        ({"X": np.ones(90)}, r"X must be examples that (.|\n)* takes, got some of shape \(\)"),
        ({"y": np.ones(89)}, "y must be 90 classes from 0 to 3, got"),
        ({"y": np.full(90, 4)}, "y must be 90 classes from 0 to 3, got"),
        ({"y": np.full(90, 0.5)}, "y must be 90 classes from 0 to 3, got"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_bad_argument_is_named_with_its_rule_and_value(change, message):
    X, y = examples()
    arguments = {"nets": [plain(0, in_units=6)], "X": X, "y": y, "lr": 0.1, "steps": 1, **change}
    with pytest.raises(ValueError, match=message):
        train(arguments.pop("nets"), arguments.pop("X"), arguments.pop("y"), **arguments)
