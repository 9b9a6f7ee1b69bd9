"""Planted faults: ``diagnose`` names the right one first, at the right block, and cures it."""

import base64
import json
import re
from pathlib import Path

import mxnet as mx
import numpy
import pytest
from d2l import mxnet as d2l
from mxnet import gluon, init, np
from mxnet.gluon import nn

import d2l_init
import d2l_init as di
from d2l_init.base import leaf
from d2l_init.lab import diagnosis

pytestmark = pytest.mark.filterwarnings("ignore:.* is already initialized")
ROOT = Path(__file__).parents[2]

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


def lstm(layers=2, rule=None):
    net = Classifier(gluon.rnn.LSTM(32, layers, "NTC", prefix="lstm_"), False)
    net.initialize(rule or init.Xavier())
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


BIG, TINY = (lambda w: w * 300), (lambda w: w * 1e-4)
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
    "constant, LSTM": ("symmetry", "lstm_", None, lambda: lstm(1, init.Constant(0.1))),
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
    for seed in range(5):
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


def test_every_fault_was_planted_and_every_section_exists():
    assert {fault for fault, *_ in FAULTS.values()} == set(diagnosis.FAULTS)
    for fault in diagnosis.FAULTS:
        why = diagnosis.Finding(fault, "", "", "").why
        chapter, section = re.fullmatch(r'chapter (\d\d), "(.*)"', why).groups()
        (notebook,) = (ROOT / "notebooks").glob(f"{chapter}-*.ipynb")
        sources = ("".join(cell["source"]) for cell in json.loads(notebook.read_text())["cells"])
        assert any(re.search(rf"^#+ {re.escape(section)}$", one, re.M) for one in sources), why


def state(net):
    """All that a measurement must leave as it is."""
    every = {}
    for p in net.collect_params().values():
        gradient = p._grad[0].asnumpy().tobytes() if p.grad_req != "null" else None
        every[p.name] = leaf(p).asnumpy().tobytes(), gradient, leaf(p)._fresh_grad, p.grad_req
    net.apply(lambda b: every.update({b: sorted(map(str, vars(b).items()))}))
    return every


@pytest.mark.usefixtures("numpy_semantics")
@pytest.mark.parametrize("hybrid", [False, True])
def test_nothing_of_the_net_is_changed_and_no_random_number_is_taken(hybrid):
    net, X, y = cnn(norm=True)
    net.add(nn.Dropout(0.5), nn.Dense(10, prefix="last_"))
    net.initialize(force_reinit=False)
    if hybrid:
        net.hybridize()
    with mx.autograd.record():
        SOFTMAX(net(X), y).mean().backward()
    mx.random.seed(3)
    expected = np.random.normal(size=4).asnumpy()
    mx.random.seed(3)
    before = state(net)
    first = di.diagnose(net, X, y, SOFTMAX, lr=0.01)
    assert state(net) == before
    assert (np.random.normal(size=4).asnumpy() == expected).all()
    assert repr(first) == repr(di.diagnose(net, X, y, SOFTMAX, lr=0.01))


@pytest.mark.usefixtures("numpy_semantics")
def test_a_net_that_cannot_be_judged_gets_a_sentence():
    net, X, y = mlp()
    with pytest.raises(ValueError, match="net must have parameters, got none in"):
        di.diagnose(nn.Flatten(), X)
    with pytest.raises(ValueError, match=r"net must be initialized \(net.initialize\(\)\)"):
        di.diagnose(nn.Dense(3), X)
    with pytest.raises(ValueError, match="net must be a Gluon block, got function"):
        di.diagnose(lambda x: x, X)
    with pytest.raises(ValueError, match="y and loss must be given together, got y without loss"):
        di.diagnose(net, X, y)
    with pytest.raises(ValueError, match="loss must return one number or one for each"):
        di.diagnose(net, X, y, lambda out, y: out)
    with pytest.raises(ValueError, match="lr must be a positive number, got -1"):
        di.diagnose(net, X, y, SOFTMAX, lr=-1)
    custom = di.diagnose(net, X, y, lambda out, y: (out**2).mean())
    assert custom.ok
    assert custom.remarks[0].startswith("The loss isn't the softmax cross-entropy")
    assert "No gradients without a loss" in repr(di.diagnose(net, X))


