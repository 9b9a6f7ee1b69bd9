"""Every kind of net, through all of the package: Gluon's blocks, its model zoo, the book's classes.

The modes that are left out are those in which MXNet 1.9.1 itself fails, or its gradients are wrong.
"""

from functools import partial as of
from itertools import product

import mxnet as mx
import numpy as np
import pytest
from d2l import mxnet as d2l
from mxnet import autograd, gluon, npx
from mxnet.gluon import contrib, nn, rnn
from mxnet.gluon.model_zoo import vision

import d2l_init as di
from d2l_init.base import leaf

pytestmark = pytest.mark.filterwarnings("ignore:All children of this Sequential")
RANDOM = np.random.default_rng(0)
ND, NP = ("nd float32", "nd float64"), ("np float32", "np float64")
ALL, SINGLE, NP_SINGLE, ND_SINGLE = NP + ND, ("np float32", "nd float32"), NP[:1], ND[:1]
FLAT, IMAGE, SERIES, KEYS = (5, 4), (3, 3, 8, 8), (6, 3, 4), (3, 6, 8)
WORDS, LENGTHS = RANDOM.integers(0, 9, (3, 4)), np.array([2, 4, 3])
CASES = {}


def case(name, make, *inputs, modes=ALL, exact="float64"):
    arrays = [RANDOM.standard_normal(one) if isinstance(one, tuple) else one for one in inputs]
    drawn = modes[0]  # figures take longest
    CASES.update({(name, mode): (make, arrays, mode, mode == drawn, exact) for mode in modes})


class Calling(gluon.Block):
    """Calls a block in a way of its own."""

    def __init__(self, make, call):
        super().__init__()
        self.block, self.call = make(), call

    def forward(self, *inputs):
        return self.call(self.block, *inputs)


def steps(cell, x):
    cell.reset()
    return cell.unroll(4, x, layout="NTC", merge_outputs=True)[0]


def filled(kind, *makes):
    net = kind()
    for make in makes:
        net.add(make())
    return net


chain = of(filled, nn.Sequential)

# Gluon's layers: the gradient of what stands in front comes through them
head, dense = of(nn.Dense, 3), of(nn.Dense, 8, flatten=False)
convs = {n: of(getattr(nn, f"Conv{n}D"), 2 * 2**n, 3, padding=1) for n in (1, 2, 3)}
for n, shape in {1: (3, 3, 8), 2: IMAGE, 3: (2, 3, 4, 4, 4)}.items():
    for layer in (f"Conv{n}D", f"Conv{n}DTranspose"):
        few = {"modes": SINGLE, "exact": "float32"} if "3DT" in layer else {}
        block = of(getattr(nn, layer), 4, 3, activation="relu")
        case(layer, of(chain, block, head), shape, **few)
    for pool in (f"{a}{b}Pool{n}D" for a, b in product(("", "Global"), ("Max", "Avg"))):
        case(pool, of(chain, convs[n], getattr(nn, pool), head), shape)
    shuffle = of(getattr(contrib.nn, f"PixelShuffle{n}D"), 2)
    case(f"PixelShuffle{n}D", of(chain, convs[n], shuffle, head), shape, modes=ND)
for name, block, modes in [
    *((one.__name__, one, ALL) for one in (nn.BatchNorm, nn.LayerNorm, nn.Flatten, nn.PReLU)),
    ("BatchNormReLU", nn.BatchNormReLU, NP),  # test_gradients has the other mode
    ("InstanceNorm", nn.InstanceNorm, ND_SINGLE),
    ("SyncBatchNorm", of(contrib.nn.SyncBatchNorm, num_devices=1), ND_SINGLE),
    ("GroupNorm", of(nn.GroupNorm, 2), ND),
    ("ReflectionPad2D", of(nn.ReflectionPad2D, 1), ND),
    ("DeformableConvolution", of(contrib.cnn.DeformableConvolution, 4, (3, 3)), ND),
]:
    exact = "float32" if modes == ND_SINGLE else "float64"
    case(name, of(chain, convs[2], block, head), IMAGE, modes=modes, exact=exact)
for block in [
    *(nn.ELU, nn.SELU, nn.Swish, nn.GELU, contrib.nn.Identity, of(nn.LeakyReLU, 0.1)),
    *(of(nn.Activation, word) for word in ("relu", "sigmoid", "tanh", "softrelu", "softsign")),
    *(of(nn.Dropout, 0.5), of(nn.Lambda, lambda x: x * x), of(nn.HybridLambda, lambda F, x: x * x)),
]:
    case(repr(block()).strip(), of(chain, dense, block, head), FLAT)
case("Embedding", of(chain, of(nn.Embedding, 9, 4), head), WORDS)
case("sparse", of(chain, of(nn.Embedding, 9, 4, sparse_grad=True), head), WORDS, modes=ND)
for kind in (contrib.nn.Concurrent, contrib.nn.HybridConcurrent):
    case(kind.__name__, of(chain, dense, of(filled, kind, head, dense), head), FLAT, modes=ND)

