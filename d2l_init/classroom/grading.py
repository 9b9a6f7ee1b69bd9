"""A folder of notebooks in, grades out: each is run in the box, judged, and booked by nbgrader."""

from __future__ import annotations

import csv
import ctypes
import fcntl
import hashlib
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import nbformat
from nbformat import v4
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde
from nbgrader.preprocessors import SaveAutoGrades
from nbgrader.utils import capture_log

from . import box
from .parcel import Ran
from .release import assign, course, solutions
from .submissions import HandedIn, handed_in, identified, read, restored
from .tasks import TASKS

COLUMNS = ("student", "file", "points", "of", "status")
NOT = "not graded: "
Row = dict[str, str]


def grade(folder: Path, to: Path, workers: int | None = None, seconds: float = 120) -> str:
    """Grades every notebook of a folder into the table ``to``; the table as text.

    The books are kept beside it, in a folder of their own. What stands in them is not run again,
    what could not be graded is tried again: a run that was stopped goes on where it was.

    Raises FileNotFoundError without the folder, ValueError where no box can be built or the table
    would lie in the folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder must be one of notebooks, got {str(folder)!r}")
    if folder.resolve() in to.resolve().parents:
        raise ValueError(f"the table must lie outside what was handed in, got {str(to)!r}")
    box.require()
    limits = box.Limits(seconds=seconds)
    files = handed_in(folder, list(solutions()))
    with _opened(to) as book:
        for name in sorted({one.assignment for one in files if not one.why}):
            if not (book / "done" / name).exists():
                assign(course(book), name)
                (book / "done" / name).mkdir(parents=True)
        why = {}
        for one, reason in _graded(book, files, workers, limits):
            why[one.file] = reason
            said = f"{NOT}{reason}" if reason else "graded"
            print(f"{len(why)} of {len(files)}: {one.file} {said}", file=sys.stderr, flush=True)
        rows = [_row(book, one, why[one.file]) for one in files]
        return _written(to, rows)


def table(grades: Path) -> str:
    """The table ``grades`` as text, with what a teacher has booked since it was made.

    Raises FileNotFoundError without such a file.
    """
    with open(grades, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with _opened(grades) as book:
        for row in rows:
            if not row["status"].startswith(NOT):
                row.update(
                    _row(book, identified(Path(row["file"]), row["file"], list(solutions())), "")
                )
        return _written(grades, rows)


@contextmanager
def _opened(table: Path) -> Iterator[Path]:
    """The folder of the books that belong to a table, for one run at a time."""
    book = table.resolve().with_name(f"{table.stem}-book")
    book.mkdir(parents=True, exist_ok=True)
    with open(book / "secret", "a+", opener=partial(os.open, mode=0o600)) as secret:
        try:
            fcntl.flock(secret, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another run is using {book}: wait until it ends") from None
        secret.seek(0)
        if not secret.read():
            secret.write(token_hex())
            secret.flush()
        yield book


def _graded(
    book: Path, files: Sequence[HandedIn], workers: int | None, limits: box.Limits
) -> Iterator[tuple[HandedIn, str]]:
    """Each file as soon as it is in the books, with why it is not, if so."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, spawn, initializer=_end_with, initargs=(os.getpid(),)
    ) as pool:
        running = {}
        try:
            for one in files:
                try:
                    if one.why:
                        raise box.NotGraded(one.why)
                    if _mark(book, one).is_file() and _mark(book, one).read_text() == _sum(one):
                        yield one, ""
                    else:
                        running[pool.submit(_book, book, one, limits)] = one
                except box.NotGraded as error:
                    yield one, str(error)
            for done in as_completed(running):
                yield running[done], _said(done.exception())
        except BaseException:  # Ctrl-C, too: the boxes end with the workers
            for worker in multiprocessing.active_children():
                worker.kill()
            raise


def _said(error: BaseException | None) -> str:
    known = error is None or isinstance(error, box.NotGraded)
    return str(error or "") if known else f"{type(error).__name__}: {error}"


def _end_with(parent: int) -> None:
    warnings.simplefilter("ignore")  # nbgrader's own, of SQLAlchemy 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


def _mark(book: Path, one: HandedIn) -> Path:
    return book / "done" / one.assignment / one.student


def _sum(one: HandedIn) -> str:
    return hashlib.sha256(read(one.path)).hexdigest()


