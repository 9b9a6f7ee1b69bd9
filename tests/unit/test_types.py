"""The package is typed and tidy: mypy --strict and ruff find nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "tool", [["mypy"], ["ruff", "check"], ["ruff", "format", "--check"]], ids=" ".join
)
def test_the_tools_find_nothing(tool):
    ran = subprocess.run([sys.executable, "-m", *tool, *([] if tool == ["mypy"] else ["d2l_init", "tests", ".ci"])],
                         cwd=ROOT, capture_output=True, text=True)  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
