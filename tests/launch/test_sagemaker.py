"""The SageMaker scripts in a folder laid out as the platform's, through stops and without a net."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launching import ROOT, UV, copy_project

README = (ROOT / "sagemaker" / "README.md").read_text()
LIFECYCLE = re.findall(r"^ *(bash /home/(\S+?)/\S*sagemaker/(\S+) .*)$", README, re.M)
SCRIPTS = sorted((ROOT / "sagemaker").glob("*.sh"))
KINDS = ["conda-less", "conda-like"]
CONDA = """#!/bin/sh
# Stands in for conda: makes the environment that `conda create --prefix P python=3.11` would.
while [ "$1" != --prefix ]; do shift; done
exec "{uv}" venv --quiet --seed --python "{python}" "$2"
"""


class Platform:
    """A home in which only one folder persists, and a machine's own PATH."""

    def __init__(self, folder, conda=False):
        self.home = folder / "home" / "ec2-user"
        self.volume = self.home / "SageMaker"
        self.project = self.volume / "d2l_init"  # that of Studio, too: scripts ask where they lie
        self.log = self.volume / ".d2l_init" / "log"
        self.project.mkdir(parents=True)
        copy_project(self.project)
        self.bin = folder / "bin"
        self.bin.mkdir()
        if conda:
            text = CONDA.format(uv=UV, python=sys.executable)
            (self.bin / "conda").write_text(text)
            (self.bin / "conda").chmod(0o755)
        cache = os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv"
        self.env = {
            "HOME": str(self.home),
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "D2L_INIT_BUILD": "cpu",
            "UV_CACHE_DIR": str(cache),
            **{k: v for k, v in os.environ.items() if k.startswith(("PIP_", "UV_", "SSL_"))},
        }

    def run(self, script, **more):
        started = time.monotonic()
        command = ["bash", str(self.project / "sagemaker" / script)]
        ran = subprocess.run(command, env=self.env | more, capture_output=True, text=True)
        return ran, time.monotonic() - started

    def wait_for(self, words, seconds=600):
        for _ in range(seconds * 5):
            told = self.log.read_text() if self.log.exists() else ""
            if words in told or "could not be built" in told:
                break
            time.sleep(0.2)
        assert words in told
        return told

    def stop(self):
        """What a stop of the instance leaves: the volume, and nothing else of the home."""
        for path in self.home.iterdir():
            if path != self.volume:
                shutil.rmtree(path)
        self.log.unlink(missing_ok=True)

    def kernels(self):
        command = [sys.executable, "-m", "jupyter", "kernelspec", "list"]
        return subprocess.run(command, env=self.env, capture_output=True, text=True).stdout

    def execute(self):
        """Runs the start page on the kernel; returns what went wrong."""
        page = self.project / "notebooks" / "00-start-here.ipynb"
        command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--stdout",
                   "--ExecutePreprocessor.kernel_name=d2l-init", str(page)]  # fmt: skip
        ran = subprocess.run(command, env=self.env, capture_output=True, text=True)
        return "" if ran.returncode == 0 and "200704 entries" in ran.stdout else ran.stderr[-2000:]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_clean_and_fits_a_lifecycle_configuration(script):
    assert "set -euo pipefail" in script.read_text()
    assert len(script.read_text()) < 16_384
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck on this machine (Debian: apt-get install shellcheck)")
    ran = subprocess.run(["shellcheck", "-x", script], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_scripts_open_nothing_and_pipe_nothing_into_a_shell():
    text = "".join(path.read_text() for path in SCRIPTS)
    for word in ("curl", "wget", "0.0.0.0", "chmod 777", "conda_", "authorized_keys"):
        assert word not in text


SMI = """#!/bin/sh
case "$*" in *compute_cap*) echo "$TOLD" ;; esac
"""


@pytest.mark.parametrize(
    ("told", "build"),
    [
        ("9.0", "cpu"), ("8.9", "cu112"), ("7.5", "cu112"), ("3.7", "cpu"), ("12.0", "cpu"),
        ("8.0\n8.0", "cu112"), ("7.5\n9.0", "cpu"), ("", "cpu"), ("No devices were found", "cpu"),
        ('Field "compute_cap" is not a valid field to query.', "cpu"),
    ],
)  # fmt: skip
def test_the_cuda_build_is_for_gpus_that_mxnet_has_code_for(tmp_path, told, build):
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "D2L_INIT_VOLUME": str(tmp_path)}
    command = ["bash", "-c", ". sagemaker/common.sh; build"]

    def chosen(**more):
        return subprocess.check_output(command, cwd=ROOT, env=env | more, text=True).strip()

    assert chosen(TOLD=told) == build
    assert chosen(TOLD=told, D2L_INIT_BUILD="cu112") == "cu112"
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert chosen() == "cpu"


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Both kinds of instance after a first start, which build their environments side by side."""
    platforms = {}
    for kind in KINDS:
        platforms[kind] = Platform(tmp_path_factory.mktemp(kind), conda=kind == "conda-like")
        ran, seconds = platforms[kind].run("on-start.sh")
        assert ran.returncode == 0, ran.stderr
        assert seconds < 60
        assert "in the background" in ran.stdout
    return platforms


@pytest.mark.install
@pytest.mark.parametrize("kind", KINDS)
def test_a_notebook_instance_has_its_kernel_after_each_start(started, kind):
    platform = started[kind]
    platform.wait_for("kernel d2l-init is registered")
    assert "d2l-init" in platform.kernels()
    assert platform.execute() == ""

    before = (platform.volume / ".d2l_init" / "env" / "pyvenv.cfg").stat().st_mtime
    platform.log.unlink()
    platform.run("on-start.sh")
    platform.wait_for("kernel d2l-init is registered")
    assert (platform.volume / ".d2l_init" / "env" / "pyvenv.cfg").stat().st_mtime == before

    platform.stop()
    assert "d2l-init" not in platform.kernels()
    ran, seconds = platform.run("on-start.sh")
    assert ran.returncode == 0, ran.stderr
    assert seconds < 60
    assert "kernel d2l-init is registered" in platform.log.read_text()
    assert "d2l-init" in platform.kernels()
    assert platform.execute() == ""


def test_only_a_start_script_is_asked_for():
    """One that runs when an instance is made would find no clone, and keep it from being made."""
    assert [script for _, _, script in LIFECYCLE] == ["on-start.sh", "studio.sh"]
    assert not (ROOT / "sagemaker" / "on-create.sh").exists()


@pytest.mark.parametrize(("command", "user", "script"), LIFECYCLE)
def test_where_no_clone_is_the_machine_starts_nevertheless(tmp_path, command, user, script):
    here = command.replace("/home", str(tmp_path))
    ran = subprocess.run(["bash", "-euc", here], capture_output=True, text=True)
    assert ran.returncode == 0
    assert "No such file" in ran.stderr


@pytest.mark.parametrize(
    ("script", "log"), [("on-start.sh", "SageMaker/.d2l_init/log"), ("studio.sh", ".d2l_init/log")]
)
def test_without_a_network_the_log_says_so_and_the_machine_starts(tmp_path, script, log):
    assert f"`~/{log}`" in README
    platform = Platform(tmp_path)
    platform.log = platform.home / log
    nowhere = "http://127.0.0.1:9"
    lost = {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "empty"), "PIP_NO_CACHE_DIR": "1",
            "https_proxy": nowhere, "http_proxy": nowhere, "PIP_INDEX_URL": f"{nowhere}/simple",
            "PIP_RETRIES": "0", "PIP_FIND_LINKS": ""}  # fmt: skip
    ran, _ = platform.run(script, **lost)
    assert ran.returncode == 0, ran.stderr
    told = platform.wait_for("could not be built", 120)
    assert "is there a network?" in told
    assert "d2l-init" not in platform.kernels()
