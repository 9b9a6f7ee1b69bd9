"""MXNet's CUDA build on a machine without a GPU: everything but the driver is real.

A fresh environment from requirements/cu112.txt (3 GB where uv has not fetched it before), a stub
for the driver, and the kernel that a GPU user picks.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from launching import ROOT, UV

# Those with the book's figures; the others run twice already. EVERY_CHAPTER=1 takes them, too.
WHICH = "0*" if os.environ.get("EVERY_CHAPTER") else "0[0-4]*"
CHAPTERS = sorted((ROOT / "notebooks").glob(f"{WHICH}.ipynb"))
pytestmark = pytest.mark.install
FACTS = """import json, sys, mxnet
print(json.dumps([mxnet.__version__, mxnet.runtime.Features().is_enabled("CUDA"),
                  mxnet.context.num_gpus(), sys.prefix]))"""


def run(*command, **options):
    ran = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, cwd=ROOT, **options
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    return ran.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment with the CUDA build, and our kernel installed into it."""
    place = tmp_path_factory.mktemp("cuda") / "env"
    python = place / "bin" / "python"
    run(UV, "venv", "--quiet", "--python", sys.executable, place)
    lock = ROOT / "requirements" / "cu112.txt"
    run(UV, "pip", "sync", "--quiet", "--require-hashes", "--python", python, lock)
    run(UV, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--python", python,
        "-e", ROOT)  # fmt: skip
    run(python, "-m", "d2l_init", "kernel", "install")
    return python


@pytest.fixture(scope="module")
def env(python, driver):
    """As a reader's, with the stub where a driver would be and the environment's kernels known."""
    data = python.parents[1] / "share" / "jupyter"
    return os.environ | {"LD_LIBRARY_PATH": str(driver), "JUPYTER_PATH": str(data)}


def library(python):
    return next(python.parents[1].glob("lib/python3.11/site-packages/mxnet/libmxnet.so"))


def test_the_stub_answers_every_call_that_mxnet_makes(python, driver):
    undefined = run("nm", "-D", "--undefined-only", library(python))
    defined = run("nm", "-D", "--defined-only", driver / "libcuda.so.1")
    asked = set(re.findall(r"\bcu[A-Z]\w+", undefined))
    assert asked
    assert asked <= set(re.findall(r"\bcu[A-Z]\w+", defined))


def test_with_the_kernels_path_every_library_is_found(python, env):
    spec = python.parents[1] / "share" / "jupyter" / "kernels" / "d2l-init" / "kernel.json"
    path = json.loads(spec.read_text())["env"]["LD_LIBRARY_PATH"]
    loader = env | {"LD_LIBRARY_PATH": path.replace("${LD_LIBRARY_PATH}", env["LD_LIBRARY_PATH"])}
    found = run("ldd", library(python), env=loader)
    assert "libcudnn.so.8" in found
    assert "not found" not in found


def wrong(python, env=None):
    command = [python, "-m", "d2l_init", "doctor", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert ran.returncode == 1
    return [one for one in json.loads(ran.stdout)["findings"] if not one["ok"]]


def test_without_a_driver_the_doctor_says_so_and_how_to_get_the_cpu_build(python):
    driver, chapters = wrong(python)
    assert (driver["name"], chapters["name"]) == ("NVIDIA driver", "chapters")
    assert "the NVIDIA driver is missing" in driver["found"]
    assert "pip uninstall -y mxnet-cu112 && " in driver["fix"]
    assert "requirements/cpu.txt" in driver["fix"]


def test_with_a_gpu_that_mxnet_has_no_code_for_the_doctor_says_so(python, env):
    gpu, chapters = wrong(python, env | {"STUB_CAPABILITY": "9.0"})
    assert (gpu["name"], chapters["name"]) == ("NVIDIA GPU", "chapters")
    assert "no code for compute capability 9.0" in gpu["found"]
    assert "pip uninstall -y mxnet-cu112 && " in gpu["fix"]


def test_with_one_the_doctor_is_content(python, env):
    told = run(python, "-m", "d2l_init", "doctor", env=env)
    assert "MXNet 1.9.1, CUDA build, 0 GPUs: they can run" in told


def test_chapters_give_their_recorded_outputs_on_that_kernel(python, env, tmp_path):
    """The first notebook writes down which build its kernel has, for nbval's flags can mislead."""
    facts = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(FACTS)])
    facts.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text=json.dumps(
        ["1.9.1", True, 0, str(python.parents[1])]) + "\n")]  # fmt: skip
    facts.cells[0].execution_count = 1
    nbformat.write(facts, tmp_path / "00-facts.ipynb")
    for chapter in CHAPTERS:
        shutil.copy(chapter, tmp_path)
    sanitize = ROOT / "tests" / "notebooks" / "sanitize.cfg"
    told = run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-c",
        os.devnull, f"--rootdir={tmp_path}", "--nbval", f"--nbval-sanitize-with={sanitize}",
        "--nbval-cell-timeout=240", "--nbval-kernel-name=d2l-init", tmp_path,
        env=env,
    )  # fmt: skip
    cells = sum(
        cell.cell_type == "code" for chapter in CHAPTERS for cell in nbformat.read(chapter, 4).cells
    )
    assert f"{cells + 1} passed" in told
