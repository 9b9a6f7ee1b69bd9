"""Exercises of chapters 05 to 09: other right answers, and what mistakes in code lead to."""

import base64
from pathlib import Path

import nbformat
import numpy
import pytest
from mxnet import gluon, init, np, npx
from mxnet.gluon import nn
from unit import chapters

import d2l_init

pytestmark = pytest.mark.usefixtures("numpy_semantics")
FOLDER = Path(__file__).parents[3] / "notebooks" / "exercises"
LOSS = gluon.loss.SoftmaxCrossEntropyLoss()


def defined(number, folder=FOLDER / "solutions"):
    """Functions and data of an exercise, as solved or as students get it."""
    (path,) = folder.glob(f"{number}-*.ipynb")
    return chapters.definitions(path, {"ctx", "digits", "X", "y", "loss"})


@pytest.fixture(scope="module")
def solved():
    known = {}
    return lambda number: known.setdefault(number, defined(number))


class Own(init.Initializer):
    """A student's own class: whatever ``std`` makes of a shape, times what ``draw`` gives."""

    def __init__(self, std, draw=np.random.normal):
        super().__init__()
        self.std, self.draw = std, draw

    def _init_weight(self, name, data):
        data[:] = self.std(data.shape) * self.draw(size=data.shape)


def fan_in(shape):
    return int(numpy.prod(shape[1:]))


def root(scale, fan=fan_in):
    return lambda shape: (scale / fan(shape)) ** 0.5


def flat(size):
    return np.random.uniform(-(3**0.5), 3**0.5, size)


def leaky(slope):
    gain = d2l_init.gain(lambda z: numpy.where(z > 0, z, slope * z))
    return d2l_init.VarianceScaling(gain**2, distribution="normal")


def edge(sigma_b):
    return Own(root(d2l_init.critical_sigma_w("tanh", sigma_b) ** 2))


def by_pattern(net):
    head = net.collect_params("head.*|output.*")
    head.initialize(d2l_init.TruncatedNormal(0.01), force_reinit=True)


def by_value(net):
    net[1].weight.set_data(np.array(d2l_init.TruncatedNormal(0.01).sample((100, 200))))
    net[1].bias.set_data(np.zeros(100))


RIGHT = [
    ("05-leaky", lambda slope: Own(root(2 / (1 + slope**2)))),
    ("05-leaky", lambda slope: init.Xavier("gaussian", "in", 2 / (1 + slope**2))),
    ("05-leaky", lambda slope: init.MSRAPrelu("in", slope)),
    ("05-leaky", leaky),
    ("05-repair", Own(root(2))),
    ("05-repair", d2l_init.VarianceScaling(2, distribution="normal")),
    ("05-repair", init.Xavier("gaussian", "in", 2)),
    ("06-edge", edge),
    ("06-edge", lambda b: init.Xavier("gaussian", "in", d2l_init.critical_sigma_w("tanh", b) ** 2)),
    ("08-gpt2", lambda blocks: Own(root(1 / blocks))),
    ("08-gpt2", lambda blocks: init.Xavier("gaussian", "in", 1 / blocks)),
    ("09-head", by_pattern),
    ("09-head", by_value),
    ("05-sizes", {"linear": 1.69e-5, "relu": "9.77e-4", "rms": 0.0312, "gradient": 1 / 4}),
    ("06-relu", {"chi_1": 0.72, "q*": 0.893, "xi": 3.04, "edge": 1.41, "q, layer 21": 6}),
    ("06-padding", {"8": 0.0132, "16": 0.235, "32": 0.55, "64": 0.758, "half": 29}),
    ("07-predict", {"scale": 0.4, "first loss": 4.61, "s_min": 4.79e-4, "stream": 1.19}),
    ("07-two", {"1": 0.903, "2": 1.07, "4": 1.34, "doubled": 4.43}),
    ("08-sizes", {"stream": 2.7, "1/L": 1.01, "logits": 0.125, "power": 1.5}),
    ("09-numbers", {"gain": 0.485, "rms": 0.0403, "first loss": 1.61}),
]