def _book(book: Path, one: HandedIn, limits: box.Limits) -> None:
    """Runs, judges and books one notebook; raises NotGraded where it cannot be run."""
    name = f"{one.assignment}.ipynb"
    content = read(one.path)
    released: Any = nbformat.read(book / "release" / one.assignment / name, as_version=4)  # type: ignore[no-untyped-call]
    notebook = restored(released, content)
    ran = box.run(notebook, _seeds(book, one, content), limits)

    api = course(book)
    api.coursedir.assignment_id, api.coursedir.student_id = one.assignment, one.student
    submitted = book / "submitted" / one.student / one.assignment
    submitted.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, submitted / name)  # type: ignore[no-untyped-call]
    grader = Autograde(coursedir=api.coursedir, parent=api, force=True)
    grader.autograde_preprocessors = [partial(_show, ran), Book(ran)]
    for done in (capture_log(grader), api.generate_feedback(one.assignment, one.student)):
        if not done["success"]:
            raise RuntimeError(f"nbgrader: {done['log']}")
    _mark(book, one).write_text(hashlib.sha256(content).hexdigest())


def _seeds(book: Path, one: HandedIn, content: bytes) -> str:
    """Three seeds that nobody can know in advance, the same whenever this file is run again."""
    told = f"{(book / 'secret').read_text()} {one.assignment} {one.student} ".encode() + content
    digest = hashlib.sha256(told).digest()
    parts = (int.from_bytes(digest[at : at + 8], "big") for at in (0, 8, 16))
    return ",".join(str(10**8 + part % (2 * 10**9)) for part in parts)


def _show(ran: Ran, notebook: Any, resources: Any) -> tuple[Any, Any]:
    """A preprocessor in the place of nbgrader's execution: what came out of the box."""
    for cell, outputs in zip(notebook.cells, ran.outputs, strict=False):
        if cell.cell_type == "code":
            cell.outputs = [nbformat.from_dict(output) for output in outputs]  # type: ignore[no-untyped-call]
            cell.execution_count = None
    return notebook, resources


class Book(SaveAutoGrades):
    """A preprocessor in the place of nbgrader's: the judges' points, and what they say of them."""

    def __init__(self, ran: Ran) -> None:
        super().__init__()
        self.ran = ran

    def _add_score(self, cell: Any, resources: Any) -> None:
        super()._add_score(cell, resources)  # paragraphs: none, 0 points; any, a teacher's
        if cell.cell_type != "code":
            return
        task = cell.metadata["nbgrader"]["grade_id"]
        judge = TASKS[task]
        answer = self.ran.answers.get(task, "nothing came out of this cell")
        points, said = 0.0, answer
        if not isinstance(answer, str):
            verdict = judge.judge(answer)
            points, said = verdict.points, repr(verdict)
            cell.outputs = []  # the student's process said the same, or should have
        cell.outputs.append(v4.new_output("stream", text=f"{said}\n"))  # type: ignore[no-untyped-call]
        grade = self.gradebook.find_grade(
            task, self.notebook_id, self.assignment_id, self.student_id
        )
        grade.auto_score = points
        grade.needs_manual_grade = grade.manual_score is not None
        self.gradebook.db.commit()


def _row(book: Path, one: HandedIn, why: str) -> Row:
    row = dict(zip(COLUMNS, (one.student, one.file, "", "", f"{NOT}{why}"), strict=True))
    if not why:
        with Gradebook(f"sqlite:///{book}/gradebook.db") as books:
            booked = books.find_submission_notebook(one.assignment, one.assignment, one.student)
            status = "waits for a reader" if booked.needs_manual_grade else "graded"
            row |= {"points": f"{booked.score:g}", "of": f"{booked.max_score:g}", "status": status}
    return row


def _written(to: Path, rows: Sequence[Row]) -> str:
    """Replaces the table in one step; the same as text."""
    new = to.with_name(f".{to.name}.new")
    with open(new, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(new, to)
    lines = [dict(zip(COLUMNS, COLUMNS, strict=True)), *rows]
    wide = {name: max(len(line[name]) for line in lines) for name in COLUMNS}
    return "\n".join("  ".join(f"{line[n]:{wide[n]}}" for n in COLUMNS).rstrip() for line in lines)
