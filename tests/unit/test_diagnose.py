"""Planted faults: ``diagnose`` names the right one first, at the right block, and cures it."""

import re

import mxnet as mx
import numpy
import pytest
from d2l import mxnet as d2l
from mxnet import gluon, init, np
from mxnet.gluon import nn

import d2l_init
import d2l_init as di

SOFTMAX = gluon.loss.SoftmaxCrossEntropyLoss()


def mlp(activation="relu", depth=8, width=64, rule=None):
    net = nn.HybridSequential()
    for k in range(1, depth):
        net.add(nn.Dense(width, prefix=f"l{k}_"), nn.Activation(activation, prefix=f"a{k}_"))
    net.add(nn.Dense(10, prefix="out_"))
    net.initialize(rule or (di.he_normal() if activation == "relu" else di.lecun_normal()))
    return net, np.random.normal(size=(64, 64)), np.random.randint(0, 10, 64)


def cnn(rule=None, norm=False):
    net = nn.HybridSequential()
    for k in range(1, 6):
        net.add(nn.Conv2D(16, 3, padding=1, prefix=f"c{k}_"))
        if norm:
            net.add(nn.BatchNorm(prefix=f"bn{k}_"))
        net.add(nn.Activation("relu", prefix=f"a{k}_"))
    net.add(nn.MaxPool2D(2, 2), nn.Dense(10, prefix="out_"))
    net.initialize(rule or di.he_normal())
    return net, np.random.normal(size=(64, 3, 8, 8)), np.random.randint(0, 10, 64)


class Residual(nn.HybridBlock):
    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.first = nn.Dense(width, prefix="first_")
            self.last = nn.Dense(width, prefix="last_")

    def hybrid_forward(self, F, x):
        return x + self.last(F.npx.relu(self.first(x)))


def residual(scale, depth=16):
    net = nn.HybridSequential()
    net.add(nn.Dense(64, prefix="stem_"))
    for k in range(1, depth + 1):
        net.add(Residual(64, prefix=f"b{k}_"))
    net.add(nn.Dense(10, prefix="out_"))
    net.initialize(di.lecun_normal())
    X = np.random.normal(size=(64, 64))
    net(X)
    for p in net.collect_params(".*last_weight").values():
        p.set_data(p.data() * 2**0.5 * scale)
    return net, X, np.random.randint(0, 10, 64)


class Classifier(nn.Block):
    def __init__(self, encoder, words):
        super().__init__()
        self.encoder, self.words = encoder, words
        self.dense = nn.Dense(4, prefix="out_")

    def forward(self, words):
        out = self.encoder(words, None) if self.words else self.encoder(words)
        return self.dense(out[:, 0] if self.words else out[:, -1])


def transformer():
    net = Classifier(d2l.TransformerEncoder(50, 32, 64, 4, 3, 0.1), True)
    net.initialize(init.Xavier())
    return net, np.random.randint(0, 50, (24, 6)), np.random.randint(0, 4, 24)


def lstm(layers=2):
    net = Classifier(gluon.rnn.LSTM(32, layers, "NTC", prefix="lstm_"), False)
    net.initialize(init.Xavier())
    return net, np.random.normal(size=(24, 6, 16)), np.random.randint(0, 4, 24)


def changed(case, name, change):
    """The case with one parameter's values changed."""
    net, X, *_ = case
    net(X)
    p = net.collect_params()[name]
    p.set_data(change(p.data()))
    return case


def fill(value):
    return lambda w: np.full(w.shape, value)


def given(case, X=None, y=None):
    net, old, classes = case
    return net, old if X is None else X(old), classes if y is None else y(classes)


class Cut(nn.Block):
    def forward(self, x):
        return x.detach()


def cut_behind(place):
    net, *data = mlp(depth=6)
    blocks = list(net._children.values())
    new = nn.Sequential()
    new.add(*blocks[:place], Cut(), *blocks[place:])
    return new, *data