@pytest.mark.parametrize(("task", "answer"), RIGHT)
def test_another_right_answer_earns_all_points(task, answer):
    if isinstance(answer, dict):
        answer = {name: float(value) for name, value in answer.items()}
    assert d2l_init.check(task, answer).ok, d2l_init.check(task, answer)


@pytest.fixture(scope="module")
def students():
    return lambda number: defined(number, FOLDER)


BROKEN = [
    ("05-repair", lambda got: got.HeNormal(), "nothing repaired"),
    ("06-edge", lambda got: got.tanh_weights, "nothing repaired"),
    ("07-lsuv", lambda got: [got.variance_on_others(seed) for seed in range(8)], "both"),
    ("08-attention", lambda got: [got.entropy(seed) for seed in range(8)], "1/d for 1/√d"),
    ("09-head", lambda got: got.new_head, "nothing repaired"),
]


@pytest.mark.parametrize(("task", "answer", "keyword"), BROKEN)
def test_the_code_to_be_repaired_earns_nothing_and_is_recognized(students, task, answer, keyword):
    verdict = d2l_init.check(task, answer(students(task[:2])))
    assert verdict.points == 0
    assert keyword in verdict.mistakes, verdict


MISTAKES = [
    ("05-leaky", lambda slope: d2l_init.VarianceScaling(2, "fan_in", "normal"), "slope forgotten"),
    ("05-leaky", lambda slope: Own(root(2 / (1 + slope))), "slope not squared"),
    ("05-leaky", lambda slope: init.Normal((2 / (1 + slope**2)) ** 0.5), "fan forgotten"),
    ("05-leaky", lambda slope: d2l_init.he_normal(seed=0), "seed ignored"),
    ("05-repair", Own(lambda shape: (2 / shape[1]) ** 0.5), "kernel forgotten"),
    ("05-repair", d2l_init.VarianceScaling(2, "fan_out", "normal"), "wrong fan"),
    ("05-repair", Own(lambda shape: (2 / shape[0]) ** 0.5), "first axis"),
    ("05-repair", Own(root(2 / 3), flat), "uniform of bound std"),
    ("05-repair", Own(root(2), flat), "uniform for normal"),
    ("05-repair", Own(lambda shape: (2 / shape[0]) ** 0.5, flat), "uniform, first axis"),
    ("05-repair", Own(root(1)), "factor 2 forgotten"),
    (
        "06-edge",
        lambda b: d2l_init.VarianceScaling(1.54967, "fan_in", "normal"),
        "std for variance",
    ),
    ("08-gpt2", lambda n: d2l_init.VarianceScaling(2 / (2 * n) ** 2, "fan_in", "normal"), "1/N"),
    ("08-gpt2", lambda n: d2l_init.VarianceScaling(2 / n, "fan_in", "normal"), "blocks"),
    ("08-gpt2", lambda n: d2l_init.VarianceScaling(1 / (2 * n), "fan_in", "normal"), "factor 2"),
    ("09-head", lambda net: net.initialize(d2l_init.TruncatedNormal(0.01)), "nothing drawn"),
    ("09-head", lambda net: net[-1].initialize(init.Normal(0.01), force_reinit=True), "truncated"),
    (
        "09-head",
        lambda net: net.initialize(d2l_init.TruncatedNormal(0.01), force_reinit=True),
        "all",
    ),
    ("09-head", lambda net: net[-1].initialize(d2l_init.he_normal(), force_reinit=True), "He"),
]


@pytest.mark.parametrize(("task", "answer", "keyword"), MISTAKES)
def test_a_mistake_in_a_draw_is_recognized(task, answer, keyword):
    verdict = d2l_init.check(task, answer)
    assert not verdict.ok
    assert any(keyword in found for found in verdict.mistakes), verdict


def growths(found, seed, **changes):
    """Back from layer 20 to layer 5 of tanh nets, as somebody might measure it."""
    options = {"activation": "tanh", "depth": 20, "width": 100, "gain": 5 / 3} | changes
    weights = d2l_init.VarianceScaling(options.pop("gain") ** 2, distribution="normal", seed=seed)
    net, rows = found.deep_net(weights, **options), slice(100 * seed, 100 * seed + 32)
    table = d2l_init.trace(net, found.X[rows], found.y[rows], LOSS).to_frame()
    return (table["grad_mean_square"]["layer5"] / table["grad_mean_square"]["layer20"]) ** (1 / 15)


