"""What ``python -m d2l_init classroom`` does; nbgrader is loaded by the command that needs it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Adds the classroom's commands to a parser; each is left in ``run``."""
    commands = parser.add_subparsers(required=True, metavar="release | students | grade | table")

    release = commands.add_parser("release", help="write the notebooks that a class gets")
    release.add_argument("--to", type=Path, required=True, metavar="DIR")
    release.set_defaults(
        run=_with("release", lambda module, given: _list(module.release(given.to)))
    )

    students = commands.add_parser("students", help="make notebooks/exercises from the solutions")
    students.set_defaults(run=_with("release", lambda module, given: _list(module.students())))

    grade = commands.add_parser("grade", help="grade a folder of notebooks, in a box")
    grade.add_argument("folder", type=Path, help="as a learning platform exports it; never changed")
    grade.add_argument("--to", type=Path, required=True, metavar="GRADES.csv")
    grade.add_argument("--workers", type=int, default=os.cpu_count(), help="default: all cores")
    grade.add_argument("--seconds", type=float, default=120, help="for one notebook (default: 120)")
    grade.set_defaults(run=_with("grading", _grade))

    table = commands.add_parser("table", help="the grades, after a teacher has read, too")
    table.add_argument("grades", type=Path, metavar="GRADES.csv")
    table.set_defaults(
        run=_with("grading", lambda module, given: print(module.table(given.grades)))
    )


def _with(name: str, run: Callable[[Any, Any], None]) -> Callable[[argparse.Namespace], None]:
    def load_and_run(given: argparse.Namespace) -> None:
        try:
            module = import_module(f"{__package__}.{name}")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] != "nbgrader":
                raise
            command = f'make classroom DO="{" ".join(sys.argv[2:])}"'
            raise ValueError(
                f"nbgrader is missing here; this brings it and goes on: {command}"
            ) from None
        run(module, given)

    return load_and_run


def _list(paths: list[Path]) -> None:
    print("\n".join(map(str, paths)) or "nothing has changed")


def _grade(module: Any, given: argparse.Namespace) -> None:
    print(module.grade(given.folder, given.to, given.workers, given.seconds))
