"""The machine that chapters run on: here, recording them.

Only the standard library is imported with this module, so that it can speak where the rest can't.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_CELL_SECONDS = 120


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
    chapters = sorted(Path("notebooks").glob("*.ipynb")) if paths is None else map(Path, paths)
    notebooks = list(chapters)
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
        kernel_name=_KERNEL["name"],
        timeout=_CELL_SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.reset_execution_trackers()
    with _private_folder() as folder:
        manager = client.create_kernel_manager()
        manager.transport, manager.ip = "ipc", f"{folder}/kernel"  # no port for others to listen to
        with client.setup_kernel():
            # cell by cell: client.execute() would answer signals in our place
            for index, cell in enumerate(notebook.cells):
                try:
                    client.execute_cell(cell, index, client.code_cells_executed + 1)
                except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                    message = f"{path}: cell {index + 1} did not run: {_reason(error)}"
                    raise RecordError(message) from error


def _reason(error: Exception) -> str:
    name, value = getattr(error, "ename", ""), getattr(error, "evalue", "")
    return f"{name}: {value}" if name else f"{type(error).__name__}: {error}".split("\n")[0]


@contextmanager
def _private_folder() -> Iterator[str]:
    """A folder for one kernel, whose IPython profile is empty: no start-up file must leak in."""
    before = os.environ.get("IPYTHONDIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IPYTHONDIR"] = folder
        try:
            yield folder
        finally:
            os.environ.pop("IPYTHONDIR")
            if before is not None:
                os.environ["IPYTHONDIR"] = before


def _normalize(notebook: Any) -> None:
    notebook.metadata = {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells, 1):
        cell.metadata.pop("execution", None)
        cell.setdefault("id", f"cell-{number:03d}")
        cell.source = cell.source.strip("\n")
        for output in cell.get("outputs", []):
            output.pop("transient", None)
        if "outputs" in cell:
            cell.outputs = _merged(cell.outputs)


def _merged(outputs: list[Any]) -> list[Any]:
    """Pieces of one stream joined: how they are cut depends on timing."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output.get("output_type") == "stream" and last.get("name") == output.get("name"):
            last["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def _replace(path: Path, text: str) -> bool:
    """Write a file in one step, unless it holds this text already."""
    if path.read_text(encoding="utf-8") == text:
        return False
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, path.stat().st_mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return True
