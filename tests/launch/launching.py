"""JupyterLab as `make lab` starts it, and what a clone of the project holds."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil

ROOT = Path(__file__).parents[2]
CHAPTERS = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
UV = shutil.which("uv") or str(ROOT / ".tools" / "uv" / "bin" / "uv")  # as .ci/ready.sh finds it
PATIENCE = 300  # seconds; with an installation before it, on a slow machine


def tracked():
    """The files of the project, as a clone has them (new ones that git would take included)."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in names.split("\0") if name and (ROOT / name).is_file()]


def copy_project(folder):
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)


class Lab:
    """A JupyterLab that answers; its address and token stand in what it printed."""

    def __init__(self, process, log):
        self.process, self.log, self.start = process, log, time.monotonic()
        match = self.wait_for(r"(http://127\.0\.0\.1:(\d+)/)(\S*)\?token=(\w+)")
        self.url, self.port, self.page, self.token = match[1], int(match[2]), match[3], match[4]
        self.wait_until_it_answers()
        self.seconds = time.monotonic() - self.start

    def wait_for(self, pattern):
        while time.monotonic() - self.start < PATIENCE and self.process.poll() is None:
            if match := re.search(pattern, self.log.read_text()):
                return match
            time.sleep(0.1)
        raise AssertionError(f"no address within {PATIENCE} s:\n{self.log.read_text()}")

    def wait_until_it_answers(self):
        """The address is printed a moment before the server listens."""
        while True:
            try:
                return self.get("api/status")
            except URLError:
                late = time.monotonic() - self.start > PATIENCE
                if late or self.process.poll() is not None:
                    raise AssertionError(f"no answer:\n{self.log.read_text()}") from None
                time.sleep(0.1)

    def get(self, path, token=None):
        headers = {"Authorization": f"token {token or self.token}"}
        with urlopen(Request(self.url + path, headers=headers), timeout=30) as answer:
            return json.load(answer)

    def names(self, folder):
        return {entry["name"] for entry in self.get(f"api/contents/{folder}")["content"]}

    def listening(self):
        (server,) = psutil.Process(
            self.process.pid
        ).children()  # make's own; its helpers come and go
        found = server.net_connections("inet")
        return {link.laddr.ip for link in found if link.status == psutil.CONN_LISTEN}


def make_lab(folder, env, log, *variables):
    """A context with a Lab that `make lab` in this folder started."""
    return started(["make", "lab", *variables], folder, env, log)


@contextmanager
def started(command, folder, env, log):
    """Yields the Lab that a command starts in this folder, and ends it."""
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=env | {"BROWSER": "true"},
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        yield Lab(process, log)
    finally:
        stop(process)


def stop(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)
