"""Every exercise as a student meets it: opened in JupyterLab; two of them run, answered, checked.

PICTURES=1 in the environment keeps what was seen, tile by tile, in tests/artefacts.
"""

import re
from contextlib import contextmanager

import nbformat
import pytest
import seeing

from notebooks import form

quick_lab, browser = seeing.quick_lab, seeing.browser  # fixtures, one of each a module
EXERCISES = sorted((seeing.ROOT / "notebooks" / "exercises").glob("*.ipynb"))
# A wrong answer for a cell that begins so, and what the verdict below it should say.
ANSWERED = {
    "02": (
        "def xavier_for",
        'def xavier_for(variance, fan_in):\n    return init.Xavier("gaussian", "in", variance)',
        "this looks like “fan forgotten”",
    ),
    "07": (
        "predicted = {",
        'predicted = {"scale": 0.16, "first loss": 4.61, "s_min": ..., "stream": 2}',
        "not yet: scale is 0.16, 0.4 times what is right",
    ),
}
VERDICT = ".jp-OutputArea-output.jp-RenderedHTMLCommon:has(strong):has(li)"


@contextmanager
def opened(browser, lab, path):
    """A page of its own with the exercise; at its end the console must have said nothing bad."""
    page, said = browser.new_page(viewport={"width": 1280, "height": 900}), []
    page.on("console", lambda one: said.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    seeing.open_chapter(page, lab, f"exercises/{path.name}")
    yield page
    assert [text for text in said if not seeing.LABS_OWN.search(text)] == []
    page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")
    page.close()


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_an_exercise_opens_with_its_headings_and_fits_the_page(browser, quick_lab, path):
    notebook = nbformat.read(path, 4)
    with opened(browser, quick_lab, path) as page:
        assert page.locator(".jp-CodeCell").count() == len(form.code_cells(notebook))
        page.evaluate("() => window.jupyterapp.shell.activateById('table-of-contents')")
        seeing.settle(page)
        shown = page.evaluate(seeing.CONTENTS)
        seeing.execute(page, "application:toggle-left-area")
        assert shown == [title.replace("`", "") for _, _, title in form.headings(notebook)]
        assert page.evaluate(seeing.TOO_WIDE, ".jp-RenderedMarkdown, .cm-scroller") == []


@pytest.fixture(scope="module", params=ANSWERED)
def run(request, browser, quick_lab):
    """The number of an exercise and the page on which it was run as it came."""
    path = next(path for path in EXERCISES if path.name.startswith(request.param))
    with opened(browser, quick_lab, path) as page:
        seeing.run_all(page)
        yield request.param, page


def test_unanswered_it_runs_to_its_end_and_says_so(run):
    _, page = run
    errors = page.locator('[data-mime-type="application/vnd.jupyter.error"]')
    assert errors.all_text_contents() == []
    checks = page.locator(".jp-CodeCell", has_text=re.compile(r"d2l_init\.check\("))
    verdicts = page.locator(VERDICT).all_text_contents()
    assert len(verdicts) == checks.count()
    assert all(": 0 of " in one for one in verdicts)
    assert "not answered yet" in verdicts[0]


def test_a_wrong_answer_typed_in_gets_a_readable_hint(run):
    number, page = run
    cell, answer, hint = ANSWERED[number]
    page.locator(".jp-CodeCell", has_text=cell).locator(".cm-content").first.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(answer)
    page.keyboard.press("Shift+Enter")  # which goes on to the next cell
    page.keyboard.press("Shift+Enter")
    verdict = page.locator(VERDICT, has_text=hint)
    verdict.wait_for(timeout=60_000)
    assert verdict.locator("li").count() >= 3
    for theme in ("Dark", "Light"):
        seeing.change_theme(page, theme)
        seeing.photograph(page, f"exercise-{number}-{theme.lower()}")


@pytest.mark.parametrize("theme", ["Dark", "Light"])
def test_axe_finds_no_serious_fault_in_the_verdicts(run, tmp_path, theme):
    _, page = run
    seeing.change_theme(page, theme)
    page.add_style_tag(content=seeing.UNCLIP)
    seeing.settle(page)
    page.evaluate(seeing.axe_source(tmp_path))
    found = page.evaluate(seeing.AUDIT)
    assert "color-contrast" in found["checked"]
    serious = [fault for fault in found["violations"] if fault["impact"] in ("serious", "critical")]
    assert [fault for fault in serious if not seeing.is_labs(fault)] == []
