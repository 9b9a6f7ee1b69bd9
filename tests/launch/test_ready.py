"""The environment is made once, whole, and again when it must be: with a stand-in for uv."""

import os
import shutil
import subprocess

import pytest

UV = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in "$FAIL"*) [ -z "$FAIL" ] || exit 1 ;; esac
case $1 in venv) mkdir -p .venv/bin && cp "$PYTHON" .venv/bin/python ;; esac
"""
PYTHON = """#!/bin/sh
case "$*" in *"$FAIL"*) [ -z "$FAIL" ] || exit 1 ;; esac
"""
ONLY_PIP = """#!/bin/sh
case "$*" in
*"-m venv"*) mkdir -p .tools/uv/bin; echo ensurepip is not available; exit 1 ;;
*--require-hashes*--target*) mkdir -p .tools/uv/bin && cp "$UV" .tools/uv/bin/uv ;;
esac
"""
NEITHER = "#!/bin/sh\nexit 1\n"
TOOLS = ("sh", "bash", "cat", "cp", "git", "id", "make", "mkdir", "rm")
STEPS = ("venv", "pip sync", "pip install", "import mxnet")


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


class Machine:
    """A folder of commands that stand on the PATH, and what uv was called with."""

    def __init__(self, folder, project):
        self.project, self.commands, self.calls = project, folder / "bin", folder / "calls"
        self.commands.mkdir()
        for tool in TOOLS:
            (self.commands / tool).symlink_to(shutil.which(tool))
        self.env = {
            "PATH": str(self.commands), "HOME": str(folder), "CALLS": str(self.calls), "FAIL": "",
            "PYTHON": script(folder / "python", PYTHON), "UV": script(folder / "uv", UV),
        }  # fmt: skip

    def with_uv(self):
        shutil.copy2(self.env["UV"], self.commands / "uv")
        return self

    def run(self, *command, **env):
        self.calls.write_text("")
        env = self.env | env
        return subprocess.run(command, cwd=self.project, env=env, capture_output=True, text=True)

    def start(self, **env):
        return self.run("sh", "-c", '. .ci/ready.sh; echo READY "$HOME ${PYTHONPATH-}"', **env)

    def uv_calls(self):
        return self.calls.read_text().splitlines()


@pytest.fixture
def bare(tmp_path, clone):
    return Machine(tmp_path, clone)


@pytest.fixture
def machine(bare):
    return bare.with_uv()


def test_a_first_start_installs_the_hashed_lock_and_then_the_package_without_a_network(machine):
    assert "READY" in machine.start().stdout
    venv, sync, install = machine.uv_calls()
    assert "3.11" in venv
    assert "--require-hashes" in sync
    assert "requirements/cpu.txt" in sync
    assert {"--offline", "--no-deps", "-e"} <= set(install.split())


def test_a_second_start_does_not_call_uv(machine):
    machine.start()
    assert "READY" in machine.start().stdout
    assert machine.uv_calls() == []


@pytest.mark.parametrize("name", ["requirements/cpu.txt", "pyproject.toml", ".ci/ready.sh"])
def test_a_change_of_what_it_was_made_from_makes_it_again(machine, name):
    machine.start()
    with open(machine.project / name, "a") as file:
        file.write("\n# a change\n")
    assert "READY" in machine.start().stdout
    assert len(machine.uv_calls()) == 3


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_ends_the_start_and_all_is_done_again_next_time(machine, step):
    failed = machine.start(FAIL=step)
    assert failed.returncode != 0
    assert "READY" not in failed.stdout
    assert "READY" in machine.start().stdout
    assert len(machine.uv_calls()) == 3


@pytest.mark.parametrize("shell", ["sh", "bash"])  # they differ in what `set -e` means here
@pytest.mark.parametrize("target", ["lab", "test", "record"])
def test_a_step_that_fails_ends_make_before_its_own_command(machine, target, shell):
    assert machine.run("make", target, f"SHELL={shell}", FAIL="pip install").returncode != 0
    assert machine.uv_calls()[-1].startswith("pip install")
    assert not (machine.project / ".venv/complete").exists()


def test_nothing_of_a_half_made_environment_is_kept(machine):
    leftover = machine.project / ".venv/lib/half.dist-info"
    leftover.mkdir(parents=True)
    machine.start()
    assert not leftover.exists()


def test_an_environment_whose_interpreter_is_gone_is_made_again(machine):
    machine.start()
    (machine.project / ".venv/bin/python").unlink()
    machine.start()
    assert len(machine.uv_calls()) == 3


def test_a_moved_folder_does_not_use_the_environment_of_the_old_place(machine, tmp_path):
    machine.start()
    machine.project = machine.project.rename(tmp_path / "moved")
    machine.start()
    assert len(machine.uv_calls()) == 3


def test_without_uv_and_venv_the_pip_that_is_there_brings_uv(bare):
    script(bare.commands / "python3", ONLY_PIP)
    assert "READY" in bare.start().stdout
    assert len(bare.uv_calls()) == 3


def test_without_uv_venv_and_pip_one_message_names_what_to_install(bare):
    script(bare.commands / "python3", NEITHER)
    failed = bare.start()
    assert failed.returncode != 0
    assert "python3-venv" in failed.stderr
    assert "Install uv" in failed.stderr


def test_without_a_python_3_11_the_message_says_so(machine):
    assert "Install Python 3.11" in machine.start(FAIL="venv").stderr


def test_without_the_system_libraries_of_mxnet_the_message_names_them(machine):
    assert "libgomp1 libquadmath0" in machine.start(FAIL="import mxnet").stderr


def test_a_home_that_cannot_be_written_is_replaced(machine, tmp_path):
    (tmp_path / "a file").touch()
    home = machine.start(HOME=str(tmp_path / "a file/home")).stdout.strip()
    assert home == f"READY {machine.project}/.tools/home"


def test_modules_of_another_project_do_not_come_first(machine):
    assert machine.start(PYTHONPATH=os.sep).stdout.strip() == f"READY {machine.env['HOME']}"
