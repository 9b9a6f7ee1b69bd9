"""The package is typed and tidy: mypy --strict and ruff find nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


FOLDERS = ["d2l_init", "tests", ".ci"]


@pytest.mark.parametrize(
    "tool",
    [["mypy"], ["ruff", "check", *FOLDERS], ["ruff", "format", "--check", *FOLDERS]],
    ids=lambda tool: " ".join(tool[:2]),
)
def test_the_tools_find_nothing(tool):
    command = [sys.executable, "-m", *tool]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
