"""Every deck, stepped through in a browser without a network."""

import re
from types import SimpleNamespace

import nbformat
import pytest
import seeing
from building import CHAPTERS, captions, make

pytestmark = pytest.mark.install

browser = seeing.browser  # a fixture, one a module
WIDTH, HEIGHT = 1280, 720
SMALLEST = 0.6  # of the deck's letters
LOOK = """() => {
    const slide = Reveal.getCurrentSlide(), inside = [...slide.querySelectorAll('*')];
    slide.querySelectorAll('.fragment').forEach(one => one.classList.add('visible'));
    const seen = inside.filter(one => !one.closest('aside') && one.getClientRects().length);
    const box = {right: 0, bottom: 0};
    for (const one of seen) {
        const {right, bottom} = one.getBoundingClientRect();
        box.right = Math.max(box.right, right);
        box.bottom = Math.max(box.bottom, bottom);
    }
    const heading = slide.querySelector('h1, h2, h3');
    return {
        ...box,
        words: slide.innerText.trim(), notes: slide.querySelectorAll('aside').length,
        heading: heading && heading.textContent.replace('¶', '').trim(),
        size: parseFloat(slide.style.fontSize || '1'),
        pictures: [...slide.querySelectorAll('img')].map(one => [one.alt, one.clientHeight]),
        last: Reveal.isLastSlide() && !Reveal.availableRoutes().down,
    };
}"""
NEXT = "() => Reveal.availableRoutes().down ? Reveal.down() : Reveal.right()"


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    build = tmp_path_factory.mktemp("build")
    print(f"make slides: {make('slides', build):.0f} s")
    return build / "slides"


@pytest.fixture(scope="module", params=CHAPTERS, ids=lambda path: path.stem)
def stepped(request, decks, browser):
    """The deck of a chapter, slide by slide, with all its fragments shown."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, offline=True)
    page = context.new_page()
    console, asked, slides = [], [], []
    page.on("console", lambda one: console.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda error: console.append(str(error)))
    page.on("request", lambda one: asked.append(one.url))
    page.goto((decks / f"{request.param.stem}.html").as_uri())
    page.wait_for_function("() => window.Reveal && Reveal.isReady()")
    while not slides or not slides[-1]["last"]:
        slides.append(page.evaluate(LOOK))
        page.evaluate(NEXT)
        assert len(slides) < 200
    yield SimpleNamespace(
        path=request.param, slides=slides, console=console, asked=asked,
        notebook=nbformat.read(request.param, 4),
    )  # fmt: skip
    context.close()


def numbers(slides, wrong):
    return [number for number, slide in enumerate(slides, 1) if wrong(slide)]


def test_it_asks_nothing_outside_and_the_console_is_silent(stepped):
    assert [url for url in stepped.asked if not url.startswith(("file:", "data:"))] == []
    assert stepped.console == []


def test_no_slide_overflows(stepped):
    beyond = numbers(stepped.slides, lambda one: one["right"] > WIDTH or one["bottom"] > HEIGHT)
    assert beyond == []


def test_no_slide_is_blank(stepped):
    assert numbers(stepped.slides, lambda one: len(one["words"]) < 10) == []


def test_letters_stay_large_enough(stepped):
    print(f"{stepped.path.stem}: {len(stepped.slides)} slides")
    assert numbers(stepped.slides, lambda one: one["size"] < SMALLEST) == []


def test_each_section_but_the_exercises_opens_a_slide(stepped):
    found = [one["heading"] for one in stepped.slides if one["heading"]]
    cells = [cell for cell in stepped.notebook.cells if cell.cell_type == "markdown"]
    headings = [re.match(r"#+ (.*)", cell.source) for cell in cells]
    plain = [one[1].replace("`", "") for one in headings if one]
    assert found == [one for one in plain if one not in ("Overview", "Exercises")]


def test_every_figure_stands_large_enough_on_a_slide_with_its_words(stepped):
    pictures = [picture for one in stepped.slides for picture in one["pictures"]]
    assert [alt for alt, _ in pictures] == captions(stepped.path)
    assert [alt for alt, height in pictures if height < 290] == []


def test_the_lecturer_has_notes(stepped):
    kinds = [cell.metadata.slideshow.slide_type for cell in stepped.notebook.cells]
    # besides the cells of notes, a figure's caption and sometimes its code
    assert sum(one["notes"] for one in stepped.slides) >= kinds.count("notes")
