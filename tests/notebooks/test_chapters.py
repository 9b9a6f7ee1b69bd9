"""The chapters' form, their prose against their outputs, and what the sanitizer hides."""

import re

import nbformat
import pytest
from notebooks.rerun import sanitized

from notebooks import form, prose

CHAPTERS = form.chapters()
EVERY = [
    path
    for folder in (".", "exercises", "exercises/solutions")
    for path in sorted((CHAPTERS[0].parent / folder).glob("[0-9]*.ipynb"))
]


def read(path):
    return nbformat.read(path, 4)


def test_there_are_chapters():
    assert len(CHAPTERS) >= 4


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_keeps_the_form(path):
    print(form.measures(read(path)))
    assert form.faults(read(path)) == []


@pytest.mark.parametrize("path", CHAPTERS[1:], ids=lambda path: path.stem)
def test_a_chapter_leads_to_its_own_exercises(path):
    assert form.exercises(read(path)) == [f"exercises/{path.name}"]


@pytest.mark.parametrize("path", EVERY, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_each_link_to_a_file_leads_to_one(path):
    cells = nbformat.read(path, 4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+\.(?:ipynb|md|py|sh))[^)]*\)", text)
    assert links
    assert [link for link in links if not (path.parent / link).is_file()] == []


@pytest.mark.parametrize("path", CHAPTERS[1:], ids=lambda path: path.stem)
def test_a_chapter_says_how_long_its_exercises_take(path):
    exercises = read(path.parent / form.exercises(read(path))[0])
    (minutes,) = re.findall(r"take about (\d+) minutes", exercises.cells[0].source)
    assert f"about {minutes} minutes" in form.section(read(path), "Exercises")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_lesson_plan_names_sections_that_are_there(path):
    teaching = (path.parents[1] / "TEACHING.md").read_text(encoding="utf-8")
    _, _, plan = teaching.partition(f"(notebooks/{path.name})")
    named = re.findall(r"(?<!\*)\*([A-Z][^*]+\?)\*", plan.partition("\n##")[0])
    assert named
    assert set(named) <= {title for _, _, title in form.headings(read(path))}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("</details>", ""),
        ("<summary>Answer 3</summary>\n\n", "<summary>Answer 3</summary>\n"),
        ("**5.**", "5."),
        ("(exercises/", "(exercise/"),
        (".ipynb), about", ".html), about"),
    ],
)
def test_the_form_notices_a_closing_that_is_not_whole(old, new):
    notebook = read(CHAPTERS[1])
    for cell in notebook.cells:
        cell.source = cell.source.replace(old, new)
    assert any("must be" in fault for fault in form.closing_faults(notebook))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_numbers_in_prose_stand_in_outputs_or_code(path):
    wrong = [(f"{path.stem} cell {cell}", n.text) for cell, n, _ in prose.unsupported(read(path))]
    assert wrong == []


def test_the_prose_check_catches_19_of_20_changed_digits():
    tried = caught = 0
    for path in CHAPTERS:
        for _, number, known in prose.checked(read(path)):
            for changed in prose.mutations(number):
                tried += 1
                caught += prose.is_caught(changed, known)
    print(f"{caught} of {tried} changed numbers are caught: {caught / tried:.1%}")
    assert tried > 400
    assert caught / tried >= 0.95


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a loss of 2.303 after 100 steps", ["2.303", "100"]),
        ("between −0.07 and 65,536", ["−0.07", "65,536"]),
        ("8 % of $1.24 \\times 10^{-5}$", ["8 %", "1.24 \\times 10^{-5}"]),
        ("two of 12 layers, `3.14`, [x](a-1.5.html)", []),
        ("(He et al. 2015, section 4.1), chapter 01", []),
        ("# 1.5 title\nbelow 10⁻⁵", ["10^-5"]),
    ],
)
def test_the_prose_check_reads_numbers_as_people_write_them(text, found):
    assert [number.text for number in prose.claims(text)] == found


@pytest.mark.parametrize(
    "text",
    [
        "array([0.1, 2.5])",
        "0.00354961 -0.00614133",
        "3 seconds",
        "weight (8, 4), dtype=float32",
        "12:30",
        "cpu(0)",
    ],
)
def test_the_sanitizer_leaves_results_alone(text):
    assert sanitized(text) == text


def test_the_sanitizer_hides_the_device_and_addresses():
    assert sanitized("array([1.], ctx=gpu(0))") == "array([1.])"
    assert "7f3a" not in sanitized("<object at 0x7f3a12345678>")
