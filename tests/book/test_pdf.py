"""The book on paper: tagged, with contents that name the right pages, and nothing cut or lost."""

import re
import shutil
import subprocess

import nbformat
import pytest
from building import CHAPTERS, captions, make

pytestmark = pytest.mark.install

LONGEST = 5  # code lines of each chapter


def said(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def pdf(tmp_path_factory):
    if not shutil.which("pdftotext"):
        pytest.skip("no poppler on this machine (Debian: apt-get install poppler-utils)")
    build = tmp_path_factory.mktemp("build")
    print(f"make pdf: {make('pdf', build):.0f} s")
    return build / "d2l_init.pdf"


@pytest.fixture(scope="module")
def pages(pdf):
    return said("pdftotext", "-layout", pdf, "-").split("\f")


def plain(text):
    return re.sub(r"\s+", " ", text).replace("’", "'").replace("“", '"').replace("”", '"')


def test_it_is_tagged_and_of_a4(pdf):
    facts = dict(re.findall(r"^(.+?):\s+(.*)$", said("pdfinfo", pdf), re.M))
    assert facts["Tagged"] == "yes"
    assert "A4" in facts["Page size"]
    assert facts["Title"].startswith("How neural networks")


def test_every_page_but_the_first_ends_with_its_number(pages):
    last = {number: text.split()[-1] for number, text in enumerate(pages, 1) if text.strip()}
    assert {number: word for number, word in last.items() if word != str(number)}.keys() == {1}


def test_the_contents_name_the_page_of_each_chapter(pages):
    contents = re.findall(r"^ *(\d\d \w.*?) {2,}(\d+)$", "\n".join(pages[1:6]), re.M)
    assert [title[:2] for title, _ in contents] == [path.stem[:2] for path in CHAPTERS]
    assert [title for title, page in contents if title not in pages[int(page) - 1]] == []


def test_its_links_lead_to_places_on_paper(pdf):
    page = (pdf.parent / "paper" / "index.html").read_text()
    linked = set(re.findall(r'href="#([^"]+)"', page))
    assert linked - set(re.findall(r'\sid="([^"]+)"', page)) == set()
    assert not re.search(r'<a [^>]*href="[\w./-]+\.(ipynb|md|html)', page)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_its_longest_lines_of_code_are_whole(path, pages):
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    lines = sorted((line for cell in cells for line in cell.source.split("\n")), key=len)
    printed = {plain(line).strip() for page in pages for line in page.split("\n")}
    assert [line for line in lines[-LONGEST:] if plain(line).strip() not in printed] == []


def test_every_figure_is_there_with_its_caption(pdf, pages):
    expected = [words for path in CHAPTERS for words in captions(path)]
    everything = plain(" ".join(pages))
    assert [words for words in expected if plain(words) not in everything] == []
    rows = [row.split() for row in said("pdfimages", "-list", pdf).splitlines()[2:]]
    assert sum(row[2] == "image" for row in rows) == len(expected)
