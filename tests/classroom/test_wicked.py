"""Submissions that want to break, slow, read, or earn what they shouldn't: graded as one batch."""

import hashlib
import json
import os
import re
import time

import classes
import psutil
import pytest
from classes import Student, classroom, grade, notebook

pytestmark = pytest.mark.install
released = classes.released  # a fixture

NAME = "01-default-initialization"
TASKS = NUMBERS, BOUND, REPAIR, MEASURED = "01-default", "01-bound", "01-repair", "01-relu"
LIMIT = 30  # seconds for one notebook

# What stands in a cell of the student's own at the end, after all checks; why it is not graded.
ENDS = {
    "loop": (["while True: pass"], f"cell \\d+ was still running after {LIMIT} seconds"),
    "fork bomb": (["import os", "while True: os.fork()"], ".*(memory|running|ended)"),
    "forked memory": (
        ["import os, time", "for _ in range(40):", "    if os.fork() == 0:",
         "        held = b'x' * 10**8; time.sleep(99)"], "it took more than 2048 MB of memory"),
    "os exit": (["import os; os._exit(0)"], r"its Python ended in cell \d+"),
    "kills all": (["import os; os.kill(-1, 9)"], "its Python ended early"),
    "kills runner": (["import os; os.kill(os.getppid(), 9)"], "its Python ended early"),
}  # fmt: skip

# The same, but the notebook is graded and has all its points. What is seen of it, by cell.
HARMLESS = {
    "sys exit": ("import sys; sys.exit()", "SystemExit"),
    "asks": ("input('your name?')", "StdinNotImplementedError"),
    "socket": ("import socket; socket.create_connection(('127.0.0.1', 22), 3)", "Error"),
    "name": ("import socket; socket.gethostbyname('python.org')", "Temporary failure"),
    "writes": ("import d2l_init; open(d2l_init.__file__, 'a')", "Read-only|Permission denied"),
    "writes beside": ("open('/beside', 'w')", "Read-only|Permission denied"),
    "large file": ("open('/tmp/large', 'wb').write(b'x' * 10**8)", "File too large"),
    "disk": (
        "for n in range(20): open(f'/tmp/{n}', 'wb').write(b'x' * 5 * 10**7)",
        "No space left on device",
    ),
    "late": ("import subprocess; subprocess.Popen(['sleep', '600.25']).poll()", ""),
    "seeds": ("import os; print(os.environ['D2L_INIT_SEEDS'])", r"\(hidden\),\(hidden\)"),
    "looks": (
        "import os\n"
        "seen = [os.path.join(place, name) for place, _, names in os.walk('/') for name in names]\n"
        "ours = [name for name in seen if name.endswith(('.ipynb', '.db', '.csv', '/secret'))]\n"
        "system = '/usr', '/lib', os.__file__[:-6]\n"
        "print('seen', [name for name in ours if not name.startswith(system)"
        " and 'site-packages' not in name])",
        r"seen \[\]",
    ),
    "memory": ("held = []\nwhile True: held.append(b'x' * 10**7)", "MemoryError"),
}
LOUD = "print('x' * 10**8)", "for _ in range(10**6): print('x' * 99)"

# What stands in the place of an honest answer to a task.
FORGING = """
import os, zipfile, numpy as np
def forge(task, **changed):
    np.savez_compressed(path(task), **changed)
def path(task):
    return os.environ["D2L_INIT_ANSWERS"] + f"/{task}.npz"
def held(task):
    with np.load(path(task)) as npz: return dict(npz)
"""
EACH = "forge(TASK, **{{name: {} for name, a in held(TASK).items()}})"
SPREAD = "(a.max() * np.linspace(-1, 1, a.size)).reshape(a.shape) if 'weight' in name else a"
FORGED = [  # four in a notebook
    EACH.format("np.array([print])"),
    EACH.format("a * np.nan"),
    EACH.format("a.ravel()[:, None, None]"),
    "open(path(TASK), 'wb').write(b'PK' * 1000)",
    EACH.format("np.full(10**6, a.mean())"),
    EACH.format("np.full_like(a, a.std())"),
    EACH.format(SPREAD),  # quantiles of the right law, without a draw
    EACH.format("np.array('right')"),
    "forge(TASK)",
    "os.remove(path(TASK)); os.symlink('/proc/self/environ', path(TASK))",
    "os.remove(path(TASK)); os.mkfifo(path(TASK))",
    "with zipfile.ZipFile(path(TASK), 'w') as npz:\n"
    "    npz.writestr('a.npy', b'\\x93NUMPY\\x01\\x00\\xff\\xff' + b'(' * 2**16)",
    EACH.format("a.astype(complex)"),
    "with zipfile.ZipFile(path(TASK), 'w', zipfile.ZIP_DEFLATED) as npz:\n"
    "    with npz.open('a.npy', 'w') as bomb:\n"
    "        for _ in range(400): bomb.write(bytes(10**6))",
    EACH.format("np.full_like(a, 0.03)"),
    "os.remove(path(TASK))",
]

