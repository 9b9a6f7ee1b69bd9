"""The students' notebooks, made from the solutions by nbgrader's own preprocessors."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from posixpath import join, normpath
from typing import Any

import nbformat
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import ClearOutput, ClearSolutions
from traitlets.config import Config

ROOT = Path(__file__).parents[2]
EXERCISES = ROOT / "notebooks" / "exercises"
LINK = re.compile(r"\[([^]]*)\]\(([\w./-]+\.ipynb)\)")
SELF_STUDY = "self-study"  # the tag of cells for readers without a teacher


def solutions() -> dict[str, Path]:
    """The notebooks with solutions, by the name of their assignment, such as ``02-built-in``."""
    return {path.stem: path for path in sorted(EXERCISES.glob("solutions/*.ipynb"))}


def course(folder: Path) -> Any:
    """nbgrader at work in ``folder``, where its gradebook is."""
    os.environ["PATH"] = f"{sys.prefix}/bin:{os.environ['PATH']}"  # it calls alembic by its name
    config = Config()
    config.CourseDirectory.root = str(folder)
    config.LockCells.lock_all_cells = True  # all but the answers
    config.ClearSolutions.code_stub = {"python": "pass  # your code"}
    config.ClearSolutions.text_stub = "*Your answer*"
    return NbGraderAPI(CourseDirectory(config=config), config=config)


def students(folder: Path = EXERCISES) -> list[Path]:
    """Writes what readers get, without answers and outputs; the files that changed."""
    config = course(folder).config
    changed = []
    for name, path in solutions().items():
        notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        for step in (ClearSolutions, ClearOutput):
            notebook, _ = step(config=config).preprocess(notebook, {})
        _link(notebook, lambda to: f"[{to[1]}]({normpath(join('solutions', to[2]))})")
        text = nbformat.writes(notebook) + "\n"  # type: ignore[no-untyped-call]
        target = folder / f"{name}.ipynb"
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
            changed.append(target)
    return changed


def _link(notebook: Any, write: Callable[[re.Match[str]], str]) -> None:
    """Writes links to notebooks anew, which in the solutions lead on from where these lie."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(write, cell.source)


def assign(api: Any, name: str) -> Path:
    """Writes an assignment's release into a course; where it lies.

    Raises ValueError where nbgrader refuses the solutions, with what it said.
    """
    notebook: Any = nbformat.read(solutions()[name], as_version=4)  # type: ignore[no-untyped-call]
    notebook.cells = [
        cell for cell in notebook.cells if SELF_STUDY not in cell.metadata.get("tags", ())
    ]
    _link(notebook, lambda to: to[1])  # the chapters are not where the class will have it
    root = Path(api.coursedir.root)
    source = root / "source" / name / f"{name}.ipynb"
    source.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, source)  # type: ignore[no-untyped-call]
    done = api.generate_assignment(name, force=True)
    if not done["success"]:
        raise ValueError(f"{name} cannot be released: {done['log']}")
    return root / "release" / name / f"{name}.ipynb"


def release(to: Path) -> list[Path]:
    """Writes the notebooks that a teacher gives to the class into the folder ``to``."""
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        api = course(Path(folder))
        return [Path(shutil.copy(assign(api, name), to)) for name in solutions()]
