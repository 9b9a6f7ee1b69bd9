"""The book in a real browser, opened from its folder: what a reader sees, and that it is whole.

The chapters are looked at on a desktop in the light and on a phone in the dark, of their exercises
those of chapter 05. EVERY_PAGE=1 looks at every page in both widths and both themes.
"""

import filecmp
import os
import re
import subprocess
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
import seeing
from building import CHAPTERS, ROOT, captions, make
from launching import copy_project

pytestmark = pytest.mark.install

browser = seeing.browser  # a fixture, one a module
WIDTHS, THEMES = (1280, 390), ("light", "dark")
SECONDS = 60
EXERCISES = sorted((ROOT / "notebooks" / "exercises").rglob("[0-9]*.ipynb"))
NOTEBOOKS = [
    path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()
    for path in (*CHAPTERS, *EXERCISES)
]
PAGES = ["index", "reference", "search", *NOTEBOOKS]
IN_THE_DARK = ("00-start-here", "05-keeping-signals-alive")  # by axe, which takes seconds
EVERY = bool(os.environ.get("EVERY_PAGE"))
VIEWS = [
    (page, width, theme)
    for page in PAGES
    for width in WIDTHS
    for theme in THEMES
    if EVERY
    or (
        ("exercises" not in page or "/05-" in page)
        and (width, theme) in ((1280, "light"), (390, "dark"))
    )
]
DRAWN = """() => !window.MathJax || !MathJax.startup || !MathJax.startup.promise
    || MathJax.startup.promise.then(() => true)"""
# The theme's script makes scrolling boxes reachable by keyboard a moment after they are laid out.
STOPS = """() => [...document.querySelectorAll('pre')].every(
    one => one.tabIndex >= 0 || one.scrollWidth <= one.clientWidth)"""
AUDIT = """async () => {
    const found = await axe.run({preload: false});
    return found.violations.flatMap(rule => rule.nodes.map(node => [rule.id, node.html]));
}"""
TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNDRAWN = "() => [...document.images].filter(one => !one.naturalWidth).map(one => one.src)"
SHOWN = "element => element.getBoundingClientRect().width > 0"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    build = tmp_path_factory.mktemp("build")
    seconds = make("book", build)
    print(f"make book: {seconds:.0f} s")
    assert seconds < SECONDS
    return build / "book"


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    return seeing.axe_source(tmp_path_factory.mktemp("axe"))


@pytest.fixture(scope="module", params=VIEWS, ids=lambda view: "-".join(map(str, view)))
def seen(request, book, browser):
    name, width, theme = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    console, asked = [], []
    page.on("console", lambda one: console.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda error: console.append(str(error)))
    page.on("request", lambda one: asked.append(one.url))
    page.goto((book / f"{name}.html").as_uri())
    page.wait_for_function(DRAWN)
    yield SimpleNamespace(
        page=page, name=name, width=width, theme=theme, console=console, asked=asked
    )
    page.close()


def test_the_console_is_silent(seen):
    assert seen.console == []


def test_nothing_is_asked_from_outside(seen):
    assert [url for url in seen.asked if urlsplit(url).scheme not in ("file", "data")] == []


def test_the_page_is_not_wider_than_the_window(seen):
    assert seen.page.evaluate(TOO_WIDE) <= 0


def test_every_picture_is_drawn(seen):
    assert seen.page.evaluate(UNDRAWN) == []


def test_it_has_the_theme_that_the_reader_prefers(seen):
    assert seen.page.locator("html").get_attribute("data-theme") == seen.theme


def test_there_is_one_way_to_search(seen):
    if seen.name != "search":
        ways = seen.page.get_by_role("button", name="Search").all()
        assert sum(way.evaluate(SHOWN) for way in ways) == 1


def test_no_empty_bar_stands_on_top(seen):
    top = seen.page.locator(".bd-header-article, .header-article").first.bounding_box()
    assert top["y"] <= 16


def test_axe_finds_nothing(seen, axe):
    if EVERY or seen.width == 1280 or seen.name in IN_THE_DARK:
        seen.page.wait_for_function(STOPS)
        seen.page.evaluate(axe)
        assert seen.page.evaluate(AUDIT) == []


class Parts(HTMLParser):
    """Of one page: the places that a link may name, all links, those below the title, alt texts."""

    def __init__(self, path):
        super().__init__()
        self.places, self.links, self.beside, self.alts = set(), [], {}, []
        self.line = self.target = None
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.places |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        self.links += [attrs[key] for key in ("href", "src") if attrs.get(key)]
        if tag == "img" and "_images" in attrs.get("src", ""):
            self.alts.append(attrs.get("alt"))
        if tag == "p":
            self.line = attrs.get("class")
        if tag == "a":
            self.target = attrs.get("href")

    def handle_data(self, data):
        if self.line == "beside" and self.target:
            self.beside.setdefault(data.strip(), self.target)


