"""The controls of `explore` on the start page, moved by keyboard in a real JupyterLab."""

import pytest
import seeing

quick_lab, browser = seeing.quick_lab, seeing.browser  # fixtures, one of each a module
PAGE = "00-start-here.ipynb"
LABELS = ["initializer", "gain", "depth", "width", "activation", "seed"]
SEEN = """() => {
    const cell = document.querySelector('.jp-CodeCell:has(.noUi-handle)');
    return [cell.querySelector('.jp-OutputArea-output img').src,
            cell.querySelector('.jp-RenderedMarkdown').textContent];
}"""
OTHER = f"before => {{ const now = ({SEEN})(); return now.every((one, k) => one !== before[k]); }}"


@pytest.fixture(scope="module")
def page(quick_lab, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    seeing.open_chapter(page, quick_lab, PAGE)
    seeing.run_all(page)
    page.wait_for_selector(".noUi-handle")
    yield page
    page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")
    page.close()


def change(page, press):
    """What the figure and its caption are before and after."""
    before = page.evaluate(SEEN)
    press()
    page.wait_for_function(OTHER, arg=before)
    return before, page.evaluate(SEEN)


def test_the_page_has_one_figure_for_the_controls(page):
    cell = page.locator(".jp-CodeCell:has(.noUi-handle)")
    assert cell.count() == 1
    assert cell.locator(".jp-OutputArea-output img").count() == 1


@pytest.mark.parametrize("slider", ["gain", "depth", "width", "seed"])
def test_an_arrow_key_on_a_slider_redraws_figure_and_caption(page, slider):
    box = page.locator(f".widget-slider:has(label:text-is('{slider}'))")
    number = box.locator(".widget-readout").text_content()

    def press():
        box.locator(".noUi-handle").focus()
        page.keyboard.press("ArrowRight")

    change(page, press)
    assert box.locator(".widget-readout").text_content() != number


def test_the_caption_tells_where_the_sliders_stand(page):
    def press():
        page.get_by_role("slider", name="depth").focus()
        page.keyboard.press("Home")

    _, (_, words) = change(page, press)
    assert "2 tanh layers" in words


def test_a_menu_redraws_figure_and_caption(page):
    _, (_, words) = change(page, lambda: page.get_by_label("activation").select_option("relu"))
    assert "relu layers" in words
    _, (_, words) = change(page, lambda: page.get_by_label("initializer").select_option("uniform"))
    assert "uniform weights" in words


def test_every_control_has_its_name_and_the_tab_key_leads_to_it(page):
    page.get_by_label("initializer").focus()
    for label in LABELS:
        focused = page.locator(":focus")
        named = focused.get_attribute("aria-label") or focused.evaluate(
            "element => [...element.labels ?? []].map(label => label.textContent).join()"
        )
        assert named == label
        page.keyboard.press("Tab")
        if page.locator(".widget-readout:focus").count():  # a slider's number can be typed, too
            page.keyboard.press("Tab")
