"""All tasks of the course: right answers pass, mistakes get their hint, notebooks ask each once."""

import json
from pathlib import Path

import numpy as np
import pytest
from unit.classroom.answers import drawn, many

import d2l_init
from d2l_init.classroom.judges import Draws, Measurement, Numbers
from d2l_init.classroom.tasks import TASKS

pytestmark = pytest.mark.usefixtures("numpy_semantics")
FOLDER = Path(__file__).parents[3] / "notebooks" / "exercises"
NAMES = sorted(path.name for path in FOLDER.glob("solutions/*.ipynb"))


def code(path):
    cells = json.loads((FOLDER / path).read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def points(name):
    """What the tasks of a notebook are worth, by id."""
    return {id: task.of for id, task in TASKS.items() if id[:3] == name[:3]}


def label(one):
    return getattr(one, "id", getattr(one, "keyword", str(one)))


def of_kind(kind):
    return [task for task in TASKS.values() if isinstance(task, kind)]


@pytest.mark.parametrize("task", of_kind(Draws), ids=lambda task: task.id)
def test_right_draws_of_every_task_pass(task):
    verdicts = [task.judge(arrays) for arrays in many(task, np.random.default_rng(0), 3)]
    assert [verdict for verdict in verdicts if not verdict.ok] == []


@pytest.mark.parametrize("task", of_kind(Numbers), ids=lambda task: task.id)
def test_right_numbers_pass_when_rounded_to_three_digits(task):
    assert task.judge({name: np.array(float(f"{x:.3g}")) for name, x in task.right.items()}).ok


@pytest.mark.parametrize("task", of_kind(Measurement), ids=lambda task: task.id)
def test_right_measurements_of_the_allowed_spread_pass(task):
    spread = task.within * task.right * task.least**0.5 / 4.1
    draws = task.right + spread * np.random.default_rng(0).standard_normal((1000, task.least))
    assert all(task.judge({"values": one}).ok for one in draws)


HINTS = [(task, mistake) for task in of_kind(Draws) for mistake in task.mistakes]


@pytest.mark.parametrize(("task", "mistake"), HINTS, ids=label)
def test_draws_from_the_law_of_a_mistake_get_its_hint(task, mistake):
    verdict = task.judge(drawn(task, np.random.default_rng(0), mistake.law))
    assert not verdict.ok
    assert any(line.endswith(mistake.hint) for line in verdict.lines[-2:])


NUMBERS = [
    (task, name, wrong)
    for task in of_kind(Numbers)
    for name, known in task.mistakes.items()
    for wrong in known
]


@pytest.mark.parametrize(("task", "name", "wrong"), NUMBERS, ids=label)
def test_the_number_that_a_mistake_leads_to_gets_its_hint(task, name, wrong):
    arrays = {key: np.array(value) for key, value in task.right.items()}
    verdict = task.judge({**arrays, name: np.array(wrong.value)})
    assert 0 < verdict.points < verdict.of
    assert verdict.mistakes == (wrong.keyword,)
    assert any(line.endswith(wrong.hint) for line in verdict.lines)


MEASURED = [(task, wrong) for task in of_kind(Measurement) for wrong in task.mistakes]


@pytest.mark.parametrize(("task", "wrong"), MEASURED, ids=label)
def test_the_measurement_that_a_mistake_leads_to_gets_its_hint(task, wrong):
    spread = task.within * task.right / 5 * np.linspace(-1, 1, task.least)
    verdict = task.judge({"values": wrong.value + spread})
    assert (verdict.points, verdict.mistakes) == (0, (wrong.keyword,))
    assert verdict.lines[0].endswith(wrong.hint)


def test_every_task_has_a_notebook():
    assert {id[:3] for id in TASKS} == {name[:3] for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_each_task_has_one_cell_with_its_points_in_which_the_solution_earned_them_all(name):
    found = {}
    for cell in code(f"solutions/{name}"):
        about = cell["metadata"].get("nbgrader", {})
        if about.get("grade"):
            id, worth = about["grade_id"], about["points"]
            said = "".join(cell["outputs"][0]["data"]["text/plain"])
            assert "".join(cell["source"]).startswith(f'd2l_init.check("{id}", ')
            assert said.startswith(f"{id}: {worth} of {worth} points")
            assert id not in found
            found[id] = worth
    assert found == points(name)


@pytest.mark.parametrize("name", NAMES)
def test_what_students_get_runs_and_earns_nothing(name, monkeypatch):
    earned, check, names = {}, d2l_init.check, {}
    monkeypatch.setattr(
        d2l_init, "check", lambda task, answer: earned.update({task: check(task, answer).points})
    )
    for cell in code(name):
        exec("".join(cell["source"]).replace("%matplotlib inline", ""), names)
    assert earned == dict.fromkeys(points(name), 0)