@pytest.fixture(scope="module")
def parts(book):
    return {path: Parts(path) for path in book.rglob("*.html") if "_static" not in path.parts}


def test_the_lock_holds_what_the_book_asks_for():
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["book"]
    locked = re.findall(r"^([\w-]+)==", (ROOT / "requirements" / "book.txt").read_text(), re.M)
    assert set(group) <= set(locked)


def test_all_pages_are_there(book, parts):
    assert {path.relative_to(book).with_suffix("").as_posix() for path in parts} == set(PAGES)


def test_every_internal_link_and_anchor_leads_somewhere(book, parts):
    broken = []
    for path, page in parts.items():
        for link in page.links:
            target = urlsplit(link)
            if target.scheme:
                continue
            file = (path.parent / unquote(target.path)).resolve() if target.path else path
            places = parts[file].places if file in parts else ()
            if not file.exists() or (target.fragment and target.fragment not in places):
                broken.append((path.name, link))
    assert broken == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_alt_texts_are_the_captions_first_sentences(book, parts, name):
    recorded = captions(ROOT / "notebooks" / f"{name}.ipynb")
    shown = [alt.replace("’", "'") for alt in parts[book / f"{name}.html"].alts]
    assert shown == recorded


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_chapter_can_be_downloaded_as_it_is(book, parts, name):
    path = (book / f"{name}.html").parent / parts[book / f"{name}.html"].beside["Download"]
    assert path.read_bytes() == (ROOT / "notebooks" / f"{name}.ipynb").read_bytes()


@pytest.mark.parametrize("path", CHAPTERS[1:10], ids=lambda path: path.stem)
def test_a_chapter_leads_to_its_exercises(book, parts, path):
    assert parts[book / f"{path.stem}.html"].beside["Exercises"] == f"exercises/{path.stem}.html"


@pytest.mark.parametrize("symbol", ["MSRAPrelu", "chi_1"])
def test_the_search_finds_a_symbol(book, browser, symbol):
    page = browser.new_page()
    page.goto(f"{(book / 'search.html').as_uri()}?q={symbol}")
    page.wait_for_selector("#search-results li")
    found = page.locator("#search-results li a").first
    found.click()
    page.wait_for_url(lambda url: "search.html" not in url)
    # as built: in the page MathJax has made pictures of formulas, or not yet
    assert symbol in Path(unquote(urlsplit(page.url).path)).read_text(encoding="utf-8")
    page.close()


def test_a_figure_opens_at_its_full_size_on_a_phone(book, browser):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto((book / "05-keeping-signals-alive.html").as_uri())
    figure = page.locator("a.enlarge").first
    shown = figure.locator("img").bounding_box()["width"]
    figure.click()
    page.wait_for_url("**/_images/*.png")
    assert page.evaluate("() => document.images[0].naturalWidth") > 1.5 * shown
    page.close()


def test_built_again_it_is_the_same(book, tmp_path):
    make("book", tmp_path)

    def differences(pair):
        yield from (*pair.left_only, *pair.right_only, *pair.funny_files)
        _, differ, errors = filecmp.cmpfiles(pair.left, pair.right, pair.common_files, False)
        yield from (*differ, *errors)
        for below in pair.subdirs.values():
            yield from differences(below)

    assert list(differences(filecmp.dircmp(book, tmp_path / "book"))) == []


def test_with_an_address_a_chapter_opens_on_binder(book, tmp_path):
    copy_project(tmp_path)
    url = {"URL": "https://github.com/someone/d2l_init"}
    pages = tmp_path / "notebooks"
    python = ROOT / ".venv-book" / "bin" / "python"
    (pages / "index.md").write_text("# Book\n\n```{toctree}\n00-start-here\n```\n")
    for other in (*pages.glob("0[1-9]*"), *pages.rglob("exercises/**/*.ipynb")):
        other.unlink()
    subprocess.run([python, ".ci/address.py"], cwd=tmp_path, env=os.environ | url, check=True)
    command = [python, "-m", "sphinx", "-q", "-c", "book", "notebooks", "out"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    page = Parts(tmp_path / "out" / "00-start-here.html")
    binder = urlsplit(page.beside["Open on Binder"])
    assert binder.netloc == "mybinder.org"
    assert binder.path.startswith("/v2/gh/someone/d2l_init/")
    assert binder.query == "urlpath=lab/tree/notebooks/00-start-here.ipynb"


def test_without_an_address_nothing_leads_to_binder(book, parts):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    if "urls" not in project:
        assert not any("mybinder" in link for page in parts.values() for link in page.links)
