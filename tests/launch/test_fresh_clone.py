"""A clone in a folder with a difficult name and an empty home: the course opens, tests run."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from launching import CHAPTERS, make_lab

pytestmark = pytest.mark.install
CACHE = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache/uv")  # saves the download
OUTER = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VIRTUAL_ENV", "XDG_CACHE_HOME", "PYTEST_ADDOPTS")


@pytest.fixture
def empty_home(tmp_path):
    (tmp_path / "home").mkdir()
    inherited = {name: value for name, value in os.environ.items() if name not in OUTER}
    return inherited | {"HOME": str(tmp_path / "home"), "UV_CACHE_DIR": CACHE}


def kill_while_it_installs(clone, env):
    process = subprocess.Popen(["make", "lab"], cwd=clone, env=env, start_new_session=True)
    while not list(clone.glob(".venv/lib/python3.11/site-packages/*.dist-info")):
        assert process.poll() is None, "it ended before it had installed anything"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_after_a_killed_installation_the_course_opens_and_tests_run(clone, empty_home, tmp_path):
    kill_while_it_installs(clone, empty_home)
    assert not (clone / ".venv/complete").exists()
    with make_lab(clone, empty_home, tmp_path / "log") as lab:
        assert lab.names("notebooks") >= CHAPTERS
    command = ["make", "test", "TESTS=d2l_init/__init__.py"]  # not this file again
    tested = subprocess.run(command, cwd=clone, env=empty_home, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert " passed" in tested.stdout
