"""What `make book`, `make pdf` and `make slides` make, each in a folder of its own."""

import fcntl
import re
import subprocess
import time

import nbformat
from launching import ROOT

CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def make(target, folder):
    """Seconds that it took, without the installation; one at a time, since all install at first."""
    (ROOT / ".tools").mkdir(exist_ok=True)
    with (ROOT / ".tools" / "book.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = time.monotonic()
        ran = subprocess.run(
            ["make", "--silent", target, f"BUILD={folder}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        seconds = time.monotonic() - started
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return seconds if "Installing" not in ran.stderr else 0.0


def captions(path):
    """The first sentence of each caption that ``show`` put beneath a figure of the notebook."""
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    outputs = [output.get("data", {}) for cell in cells for output in cell.outputs]
    words = [data["text/plain"] for data in outputs if "text/markdown" in data]
    return [re.match(r".+?[.?!](?=\s|$)", text, re.S)[0] for text in words]
