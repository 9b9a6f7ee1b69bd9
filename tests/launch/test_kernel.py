"""The kernel: installed, listed, run on, installed again, removed without a trace."""

import json
import os
import subprocess
import sys

import pytest


def kernel(*words, data):
    """The command line, with a Jupyter folder for the user that is the test's own."""
    env = os.environ | {"JUPYTER_DATA_DIR": str(data), "HOME": str(data)}
    command = [sys.executable, "-m", "d2l_init", "kernel", *words]
    return subprocess.run(command, capture_output=True, text=True, env=env)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_for_the_user_it_is_installed_listed_and_removed(tmp_path):
    first = kernel("install", "--user", data=tmp_path)
    assert first.returncode == 0, first.stderr
    spec = tmp_path / "kernels" / "d2l-init" / "kernel.json"
    told = json.loads(spec.read_text())
    assert told["argv"][0] == sys.executable
    assert told["metadata"]["d2l_init"]["prefix"] == sys.prefix
    assert "d2l-init (" in kernel("list", data=tmp_path).stdout
    before = spec.read_bytes()
    kernel("install", "--user", data=tmp_path)
    assert spec.read_bytes() == before
    assert kernel("remove", data=tmp_path).returncode == 0
    assert kernel("list", data=tmp_path).stdout.strip() == "none"
    assert files(tmp_path / "kernels") == []


def test_below_a_prefix_it_lies_where_an_environment_keeps_kernels(tmp_path):
    place = tmp_path / "env é"
    assert kernel("install", "--prefix", str(place), "--name", "gpu", data=tmp_path).returncode == 0
    assert (place / "share" / "jupyter" / "kernels" / "gpu" / "kernel.json").is_file()


@pytest.mark.parametrize("gone", ["python", "environment"])
def test_one_whose_python_is_gone_is_named_with_a_command_that_removes_it(tmp_path, gone):
    kernel("install", "--user", "--name", "well", data=tmp_path)
    kernel("install", "--user", "--name", "dead", data=tmp_path)
    file = tmp_path / "kernels" / "dead" / "kernel.json"
    spec = json.loads(file.read_text())
    if gone == "python":
        spec["argv"][0] = str(tmp_path / "env/bin/python")
    else:
        spec["metadata"]["d2l_init"]["prefix"] = str(tmp_path / "env")
    file.write_text(json.dumps(spec))
    assert f"({file.parent}): its Python is gone\n" in kernel("list", data=tmp_path).stdout
    env = os.environ | {"JUPYTER_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)}
    doctor = [sys.executable, "-m", "d2l_init", "doctor", "--json"]
    ran = subprocess.run(doctor, capture_output=True, text=True, env=env)
    assert ran.returncode == 1
    chapters, kernels = json.loads(ran.stdout)["findings"][-2:]
    assert chapters["ok"], chapters
    assert "the Python of dead is gone" in kernels["found"]
    subprocess.run(kernels["fix"], shell=True, check=True, env=env, cwd=tmp_path)
    assert os.listdir(tmp_path / "kernels") == ["well"]


@pytest.mark.parametrize("name", ["conda_d2l", "With Space", "../up"])
def test_names_that_a_platform_keeps_or_jupyter_refuses_are_refused(tmp_path, name):
    ran = kernel("install", "--user", "--name", name, data=tmp_path)
    assert ran.returncode == 1
    assert "name must be made of" in ran.stderr
    assert repr(name) in ran.stderr
    assert not (tmp_path / "kernels").exists()


def test_a_kernel_that_is_not_ours_is_not_removed(tmp_path):
    other = tmp_path / "kernels" / "theirs"
    other.mkdir(parents=True)
    spec = {"argv": ["python"], "display_name": "Theirs", "language": "python"}
    (other / "kernel.json").write_text(json.dumps(spec))
    ran = kernel("remove", "--name", "theirs", data=tmp_path)
    assert ran.returncode == 1
    assert "name must be a kernel of ours (none), got 'theirs'" in ran.stderr
    assert (other / "kernel.json").exists()
