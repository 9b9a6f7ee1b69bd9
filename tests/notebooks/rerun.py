"""Run notebooks as a reader's kernel would, and see what came out: text only, pictures apart."""

import os
import re
import tempfile
from configparser import ConfigParser
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient

HERE = Path(__file__).parent


def sanitized(text: str) -> str:
    """The text as nbval compares it."""
    rules = ConfigParser(interpolation=None)
    rules.read(HERE / "sanitize.cfg")
    for name in rules.sections():
        text = re.sub(rules[name]["regex"], rules[name]["replace"], text, flags=re.M)
    return text


def texts(notebook) -> list[list[str]]:
    """What each code cell printed, sanitized, one list of texts a cell."""
    return [
        [
            sanitized(text)
            for output in cell.outputs
            for text in [output.get("text", ""), *_textual(output.get("data", {}))]
            if text
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def _textual(data: dict) -> list[str]:
    return [text for kind, text in sorted(data.items()) if kind.startswith("text/")]


def run(path: Path, **environment: str):
    """Run a chapter in a fresh kernel; returns the notebook and the kernel's peak memory in MB."""
    notebook = nbformat.read(path, 4)
    client = NotebookClient(notebook, timeout=120, kernel_name="python3")
    client.resources = {"metadata": {"path": str(path.parent)}}
    with tempfile.TemporaryDirectory() as folder:
        manager = client.create_kernel_manager()
        manager.transport, manager.ip = "ipc", f"{folder}/kernel"
        peaks: list[float] = []
        client.on_cell_executed = lambda **_: peaks.append(peak(manager.provisioner.pid))
        own = {"IPYTHONDIR": folder, "MATPLOTLIBRC": os.devnull}
        client.execute(env={**os.environ, **own, **environment})
    return notebook, max(peaks)


def peak(pid: int) -> float:
    """The most memory that this process has had, in MB (elsewhere than on Linux: has now)."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024
    return psutil.Process(pid).memory_info().rss / 2**20
