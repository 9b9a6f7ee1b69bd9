"""The students' notebooks are the solutions without what they must not say."""

import re
import subprocess
import sys

import classes
import pytest
from classes import NAMES, ROOT, SOLUTIONS, classroom, grading, notebook, tasks

from d2l_init.classroom.tasks import TASKS

pytestmark = pytest.mark.install
released = classes.released  # a fixture

REGION = re.compile(r"[^\n]*BEGIN SOLUTION.*?END SOLUTION[^\n]*", re.DOTALL)
LINK = re.compile(r"\[([^]]*)\]\([^)]*\.ipynb\)")
STUBS = {"pass  # your code", "*Your answer*"}


def sources(book):
    return "\n".join("".join(cell["source"]) for cell in book["cells"])


def test_the_exercises_beside_the_chapters_are_in_step_with_the_solutions(released):
    assert classroom("students") == "nothing has changed\n"


def test_every_chapter_has_its_exercises():
    chapters = {path.stem for path in (ROOT / "notebooks").glob("0[1-9]-*.ipynb")}
    assert set(NAMES) == chapters


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_solution_is_in_what_is_released(released, name):
    solved = sources(notebook(SOLUTIONS / f"{name}.ipynb"))
    outside, regions = REGION.subn("", LINK.sub(r"\1", solved))
    assert regions >= len(tasks(released[name])) + 1  # and a paragraph
    lines = {line.strip() for line in sources(released[name]).splitlines()}
    assert lines <= STUBS | {line.strip() for line in outside.splitlines()}
    assert not any(cell.get("outputs") for cell in released[name]["cells"])


@pytest.mark.parametrize("name", NAMES)
def test_no_right_number_and_no_seed_is_in_what_is_released(released, name):
    text = sources(released[name])
    for task in tasks(released[name]):
        right = getattr(TASKS[task], "right", None)
        values = right.values() if isinstance(right, dict) else [right]
        for value in values:
            if isinstance(value, float) and value % 1 and len(f"{value:.3g}") > 4:
                assert f"{value:.3g}" not in text, (task, value)
    assert "SEED" not in text


@pytest.mark.parametrize("name", NAMES)
def test_the_points_in_a_notebook_are_the_judges(released, name):
    assert tasks(released[name]) == {task: TASKS[task].of for task in tasks(released[name])}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_released_locks_all_but_the_answers_and_leads_nowhere(released, name):
    for cell in released[name]["cells"]:
        assert not cell["metadata"].get("deletable", True) or "nbgrader" not in cell["metadata"]
        assert cell["metadata"].get("editable", True) == bool(grading(cell).get("solution"))
    assert ".ipynb" not in sources(released[name])


def test_without_nbgrader_one_sentence_names_the_command_that_brings_it():
    words = ["classroom", "release", "--to", "a folder"]
    done = subprocess.run(
        [sys.executable, "-m", "d2l_init", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "make classroom DO=" in done.stderr
    assert "Traceback" not in done.stderr
