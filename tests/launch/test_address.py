"""The public address: nowhere until `make publish URL=…`, then everywhere, from one place."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from launching import ROOT, tracked

URL, OTHER = "https://github.com/a-reader/d2l_init", "https://gitlab.com/group/sub/course"
READY = f'python="{sys.executable}"\n'  # in place of the environment that make would build
BADGE = "https://mybinder.org/v2/"
START = "?urlpath=lab/tree/notebooks/00-start-here.ipynb"
PLACEHOLDER = "OWN" + "ER"
place = importlib.util.spec_from_file_location("address", ROOT / ".ci" / "address.py")
address = importlib.util.module_from_spec(place)
place.loader.exec_module(address)


@pytest.fixture
def project(clone):
    """A copy without an address, whatever the project has by now."""
    (clone / ".ci" / "ready.sh").write_text(READY)
    without_address(clone)
    subprocess.run([sys.executable, clone / ".ci/readme.py"], check=True)
    return clone


def without_address(project):
    for name, lines in {
        "pyproject.toml": r"^\[project\.urls\].*?(?=^\[)",
        "CITATION.cff": r"^repository-code: .*?\n",
    }.items():
        text = re.sub(lines, "", (project / name).read_text(), flags=re.M | re.S)
        (project / name).write_text(text)


def publish(project, *given):
    env = {name: value for name, value in os.environ.items() if name not in ("URL", "MAKEFLAGS")}
    command = ["make", "publish", *(f"URL={url}" for url in given)]
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)


def holding(project, text):
    return {name for name in tracked() if text.encode() in (project / name).read_bytes()}


def metadata(project):
    return tomllib.loads((project / "pyproject.toml").read_text())["project"].get("urls", {})


def links(project):
    """What a reader can click on."""
    text = re.sub(r"^```.*?^```$", "", (project / "README.md").read_text(), flags=re.M | re.S)
    return re.findall(r"\]\((https:[^)]*)\)", text)


def test_no_placeholder_stands_anywhere():
    found = {name for name in tracked() if PLACEHOLDER.encode() in (ROOT / name).read_bytes()}
    assert found - {"LICENSE"} == set()


def test_without_an_address_the_readme_says_how_to_launch_this_repository(project):
    assert metadata(project) == {}
    assert "https://mybinder.org" in links(project)
    assert not any(link.startswith(BADGE) for link in links(project))
    assert "git clone" not in (project / "README.md").read_text()
    assert f"({BADGE}gh/<account>/<project>/HEAD{START})" in (project / "README.md").read_text()


def test_publish_writes_the_address_everywhere(project):
    done = publish(project, URL)
    assert done.returncode == 0, done.stdout + done.stderr
    before = {"tests/launch/test_address.py"}
    assert holding(project, URL) - before == {"README.md", "pyproject.toml", "CITATION.cff"}
    book = "https://a-reader.github.io/d2l_init/"
    assert metadata(project) == {"Repository": URL, "Documentation": book}
    assert yaml.safe_load((project / "CITATION.cff").read_text())["repository-code"] == URL
    assert {f"{BADGE}gh/a-reader/d2l_init/HEAD{START}", book} < set(links(project))
    assert f"git clone {URL} d2l_init\n" in (project / "README.md").read_text()
    assert subprocess.run([sys.executable, project / ".ci/readme.py", "--check"]).returncode == 0


def test_publish_with_another_address_leaves_nothing_of_the_first(project):
    publish(project, URL)
    assert publish(project, OTHER).returncode == 0
    assert holding(project, "a-reader") == {"tests/launch/test_address.py"}
    assert metadata(project) == {"Repository": OTHER}
    assert f"{BADGE}gl/group%2Fsub%2Fcourse/HEAD{START}" in links(project)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("https://github.com/a/b.git", "https://github.com/a/b"),
        ("https://www.GitHub.com/a/b/", "https://github.com/a/b"),
        ("https://git.uni.example/a/b", "https://git.uni.example/a/b"),
    ],
)
def test_an_address_is_written_in_its_one_form(given, written):
    assert address.checked(given) == written


def test_a_server_of_ones_own_is_opened_by_binder_too():
    opens = address.binder("https://git.uni.example/a/b", "notebooks/00-start-here.ipynb")
    assert opens == f"{BADGE}git/https%3A%2F%2Fgit.uni.example%2Fa%2Fb/HEAD{START}"


@pytest.mark.parametrize(
    "given",
    [
        "", "git@github.com:a/b.git", "http://github.com/a/b", "https://github.com/a",
        "https://github.com/a/b/tree/main", "https://me:word@github.com/a/b", "github.com/a/b",
        "https://github.com/a/b?tab=readme", "https://localhost/a/b",
        "https://github.com/<account>/<project>",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(given):
    with pytest.raises(ValueError, match=rf"URL must be https://\S+, got {re.escape(repr(given))}"):
        address.checked(given)


@pytest.mark.parametrize("given", [[], ['https://github.com/a/b"; touch hurt; "']])
def test_a_refusal_says_what_to_write_and_changes_nothing(project, given):
    before = {name: (project / name).read_bytes() for name in tracked()}
    done = publish(project, *given)
    assert done.returncode != 0
    assert "For example: make publish URL=https://github.com/you/d2l_init" in done.stdout
    assert "Traceback" not in done.stderr
    assert {name: (project / name).read_bytes() for name in before} == before
    assert not (project / "hurt").exists()


@pytest.mark.install
def test_the_book_opens_its_chapters_on_binder_once_there_is_an_address(clone):
    def on_binder(**given):
        subprocess.run([sys.executable, clone / ".ci/address.py"], env=os.environ | given)
        subprocess.run(["make", "book", "BUILD=build"], cwd=clone, check=True)
        pages = {path.stem: path.read_text() for path in (clone / "build/book").glob("0*.html")}
        return {name: re.findall(rf'"({BADGE}[^"]*)"', page) for name, page in pages.items()}

    without_address(clone)
    assert set(map(len, on_binder(URL="").values())) == {0}
    for name, links in on_binder(URL=URL).items():
        page = f"{name}.ipynb"
        assert links == [f"{BADGE}gh/a-reader/d2l_init/HEAD?urlpath=lab/tree/notebooks/{page}"]
