"""The files as they stand: locks, README, and nothing that belongs to one machine."""

import re
import subprocess
import sys
import tomllib
from itertools import chain

import pytest
from launching import CHAPTERS, ROOT, tracked
from packaging.requirements import Requirement

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OPTIONAL = PROJECT["optional-dependencies"]
README = (ROOT / "README.md").read_text()
LINKS = re.findall(r"\]\((?!https?:)([^)#]+)", README)
PERSONS = "ec2-user|jovyan|sagemaker-user"  # homes that are the same for everyone
FOREIGN = {
    "a machine's own path": rf"(?<![\w.~])/(home|Users|root|work)/(?!{PERSONS})\w",
    "the address of a package index": r"https?://[^\s/]*(pypi|registry|mirror|artifact)[^\s/]*",
    "an option that names an index": r"(?<![\w-])--?(extra-|default-)?(index-url|find-links)[ =]",
    "a secret": r"BEGIN [A-Z ]*PRIVATE KEY|(gh[pousr]|github_pat)_\w{20}|AKIA[0-9A-Z]{16}",
}


def texts():
    for name in tracked():
        content = (ROOT / name).read_bytes()
        if b"\0" not in content:  # text, not a picture
            yield name, content.decode()


def pins(lock):
    requirements = re.sub(r"\\\n\s+--hash=\S+", "", lock.read_text()).replace("\\\n", "")
    return [Requirement(line) for line in requirements.splitlines() if line]


def test_there_are_locks():
    assert LOCKS


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_of_a_lock_has_a_hash_and_no_address(lock):
    text = lock.read_text()
    assert not re.search(r"https?:|--(?!hash)", text)
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)


LOCKED = {  # the extras that each lock holds
    "cpu": ["course", "cpu", "test"],
    "cu112": ["course", "cu112"],
    "classroom": ["classroom"],
    "torch": ["torch", "test-torch"],
}


def test_every_extra_is_locked():
    assert {extra for extras in LOCKED.values() for extra in extras} == {*OPTIONAL}


@pytest.mark.parametrize("lock", LOCKED)
def test_the_lock_satisfies_the_project(lock):
    found = pins(ROOT / "requirements" / f"{lock}.txt")
    pinned = {pin.name.replace("_", "-"): str(pin.specifier)[2:] for pin in found}
    wanted = chain(PROJECT["dependencies"], *(OPTIONAL[extra] for extra in LOCKED[lock]))
    for requirement in map(Requirement, wanted):
        if requirement.name == "d2l-init":  # an extra that includes another
            continue
        version = pinned[requirement.name.replace("_", "-")]
        assert requirement.specifier.contains(version), f"{requirement} is pinned at {version}"


def test_readme_and_picture_are_up_to_date():
    check = [sys.executable, ROOT / ".ci/readme.py", "--check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("target", sorted(set(LINKS)))
def test_a_link_of_the_readme_leads_to_a_file(target):
    assert (ROOT / target).exists()


def test_the_readme_maps_every_chapter():
    assert CHAPTERS
    assert {f"notebooks/{name}" for name in CHAPTERS} <= set(LINKS)


def test_every_page_says_the_same_of_gpus():
    told = "5.0 to 8.9"
    pages = "README.md", "sagemaker/README.md", "sagemaker/common.sh", "d2l_init/machine/doctor.py"
    assert [page for page in pages if told not in (ROOT / page).read_text()] == []


@pytest.mark.parametrize("what", FOREIGN)
def test_no_file_holds(what):
    found = {name: match[0] for name, text in texts() if (match := re.search(FOREIGN[what], text))}
    assert found.keys() <= {"tests/launch/test_tree.py"}, found