# A student who knows no answer, by task; and what might turn that into points, in a cell before.
WRONG = {
    NUMBERS: "predicted = {name: 1.0 for name in ('std', 'twenty layers', 'width')}",
    BOUND: "def uniform_for(inputs, layers, target): return init.Uniform(0.5)",
    REPAIR: "def repaired(net): net.initialize(init.Constant(0.3), force_reinit=True)",
    MEASURED: "factors = [1.0, 1.1, 1.2, 1.3, 1.4]",
}
TRICKS = {
    "nothing": "",
    "asserts dropped": """
import ast
class Drop(ast.NodeTransformer):
    visit_Assert = visit_Raise = lambda self, node: ast.Pass()
get_ipython().ast_transformers.append(Drop())""",
    "own check": """
import d2l_init
d2l_init.check = lambda task, answer: task + ": 3 of 3 points"
""",
    "own judge": """
from d2l_init.classroom import judges, verdicts
for kind in (judges.Numbers, judges.Draws, judges.Measurement):
    kind.judge = lambda self, arrays: verdicts.Verdict(self.id, self.of, self.of, [])
import numpy
numpy.isclose = numpy.allclose = lambda *given, **more: True""",
    "own mxnet": """
import mxnet
mxnet.gluon.Parameter.data = lambda self, ctx=None: mxnet.nd.ones(self.shape)""",
    "everything": """
class Everything(float):
    __eq__ = __le__ = __ge__ = __lt__ = __gt__ = lambda *given: True
    __hash__ = float.__hash__
    __getattr__ = __getitem__ = __call__ = lambda *given: Everything(1)
d2l_init_check = __import__("d2l_init").check
__import__("d2l_init").check = lambda task, answer: d2l_init_check(task, Everything(1))""",
}


def students(released):
    def student(*without):
        return Student(released, NAME, without)

    made = {"honest": student()}
    made |= {who: student(REPAIR, MEASURED).add(*lines) for who, (lines, _) in ENDS.items()}
    made["harmless"] = student(REPAIR, MEASURED)
    for source, _ in HARMLESS.values():
        made["harmless"].add(source)
    made["loud"] = student(REPAIR, MEASURED).add(LOUD[0]).add(LOUD[1])
    for number in range(0, len(FORGED), len(TASKS)):
        forger = made[f"forger {number}"] = student().add(FORGING)
        forger.points = {}
        for task, line in zip(TASKS, FORGED[number:], strict=False):
            forger.add(line.replace("TASK", repr(task)))
    for who, trick in TRICKS.items():
        made[who] = student(*TASKS)
        made[who].cells.insert(0, made[who].add(trick).cells.pop())
        for task, source in WRONG.items():
            made[who].cell(f"{task}-answer")["source"] = source
    return made


def odd_files(folder, solved):
    """Files that are no notebooks, by student; why they are not graded."""
    text = json.dumps(solved.book)

    def file(who):
        return folder / f"{who}_{NAME}.ipynb"

    os.symlink(file("honest"), file("link"))
    os.mkfifo(file("pipe"))
    file("empty").touch()
    file("words").write_text("I have lost my notebook.")
    file("deep").write_text("[" * 10**5)
    file("format 3").write_text(json.dumps({"nbformat": 3, "worksheets": [{"cells": []}]}))
    file("no cells").write_text(json.dumps({"nbformat": 4, "cells": {"a": 1}}))
    (folder / f"twice_{NAME}.ipynb").write_text(text)
    (folder / f"twice_99_{NAME}-1.ipynb").write_text(text)
    (folder / f".._{NAME}.ipynb").write_text(text)
    (folder / f"..%2f..%2fbook_{NAME}.ipynb").write_text(text)
    (folder / "notes.txt").write_text("hello")
    return {
        "link": "it is a link",
        "pipe": "it is no ordinary file",
        "empty": "it is empty",
        "words": "it is no notebook",
        "deep": "it is no notebook",
        "format 3": "it is a notebook of format 3: save it in JupyterLab",
        "no cells": "it is no notebook",
        "twice": "one of several files of this student",
        f".._{NAME}.ipynb": "the student's name in it",
        f"..%2f..%2fbook_{NAME}.ipynb": "the student's name in it",
        "notes.txt": "its name is not of the form",
    }


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


