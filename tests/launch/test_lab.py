"""`make lab` in this folder: on loopback, with a token, on a free port, without a network."""

import os
import socket
from urllib.error import HTTPError

import pytest
from launching import CHAPTERS, ROOT, make_lab

SLOWEST = 10  # seconds until a second start answers, on a machine that does nothing else


@pytest.fixture(scope="module")
def taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def without_network(folder):
    """No proxy leads out, and a uv that would fetch something ends the start."""
    (folder / "uv").write_text("#!/bin/sh\necho uv was called >&2\nexit 1\n")
    (folder / "uv").chmod(0o755)
    env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    return env | nowhere | {"PATH": f"{folder}:{env['PATH']}"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory, taken):
    folder = tmp_path_factory.mktemp("lab")
    with make_lab(ROOT, without_network(folder), folder / "log", f"PORT={taken}") as started:
        yield started


def test_a_taken_port_is_left_alone(lab, taken):
    assert lab.port != taken


def test_a_second_start_answers_soon_without_a_network(lab):
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert lab.seconds < SLOWEST * busy, f"{lab.seconds:.1f} s at {busy:.1f} times full load"


def test_it_lists_the_chapters(lab):
    assert CHAPTERS
    assert lab.names("notebooks") >= CHAPTERS


def test_it_opens_on_the_start_page(lab):
    assert lab.page == f"lab/tree/notebooks/{min(CHAPTERS)}"


def test_a_wrong_token_is_refused(lab):
    with pytest.raises(HTTPError, match="403"):
        lab.get("api/contents", token="wrong")


def test_it_listens_on_loopback_only(lab):
    assert lab.listening()
    assert lab.listening() <= {"127.0.0.1", "::1"}


def test_it_does_not_ask_about_news(lab):
    settings = lab.get("lab/api/settings/@jupyterlab/apputils-extension:notification")
    assert settings["schema"]["properties"]["fetchNews"]["default"] == "false"
