"""The doctor names what is wrong in the words that users meet, and the command that fixes it."""

import ast
import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from launching import ROOT
from nbclient.exceptions import CellExecutionError
from notebooks.rerun import run

from d2l_init.machine.doctor import (
    CUDA_LIBRARIES,
    DRIVER,
    Machine,
    UnfitError,
    doctor,
    examine,
    seen_gpus,
)

START = ROOT / "notebooks" / "00-start-here.ipynb"
RUNS = '["1.9.1", false, 0]'
CPU = Machine(
    system="Linux",
    processor="x86_64",
    python=(3, 11),
    versions={"mxnet": "1.9.1", "numpy": "1.23.5", "d2l": "1.0.3"},
    missing=frozenset({*CUDA_LIBRARIES, DRIVER}),
    wheels=frozenset(),
    driver=(),
    gpus={},
    imports=RUNS,
    kernels={},
    dead=[],
)
CUDA = replace(
    CPU,
    versions={"mxnet-cu112": "1.9.1", "numpy": "1.23.5"},
    missing=frozenset(),
    driver=(535, 104, 5),
    gpus={"Tesla T4": "7.5"},
    imports='["1.9.1", true, 1]',
)
BROKEN = {
    "mxnet absent": (
        replace(CPU, versions={"numpy": "1.23.5"}, imports="No module named 'mxnet'"),
        "MXNet", "No module named 'mxnet'", "requirements/cpu.txt",
    ),
    "both wheels": (
        replace(CPU, versions={**CPU.versions, "mxnet-cu112": "1.9.1"}, missing=frozenset()),
        "MXNet", "installed over each other", "pip uninstall -y mxnet mxnet-cu112 && ",
    ),
    "numpy too new": (
        replace(CPU, versions={**CPU.versions, "numpy": "1.26.4"}, imports="AttributeError: bool"),
        "NumPy", "module 'numpy' has no attribute 'bool'", "pip install numpy==1.23.5",
    ),
    "numpy 2": (
        replace(CPU, versions={**CPU.versions, "numpy": "2.3.1"}, imports="AttributeError: bool"),
        "NumPy", "2.3.1", "pip install numpy==1.23.5",
    ),
    "python 3.12": (
        replace(CPU, python=(3, 12), imports="No module named 'mxnet'"),
        "Python", "3.12: MXNet 1.9.1 needs NumPy 1.23", f"make -C {shlex.quote(str(ROOT))} lab",
    ),
    "a CUDA library missing": (
        replace(CUDA, missing=frozenset({"libcudart.so.11.0"}), imports="OSError"),
        "libcudart.so.11.0", "OSError: libcudart.so.11.0: cannot open shared object file",
        "requirements/cu112.txt",
    ),
    "cudnn of another version": (
        replace(CUDA, missing=frozenset({"libcudnn.so.8"}), imports="OSError",
                wheels=frozenset({"libcudnn.so.9"})),
        "libcudnn.so.8", "libcudnn.so.9 is there, another version", "requirements/cu112.txt",
    ),
    "driver missing": (
        replace(CUDA, missing=frozenset({DRIVER}), driver=(), imports="OSError: libcuda.so.1"),
        "NVIDIA driver", "the NVIDIA driver is missing",
        "pip uninstall -y mxnet-cu112 && ",
    ),
    "driver too old": (
        replace(CUDA, driver=(450, 80, 2)),
        "NVIDIA driver", "450.80.2: CUDA 11.2 needs 460.27 or newer", "update the driver",
    ),
    "a GPU too new": (
        replace(CUDA, gpus={"Tesla T4": "7.5", "NVIDIA H100": "9.0"}, imports="no kernel image"),
        "NVIDIA GPU", "NVIDIA H100 (9.0): MXNet 1.9.1 has no code for compute capability 9.0",
        "pip uninstall -y mxnet-cu112 && ",
    ),
    "d2l absent beside the CUDA build": (
        replace(CUDA, imports="No module named 'd2l'"),
        "chapters", "No module named 'd2l'", "requirements/cu112.txt",
    ),
    "a kernel's Python gone": (
        replace(CPU, kernels={"new": "/kernels/new", "old": "/kernels/old"}, dead=["old"]),
        "kernels", "(/kernels/old): the Python of old is gone", "kernel remove --name old",
    ),
    "libgomp missing": (
        replace(CPU, missing=CPU.missing | {"libgomp.so.1"}, imports="OSError: libgomp.so.1"),
        "system libraries", "libgomp.so.1", "apt-get install -y libgomp1",
    ),
    "libquadmath missing": (
        replace(CPU, missing=CPU.missing | {"libquadmath.so.0"}, imports="OSError"),
        "system libraries", "libquadmath.so.0", "apt-get install -y libquadmath0",
    ),
    "Windows": (
        replace(CPU, system="Windows", imports="No module named 'mxnet'"),
        "platform", "Windows on x86_64: MXNet 1.9.1 has no wheel", "wsl --install",
    ),
    "Apple's own processor": (
        replace(CPU, system="Darwin", processor="aarch64", imports="No module named 'mxnet'"),
        "platform", "Darwin on aarch64: MXNet 1.9.1 has no wheel", "linux/amd64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("trouble", BROKEN)
def test_each_trouble_is_named_with_its_fix(trouble):
    machine, name, found, fix = BROKEN[trouble]
    report = examine(machine)
    (finding,) = [one for one in report.findings if one.name == name]
    assert not finding.ok
    assert found in finding.found
    assert fix in finding.fix
    assert not report.ok


@pytest.mark.parametrize("numpy", [{}, {"numpy": "2.3.1"}])
def test_without_mxnet_nothing_is_said_in_its_name(numpy):
    told = str(examine(replace(CPU, versions=numpy, imports="No module named 'mxnet'")))
    assert "'bool'" not in told
    assert "MXNet 1.9.1 needs NumPy 1.23" in told


def test_in_a_wrong_python_the_one_way_out_is_another():
    report = examine(BROKEN["python 3.12"][0])
    wrong = [one for one in report.findings if not one.ok]
    assert [one.name for one in wrong] == ["Python", "chapters"]


@pytest.mark.parametrize(("pip", "as_it_is"), [([], False), (["23.2.1"], False), (["24.0"], True)])
def test_packages_come_by_this_pythons_pip_whatever_the_folder(monkeypatch, pip, as_it_is):
    found = [SimpleNamespace(version=version) for version in pip]
    monkeypatch.setattr("importlib.metadata.distributions", lambda name: found)
    (mxnet,) = [one for one in examine(BROKEN["mxnet absent"][0]).findings if one.name == "MXNet"]
    *first, last = mxnet.fix.split(" && ")
    assert (first == []) == as_it_is
    *install, lock = shlex.split(last)
    assert install == [sys.executable, "-m", "pip", "install", "--require-hashes", "-r"]
    assert Path(lock).is_absolute()
    assert Path(lock).is_file()


def test_python_3_9_can_ask():
    for path in [*ROOT.glob("d2l_init/machine/*.py"), ROOT / "d2l_init/__main__.py"]:
        text = path.read_text()
        ast.parse(text, feature_version=(3, 9))
        assert " | None" not in text or "from __future__ import annotations" in text, path


@pytest.mark.parametrize(
    ("capability", "ok"), [("9.0", False), ("8.9", True), ("7.5", True), ("3.7", False)]
)
def test_the_driver_is_asked_which_gpu_it_has(driver, monkeypatch, capability, ok):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(driver))
    assert seen_gpus() == {}
    monkeypatch.setenv("STUB_CAPABILITY", capability)
    assert seen_gpus() == {"Stub 0": capability}
    found = {one.name: one for one in examine(replace(CUDA, gpus=seen_gpus())).findings}
    assert found["NVIDIA GPU"].ok == ok
    assert examine(replace(CPU, gpus=seen_gpus())).ok


@pytest.mark.parametrize(
    "machine",
    [
        CPU,
        CUDA,
        replace(CUDA, gpus={}, imports='["1.9.1", true, 0]'),
        replace(CPU, processor="aarch64"),
        replace(CPU, system="Darwin"),
    ],
)
def test_a_machine_on_which_chapters_run_is_well(machine):
    assert examine(machine).ok


def test_the_verdict_is_the_same_line_wherever_chapters_run():
    a_kernel_gone = BROKEN["a kernel's Python gone"][0]
    lines = {examine(machine).verdict() for machine in (CPU, CUDA, a_kernel_gone)}
    assert lines == {"The chapters can run here."}


def test_where_they_cannot_the_verdict_is_what_is_wrong_and_nothing_else():
    with pytest.raises(UnfitError) as caught:
        examine(BROKEN["numpy too new"][0]).verdict()
    told = str(caught.value)
    assert "module 'numpy' has no attribute 'bool'" in told
    assert "pip install numpy==1.23.5" in told
    assert "ok   " not in told


def test_the_first_wrong_finding_is_a_cause_and_the_last_sends_the_reader_there():
    wrong = [one for one in examine(BROKEN["driver missing"][0]).findings if not one.ok]
    assert [one.name for one in wrong] == ["NVIDIA driver", "chapters"]
    assert "above" in wrong[1].fix


def run_doctor(*options, **environment):
    command = [sys.executable, "-m", "d2l_init", "doctor", *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment or None)


def test_here_the_chapters_can_run():
    ran = run_doctor()
    assert ran.returncode == 0, ran.stdout
    assert "MXNet 1.9.1, CPU build" in ran.stdout
    report = json.loads(run_doctor("--json").stdout)
    assert report["ok"]
    assert {"name", "ok", "found", "fix"} == set(report["findings"][0])


def test_a_numpy_that_mxnet_cannot_bear_is_noticed_for_real(tmp_path, monkeypatch):
    (tmp_path / "mxnet.py").write_text("import numpy\nnumpy.boool\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    report = doctor()
    (chapters,) = [one for one in report.findings if one.name == "chapters"]
    assert "has no attribute 'boool'" in chapters.found
    assert not report.ok


def test_a_crash_while_importing_does_not_take_the_doctor_down(tmp_path, monkeypatch):
    (tmp_path / "mxnet.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (chapters,) = [one for one in doctor().findings if one.name == "chapters"]
    assert not chapters.ok


@pytest.mark.parametrize("module", ["mxnet", "d2l"])
def test_the_start_page_says_what_is_wrong_without_a_traceback_and_stops(module, tmp_path):
    (tmp_path / f"{module}.py").write_text("raise ImportError('this one is broken')\n")
    with pytest.raises(CellExecutionError) as caught:
        run(START, PYTHONPATH=str(tmp_path))
    cell, told = caught.value.traceback.split("------------------\n")[-2:]
    assert "doctor()" in cell  # the first, and no later one
    assert told.strip().startswith("The chapters can't run here.")
    assert "this one is broken" in told
    assert "fix: " in told
    assert "Traceback" not in told
    assert "File " not in told


def test_the_start_page_can_speak_in_a_python_without_our_package():
    source = next(c.source for c in nbformat.read(START, 4).cells if c.cell_type == "code")
    bare = Path(sys.base_prefix, "bin", "python3")
    ran = subprocess.run([bare, "-c", source], cwd=START.parent, capture_output=True, text=True)
    assert "UnfitError: The chapters can't run here." in ran.stderr
    assert "not installed: No module named 'mxnet'" in ran.stderr
