"""REQUIRE_ALL turns every skip into a failure, wherever it is; tests marked gpu may be skipped."""

import os
import re
import shutil
import subprocess
import sys

from launching import ROOT

SKIPS = {
    "tests/test_mark.py": "import pytest\n@pytest.mark.skip(reason='a reason')\ndef test(): pass\n",
    "tests/test_call.py": "import pytest\ndef test(): pytest.skip('a reason')\n",
    "tests/test_module.py": "import pytest\npytest.skip('a reason', allow_module_level=True)\n",
    "package/a_doctest.py": '"""\n>>> 1  # doctest: +SKIP\n2\n"""\n',
}
ALLOWED = {
    "package/a_module.py": "",
    "tests/test_gpu.py": "import pytest\n@pytest.mark.gpu\ndef test(): pytest.skip('no GPU')\n",
    "tests/test_xfail.py": "import pytest\n@pytest.mark.xfail\ndef test(): assert False\n",
}
BAD = re.compile("(FAILED|ERROR) ")
INI = "[pytest]\naddopts = -p xdist -n1 --doctest-modules -ra\nmarkers = gpu\n"
BARE = {name: value for name, value in os.environ.items() if name != "REQUIRE_ALL"}


def suite(folder, files, **env):
    files = files | {"pytest.ini": INI, "tests/test_passes.py": "def test(): pass"}
    for path, content in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(content)
    shutil.copy(ROOT / "tests/conftest.py", folder / "tests")
    env = BARE | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | env
    command = [sys.executable, "-m", "pytest", "tests", "package"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def test_a_skip_is_a_failure_under_require_all(tmp_path):
    done = suite(tmp_path, SKIPS, REQUIRE_ALL="1")
    assert done.returncode != 0
    named = {line.split()[1].split("::")[0] for line in done.stdout.splitlines() if BAD.match(line)}
    assert named == set(SKIPS), done.stdout


def test_a_skip_passes_otherwise_and_its_reason_is_printed(tmp_path):
    done = suite(tmp_path, SKIPS)
    assert done.returncode == 0
    assert done.stdout.count("a reason") == 3, done.stdout  # doctest gives its own


def test_a_missing_gpu_and_an_expected_failure_pass_under_require_all(tmp_path):
    done = suite(tmp_path, ALLOWED, REQUIRE_ALL="1")
    assert done.returncode == 0, done.stdout
