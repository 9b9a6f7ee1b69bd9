"""A chapter in a real JupyterLab, seen through Chromium as a reader sees it."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
import npm
import psutil
import pytest
from launching import copy_project, make_lab, started
from notebooks.rerun import peak

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "tests" / "artefacts"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = "axe-core@4.14.1"
AXE_SHA512 = (
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)
FLAGS = [
    "--no-sandbox",  # root, as CI is, cannot have one
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# What JupyterLab 4.6 itself says on the console, whatever is open.
LABS_OWN = re.compile(
    r"favicon|api/workspaces|api/kernels.*50\d|ResizeObserver|mathjax.*deprecat", re.I
)
READY = """() => {
    const widget = window.jupyterapp && window.jupyterapp.shell.currentWidget;
    const context = widget && widget.sessionContext, kernel = context && context.session
        && context.session.kernel;
    return !!(context && context.isReady && kernel && kernel.status === 'idle'
              && kernel.connectionStatus === 'connected');
}"""
DONE = """() => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')];
    return document.querySelector('[data-mime-type="application/vnd.jupyter.error"]')
        || (prompts.length && prompts.every(prompt => /\\[\\d+\\]/.test(prompt.textContent)));
}"""
CLEAR = "() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')"
TOO_WIDE = """kinds => [...document.querySelectorAll(kinds)]
    .filter(element => element.scrollWidth > element.clientWidth + 2)
    .map(element => element.textContent.slice(0, 80))"""
CONTENTS = """() => [...document.querySelectorAll('.jp-TableOfContents-tree .jp-tocItem-content')]
    .map(item => item.textContent.trim())"""
IMAGES = """() => [...document.querySelectorAll('.jp-OutputArea-output img')]
    .map(image => image.naturalWidth * image.naturalHeight)"""
# JupyterLab lays out in boxes that clip, inside which axe takes all text for hidden.
LAYOUT = """() => [...document.querySelectorAll('.jp-Cell, .jp-tocItem-content, img')]
    .map(element => element.getBoundingClientRect())
    .map(box => [box.x, box.y, box.width, box.height].join()).join(' ')
    + getComputedStyle(document.body).getPropertyValue('--jp-layout-color1')"""
UNCLIP = """body, html, #main, .lm-Widget, .lm-DockPanel-widget, .jp-WindowedPanel-outer
    { overflow: visible !important; }"""
# What the open notebook holds now, as it would be saved.
HELD = "() => JSON.stringify(window.jupyterapp.shell.currentWidget.model.toJSON())"
AUDIT = """async () => {
    const found = await axe.run({include: [['.jp-RenderedMarkdown'], ['.jp-OutputArea-output']]});
    return {checked: found.passes.map(rule => rule.id), violations: found.violations.flatMap(
        rule => rule.nodes.map(node => ({rule: rule.id, impact: rule.impact, html: node.html,
                                         target: node.target.join(' ')})))};
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """As a reader starts it, in an environment that `make lab` installs."""
    project, config, env = a_readers_place(tmp_path_factory)
    with make_lab(project, env, config / "log", "PORT=8899") as made:
        yield made


@pytest.fixture(scope="module")
def quick_lab(tmp_path_factory):
    """The same JupyterLab in this environment, for what `make lab` adds nothing to."""
    project, config, env = a_readers_place(tmp_path_factory)
    command = [sys.executable, "-m", "jupyterlab", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    with started(command, project, env, config / "log") as made:
        yield made


def a_readers_place(tmp_path_factory):
    """A copy of the project, a folder with JupyterLab's configuration, and the environment."""
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
        "OMP_NUM_THREADS": "1",  # nbval's kernels have two: the text must not depend on it
    }
    return project, config, env


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def axe_source(folder):
    """The script of axe-core."""
    return (npm.package(AXE, AXE_SHA512, folder) / "axe.min.js").read_text()


def execute(page, command, **arguments):
    return page.evaluate(
        "([command, args]) => window.jupyterapp.commands.execute(command, args).then(() => 0)",
        [command, arguments],
    )


def settle(page):
    """Waits until two looks, a fifth of a second apart, find the same layout."""
    before = None
    while before != (now := page.evaluate(LAYOUT)):
        before = now
        page.wait_for_timeout(200)


def change_theme(page, theme):
    name = f"JupyterLab {theme}"
    execute(page, "apputils:change-theme", theme=name)
    page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)
    settle(page)


def open_chapter(page, lab, name):
    """Opens a chapter alone, with a kernel, and without the side bar."""
    page.goto(f"{lab.url}lab/tree/notebooks/{name}?token={lab.token}&reset")
    page.wait_for_function(READY, timeout=120_000)
    page.evaluate(CLEAR)
    execute(page, "application:toggle-left-area")


def run_all(page):
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.wait_for_function(DONE, timeout=300_000)
    settle(page)


def held(page):
    """The notebook as it stands in the page."""
    return nbformat.reads(page.evaluate(HELD), 4)


def kernels_memory(lab):
    """The largest peak of any kernel's memory so far, in MB."""
    below = psutil.Process(lab.process.pid).children(recursive=True)
    kernels = [one for one in below if "ipykernel_launcher" in " ".join(one.cmdline())]
    return max(peak(kernel.pid) for kernel in kernels)


def photograph(page, name):
    """Tiles of the whole chapter: Chromium draws nothing in a window of its full height."""
    if not os.environ.get("PICTURES"):
        return
    PICTURES.mkdir(exist_ok=True)
    scroller = "document.querySelector('.jp-WindowedPanel-outer')"
    height, step = page.evaluate(f"() => [{scroller}.scrollHeight, {scroller}.clientHeight]")
    for tile, top in enumerate(range(0, height, step), 1):
        page.evaluate(f"top => {{ {scroller}.scrollTop = top }}", top)
        page.wait_for_timeout(250)
        page.screenshot(path=PICTURES / f"{name}-{tile:02d}.png")
    page.evaluate(f"() => {{ {scroller}.scrollTop = 0 }}")


def is_labs(fault):
    """Alt texts, which JupyterLab drops, and the colour in which its themes show links."""
    link = fault["rule"] in ("color-contrast", "link-in-text-block") and fault["html"][:3] == "<a "
    return link or fault["rule"] == "image-alt"
