"""No false alarms: on nets that start as theory asks, ``diagnose`` finds nothing."""

from functools import partial as of

import mxnet as mx
import numpy as np
import pytest
from d2l import mxnet as d2l
from mxnet import gluon, init
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision

import d2l_init as di

pytestmark = pytest.mark.filterwarnings("ignore:.* is already initialized")
SOFTMAX = gluon.loss.SoftmaxCrossEntropyLoss
GELU = di.VarianceScaling(2.35)
MLPS = [  # activation, rule, depths, width
    ("tanh", di.lecun_normal(), (2, 5, 10, 20, 50), 64),
    ("tanh", di.VarianceScaling((5 / 3) ** 2), (2, 5, 10), 64),
    ("relu", di.he_normal(), (2, 5, 10, 20, 50), 64),
    ("relu", di.HaarOrthogonal(2**0.5), (20, 50), 32),
    ("selu", di.lecun_normal(), (2, 5, 10, 20, 50), 64),
    ("gelu", GELU, (2, 5, 10), 64),
    ("gelu", GELU, (20,), 256),
]
PLAIN = [(a, rule, depth, width) for a, rule, depths, width in MLPS for depth in depths]


def mlp(activation, depth, width, classes=10):
    net = nn.HybridSequential()
    for _ in range(depth - 1):
        blocks = {"selu": nn.SELU, "gelu": nn.GELU}
        act = blocks[activation]() if activation in blocks else nn.Activation(activation)
        net.add(nn.Dense(width), act)
    net.add(nn.Dense(classes))
    return net


def healthy(net, X, y, loss=None, **kwargs):
    found = di.diagnose(net, X, y, loss or SOFTMAX(), **kwargs)
    assert found.ok, found
    assert repr(found).startswith("Nothing found. Looked at: ")


@pytest.mark.usefixtures("numpy_semantics")
@pytest.mark.parametrize(("activation", "rule", "depth", "width"), PLAIN, ids=str)
def test_plain_nets_at_the_right_gain(activation, rule, depth, width):
    for seed in range(5):
        mx.random.seed(seed)
        batch = (8, 64, 512)[seed % 3]
        X = mx.np.random.normal(size=(batch, 64))
        y = mx.np.random.randint(0, 10, batch)
        net = mlp(activation, depth, width)
        net.initialize(rule)
        healthy(net, X, y, lr=0.01)


SMALL = {
    "vgg_bn": of(vision.VGG, [1, 1, 2, 2, 2], [16, 32, 64, 64, 64], batch_norm=True),
    "densenet": of(vision.DenseNet, 16, 8, [2, 3, 4, 2]),
}
ZOO = {"resnet18_v1": 32, "resnet18_v2": 32, "resnet50_v1": 64, "resnet50_v2": 64, "vgg_bn": 32,
       "mobilenet0_25": 32, "mobilenet_v2_0_25": 32, "densenet": 224, "squeezenet1_0": 224,
       "squeezenet1_1": 224}  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
def test_the_model_zoo_by_hes_rule(name):
    for seed in range(1 if "50" in name or ZOO[name] > 100 else 5):
        mx.random.seed(seed)
        net = (SMALL.get(name) or getattr(vision, name))(classes=10)
        net.initialize()
        batch = 4 if ZOO[name] == 224 else 16
        X = mx.nd.random.normal(shape=(batch, 3, ZOO[name], ZOO[name]))
        net(X)
        for p in net.collect_params(".*weight").values():
            p.initialize(di.he_normal(), force_reinit=True)
        healthy(net, X, mx.nd.array(np.arange(batch) % 10))


def lenet(activation):
    net = nn.Sequential()
    net.add(
        nn.Conv2D(6, 5, padding=2, activation=activation), nn.AvgPool2D(2, 2),
        nn.Conv2D(16, 5, activation=activation), nn.AvgPool2D(2, 2),
        nn.Dense(120, activation=activation), nn.Dense(84, activation=activation), nn.Dense(10),
    )  # fmt: skip
    return net


