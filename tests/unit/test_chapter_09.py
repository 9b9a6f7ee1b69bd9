"""The five rounds of chapter 09 and its exercise's patients, over seeds that they don't use."""

from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from mxnet import npx
from unit import chapters

import d2l_init

pytestmark = pytest.mark.usefixtures("numpy_semantics")
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FAULTS = ["inputs", "symmetry", "dead units", "signal vanishes", "loss at start"]


@pytest.fixture(scope="module")
def chapter():
    npx.set_np()
    return chapters.definitions(NOTEBOOKS / "09-your-own-net.ipynb", {"ctx", "images", "y", "loss"})


@pytest.fixture(scope="module")
def exercise():
    npx.set_np()
    path = NOTEBOOKS / "exercises" / "solutions" / "09-your-own-net.ipynb"
    code = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    (encoded,) = [source.split("\n\n")[0] for source in code if "b64decode" in source]
    found = {}
    for source in (*code[:2], encoded):  # the digits, a healthy net, and how it is made sick
        exec(source.replace("%matplotlib inline", ""), found)
    return SimpleNamespace(**found)


@pytest.mark.parametrize("seed", range(20, 25))
def test_five_rounds_name_five_faults_and_leave_a_healthy_net(chapter, seed):
    cures, faults = [], []
    while not (diagnosis := chapter.ask(cures, seed)).ok:
        cures.append(diagnosis.findings[0].cure)
        faults.append(diagnosis.findings[0].fault)
        assert len(faults) < 10
    assert faults == FAULTS


def test_only_all_five_cures_let_it_learn(chapter):
    cures = []
    while not (diagnosis := chapter.ask(cures)).ok:
        cures.append(diagnosis.findings[0].cure)

    def right(some, seed):
        net, X = chapter.treated(some, seed)
        d2l_init.train([net], X[:1300], chapter.y[:1300], lr=0.02, momentum=0.9, steps=60,
                       batch_size=32)  # fmt: skip
        return d2l_init.accuracy([net], X[1300:], chapter.y[1300:])[0]

    for some, most in ((cures[:4], 0.5), (cures[4:], 0.2)):
        assert np.median([right(some, seed) for seed in (30, 31, 32)]) < most
    assert min(right(cures, seed) for seed in range(30, 35)) > 0.6


@pytest.mark.parametrize(
    ("number", "fault", "where"),
    [(1, "symmetry", "first"), (2, "dead units", "second"), (3, "signal vanishes", "third")],
)
def test_each_sick_net_of_the_exercise_is_told(exercise, number, fault, where):
    for seed in range(5, 10):
        net = exercise.sick_net(number, seed)
        diagnosis = d2l_init.diagnose(net, exercise.X[:256], exercise.y[:256], exercise.loss)
        assert (diagnosis.findings[0].fault, diagnosis.findings[0].where) == (fault, where)