def spreads(seed, *, relu=True, nets=200):
    """The alternating nets with matrices that are drawn in full."""
    random, h = numpy.random.default_rng(seed), numpy.ones((nets, 50, 1))
    for layer in range(50):
        weights = random.standard_normal((nets, (50, 100)[layer % 2], h.shape[1]), numpy.float32)
        z = ((1 + relu) / h.shape[1]) ** 0.5 * weights @ h
        h = numpy.maximum(z, 0) if relu else z
    return numpy.log((z**2).mean(axis=(1, 2))).std()


def through(function, **names):
    """A function that finds these under the names of others."""
    return type(function)(
        function.__code__, function.__globals__ | names, None, function.__defaults__
    )


def no_root(net, h):
    for layer in net:
        if hasattr(layer, "weight"):
            layer.weight.set_data(layer.weight.data() / layer(h).var())
        h = layer(h)


def too_early(net, h):
    for layer in net:
        out = layer(h)
        if hasattr(layer, "weight"):
            layer.weight.set_data(layer.weight.data() / out.std())
        h = out


def backwards(net, h):
    """Right, too: each layer is asked again, from the input on."""
    for k, layer in enumerate(net):
        if hasattr(layer, "weight"):
            layer.weight.set_data(layer.weight.data() / net[: k + 1](h).std())


def attention(divide, axis=1):
    def weights(query, key):
        logits = query @ key.T / divide(query.shape[1])
        p = numpy.exp(logits - logits.max(axis=axis, keepdims=True))
        return p / p.sum(axis=axis, keepdims=True)

    return weights


def post_norm_in_gluon(seed):
    npx.random.seed(seed)
    start = h = np.random.normal(size=(32, 512))
    norm = nn.LayerNorm(in_channels=512)
    norm.initialize()
    for _ in range(4):
        branch = nn.Sequential()
        branch.add(nn.Dense(512, "relu", use_bias=False, weight_initializer=init.Normal(512**-0.5)))
        branch.add(nn.Dense(512, use_bias=False, weight_initializer=init.Normal(256**-0.5)))
        branch.initialize()
        h = norm(h + branch(h))
    return ((h * start).mean() / ((h**2).mean() * (start**2).mean()) ** 0.5).item()


def with_slope(found, seed, slope=0.2, *, training=True, batch=128):
    npx.random.seed(seed)
    inputs, direction = (np.random.normal(size=(batch, 64)).astype("float64") for _ in range(2))
    total = lambda out, y: (out * y).sum(1)  # noqa: E731
    trace = d2l_init.trace(
        found.normed_net(seed, slope), inputs, direction, total, training=training
    )
    table = trace.to_frame()
    squares = table.loc[table["block"] == "Dense", "grad_mean_square"]
    return (squares.iloc[6] / squares.iloc[26]) ** (1 / 20)


def knows(found, seed, steps, *, shuffled=True, trained=False):
    net = found.small_net(seed)
    y = np.array(numpy.random.default_rng(seed).permutation(found.digits.target[:1300]))
    y = y if shuffled else found.y[:1300]
    options = {"lr": 0.05, "momentum": 0.9, "batch_size": 32}
    d2l_init.train([net], found.X[:1300], y, steps=steps, **options)
    given = (found.X[:1300], y) if trained else (found.X[1300:], found.y[1300:])
    return d2l_init.accuracy([net], *given)[0]


