"""A class is graded: what is right earns its points, however often the run was stopped."""

import csv
import signal
import sqlite3
import subprocess
import time

import classes
import psutil
import pytest
from classes import NAMES, ROOT, classroom, command, grade, rows
from whole import class_of

pytestmark = pytest.mark.install
released = classes.released  # a fixture

NAME = NAMES[0]


class Class:
    """Twelve notebooks of one exercise; whole.py does the same for all of them."""

    def __init__(self, released, folder):
        self.handed_in, self.grades = folder / "in", folder / "grades.csv"
        self.book = folder / "grades-book"
        self.handed_in.mkdir()
        made, self.expected = class_of(released, NAME)
        for who, student in made.items():
            student.hand_in(self.handed_in, who)

    def start(self):
        run = command("grade", self.handed_in, "--to", self.grades)
        return subprocess.Popen(run, cwd=ROOT, stderr=subprocess.PIPE, text=True)

    def marks(self):
        return len([path for path in (self.book / "done").rglob("*") if path.is_file()])


@pytest.fixture(scope="module")
def graded(released, tmp_path_factory):
    """Killed in the midst of things, three times; then to its end."""
    one = Class(released, tmp_path_factory.mktemp("class"))
    one.others = []
    for lines in (0, 2, 4):
        run = one.start()
        for _ in range(lines):  # of the progress
            run.stderr.readline()
        time.sleep(0.5 if lines else 4)
        one.others += psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGKILL)
        run.wait()
    one.before = one.marks()
    one.rows = grade(one.handed_in, one.grades)
    return one


def test_the_points_are_as_expected(graded):
    for who, points in graded.expected.items():
        row = graded.rows[who]
        assert row["points"] == ("" if points is None else f"{points:g}"), row


def test_what_was_graded_before_a_kill_is_not_graded_again(graded):
    assert 0 < graded.before < len(graded.expected)


def test_what_a_killed_run_has_started_ends_too(graded):
    assert graded.others
    assert psutil.wait_procs(graded.others, timeout=30)[1] == []


def test_the_statuses_say_who_is_read_by_a_teacher(graded):
    assert graded.rows["solver"]["status"] == "waits for a reader"
    assert graded.rows["nobody"]["status"] == "graded"
    assert graded.rows["leaver"]["status"].startswith("not graded: ")


def test_a_run_from_nothing_gives_the_same_table(graded, released, tmp_path):
    few = "solver", "second"
    again = Class(released, tmp_path)
    for path in again.handed_in.iterdir():
        if not path.name.startswith(few):
            path.unlink()
    found = grade(again.handed_in, again.grades, "--workers", 1)
    assert found == {who: graded.rows[who] for who in few}


def test_when_a_teacher_has_read_a_text_the_table_shows_the_points(graded):
    with sqlite3.connect(graded.book / "gradebook.db") as books:
        changed = books.execute(
            "update grade set manual_score = 2, needs_manual_grade = 0 where auto_score is null"
        )
    assert changed.rowcount
    classroom("table", graded.grades)
    row = rows(graded.grades)["solver"]
    assert (row["points"], row["status"]) == (row["of"], "graded")


def test_feedback_and_nbgraders_own_export_have_the_same_points(graded, tmp_path):
    python = str(ROOT / ".venv-classroom/bin/python")
    export = [python, "-m", "nbgrader", "export", "--to", str(tmp_path / "export.csv")]
    subprocess.run(export, cwd=graded.book, check=True, capture_output=True)
    with open(tmp_path / "export.csv") as file:
        exported = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    shown = {who: row for who, row in rows(graded.grades).items() if row["points"]}
    assert exported == {who: float(row["points"]) for who, row in shown.items()}
    for who in shown:
        assert (graded.book / f"feedback/{who}/{NAME}/{NAME}.html").is_file()


def test_a_table_within_what_was_handed_in_is_refused(graded):
    within = graded.handed_in / "grades.csv"
    words = command("grade", graded.handed_in, "--to", within)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "must lie outside what was handed in" in done.stderr


def test_without_bubblewrap_nothing_is_graded_and_the_message_says_how_to_get_it(graded, tmp_path):
    words = command("grade", graded.handed_in, "--to", tmp_path / "grades.csv")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env={"PATH": ""})
    assert done.returncode == 1
    assert "apt-get install bubblewrap" in done.stderr
    assert not list(tmp_path.iterdir())
