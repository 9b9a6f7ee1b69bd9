"""Every chapter as a reader meets it: opened by `make lab`, run once, in both themes.

PICTURES=1 in the environment keeps what was seen, tile by tile, in tests/artefacts.
"""

import time
from itertools import compress
from types import SimpleNamespace

import nbformat
import pytest
import seeing
from notebooks.rerun import texts

from notebooks import form

lab, browser = seeing.lab, seeing.browser  # fixtures, one of each a module
CHAPTERS = form.chapters()
MEMORY_MB, SECONDS = 1024, 180  # machines differ sevenfold
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    return seeing.axe_source(tmp_path_factory.mktemp("axe"))


@pytest.fixture(scope="module", params=CHAPTERS, ids=lambda path: path.stem)
def seen(request, lab, browser):
    """The chapter after Run All, and what the console said until then."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints = []
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    seeing.open_chapter(page, lab, request.param.name)
    started = time.monotonic()
    seeing.run_all(page)
    seconds, memory = time.monotonic() - started, seeing.kernels_memory(lab)
    yield SimpleNamespace(
        page=page, name=request.param.stem, notebook=nbformat.read(request.param, 4),
        shown=seeing.held(page), console=complaints, seconds=seconds, memory=memory,
    )  # fmt: skip
    page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")
    page.close()


def test_it_runs_without_an_error(seen):
    errors = seen.page.locator('[data-mime-type="application/vnd.jupyter.error"]')
    assert errors.all_text_contents() == []
    stderr = seen.page.locator('[data-mime-type="application/vnd.jupyter.stderr"]')
    assert stderr.all_text_contents() == []


def test_it_prints_what_is_recorded_with_one_thread_instead_of_two(seen):
    """But for what somebody at a screen gets as controls."""
    recorded, shown = (texts(one) for one in (seen.notebook, seen.shown))
    code = [cell for cell in seen.shown.cells if cell.cell_type == "code"]
    alike = [not any(WIDGET in output.get("data", {}) for output in cell.outputs) for cell in code]
    assert len(alike) == len(recorded) == len(shown)
    assert alike.count(False) <= 1
    assert list(compress(shown, alike)) == list(compress(recorded, alike))


def test_it_keeps_to_its_memory_and_time(seen):
    print(f"{seen.name}: {seen.seconds:.1f} s, {seen.memory:.0f} MB")
    assert seen.memory < MEMORY_MB
    assert seen.seconds < SECONDS


def test_every_figure_is_drawn(seen):
    sizes = seen.page.evaluate(seeing.IMAGES)
    assert len(sizes) == form.measures(seen.notebook)["figures"]
    assert all(size > 10_000 for size in sizes)


def test_the_table_of_contents_has_the_headings(seen):
    seen.page.evaluate("() => window.jupyterapp.shell.activateById('table-of-contents')")
    seeing.settle(seen.page)
    shown = seen.page.evaluate(seeing.CONTENTS)
    seeing.execute(seen.page, "application:toggle-left-area")
    assert shown == [title.replace("`", "") for _, _, title in form.headings(seen.notebook)]


def test_the_console_has_no_error_of_ours(seen):
    assert [text for text in seen.console if not seeing.LABS_OWN.search(text)] == []


@pytest.mark.parametrize("width", [1280, 800])
@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_nothing_overflows_in_either_theme_at_either_width(seen, theme, width):
    seen.page.set_viewport_size({"width": width, "height": 900})
    seeing.change_theme(seen.page, theme)
    seeing.photograph(seen.page, f"{seen.name}-{theme.lower()}-{width}")
    kinds = ".jp-RenderedMarkdown, .jp-OutputArea-output"
    if width == 1280:  # in a narrow window code may scroll, as it does in every notebook
        kinds += ", .cm-scroller"
    assert seen.page.evaluate(seeing.TOO_WIDE, kinds) == []


@pytest.mark.parametrize("theme", ["Dark", "Light"])
def test_axe_finds_no_serious_fault_in_our_content(seen, axe, theme):
    """A figure's alt text is its caption, which stands beneath it as text."""
    seeing.change_theme(seen.page, theme)
    seen.page.add_style_tag(content=seeing.UNCLIP)
    seeing.settle(seen.page)
    seen.page.evaluate(axe)
    found = seen.page.evaluate(seeing.AUDIT)
    assert "color-contrast" in found["checked"]
    serious = [f for f in found["violations"] if f["impact"] in ("serious", "critical")]
    assert [fault for fault in serious if not seeing.is_labs(fault)] == []