sqrt = numpy.sqrt
MEASURED = [
    ("05-growth", growths, {}, ""),
    ("05-growth", growths, {"width": 64}, ""),
    ("05-growth", lambda *given: sqrt(growths(*given)), {}, "rms for square"),
    ("05-growth", lambda *given: 1 / growths(*given), {}, "forward for backward"),
    ("05-growth", growths, {"activation": None}, "layer without activation"),
    ("05-growth", growths, {"gain": (5 / 3) ** 0.5}, "gain not squared"),
    ("06-widths", lambda found, seed: found.log_q(seed).std(), {}, ""),
    ("06-widths", lambda found, seed: found.log_q(seed, 1000, (100, 50)).std(), {}, ""),
    ("06-widths", lambda found, seed: spreads(seed), {}, ""),
    ("06-widths", lambda found, seed: spreads(seed, relu=False), {}, "layer without activation"),
    ("07-lsuv", lambda found, seed: found.variance_on_others(seed), {}, ""),
    ("07-slope", with_slope, {}, ""),
    ("07-slope", with_slope, {"slope": 0}, "slope forgotten"),
    ("07-slope", with_slope, {"training": False}, "no norm"),
    ("08-post", lambda found, seed: found.cosine(seed), {}, ""),
    ("08-post", lambda found, seed: post_norm_in_gluon(seed), {}, ""),
    ("08-post", lambda found, seed: found.cosine(seed, post=False), {}, "pre-norm"),
    ("08-post", lambda found, seed: found.cosine(seed, 8), {}, "square for cosine"),
    ("09-labels", knows, {"steps": 300}, ""),
    ("09-labels", knows, {"steps": 100}, ""),
    ("09-labels", knows, {"steps": 300, "trained": True}, "trained images"),
    ("09-labels", knows, {"steps": 60, "trained": True}, "trained images"),
    ("09-labels", knows, {"steps": 100, "shuffled": False}, "true labels"),
]
REPAIRED = [
    ("07-lsuv", "variance_on_others", {"scale_layers": backwards}, ""),
    ("07-lsuv", "variance_on_others", {"scale_layers": no_root}, "variance for std"),
    ("07-lsuv", "variance_on_others", {"scale_layers": too_early}, "scaled for old inputs"),
    ("08-attention", "entropy", {"attention_weights": attention(sqrt)}, ""),
    ("08-attention", "entropy", {"attention_weights": attention(lambda d: 1)}, "1/√d forgotten"),
    ("08-attention", "entropy", {"attention_weights": attention(lambda d: d)}, "1/d for 1/√d"),
    ("08-attention", "entropy", {"attention_weights": attention(sqrt, 0)}, "wrong axis"),
]


def judged(task, numbers, keyword):
    verdict = d2l_init.check(task, numbers)
    assert (verdict.ok, verdict.mistakes) == (not keyword, (keyword,) if keyword else ()), verdict


@pytest.mark.parametrize(("task", "measure", "changes", "keyword"), MEASURED)
def test_a_measurement_over_other_seeds_is_judged_by_how_it_was_made(
    solved, task, measure, changes, keyword
):
    found, count = solved(task[:2]), {"08": 8, "09": 10}.get(task[:2], 5)
    seeds = range(10, 10 + count)
    judged(task, [measure(found, seed, **changes) for seed in seeds], keyword)


@pytest.mark.parametrize(("task", "name", "repair", "keyword"), REPAIRED)
def test_what_a_repair_leads_to_is_judged(solved, task, name, repair, keyword):
    function = through(getattr(solved(task[:2]), name), **repair)
    judged(task, [function(seed) for seed in range(8)], keyword)


@pytest.mark.parametrize(
    ("cured", "keyword"), [((1, 2, 3), ""), ((1, 3), "one is sick"), ((), "all are sick")]
)
def test_patients_are_judged_by_how_many_are_cured(solved, cured, keyword):
    found = solved("09")
    (path,) = FOLDER.glob("solutions/09-*.ipynb")
    code = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    names = {"base64": base64, "small_net": found.small_net}
    exec(next(source for source in code if "b64decode" in source).split("\n\n")[0], names)
    right = []
    for number in (1, 2, 3):
        nets = [names["sick_net"](number, seed) for seed in (5, 6, 7)]
        for net in nets if number in cured else []:
            net.initialize(d2l_init.he_normal(), force_reinit=True)
        found.train(nets)
        right += list(d2l_init.accuracy(nets, found.X[1300:], found.y[1300:]))
    judged("09-cured", right, keyword)
