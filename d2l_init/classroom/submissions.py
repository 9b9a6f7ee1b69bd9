"""A folder of files as a learning platform exports it: whose they are, and what they answer."""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nbformat import v4

from .box import NotGraded

LARGEST = 20 * 2**20  # bytes of a file, most of them outputs
LONGEST = 200_000  # characters of all its cells
CELLS = 500
STUDENT = re.compile(r"\w[\w .,'@-]*")


@dataclass(frozen=True)
class HandedIn:
    """One file; ``why`` says why it cannot be graded."""

    file: str
    path: Path
    student: str = ""
    assignment: str = ""
    why: str = ""


def handed_in(folder: Path, assignments: Collection[str]) -> list[HandedIn]:
    """Everything that lies in a folder and those below it, in alphabetical order.

    A file belongs to whom its name names first, up to the first "_", or that of its folder; a
    folder of the exercise's name, as nbgrader makes them, is nobody's.
    """
    found = []
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            found.append(identified(path, str(path.relative_to(folder)), assignments))
    times = Counter((one.student, one.assignment) for one in found)
    twice = "one of several files of this student for this exercise: keep the one that counts"
    return sorted(
        (
            replace(one, why=twice)
            if times[one.student, one.assignment] > 1 and not one.why
            else one
            for one in found
        ),
        key=lambda one: one.file,
    )


def identified(path: Path, name: str, assignments: Collection[str]) -> HandedIn:
    """Whose the file ``name`` is, and for which exercise."""
    shown = "".join(char if char.isprintable() else "?" for char in name)
    form = rf"([^_]+)_(?:.*_)?({'|'.join(assignments)})( ?\(\d+\)|-\d+)?\.ipynb"
    *folders, base = Path(name).parts
    above = ["", *(folder for folder in folders if folder not in assignments)][-1]
    named = re.fullmatch(form, f"{above}_{base}" if base[:-6] in assignments else base, re.DOTALL)
    if not named:
        return HandedIn(shown, path, why="its name is not of the form student_02-….ipynb")
    if not STUDENT.fullmatch(named[1]):
        return HandedIn(shown, path, why="the student's name in it has signs that a path may not")
    return HandedIn(shown, path, named[1].strip(), named[2])


def read(path: Path) -> bytes:
    """The content of a file; raises NotGraded for what is no file, empty or huge."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise NotGraded("it is no ordinary file")
            if not 0 < status.st_size <= LARGEST:
                raise NotGraded("it is empty" if not status.st_size else "it is larger than 20 MB")
            return file.read(LARGEST)
    except OSError as error:
        link = path.is_symlink()
        raise NotGraded(
            "it is a link" if link else f"it cannot be read: {error.strerror}"
        ) from None


def restored(release: Any, content: bytes) -> Any:
    """The notebook that was released, with a student's answers, and own cells where they stood.

    All else is as it was released, whatever was deleted, edited or copied. Raises NotGraded for
    what is no notebook.
    """
    place = {cell.id: number for number, cell in enumerate(release.cells)}
    place |= {_grade_id(cell): number for number, cell in enumerate(release.cells)}
    answers: dict[int, str] = {}
    own: dict[int, list[Any]] = {}
    here = -1
    for grade_id, cell_id, kind, source in _cells(content):
        known = place.get(grade_id or cell_id)
        if known is None:
            new = v4.new_code_cell if kind == "code" else v4.new_markdown_cell
            own.setdefault(here, []).append(new(source))  # type: ignore[no-untyped-call]
        else:
            here = known
            if source != release.cells[known].source:
                answers[known] = source  # of several copies the last that says anything
    cells = own.get(-1, [])
    for number, cell in enumerate(release.cells):
        if number in answers and cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = answers[number]
        cells += [cell, *own.get(number, [])]
    for cell in cells:
        if cell.cell_type != "code":  # a teacher's browser reads it: no HTML
            cell.source = re.sub(r"<(?=[a-zA-Z/!?])", "< ", cell.source)
    release.cells = cells
    return release


def _grade_id(cell: Any) -> Any:
    return cell["metadata"].get("nbgrader", {}).get("grade_id")


def _cells(content: bytes) -> list[tuple[Any, Any, str, str]]:
    """Grade id, id, kind and source of each cell, and nothing else of a student's file."""
    try:
        told = json.loads(content)
        if told["nbformat"] != 4:
            old = f"it is a notebook of format {told['nbformat']!s:.10}: save it in JupyterLab"
            raise NotGraded(old)
        cells = [
            (
                str(_grade_id(cell) or ""),
                str(cell.get("id")),
                cell["cell_type"],
                _text(cell["source"]),
            )
            for cell in told["cells"]
        ]
    except NotGraded:
        raise
    except Exception:  # there is no end to what could be wrong
        raise NotGraded("it is no notebook") from None
    if len(cells) > CELLS or sum(len(source) for *_, source in cells) > LONGEST:
        raise NotGraded("its cells are more, or longer, than any exercise needs")
    return cells


def _text(source: Any) -> str:
    joined = source if isinstance(source, str) else "".join(source)
    return joined.encode("utf-8", "replace").decode()  # no half characters
