"""The book's sliders, without a kernel: their numbers are mean_field's, the keyboard moves them."""

import random
from dataclasses import asdict, dataclass

import numpy as np
import pytest
import seeing

from d2l_init import critical_sigma_w, mean_field
from d2l_init.lab.theory import ACTIVATIONS

browser = seeing.browser  # a fixture, one a module
PAGE = seeing.ROOT / "book" / "_static" / "explore.html"
SLIDERS = ["sigmaW", "sigmaB", "depth", "width"]
ON = ["tanh", "relu", "gelu", "selu"]
CLOSE = {"rtol": 0.005, "equal_nan": False}
QUICK_MS = 50
SEEN = """() => ['svg.signal', 'svg.phases', '.explore-words'].map(
    part => document.querySelector(part).innerHTML)"""
TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
SMALLEST = """() => Math.min(...[...document.querySelectorAll('.explore text, .explore label')].map(
    one => parseFloat(getComputedStyle(one).fontSize)))"""
# Redraws of the largest net, one for each step of the gain, and of each activation for the first
# time: its phases must be computed.
TIMES = """() => {
    const form = document.querySelector('.explore form').elements;
    const redraw = (name, value) => {
        form[name].value = value;
        const start = performance.now();
        form[name].dispatchEvent(new Event('input', {bubbles: true}));
        return performance.now() - start;
    };
    redraw('depth', 100);
    redraw('width', 200);
    const names = [...form.activation.options].map(option => option.value);
    const first = names.map(name => redraw('activation', name));
    return [Array.from({length: 20}, (_, k) => redraw('sigmaW', 1 + k / 20)), first];
}"""
AUDIT = """async () => {
    const found = await axe.run({preload: false});  // it would fetch the style sheet
    return [found.passes.map(rule => rule.id), found.violations.map(rule => rule.id)];
}"""


@dataclass(frozen=True)
class Setting:
    activation: str
    sigmaW: float
    sigmaB: float
    depth: int
    width: int

    def theory(self):
        start = self.sigmaW**2 + self.sigmaB**2
        return mean_field(
            self.activation, self.sigmaW, self.sigmaB, self.depth, start, width=self.width
        )


def settings(activation):
    """Twenty places of the sliders; every fourth has no biases."""
    draw = random.Random(activation)
    return [
        Setting(
            activation,
            draw.randrange(2, 61) / 20,
            draw.randrange(21) / 20 * (k % 4 > 0),
            draw.randrange(2, 101),
            draw.randrange(10, 201, 10),
        )
        for k in range(20)
    ]


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.complaints, page.asked = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(PAGE.as_uri())
    page.wait_for_selector("svg.signal path")
    yield page
    page.close()


def told(page, what, argument):
    return page.evaluate(f"argument => meanField.{what}", argument)


def test_it_has_the_packages_activations(page):
    assert page.evaluate("Object.keys(meanField.ACTIVATIONS)") == list(ACTIVATIONS)


@pytest.mark.parametrize("activation", ON)
def test_signal_and_band_are_those_of_mean_field(page, activation):
    for setting in settings(activation):
        found, theory = told(page, "signal(argument)", asdict(setting)), setting.theory()
        found = np.array([found["q"], found["low"], found["high"]], float)
        predicted = [theory.q, theory.q_low, theory.q_high]
        np.testing.assert_allclose(found, predicted, **CLOSE, err_msg=str(setting))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_place_in_the_phase_diagram_is_that_of_mean_field(page, activation):
    for setting in settings(activation):
        found, theory = told(page, "phase(argument)", asdict(setting)), setting.theory()
        assert found["chi1"] == pytest.approx(theory.chi_1, rel=0.005), setting
        assert found["qStar"] == pytest.approx(theory.q_star, rel=0.005, abs=0), setting


@pytest.mark.parametrize("activation", ["tanh", "relu", "softsign", "selu"])
def test_the_edge_of_chaos_is_that_of_critical_sigma_w(page, activation):
    for sigma_b in (0, 0.1, 0.5, 1):
        found = told(page, f"edges('{activation}', argument, 0.1, 3)", sigma_b)
        assert found == [pytest.approx(critical_sigma_w(activation, sigma_b), rel=0.005)]


def test_drawn_nets_lie_in_their_band_95_times_in_100(page):
    setting = Setting("tanh", 1.5, 0.3, 20, 100)
    last = page.evaluate(
        "s => Array.from({length: 1000}, (_, seed) => meanField.draw(s, seed)[s.depth - 1])",
        asdict(setting),
    )
    theory, square = setting.theory(), np.square(last)
    inside = np.mean((theory.q_low[-1] < square) & (square < theory.q_high[-1]))
    assert 0.92 < inside < 0.98


@pytest.mark.parametrize("name", SLIDERS)
def test_an_arrow_key_on_a_slider_changes_drawing_and_words(page, name):
    slider = page.locator(f"[name={name}]")
    before, number = page.evaluate(SEEN), slider.input_value()
    slider.focus()
    page.keyboard.press("ArrowRight")
    shown = slider.locator("+ output").text_content()
    assert float(shown) == float(slider.input_value()) > float(number)
    after = page.evaluate(SEEN)
    assert (after[0], after[2]) != (before[0], before[2])
    assert (after[1] != before[1]) == (name in ("sigmaW", "sigmaB"))


def test_the_menu_changes_both_drawings(page):
    before = page.evaluate(SEEN)
    page.get_by_label("activation").select_option("relu")
    after = page.evaluate(SEEN)
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert "relu layers" in after[2]


def test_the_button_draws_another_net_with_the_same_prediction(page):
    before = page.locator(".predicted").get_attribute("d"), page.evaluate(SEEN)
    page.get_by_role("button", name="Draw another net").press("Enter")
    assert page.locator(".predicted").get_attribute("d") == before[0]
    assert page.evaluate(SEEN)[0] != before[1][0]


def test_the_tab_key_leads_to_every_control_by_its_name(page):
    page.get_by_label("activation").focus()
    for name in ("gain σw", "biases σb", "depth", "width"):
        page.keyboard.press("Tab")
        assert page.get_by_role("slider", name=name).evaluate("one => one.matches(':focus')")
    page.keyboard.press("Tab")
    assert page.locator("button:focus").count() == 1


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_both_themes_it_fits_any_screen_and_axe_finds_no_fault(page, tmp_path, theme, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=theme)
    page.wait_for_timeout(100)
    assert page.evaluate(TOO_WIDE) <= 0
    assert page.evaluate(SMALLEST) >= 9
    page.evaluate(seeing.axe_source(tmp_path))
    checked, violations = page.evaluate(AUDIT)
    assert {"color-contrast", "label", "svg-img-alt"} <= set(checked)
    assert violations == []


def test_a_redraw_takes_less_than_a_blink(page):
    steps, first = page.evaluate(TIMES)
    print(f"redraw: {np.median(steps):.1f} ms; an activation's first: {np.median(first):.1f} ms")
    assert min(steps) < QUICK_MS


def test_nothing_was_said_on_the_console_and_nothing_asked_for_outside(page):
    assert page.complaints == []
    assert {url.split(":")[0] for url in page.asked} <= {"file", "data"}
    assert any(url.endswith("mean-field.js") for url in page.asked)
