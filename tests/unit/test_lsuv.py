"""LSUV: every layer's pre-activations have variance 1, and nothing else has changed."""

import numpy as onp
import pytest
from mxnet import autograd, gluon, init, np, random
from mxnet.gluon import nn, rnn

import d2l_init

pytestmark = pytest.mark.usefixtures("numpy_semantics")


class Own(nn.HybridBlock):
    """A reader's activation, neither Gluon's nor one that keeps the variance."""

    def hybrid_forward(self, F, x):
        return F.np.where(x > 0, 3 * x, x / 5)


class Residual(nn.HybridBlock):
    def __init__(self, units, **names):
        super().__init__(**names)
        self.first, self.second = nn.Dense(units, activation="relu"), nn.Dense(units)

    def hybrid_forward(self, F, x):
        return x + self.second(self.first(x))


def mlp(activation, depth=8, width=64):
    net = nn.HybridSequential(prefix="net_")
    for _ in range(depth):
        net.add(nn.Dense(width))
        net.add(nn.Activation(activation) if isinstance(activation, str) else activation())
    net.add(nn.Dense(10))
    return net


def built_in(activation):
    net = nn.HybridSequential(prefix="net_")
    for _ in range(8):
        net.add(nn.Dense(64, activation=activation))
    return net


def conv(activation):
    net = nn.HybridSequential(prefix="net_")
    for channels in (8, 16, 16):
        net.add(nn.Conv2D(channels, 3, padding=1), activation())
    net.add(nn.Conv2D(16, 3, activation="tanh"), nn.MaxPool2D(), nn.Dense(10))
    return net


def residual(_):
    net = nn.HybridSequential(prefix="net_")
    net.add(nn.Dense(64))
    for _ in range(6):
        net.add(Residual(64))
    return net


def tanh():
    return nn.Activation("tanh")


def relu():
    return nn.Activation("relu")


NETS = {
    "mlp-tanh": (mlp, "tanh"),
    "mlp-relu": (mlp, "relu"),
    "mlp-own": (mlp, Own),
    "built-in-tanh": (built_in, "tanh"),
    "built-in-relu": (built_in, "relu"),
    "conv-tanh": (conv, tanh),
    "conv-relu": (conv, relu),
    "conv-own": (conv, Own),
    "residual": (residual, None),
}


def batch(net, dtype="float32", seed=1):
    shape = (32, 3, 12, 12) if any("conv" in name for name in net.collect_params()) else (128, 30)
    return np.array(onp.random.default_rng(seed).normal(size=shape), dtype=dtype)


