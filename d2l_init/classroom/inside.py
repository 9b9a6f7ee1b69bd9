"""Runs a notebook inside the box: a JSON order on stdin, a zip of what came of it on stdout.

Nothing here is trusted by the grader: a student's code can do all that this process can.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

KEPT = ("output_type", "name", "text", "data", "ename", "evalue", "traceback")
ANSWERS = Path("/tmp/answers")


def confine(order: dict[str, Any]) -> None:
    """Gives up what this process still could do; none of it can be taken back."""
    Path("/proc/self/oom_score_adj").write_text("1000")  # if memory ends, it ends here
    for what, most in order["limits"].items():
        resource.setrlimit(getattr(resource, what), (most, most))
    if user := order["user"]:  # root's processes are not counted: become somebody else
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def run(notebook: Any, seconds: float, most: int) -> str:
    """Executes the notebook in place; why it could not be run to its end, or nothing."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    class Client(NotebookClient):
        room = most  # characters of output that still fit

        def output(self, outs: Any, msg: Any, display_id: Any, cell_index: int) -> Any:
            self.room -= len(str(msg["content"]))
            return super().output(outs, msg, display_id, cell_index) if self.room > 0 else None

    end = time.monotonic() + seconds
    client = Client(
        notebook,
        kernel_name="python3",
        allow_errors=True,
        timeout_func=lambda cell: max(1, int(end - time.monotonic())),
        coalesce_streams=True,
        record_timing=False,
        store_widget_state=False,
    )
    manager = client.create_kernel_manager()
    manager.transport, manager.ip = "ipc", "/tmp/kernel"
    number = 0
    try:
        with client.setup_kernel(cwd="/tmp"):
            for number, cell in enumerate(notebook.cells, 1):
                client.execute_cell(cell, number - 1)
    except CellTimeoutError:
        return f"cell {number} was still running after {seconds:g} seconds"
    except DeadKernelError:
        return f"its Python ended in cell {number}"
    return ""


def main() -> None:
    order = json.load(sys.stdin)
    out, sys.stderr = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(2), "w")  # not the kernel's
    silence = os.open(os.devnull, os.O_RDWR)
    for inherited in (0, 1, 2):
        os.dup2(silence, inherited)
    confine(order)
    import nbformat

    notebook: Any = nbformat.from_dict(order["notebook"])  # type: ignore[no-untyped-call]
    ANSWERS.mkdir()
    os.environ.update(D2L_INIT_ANSWERS=str(ANSWERS), D2L_INIT_SEEDS=order["seeds"])
    why = run(notebook, order["seconds"], order["output"])
    outputs = [
        [{key: output[key] for key in KEPT if key in output} for output in cell.get("outputs", [])]
        for cell in notebook.cells
    ]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as parcel:
        parcel.writestr("ran.json", json.dumps({"why": why, "outputs": outputs}))
        for path in sorted(ANSWERS.glob("*.npz")):
            if path.is_file() and not path.is_symlink():  # a pipe would be waited for
                parcel.write(path, path.name)


if __name__ == "__main__":
    main()
