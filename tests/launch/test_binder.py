"""Binder: the image that repo2docker would build, and its last step run for real."""

import os
import re
import subprocess
import sys

import pytest
from launching import ROOT, UV, copy_project

MOST_MB = 1024  # what mybinder.org guarantees; it ends what takes over 2 GB


@pytest.fixture(scope="module")
def dockerfile():
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


def test_the_image_installs_our_lock_with_python_3_11(dockerfile):
    assert re.search(r"pip install .*-r \"?binder/requirements.txt", dockerfile)
    assert (ROOT / "binder" / "requirements.txt").read_text() == "-r ../requirements/cpu.txt\n"
    assert (ROOT / "binder" / "runtime.txt").read_text().strip() == "python-3.11"
    assert "Building conda environment for python=3.11" in dockerfile


def test_the_image_runs_post_build(dockerfile):
    assert re.search(r"RUN \./binder/postBuild", dockerfile)
    assert os.access(ROOT / "binder" / "postBuild", os.X_OK)


@pytest.mark.install
def test_post_build_leaves_an_environment_in_which_the_start_page_runs(tmp_path):
    project = tmp_path / "home" / "jovyan"
    project.mkdir(parents=True)
    copy_project(project)
    env = tmp_path / "env"
    python = env / "bin" / "python"
    for command in (
        [UV, "venv", "--quiet", "--seed", "--python", sys.executable, env],
        [UV, "pip", "install", "--quiet", "--require-hashes", "--python", python,
         "-r", "binder/requirements.txt"],
    ):  # fmt: skip
        subprocess.run(command, cwd=project, check=True)
    path = {**os.environ, "PATH": f"{env / 'bin'}:{os.environ['PATH']}"}
    ran = subprocess.run(
        ["binder/postBuild"], cwd=project, env=path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "they can run" in ran.stdout
    code = (
        "import sys; sys.path.insert(0, 'tests'); from pathlib import Path; import nbformat;"
        "from notebooks.rerun import run, texts;"
        "path = Path('notebooks/00-start-here.ipynb'); done, peak = run(path);"
        "assert texts(done) == texts(nbformat.read(path, 4)); print(peak)"
    )
    ran = subprocess.run(
        [python, "-c", code], cwd=project, env=path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) < MOST_MB
