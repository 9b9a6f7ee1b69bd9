"""A copy of the project to start from, and a stand-in for the NVIDIA driver."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from launching import copy_project


@pytest.fixture
def clone(tmp_path):
    """The project's files in a folder whose name has a space and a letter outside ASCII."""
    folder = tmp_path / "fresh clone é"
    copy_project(folder)
    return folder


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """A folder with a libcuda.so.1 that knows of no device, or of one: see stub_driver.c."""
    if sys.platform != "linux" or not shutil.which("gcc"):
        pytest.skip("the stand-in for the driver needs Linux and gcc (Debian: gcc libc6-dev)")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("stub_driver.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "libcuda.so.1", source], check=True)
    return folder
