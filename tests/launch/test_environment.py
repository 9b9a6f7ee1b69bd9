"""environment.yml, read as conda reads it, agrees with the locks."""

import re
import tomllib

import yaml
from launching import ROOT
from rattler import MatchSpec, Version, VersionSpec

ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
CONDA = [one for one in ENVIRONMENT["dependencies"] if isinstance(one, str)]
(PIP,) = [one["pip"] for one in ENVIRONMENT["dependencies"] if isinstance(one, dict)]


def pins(name):
    lock = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ;\\]+)", lock, re.M))


def test_conda_understands_every_dependency():
    names = {MatchSpec(text).name.normalized for text in CONDA}
    assert names >= {"python", "pip"}


def test_its_python_is_the_last_for_which_mxnets_numpy_has_wheels():
    (python,) = [MatchSpec(text) for text in CONDA if text.startswith("python")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "numpy==1.23.5" in project["optional-dependencies"]["course"]
    assert project["requires-python"] == ">=3.11"  # without MXNet
    assert "numpy" in project["dependencies"]
    assert VersionSpec(python.version).matches(Version("3.11.9"))
    assert not VersionSpec(python.version).matches(Version("3.12.1"))


def test_pip_installs_the_cuda_lock_with_hashes_and_nothing_else():
    assert PIP == ["--require-hashes", "-r requirements/cu112.txt"]


def test_both_locks_agree_and_no_one_asks_for_both_builds():
    cpu, cuda = pins("cpu.txt"), pins("cu112.txt")
    assert {n: v for n, v in cuda.items() if n in cpu} == {n: cpu[n] for n in cuda if n in cpu}
    assert "mxnet" in cpu
    assert "mxnet-cu112" not in cpu
    assert "mxnet-cu112" in cuda
    assert "mxnet" not in cuda