@pytest.mark.usefixtures("numpy_semantics")
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_books_lenet(activation):
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    X = mx.np.array(images[:128].reshape(-1, 1, 8, 8).repeat(4, 2).repeat(4, 3)[:, :, 2:30, 2:30])
    X = X.astype("float32")
    for seed in range(5):
        mx.random.seed(seed)
        net = lenet(activation)
        net.initialize(init.Xavier() if activation != "relu" else di.he_normal())
        healthy(net, (X - X.mean()) / X.std(), mx.np.array(classes[:128]), lr=0.01)


class Classifier(nn.Block):
    """Classes of sequences: a linear layer on what an encoder makes of the first token."""

    def __init__(self, encoder, *inputs):
        super().__init__()
        self.encoder, self.inputs, self.dense = encoder, inputs, nn.Dense(4)

    def forward(self, words):
        return self.dense(self.encoder(words, *self.inputs)[:, 0])


@pytest.mark.usefixtures("numpy_semantics")
@pytest.mark.parametrize("kind", ["transformer", "bert", "lstm"])
def test_the_books_encoders(kind):
    for seed in range(5):
        mx.random.seed(seed)
        words = mx.np.random.randint(0, 50, (16, 12))
        if kind == "transformer":
            net = Classifier(d2l.TransformerEncoder(50, 32, 64, 4, 3, 0.1), None)
        elif kind == "bert":
            net = Classifier(d2l.BERTEncoder(50, 32, 64, 4, 2, 0.1), words % 2, None)
        else:
            net = nn.Sequential()
            net.add(nn.Embedding(50, 32), gluon.rnn.LSTM(32, 2, "NTC", dropout=0.5), nn.Dense(4))
        net.initialize(init.Xavier())
        if kind == "bert":  # as the book: positions are drawn, the rest by Xavier
            assert net.encoder.pos_embedding.data().shape[2] == 32
        healthy(net, words, mx.np.random.randint(0, 4, 16))


@pytest.mark.usefixtures("numpy_semantics")
@pytest.mark.parametrize("depth", [3, 30])
def test_a_trained_net(depth):
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = ((X - X.mean(0)) / X.std()).astype("float32")
    nets = []
    for seed in range(3):
        net = mlp("relu", depth, 64)
        net.initialize(di.he_normal(seed=seed))
        nets.append(net)
    di.train(nets, X, y, lr=0.02, steps=300)
    for net in nets:
        healthy(net, mx.np.array(X[:256]), mx.np.array(y[:256]), lr=0.02)


class Residual(nn.Block):
    """Adds a branch to its input, with or without a norm in front of it."""

    def __init__(self, width, norm):
        super().__init__()
        self.norm = nn.LayerNorm() if norm else nn.Lambda(lambda x: x)
        self.first, self.last = nn.Dense(4 * width, flatten=False), nn.Dense(width, flatten=False)

    def forward(self, x):
        return x + self.last(mx.npx.relu(self.first(self.norm(x))))


@pytest.mark.usefixtures("numpy_semantics")
@pytest.mark.parametrize(("scale", "norm"), [(0, False), (32**-0.5, False), (1, True), (0, True)])
def test_residual_nets_with_factors(scale, norm):
    for seed in range(5):
        mx.random.seed(seed)
        net, X = nn.Sequential(), mx.np.random.normal(size=(32, 64))
        net.add(
            nn.Dense(64), *(Residual(64, norm) for _ in range(32)), nn.LayerNorm(), nn.Dense(10)
        )
        net.initialize(di.lecun_normal())
        net(X)
        for block in list(net)[1:-2]:
            block.last.weight.set_data(block.last.weight.data() * scale * 2**0.5)
        healthy(net, X, mx.np.random.randint(0, 10, 32), lr=0.01)


def zero_head(net):
    net[-1].weight.set_data(net[-1].weight.data() * 0)


def frozen(net):
    net[0].collect_params().setattr("grad_req", "null")


def tied(net):
    net._children["4"] = nn.Dense(64, params=net[2].params)


@pytest.mark.usefixtures("numpy_semantics")
@pytest.mark.parametrize("change", [zero_head, frozen, tied])
def test_what_a_reader_meant(change):
    for seed in range(5):
        mx.random.seed(seed)
        net, X = mlp("relu", 6, 64), mx.np.random.normal(size=(64, 64))
        net.initialize(di.he_normal())
        net(X)
        change(net)
        healthy(net, X, mx.np.random.randint(0, 10, 64), lr=0.01)