@pytest.mark.usefixtures("numpy_semantics")
def test_without_a_loss_signals_are_judged():
    for name, (fault, *_, plant) in FAULTS.items():
        if fault in ("dead units", "saturated", "signal vanishes", "signal explodes", "inputs"):
            mx.random.seed(1)
            net, X, _ = plant()
            assert di.diagnose(net, X).findings[0].fault == fault, name


@pytest.mark.usefixtures("numpy_semantics")
def test_a_sigmoid_net_of_the_book_loses_its_gradient():
    net = nn.Sequential()
    for units in (120, 84, 84, 84):
        net.add(nn.Dense(units, activation="sigmoid"))
    net.add(nn.Dense(10))
    net.initialize(init.Xavier())
    X, y = np.random.normal(size=(64, 400)), np.random.randint(0, 10, 64)
    assert di.diagnose(net, X, y, SOFTMAX).findings[0].fault == "gradient vanishes"


def test_cures_for_arrays_of_mx_nd():
    mx.random.seed(1)
    net = nn.HybridSequential()
    net.add(nn.Dense(32, activation="relu"), nn.Dense(4, prefix="out_"))
    data, classes = mx.nd.random.normal(shape=(64, 16)), mx.nd.arange(64) % 4
    spoilt = data * 100 + 7, mx.nd.where(data > 2, data * NAN, data), data * 0, data
    for k, X in enumerate([*spoilt, *([one] for one in spoilt)]):
        net.initialize(di.he_normal(), force_reinit=True)
        y = classes * (k % 4 < 3)
        found = di.diagnose(net, X, y, SOFTMAX)
        scope = {"net": net, "X": X, "d2l_init": di}
        exec(found.findings[0].cure, scope)
        assert di.diagnose(net, scope["X"], y, SOFTMAX).ok


class Scale(nn.Block):
    """MXNet multiplies no float16 matrices on a CPU."""

    def __init__(self, value):
        super().__init__(prefix="scale_")
        self.weight = self.params.get("weight", shape=(1, 8), init=init.Constant(value))

    def forward(self, x):
        return x * self.weight.data()


@pytest.mark.parametrize("value", [1, 6e4])
def test_float16_can_overflow(value):
    net = Scale(value)
    net.initialize()
    net.cast("float16")
    X = mx.nd.random.normal(shape=(32, 8), dtype="float16")
    found = di.diagnose(net, X)
    assert found.ok == (value == 1)
    if not found.ok:
        scope = {"net": net, "X": X}
        assert "more than float16 can hold" in found.findings[0].what
        exec(found.findings[0].cure, scope)
        assert di.diagnose(net, scope["X"]).findings[0].fault != "nonfinite"


@pytest.mark.usefixtures("numpy_semantics")
def test_a_diagnosis_is_shown_as_text_table_and_picture():
    mx.random.seed(1)
    found = di.diagnose(*mlp(depth=20, rule=init.Uniform()), SOFTMAX, lr=0.1)
    frame = found.to_frame()
    assert list(frame) == ["fault", "where", "what", "why", "cure"]
    assert len(frame) == len(found.findings) >= 1
    for words in (repr(found), found._repr_html_()):
        for one in found.findings:
            assert one.fault in words
            assert one.cure.replace("'", "") in words.replace("'", "").replace("&#x27;", "")
    html = found._repr_html_()
    picture = re.search(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)"/>', html)
    assert "signal vanishes at l1" in picture[1]
    assert base64.b64decode(picture[2]).startswith(b"\x89PNG")
    healthy = di.diagnose(*mlp(), SOFTMAX, lr=0.01)
    assert healthy.ok
    assert re.fullmatch(
        r"Nothing found. Looked at: 8 layers, a batch of 64, signals and gradients, the loss "
        r"\d\.\d+ \(log 10 is 2.3\), updates at lr = 0.01.", repr(healthy))  # fmt: skip
    assert list(healthy.to_frame()) == list(frame)
    assert "<table>" not in healthy._repr_html_()
