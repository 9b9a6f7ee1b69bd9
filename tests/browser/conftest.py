"""A JupyterLab that `make lab` started, and a browser to see it with."""

import json
import os

import pytest
import seeing
from launching import copy_project, make_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    project = tmp_path_factory.mktemp("reader's é")  # what runs there changes nothing here
    copy_project(project)
    config = tmp_path_factory.mktemp("config")
    (config / "jupyter_lab_config.py").write_text("c.LabApp.expose_app_in_browser = True\n")
    tracker = config / "settings" / "@jupyterlab" / "notebook-extension"
    tracker.mkdir(parents=True)
    whole = {"windowingMode": "none"}  # every cell is drawn, seen or not
    (tracker / "tracker.jupyterlab-settings").write_text(json.dumps(whole))
    env = os.environ | {
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTERLAB_SETTINGS_DIR": str(config / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(config / "workspaces"),
    }
    with make_lab(project, env, config / "log", "PORT=8899") as started:
        yield started


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    if seeing.CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=seeing.CHROMIUM, args=seeing.FLAGS)
        yield started
        started.close()
