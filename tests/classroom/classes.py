"""A class that hands in: notebooks made from the released ones, and what grading them gives."""

import copy
import csv
import fcntl
import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GRADER = ROOT / ".venv-classroom/bin/python"
SOLUTIONS = ROOT / "notebooks/exercises/solutions"
NAMES = sorted(path.stem for path in SOLUTIONS.glob("*.ipynb"))


def make_environment():
    """As `make classroom` does, without looking at .venv, in which these tests run."""
    if not shutil.which("bwrap"):
        pytest.skip("grading needs bubblewrap (Debian: apt-get install bubblewrap)")
    script = "only_uv=1; . .ci/ready.sh; extra=classroom; . .ci/extra.sh"
    with open(ROOT / "requirements/classroom.txt") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest's workers come here at the same time
        subprocess.run(["sh", "-c", script], cwd=ROOT, check=True)


def command(*words):
    return [str(GRADER), "-m", "d2l_init", "classroom", *map(str, words)]


def classroom(*words):
    """What a command of the classroom printed; it must succeed."""
    done = subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def grade(folder, grades, *options):
    """The rows of the table, by student."""
    classroom("grade", folder, "--to", grades, *options)
    return rows(grades)


def rows(grades):
    with open(grades, encoding="utf-8", newline="") as file:
        return {row["student"] or row["file"]: row for row in csv.DictReader(file)}


def notebook(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def grading(cell):
    return cell["metadata"].get("nbgrader", {})


def tasks(book):
    """The points of each task that is judged, by its id, in the notebook's order."""
    return {
        grading(cell)["grade_id"]: grading(cell)["points"]
        for cell in book["cells"]
        if cell["cell_type"] == "code" and grading(cell).get("grade")
    }


def code(*lines):
    """A cell of the student's own."""
    source = "\n".join(lines)
    return {"cell_type": "code", "id": f"own-{abs(hash(source)):x}"[:20], "source": source,
            "metadata": {}, "outputs": [], "execution_count": None}  # fmt: skip


class Student:
    """A released notebook, with the solutions' answers but for some tasks."""

    def __init__(self, released, name, without=()):
        self.name = name
        self.book = copy.deepcopy(released[name])
        solved = {
            grading(cell)["grade_id"]: cell["source"]
            for cell in notebook(SOLUTIONS / f"{name}.ipynb")["cells"]
            if grading(cell).get("solution")
        }
        self.points = {task: of for task, of in tasks(self.book).items() if task not in without}
        for cell in self.cells:
            told = grading(cell)
            if told.get("solution") and not told["grade_id"].startswith(tuple(without)):
                cell["source"] = solved[told["grade_id"]]

    @property
    def cells(self):
        return self.book["cells"]

    def add(self, *lines):
        self.cells.append(code(*lines))
        return self

    def cell(self, grade_id):
        return next(cell for cell in self.cells if grading(cell).get("grade_id") == grade_id)

    def hand_in(self, folder, who):
        path = Path(folder, f"{who}_{self.name}.ipynb")
        path.write_text(json.dumps(self.book), encoding="utf-8")
        return path


@pytest.fixture(scope="session")
def released(tmp_path_factory):
    """The notebooks that a class gets, by name."""
    make_environment()
    folder = tmp_path_factory.mktemp("released")
    classroom("release", "--to", folder)
    return {name: notebook(folder / f"{name}.ipynb") for name in NAMES}