# recurrent layers and cells
for kind, states in (("RNN", 1), ("LSTM", 2), ("GRU", 1)):
    layer, cell = getattr(rnn, kind), of(getattr(rnn, f"{kind}Cell"), 4)
    with_state = lambda block, x, *state: block(x, list(state))  # noqa: E731
    case(kind, of(layer, 5), SERIES)
    case(f"{kind} two-way", of(layer, 5, 1, layout="NTC", bidirectional=True), SERIES)
    inside = of(layer, 5, dropout=0.5, input_size=8)
    double = of(inside, num_layers=2, bidirectional=True)
    case(f"{kind} inside", of(chain, dense, inside, dense), SERIES)
    case(f"{kind} double", of(chain, dense, double, dense), SERIES, modes=SINGLE)
    case(f"{kind} state", of(Calling, of(layer, 5), with_state), SERIES, *[(1, 3, 5)] * states)
    for make in (
        cell,
        of(filled, rnn.SequentialRNNCell, cell, of(rnn.DropoutCell, 0.3), cell),
        of(filled, rnn.HybridSequentialRNNCell, cell, cell),
        lambda cell=cell: rnn.ZoneoutCell(cell(), 0.3, 0.3),
        lambda cell=cell: rnn.ResidualCell(cell()),
        lambda cell=cell: rnn.BidirectionalCell(cell(), cell()),
        lambda cell=cell: contrib.rnn.VariationalDropoutCell(cell(), 0.2, 0.2, 0.2),
    ):
        name = f"{type(make()).__name__} {kind}"
        case(name, of(Calling, make, steps), (3, 4, 4), modes=ND_SINGLE, exact="float32")
    for n in (1, 2, 3):
        name, size = f"Conv{n}D{kind}Cell", (5,) * n
        make = of(getattr(contrib.rnn, name), (3, *size), 2, 3, 3, i2h_pad=1)
        begin = [(2, 2, *size)] * states
        case(name, of(Calling, make, with_state), (2, 3, *size), *begin, modes=ND)
projected = of(Calling, of(contrib.rnn.LSTMPCell, 5, 3), with_state)
case("LSTMPCell", projected, (3, 4), (3, 3), (3, 5), modes=ND)


# the book's classes
class Decoder(d2l.Decoder):
    def __init__(self):
        super().__init__()
        self.embedding, self.rnn, self.dense = nn.Embedding(9, 4), d2l.GRU(5, 2), dense()

    def init_state(self, encoded, lengths):
        return encoded

    def forward(self, X, state):
        out, hidden = self.rnn(self.embedding(X).swapaxes(0, 1), state[1])
        return self.dense(out).swapaxes(0, 1), [state[0], hidden]


encoder, bert = of(d2l.Seq2SeqEncoder, 9, 4, 5, 2, 0.1), of(d2l.BERTModel, 9, 8, 12, 2, 2, 0.2, 10)
residuals = of(d2l.Residual, 6, True, 2), of(d2l.Residual, 6), of(d2l.ResNeXtBlock, 6, 3, 1, True)
case("LinearRegression", of(d2l.LinearRegression, 0.1), FLAT)
case("SoftmaxRegression", of(d2l.SoftmaxRegression, 3, 0.1), FLAT)
case("LeNet", d2l.LeNet, (2, 1, 28, 28))
case("Residual", of(chain, convs[2], of(nn.MaxPool2D, 3, 2, 1), *residuals, head), IMAGE, modes=NP)
case("d2l.RNN", of(d2l.RNN, 5), SERIES)
case("d2l.GRU", of(d2l.GRU, 5, 1), SERIES)
case("d2l.GRU double", of(d2l.GRU, 5, 2, 0.2), SERIES, modes=SINGLE)
case("RNNLM", lambda: d2l.RNNLM(d2l.RNN(5), 9), WORDS, modes=NP_SINGLE, exact="float32")
case("Seq2SeqEncoder", encoder, WORDS, modes=SINGLE)
translator = lambda: d2l.Seq2Seq(encoder(), Decoder(), 0, 0.1)  # noqa: E731
case("Seq2Seq", translator, WORDS, WORDS, LENGTHS, modes=NP_SINGLE)
case("AdditiveAttention", of(d2l.AdditiveAttention, 5, 0.1), KEYS, KEYS, KEYS, LENGTHS, modes=NP)
case("MultiHead", of(d2l.MultiHeadAttention, 8, 2, 0.5), KEYS, KEYS, KEYS, LENGTHS, modes=NP)
case("PositionalEncoding", of(chain, dense, of(d2l.PositionalEncoding, 8, 0)), KEYS, modes=NP)
case("PositionWiseFFN", of(d2l.PositionWiseFFN, 4, 8), KEYS)
transformer = of(d2l.TransformerEncoder, 9, 8, 12, 2, 2, 0.5)
case("TransformerEncoder", transformer, WORDS, LENGTHS, modes=NP)
case("BERTModel", bert, WORDS, WORDS % 2, LENGTHS, np.array([[1, 3]] * 3), modes=NP)
case("BERTModel without positions", bert, WORDS, WORDS % 2, LENGTHS, modes=NP)