def one_answer(case, layer="l1"):
    changed(case, f"{layer}_bias", lambda b: np.random.normal(size=b.shape) * 2)
    return changed(case, f"{layer}_weight", lambda w: w * 0.01)


class Unused(nn.Block):
    def __init__(self, net):
        super().__init__()
        self.net, self.spare = net, nn.Dense(8, in_units=8, prefix="spare_")
        self.spare.initialize()

    def forward(self, x):
        return self.net(x)


def unused(case):
    net, *data = case
    return Unused(net), *data


def head(case, std):
    net, *data = case
    net.collect_params("out_weight").initialize(init.Normal(std), force_reinit=True)
    return net, *data


def own(std, names=("l2", "l4")):
    net = nn.HybridSequential()
    for k in range(1, 7):
        special = {"weight_initializer": init.Normal(std)} if f"l{k}" in names else {}
        net.add(nn.Dense(64, prefix=f"l{k}_", activation="relu", **special))
    net.add(nn.Dense(10, prefix="out_"))
    net.initialize(di.he_normal())
    return net, np.random.normal(size=(64, 64)), np.random.randint(0, 10, 64)


def rare(case):
    return given(head(case, 0.01), y=lambda y: np.array((numpy.arange(len(y)) % 16 == 0) * 1))


BIG, TINY = (lambda w: w * 300), (lambda w: w * 1e-4)  # noqa: E731
NAN = float("nan")
FAULTS = {  # fault, block, lr, how to plant it
    "a NaN, MLP": ("nonfinite", "l3_", None, lambda: changed(mlp(), "l3_weight", fill(NAN))),
    "an inf, CNN": ("nonfinite", "c4_", None, lambda: changed(cnn(), "c4_weight", fill(NAN))),
    "a NaN, LSTM": (
        "nonfinite", "lstm_", None, lambda: changed(lstm(), "lstm_l0_i2h_weight", fill(NAN))),
    "a NaN in X": ("nonfinite", "X", None, lambda: given(mlp(), lambda X: X * np.array(
        [[NAN] + [1.0] * 63]))),
    "overflow, MLP": ("nonfinite", "l2[5-8]", None, lambda: mlp(depth=40, rule=init.Normal(5))),
    "pixels, MLP": ("inputs", "X", None, lambda: given(mlp(), lambda X: 128 + 64 * X)),
    "pixels, CNN": ("inputs", "X", None, lambda: given(cnn(), lambda X: 255 * np.abs(X))),
    "tiny, LSTM": ("inputs", "X", None, lambda: given(lstm(), lambda X: X * 1e-4)),
    "constant X": ("inputs", "X", None, lambda: given(mlp(), lambda X: X * 0 + 1)),
    "constant, MLP": ("symmetry", "l1_", None, lambda: mlp(rule=init.Constant(0.02))),
    "zero, CNN": ("symmetry", "c1_", None, lambda: cnn(init.Zero())),
    "zero, tanh": ("symmetry", "l1_", None, lambda: mlp("tanh", 3, rule=init.Zero())),
    "constant, LSTM": ("symmetry", "lstm_", None, lambda: (
        lambda case: (case[0].initialize(init.Constant(0.1), force_reinit=True), case)[1])(lstm(1))),
    "bias, MLP": ("dead units", "l4_", None, lambda: changed(mlp(), "l4_bias", fill(-9))),
    "bias, CNN": ("dead units", "c3_", None, lambda: changed(cnn(), "c3_bias", fill(-9))),
    "own, small": ("initializer not used", "l2_", None, lambda: own(0.001)),
    "own, one": ("initializer not used", "l5_", None, lambda: own(30, ("l5",))),
    "stream": ("residual growth", "b1_", None, lambda: residual(1)),
    "long stream": ("residual growth", "b1_", None, lambda: residual(1, 32)),
    "N(0, 1), tanh": ("saturated", "l1_", None, lambda: mlp("tanh", 20, rule=init.Normal(1))),
    "one layer, tanh": (
        "saturated", "l5_", None, lambda: changed(mlp("tanh"), "l5_weight", lambda w: w * 9)),
    "default, MLP": ("signal vanishes", "l1_", None, lambda: mlp(depth=20, rule=init.Uniform())),
    "default, tanh": ("signal vanishes", "l1_", None, lambda: mlp("tanh", 12, rule=init.Uniform())),
    "one layer, MLP": (
        "signal vanishes", "l6_", None, lambda: changed(mlp(depth=10), "l6_weight", TINY)),
    "one layer, CNN": ("signal vanishes", "c3_", None, lambda: changed(cnn(), "c3_weight", TINY)),
    "one layer, norm": (
        "signal vanishes", "c3_", None, lambda: changed(cnn(norm=True), "c3_weight", TINY)),
    "small, CNN": ("signal vanishes", "c1_", None, lambda: cnn(init.Normal(0.01))),
    "small, LSTM": (
        "signal vanishes", "lstm_", None,
        lambda: changed(lstm(), "lstm_l0_i2h_weight", lambda w: w * 1e-4)),
    "large, MLP": ("signal explodes", "l1_", None, lambda: mlp(rule=init.Normal(0.5))),
    "one large, MLP": (
        "signal explodes", "l7_", None, lambda: changed(mlp(depth=12), "l7_weight", BIG)),
    "one large, CNN": ("signal explodes", "c2_", None, lambda: changed(cnn(), "c2_weight", BIG)),
    "sigmoid": ("gradient vanishes", "l10_", None, lambda: mlp("sigmoid", 12)),
    "chaos": (
        "gradient explodes", r"l4\d", None,
        lambda: mlp("tanh", 50, rule=di.VarianceScaling(4.0))),
    "a cut, MLP": ("no gradient", "l2_", None, lambda: cut_behind(4)),
    "a cut, deeper": ("no gradient", "l4_", None, lambda: cut_behind(8)),
    "biases, MLP": ("inputs merged", "l1_", None, lambda: one_answer(mlp(depth=4))),
    "biases, CNN": ("inputs merged", "c1_", None, lambda: one_answer(cnn(), "c1")),
    "head, MLP": ("loss at start", "out_", None, lambda: head(mlp(depth=3), 3)),
    "head, Transformer": ("loss at start", "out_", None, lambda: head(transformer(), 4)),
    "head, LSTM": ("loss at start", "out_", None, lambda: head(lstm(1), 100)),
    "rare, MLP": ("output bias", "out_", None, lambda: rare(mlp())),
    "rare, CNN": ("output bias", "out_", None, lambda: rare(cnn())),
    "rare, Transformer": ("output bias", "out_", None, lambda: rare(transformer())),
    "lr, MLP": ("update size", None, 100.0, lambda: mlp(depth=4)),
    "lr, CNN": ("update size", None, 1e-9, cnn),
    "lr, Transformer": ("update size", None, 1000.0, transformer),
    "spare, MLP": ("never called", "spare_", None, lambda: unused(mlp())),
    "spare, Transformer": ("never called", "spare_", None, lambda: unused(transformer())),
}  # fmt: skip


@pytest.mark.usefixtures("numpy_semantics")
@pytest.mark.parametrize("name", FAULTS)
def test_the_right_fault_at_the_right_block_and_its_cure(name):
    fault, block, lr, plant = FAULTS[name]
    for seed in range(3):
        mx.random.seed(seed)
        net, X, y = plant()
        found = di.diagnose(net, X, y, SOFTMAX, lr=lr)
        assert not found.ok
        first = found.findings[0]
        assert first.fault == fault, found
        assert block is None or re.fullmatch(f"{block.rstrip('_')}_?", first.where), found
        scope = {"net": net, "X": X, "y": y, "loss": SOFTMAX, "lr": lr, "np": np,
                 "d2l_init": d2l_init}  # fmt: skip
        exec(first.cure, scope)
        after = di.diagnose(*(scope[k] for k in ("net", "X", "y", "loss")), lr=scope["lr"])
        assert after.ok, f"{found}\n\n{after}"
