"""Exercises of chapters 01 to 04: other right answers, and what mistakes in code lead to."""

import json
from pathlib import Path

import mxnet as mx
import pytest
from mxnet import init, np
from scipy import stats

import d2l_init

FOLDER = Path(__file__).parents[3] / "notebooks" / "exercises"
NAMES = sorted(path.name for path in FOLDER.glob("solutions/0[1-4]-*.ipynb"))

pytestmark = pytest.mark.usefixtures("numpy_semantics")


def sources(path):
    cells = json.loads((FOLDER / path).read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def defined(number, name):
    """What a cell of the exercise that students get defines under this name."""
    path = next(name for name in NAMES if name.startswith(number))
    setup, cell = (
        next(source for source in sources(path) if wanted in source)
        for wanted in ("import mxnet", name)
    )
    names = {}
    exec(setup.replace("%matplotlib inline", ""), names)
    exec(cell, names)
    return names[name.split()[1].split("(")[0]]


class Whole(init.Initializer):
    """A student's own class: whatever ``draw`` makes of a shape."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def _init_weight(self, name, data):
        data[:] = self.draw(data.shape)


def gaussian(std):
    return lambda shape: np.random.normal(0, std, shape)


def spike(share, std):
    return lambda shape: np.random.normal(0, std, shape) * (np.random.uniform(size=shape) >= share)


def redrawn(std):
    """Inverts the distribution function: nothing to draw again."""
    low = stats.norm.cdf(-2)

    def draw(shape):
        u = np.random.uniform(low, 1 - low, shape).asnumpy().astype("float64")
        return np.array(std * stats.norm.ppf(u), dtype="float32")

    return draw


def start(net):
    for layer in net:
        layer.initialize("uniform", force_reinit=True)


def start_each(net):
    for parameter in net.collect_params(".*weight").values():
        parameter.initialize(init.Uniform(0.07), force_reinit=True)


def by_name(net):
    for name, parameter in net.collect_params().items():
        law = 0.01 if name.startswith("head") else (2 / 64) ** 0.5
        one = init.Constant(0.1) if name.endswith("bias") else init.Normal(law)
        parameter.initialize(one, force_reinit=True)


def by_value(net):
    for name, parameter in net.collect_params().items():
        std = 0.01 if name.startswith("head") else (2 / 64) ** 0.5
        bias = name.endswith("bias")
        shape = parameter.shape
        parameter.set_data(np.full(shape, 0.1) if bias else np.random.normal(0, std, shape))


def head(net):
    net[1].initialize(init.Normal(0.01), force_reinit=True)
    net[1].bias.set_data(np.array([-2.2]))


def head_by_pattern(net):
    net.collect_params("head_weight").initialize(Whole(gaussian(0.01)), force_reinit=True)
    net.collect_params()["head_bias"].initialize(init.Constant(-2.2), force_reinit=True)


RIGHT = [
    ("01-bound", lambda n, depth, target: init.Uniform(target ** (1 / depth) * (3 / n) ** 0.5)),
    ("01-bound", lambda n, depth, t: init.Xavier("uniform", "in", 3 * t ** (2 / depth))),
    (
        "01-bound",
        lambda n, depth, t: d2l_init.VarianceScaling(t ** (2 / depth), "fan_in", "uniform"),
    ),
    ("01-repair", start),
    ("01-repair", start_each),
    ("02-xavier", lambda variance, n: init.Xavier("gaussian", "in", variance * n)),
    ("02-xavier", lambda variance, n: init.Normal(variance**0.5)),
    ("02-xavier", lambda variance, n: Whole(gaussian(variance**0.5))),
    ("02-repair", lambda shape: init.MSRAPrelu("in", slope=0)),
    ("02-repair", lambda shape: init.Normal((2 / d2l_init.fans(shape)[0]) ** 0.5)),
    ("02-repair", lambda shape: d2l_init.VarianceScaling(2, "fan_in", "normal")),
    ("03-by-name", by_name),
    ("03-by-name", by_value),
    ("03-head", head),
    ("03-head", head_by_pattern),
    ("04-spike", lambda share, std: Whole(spike(share, std))),
    ("04-spike", lambda p, std: d2l_init.Mixture([(p, 0), (1 - p, stats.norm(0, std))])),
    ("04-cut", lambda std: d2l_init.TruncatedNormal(std)),
    ("04-cut", lambda std: Whole(redrawn(std))),
]


@pytest.mark.parametrize(("task", "answer"), RIGHT)
def test_right_answers_of_every_style_earn_all_points(task, answer):
    verdict = d2l_init.check(task, answer)
    assert verdict.ok, verdict


def same_seed(net):
    mx.random.seed(7)
    start(net)


def same_numbers(net):
    seed = np.random.randint(0, 1000).item()
    for layer in net:
        mx.random.seed(seed)
        layer.initialize(init.Uniform(), force_reinit=True)


CLIPPED = Whole(lambda shape: np.clip(np.random.normal(0, 0.05, shape), -0.1, 0.1))
MISTAKES = [
    ("01-bound", lambda n, depth, target: init.Uniform(target * (3 / n) ** 0.5), "depth forgotten"),
    ("01-bound", lambda n, depth, t: init.Uniform(t ** (1 / depth) / n**0.5), "std for bound"),
    ("01-repair", same_seed, "seed ignored"),
    ("01-repair", same_numbers, "twins between layers"),
    ("01-repair", lambda net: net.initialize(), "old weights"),
    ("02-xavier", lambda v, n: init.Xavier("gaussian", magnitude=v * n), "wrong fan"),
    ("02-xavier", lambda v, n: init.Xavier("gaussian", "in", v), "fan forgotten"),
    ("02-repair", lambda shape: init.Normal((2 / shape[0]) ** 0.5), "first axis"),
    ("02-repair", lambda shape: init.Normal((2 / shape[1]) ** 0.5), "kernel forgotten"),
    ("02-repair", lambda shape: d2l_init.he_normal(), "tails cut"),
    ("02-repair", lambda shape: init.MSRAPrelu("in"), "MSRAPrelu's slope"),
    ("03-head", lambda net: net[1].initialize(init.Constant(-2.2)), "old weights"),
    ("04-spike", lambda share, std: Whole(spike(1 - share, std)), "the others"),
    ("04-cut", lambda std: CLIPPED, "clipped instead of drawn again"),
    ("04-cut", lambda std: init.Normal(std), "not cut"),
]


@pytest.mark.parametrize(("task", "answer", "keyword"), MISTAKES)
def test_a_students_mistake_is_recognized(task, answer, keyword):
    verdict = d2l_init.check(task, answer)
    assert not verdict.ok
    assert keyword in verdict.mistakes, verdict


BROKEN = [
    ("01", "def start(", "seed ignored"),
    ("02", "def he_for(", "nothing repaired"),
    ("03", "def new_head(", "nothing repaired"),
    ("04", "class Cut(", "rebound"),
]


@pytest.mark.parametrize(("number", "name", "keyword"), BROKEN)
def test_the_code_to_be_repaired_earns_nothing_and_is_recognized(number, name, keyword):
    task = {"03": "03-head", "04": "04-cut"}.get(number, f"{number}-repair")
    verdict = d2l_init.check(task, defined(number, name))
    assert verdict.points == 0
    assert keyword in verdict.mistakes, verdict
