"""Notebooks run from top to bottom and kept with their outputs."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
CELL_SECONDS = 120


class RecordError(RuntimeError):
    """A notebook could not be run to its end; its file is as it was."""


def record(paths: Iterable[str | Path] | None = None) -> list[Path]:
    """Run notebooks from top to bottom, each in a fresh kernel, and keep their outputs.

    Returns the files that changed. Without ``paths`` these are the chapters, ``notebooks/*.ipynb``
    of the current folder. A file is replaced in one step after its last cell has run: if a cell
    or the kernel fails, or the recording is stopped, it stays as it was. Metadata is normalized, so
    that recording twice changes nothing the second time. Progress goes to stderr.

    Raises FileNotFoundError for a path that is no notebook, RecordError where a run fails.
    """
    chapters = Path("notebooks").glob("*.ipynb")
    notebooks = sorted(chapters) if paths is None else [Path(path) for path in paths]
    if not notebooks:
        raise FileNotFoundError("no notebooks in notebooks/: run this in the project's folder")
    for path in notebooks:
        if path.suffix != ".ipynb" or not path.is_file():
            raise FileNotFoundError(f"paths must name notebooks, got {str(path)!r}")
    return [path for path in notebooks if _record_one(path)]


def _record_one(path: Path) -> bool:
    import nbformat

    started = time.monotonic()
    print(f"{path.stem} ...", end=" ", file=sys.stderr, flush=True)
    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    _execute(notebook, path)
    _normalize(notebook)
    changed = _replace(path, nbformat.writes(notebook) + "\n")  # type: ignore[no-untyped-call]
    word = "changed" if changed else "unchanged"
    print(f"{time.monotonic() - started:.1f} s, {word}", file=sys.stderr, flush=True)
    return changed


def _execute(notebook: Any, path: Path) -> None:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    client = NotebookClient(
        notebook,
        kernel_name=KERNEL["name"],
        timeout=CELL_SECONDS,
        record_timing=False,
        coalesce_streams=True,  # how a stream is cut into pieces depends on timing
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.reset_execution_trackers()
    with tempfile.TemporaryDirectory() as folder:
        manager = client.create_kernel_manager()
        manager.transport, manager.ip = "ipc", f"{folder}/kernel"  # no port for others to listen to
        # no start-up file, profile or matplotlibrc of the user's must leak in
        own = {"IPYTHONDIR": folder, "MATPLOTLIBRC": os.devnull}
        with client.setup_kernel(env={**os.environ, **own}):
            # cell by cell: client.execute() would answer signals in our place
            for index, cell in enumerate(notebook.cells):
                try:
                    client.execute_cell(cell, index, client.code_cells_executed + 1)
                except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                    name = getattr(error, "ename", type(error).__name__)
                    reason = f"{name}: {getattr(error, 'evalue', error)}".split("\n")[0]
                    message = f"{path}: cell {index + 1} did not run: {reason}"
                    raise RecordError(message) from error


def _normalize(notebook: Any) -> None:
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells, 1):
        cell.metadata.pop("execution", None)
        cell.setdefault("id", f"cell-{number:03d}")
        cell.source = cell.source.strip("\n")


def _replace(path: Path, text: str) -> bool:
    """Whether the file was replaced, in one step; one that holds this text already is not."""
    if path.read_text(encoding="utf-8") == text:
        return False
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as folder:
        new = Path(folder, path.name)
        new.write_text(text, encoding="utf-8")
        shutil.copymode(path, new)
        os.replace(new, path)
    return True