class Batch:
    """All of them, graded at once."""

    def __init__(self, released, folder):
        self.folder, self.grades = folder, folder / "grades.csv"
        handed_in = folder / "handed in"
        handed_in.mkdir()
        self.made = students(released)
        for who, student in self.made.items():
            student.hand_in(handed_in, who)
        self.refused = odd_files(handed_in, self.made["honest"])
        before, begin = digest(handed_in), time.monotonic()
        self.rows = grade(handed_in, self.grades, "--seconds", LIMIT)
        self.seconds = time.monotonic() - begin
        self.unchanged = digest(handed_in) == before

    def graded(self, who):
        return notebook(self.folder / f"grades-book/autograded/{who}/{NAME}/{NAME}.ipynb")["cells"]

    def feedback(self, who):
        return (self.folder / f"grades-book/feedback/{who}/{NAME}/{NAME}.html").read_text()


@pytest.fixture(scope="module")
def batch(released, tmp_path_factory):
    return Batch(released, tmp_path_factory.mktemp("wicked"))


def test_an_honest_student_of_the_same_batch_has_all_points(batch):
    row = batch.rows["honest"]
    assert (float(row["points"]), row["status"]) == (10, "waits for a reader")


@pytest.mark.parametrize("who", ENDS)
def test_what_does_not_end_or_ends_too_early_is_not_graded_and_the_table_says_why(batch, who):
    row = batch.rows[who]
    assert (row["points"], row["of"]) == ("", "")
    assert re.match(f"not graded: {ENDS[who][1]}", row["status"]), row["status"]


def test_what_ends_has_the_points_that_its_arrays_deserve(batch):
    for who in set(batch.made) - set(ENDS) - set(TRICKS):
        earned = float(batch.rows[who]["points"] or -1)
        assert earned == sum(batch.made[who].points.values()), (who, batch.rows[who])


@pytest.mark.parametrize("what", HARMLESS)
def test_the_box_holds(batch, what):
    source, seen = HARMLESS[what]
    (cell,) = (
        cell for cell in batch.graded("harmless") if cell["source"] == [*source.splitlines(True)]
    )
    assert re.search(seen, json.dumps(cell["outputs"]))


@pytest.mark.parametrize("who", TRICKS)
def test_no_trick_earns_what_the_wrong_answers_alone_do_not(batch, who):
    plain, tricky = (float(batch.rows[one]["points"]) for one in ("nothing", who))
    assert tricky <= plain < 5


def test_what_is_kept_of_a_loud_notebook_is_short(batch):
    assert len(json.dumps(batch.graded("loud"))) < 10**6


def test_files_that_cannot_be_graded_are_listed_without_points_and_with_the_reason(batch):
    for who, why in batch.refused.items():
        row = batch.rows[who]
        assert row["points"] == ""
        assert row["status"].startswith(f"not graded: {why}"), row


def test_what_was_handed_in_is_as_it_was(batch):
    assert batch.unchanged


def test_the_batch_takes_no_longer_than_its_slowest_and_its_share(batch):
    assert batch.seconds < 3 * LIMIT + 10 * len(batch.made)


def test_a_process_that_outlives_its_cell_ends_with_its_box(batch):
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if "600.25" in line]


def test_feedback_names_no_seed_and_no_other_student(batch):
    assert "(hidden),(hidden),(hidden)" in batch.feedback("harmless")
    assert not [who for who in [*ENDS, *TRICKS] if f">{who}<" in batch.feedback("honest")]


def test_feedback_says_what_the_judge_says(batch):
    assert f"{BOUND}: 3 of 3 points" in batch.feedback("honest")


def test_nothing_was_written_beside_the_books(batch):
    assert {path.name for path in batch.folder.iterdir()} == {
        "handed in", "grades.csv", "grades-book"
    }  # fmt: skip


def test_the_table_can_be_shown_again_and_stays_as_it_is(batch):
    first = batch.grades.read_text()
    assert "honest" in classroom("table", batch.grades)
    assert batch.grades.read_text() == first