def pre_activations(net, X):
    """Variance of what each layer computes before the activation built into it, by plain hooks."""
    found, built_in, hooks = {}, [], []

    def look(block):
        if getattr(block, "act", None) is not None:
            built_in.append((block, block.act))
        if "weight" in block._reg_params:
            keep = lambda block, _, out: found.setdefault(block.name, out)  # noqa: E731
            hooks.append((block.act if getattr(block, "act", None) else block, block, keep))

    net.apply(look)
    handles = []
    for watched, block, keep in hooks:
        if watched is block:
            handles.append(block.register_forward_hook(keep))
        else:  # what the activation is given
            take = lambda _, given, block=block: found.setdefault(block.name, given[0])  # noqa: E731
            handles.append(watched.register_forward_pre_hook(take))
    net(X)
    for handle in handles:
        handle.detach()
    return {name: float(onp.var(out.asnumpy().astype(float))) for name, out in found.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", NETS)
def test_each_layer_has_variance_one_after_one_sweep_of_few_steps(kind, dtype):
    random.seed(0)
    make, activation = NETS[kind]
    net = make(activation)
    net.cast(dtype)
    net.initialize(init.Normal(0.3) if dtype == "float32" else d2l_init.he_normal())
    X = batch(net, dtype)
    frame = d2l_init.lsuv(net, X, tol=0.05)
    seen = pre_activations(net, X)
    assert list(frame.index) == list(seen)  # in order of execution
    assert frame["variance"].tolist() == pytest.approx(list(seen.values()), rel=1e-4)
    assert (abs(frame["variance"] - 1) <= 0.05).all()
    # without biases one step gives 1 up to rounding
    assert frame["steps"].max() == 1
    scaled = frame[frame["steps"] == 1]
    assert (scaled["scale"] ** 2 * scaled["before"]).tolist() == pytest.approx([1] * len(scaled))


def test_weights_are_scaled_orthogonal_matrices():
    net = mlp("tanh")
    net.initialize()
    frame = d2l_init.lsuv(net, batch(net))
    for name, block in [(block.name, block) for block in net if isinstance(block, nn.Dense)]:
        w = block.weight.data().asnumpy() / frame["scale"][name]
        rows = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
        assert rows == pytest.approx(onp.eye(len(rows)), abs=1e-5)


def test_a_bias_needs_more_steps_and_stays_as_it_is():
    net = nn.Dense(64, in_units=30, bias_initializer=init.Normal(0.6), prefix="layer_")
    net.initialize()
    bias = net.bias.data().asnumpy()
    frame = d2l_init.lsuv(net, batch(net), tol=1e-3, max_iter=50)
    assert 1 < frame["steps"]["layer"] < 10
    assert frame["variance"]["layer"] == pytest.approx(1, abs=1e-3)
    assert (net.bias.data().asnumpy() == bias).all()


def test_the_sum_behind_a_residual_connection_grows_by_one_a_block():
    random.seed(3)
    net = residual(None)
    net.initialize()
    X = batch(net)
    d2l_init.lsuv(net, X, tol=0.01)
    frame = d2l_init.trace(net, X, containers=True).to_frame()
    stream = frame[frame["block"] == "Residual"]["std"] ** 2
    assert stream.tolist() == pytest.approx([2, 3, 4, 5, 6, 7], rel=0.2)


@pytest.mark.parametrize("hybridized", [False, True])
def test_nothing_else_changes(hybridized):
    net = nn.HybridSequential()
    net.add(nn.Dense(16, activation="relu"), nn.BatchNorm(), nn.Dropout(0.5), nn.Dense(4))
    net.initialize(init.Normal(1))
    X = batch(net)
    if hybridized:
        net.hybridize()
    net(X)
    blocks = [net, *net, net[0].act]
    attributes = [set(vars(block)) for block in blocks]
    kept = {k: p.data().asnumpy() for k, p in net.collect_params().items() if "weight" not in k}
    d2l_init.lsuv(net, X)
    assert all(not block._forward_hooks and not block._forward_pre_hooks for block in blocks)
    assert [set(vars(block)) for block in blocks] == attributes
    assert net[0].act is blocks[-1]
    assert net._active == hybridized
    for name, values in kept.items():
        assert (net.collect_params()[name].data().asnumpy() == values).all()
    with autograd.record():  # still trained
        net(X).sum().backward()
    assert net[0].weight.grad().asnumpy().any()


def test_deferred_shapes_are_settled_and_one_seed_gives_one_result():
    results = []
    for _ in range(2):
        random.seed(7)
        net = nn.Dense(5, prefix="layer_")
        net.initialize()
        d2l_init.lsuv(net, batch(net))
        results.append(net.weight.data().asnumpy())
    assert (results[0] == results[1]).all()


def test_frozen_and_recurrent_layers_are_left_alone():
    net = nn.Sequential()
    net.add(nn.Dense(16, prefix="body_"), nn.Dense(4, prefix="head_"))
    net.initialize()
    net[0].collect_params().setattr("grad_req", "null")
    X = batch(net)
    net(X)
    body = net[0].weight.data().asnumpy()
    assert list(d2l_init.lsuv(net, X).index) == ["head"]
    assert (net[0].weight.data().asnumpy() == body).all()
    mixed = nn.Sequential()
    mixed.add(rnn.LSTM(8), nn.Dense(3, flatten=False, prefix="head_"))
    mixed.initialize()
    X = np.array(onp.random.default_rng(0).normal(size=(5, 32, 4)), dtype="float32")
    assert list(d2l_init.lsuv(mixed, X).index) == ["head"]


class Twice(nn.Block):
    def __init__(self):
        super().__init__()
        self.layer = nn.Dense(30, in_units=30, prefix="layer_")

    def forward(self, x):
        return self.layer(self.layer(x))


def shared():
    first = nn.Dense(30, in_units=30, prefix="layer_")
    net = nn.Sequential()
    net.add(first, nn.Dense(30, in_units=30, params=first.params, prefix="again_"))
    return net


def narrow():
    net = nn.Sequential()
    net.add(nn.Dense(4), nn.Dense(4, bias_initializer=init.Normal(3)))
    return net


GOOD = onp.ones((4, 30)) * onp.arange(4)[:, None]
REFUSED = {
    "zeros": (lambda: mlp("relu"), GOOD * 0, {}, r"differ, got 0 everywhere from dense\d+$"),
    "empty": (lambda: mlp("relu"), GOOD[:0], {}, r"X must hold an example, got shape \(0, 30\)"),
    "nan": (lambda: mlp("relu"), GOOD * onp.nan, {}, r"finite outputs.*from dense\d+$"),
    "inf": (lambda: mlp("relu"), GOOD * 1e38 * 10, {}, r"finite outputs.*from dense\d+$"),
    "twice": (Twice, GOOD, {}, r"each layer once and share no weights, got \w*layer again"),
    "shared": (shared, GOOD, {}, r"each layer once and share no weights, got again again"),
    "biases": (narrow, GOOD, {}, r"max_iter must be enough .* after 10 steps"),
    "tol": (lambda: mlp("relu"), GOOD, {"tol": 0}, r"tol must be a positive number, got 0"),
    "max_iter": (lambda: mlp("relu"), GOOD, {"max_iter": 0}, r"max_iter must be a whole number"),
    "no array": (lambda: mlp("relu"), None, {}, r"X must be an MXNet array"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_answer_is_refused_and_leaves_the_weights(case):
    make, X, options, message = REFUSED[case]
    net = make()
    net.initialize(init.Normal(0.1))
    net(np.array(GOOD, dtype="float32"))  # settles the shapes
    parameters = net.collect_params()
    before = {name: p.data().asnumpy() for name, p in parameters.items()}
    with pytest.raises(ValueError, match=message):
        d2l_init.lsuv(net, None if X is None else np.array(X, dtype="float32"), **options)
    assert all((p.data().asnumpy() == before[name]).all() for name, p in parameters.items())
    assert all("forward" not in vars(block) for block in net._children.values())


def test_a_net_without_trained_layers_or_values_is_refused():
    norm = nn.BatchNorm()
    norm.initialize()
    with pytest.raises(ValueError, match="trained weights in a layer, got none"):
        d2l_init.lsuv(norm, np.ones((2, 3)))
    with pytest.raises(ValueError, match="must be initialized"):
        d2l_init.lsuv(nn.Dense(3), np.ones((2, 3)))
    with pytest.raises(ValueError, match="Gluon block, got int"):
        d2l_init.lsuv(3, np.ones((2, 3)))


def test_a_net_trains_from_there():
    """A deep plain tanh net, which its default start leaves at log 10."""
    X = np.array(onp.random.default_rng(0).normal(size=(512, 30)), dtype="float32")
    y = np.array((X[:, 0] > 0).asnumpy().astype(int))
    last = {}
    for name in ("default", "lsuv"):
        random.seed(0)
        net = mlp("tanh", depth=20, width=32)
        net.initialize()
        net(X[:1])
        if name == "lsuv":
            d2l_init.lsuv(net, X[:256])
        last[name] = d2l_init.train([net], X, y, lr=0.05, steps=100)[0, -10:].mean()
    assert last["lsuv"] < 0.3 < 0.6 < last["default"]


def test_several_inputs():
    class Both(gluon.Block):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Dense(8), nn.Dense(8)

        def forward(self, x, y):
            return self.a(x) + self.b(y)

    net = Both()
    net.initialize()
    X = np.array(onp.random.default_rng(0).normal(size=(64, 5)), dtype="float32")
    frame = d2l_init.lsuv(net, (X, 9 * X))
    assert frame["variance"].tolist() == pytest.approx([1, 1], abs=0.1)
