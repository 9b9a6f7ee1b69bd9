"""All tasks of the course: right answers pass, and ids are as notebooks call them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from unit.classroom.answers import many

from d2l_init.classroom.judges import Draws, Measurement, Numbers
from d2l_init.classroom.tasks import TASKS

NOTEBOOKS = Path(__file__).parents[3] / "notebooks" / "exercises" / "solutions"


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


def test_no_two_tasks_share_an_id_and_each_is_asked_once_in_its_notebook():
    called = []
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        found = re.findall(r'd2l_init\.check\("([^"]+)"', text)
        assert all(id.startswith(path.name[:3]) for id in found)
        called += found
    assert sorted(called) == sorted(TASKS)


def test_the_points_in_a_notebook_are_those_of_its_tasks():
    for path in NOTEBOOKS.glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            told = cell["metadata"].get("nbgrader", {})
            if cell["cell_type"] == "code" and told.get("grade"):
                assert told["points"] == TASKS[told["grade_id"]].of