# the model zoo; its smallest nets of two families are large
SMALL = {"vgg": of(vision.VGG, [1, 1], [4, 8]), "densenet": of(vision.DenseNet, 8, 4, [2] * 4)}
NAMES = {8: "vgg", 63: "alexnet", 224: "squeezenet1_1 densenet", 299: "inception_v3",
         32: "resnet18_v1 resnet18_v2 mobilenet0_25 mobilenet_v2_0_25"}  # fmt: skip
for size, names in NAMES.items():
    for name in names.split():
        make = of(SMALL.get(name) or getattr(vision, name), classes=5)
        case(name, make, (1 + (size < 200), 3, size, size), modes=ND_SINGLE)


def first(out):
    return first(out[0]) if isinstance(out, (tuple, list)) else out


def cube(out, y):
    return (first(out) * first(out) * first(out)).mean()


def state(net):
    """All that a measurement must leave as it is."""
    every = {}
    for p in net.collect_params().values():
        if p._data is not None:
            gradient = p._grad[0].asnumpy().tobytes() if p.grad_req != "null" else None
            every[p.name] = leaf(p).asnumpy().tobytes(), gradient, leaf(p)._fresh_grad
    net.apply(lambda b: every.update({b: (getattr(b, "_active", 0), getattr(b, "_cached_op", 0))}))
    return every


def gradients(net, inputs, exact):
    """Plain Gluon's in predict mode, which are right in float64 where the input has one."""
    net.hybridize(False)
    net.cast(exact)
    net.apply(lambda b: vars(b).update(_dropout=0) if hasattr(b, "_dropout") else None)
    floats = {id(x): x.astype(exact) for x in inputs if x.dtype != np.int32}
    for x in floats.values():
        x.attach_grad()
    with autograd.record(train_mode=False):
        value = cube(net(*(floats.get(id(x), x) for x in inputs)), None)
    value.backward(train_mode=False)
    found = {}
    net.apply(lambda b: found.update({b.name: [
        p._grad[0].asnumpy().astype(float).ravel() for p in b.params.values()
        if p._data is not None and p.grad_req != "null" and len(p.shape) > 1]}))  # fmt: skip
    return {name: np.concatenate(some).std() for name, some in found.items() if some}


@pytest.mark.parametrize(
    ("make", "arrays", "mode", "drawn", "exact"), CASES.values(), ids=map(" ".join, CASES)
)
def test_it_passes_through_the_whole_package(make, arrays, mode, drawn, exact):
    semantics, dtype = mode.split()
    array = (npx.set_np(), mx.np.array)[1] if semantics == "np" else mx.nd.array
    kinds = [dtype if x.dtype.kind == "f" else "int32" for x in arrays]
    inputs = tuple(array(x, dtype=kind) for x, kind in zip(arrays, kinds, strict=True))
    net, init = make(), di.he_normal(seed=3)
    net.cast(dtype)
    net.initialize(init, force_reinit=True)
    if dtype == "float32":
        net.hybridize()
    given = net, inputs, inputs[0], cube
    predicted = di.trace(*given, bins=20)
    out = first(net(*inputs)).asnumpy().astype(float)
    for p in net.collect_params().values():
        if p._data is not None and p.grad_req != "null" and p._grad_stype == "default":
            p._grad[0][:] = 3
    before = state(net)
    assert np.isfinite(di.trace(*given, training=True, bins=20).loss)
    again, whole = di.trace(*given, bins=20), di.trace(*given, containers=True)
    assert state(net) == before
    near = {"rel": 1e-9 if dtype == "float64" else 1e-3}
    assert [*map(repr, predicted.rows)] == [*map(repr, again.rows)]
    last = whole.rows[-1]
    assert last["mean_square"] == pytest.approx((out**2).mean(), **near)
    assert last["grad_mean_square"] == pytest.approx(9 * (out**4).mean() / out.size**2, **near)
    for p in net.collect_params().values():
        if p._data is not None:
            low, high = di.law(p.init or init, p.shape).support
            values = leaf(p).asnumpy()
            assert low - 1e-6 <= values.min() <= values.max() <= high + 1e-6
    if drawn:
        words = di.caption(di.plot_weights(net, init))
        assert len(words) < 1000
        assert "not fit its law" not in words
        assert di.caption(di.plot_signals(again))
        assert di.caption(di.plot_layer_histograms(again))
    expected = gradients(net, inputs, exact)
    rows = {row["name"]: row["weight_grad_std"] for row in again.rows if row["weights"]}
    assert rows == pytest.approx({name: expected[name] for name in rows}, **near)
