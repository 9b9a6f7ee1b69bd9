"""The form of the chapters: measured, printed as a table, and what is wrong with it.

``python tests/notebooks/form.py [NOTEBOOK ...]``
"""

import re
import sys
from itertools import pairwise
from pathlib import Path
from statistics import median

import nbformat

MEDIAN_LINES, MOST_LINES, WIDEST, HEAVIEST = 6, 25, 100, 3_000_000
SHOWS = re.compile(r"\b(show|explore)\(")
CLOSING = ["Summary", "Questions", "Exercises", "What's next"]
TOUR = "Start here"  # has no questions and two small exercises in place
ANSWER = re.compile(r"^<details><summary>[^<]+</summary>\n\n\S.*?\n\n</details>$", re.M | re.S)
MACHINE_PATH = re.compile(r"/(?:root|home|work|tmp|Users|private)/[\w.-]+")


def chapters() -> list[Path]:
    """Those that run in the course's environment; tests/torch looks at chapter 10."""
    return sorted((Path(__file__).parents[2] / "notebooks").glob("0*.ipynb"))


def code_cells(notebook) -> list[tuple[int, dict]]:
    return [(n, cell) for n, cell in enumerate(notebook.cells, 1) if cell.cell_type == "code"]


def text_cells(notebook) -> list[tuple[int, dict]]:
    return [(n, cell) for n, cell in enumerate(notebook.cells, 1) if cell.cell_type == "markdown"]


def lines(source: str) -> int:
    return sum(bool(line.strip()) for line in source.split("\n"))


def words(source: str) -> int:
    return len(re.findall(r"\w+(?:['’]\w+)?", re.sub(r"```.*?```", "", source, flags=re.S)))


def headings(notebook) -> list[tuple[int, int, str]]:
    found = []
    for number, cell in text_cells(notebook):
        prose = re.sub(r"```.*?```", "", cell.source, flags=re.S)
        for hashes, title in re.findall(r"^(#+)\s+(.*)$", prose, re.M):
            found.append((number, len(hashes), title.strip()))
    return found


def pictures(cell) -> list[int]:
    return [
        k for k, out in enumerate(cell.get("outputs", [])) if "image/png" in out.get("data", {})
    ]


def measures(notebook) -> dict[str, float]:
    sizes = [lines(cell.source) for _, cell in code_cells(notebook)]
    prose = [words(cell.source) for _, cell in text_cells(notebook)]
    return {
        "code cells": len(sizes),
        "median lines": median(sizes),
        "most lines": max(sizes),
        "over 12": sum(size > 12 for size in sizes),
        "median words": median(prose),
        "figures": sum(len(pictures(cell)) for _, cell in code_cells(notebook)),
        "headings": len(headings(notebook)),
    }


def faults(notebook) -> list[str]:
    checks = (size_faults, heading_faults, closing_faults, picture_faults, run_faults, text_faults,
              meta_faults)  # fmt: skip
    return [fault for check in checks for fault in check(notebook)]


def size_faults(notebook):
    found = measures(notebook)
    if found["median lines"] > MEDIAN_LINES:
        yield f"the median code cell has {found['median lines']} lines, more than {MEDIAN_LINES}"
    for number, cell in code_cells(notebook):
        if lines(cell.source) > MOST_LINES:
            yield f"cell {number}: {lines(cell.source)} lines of code, more than {MOST_LINES}"
        if (widest := max(map(len, cell.source.split("\n")))) > WIDEST:
            yield f"cell {number}: a code line of {widest} characters, more than {WIDEST}"
    if (size := len(nbformat.writes(notebook))) > HEAVIEST:
        yield f"{size} bytes, more than {HEAVIEST}"


def heading_faults(notebook):
    found = headings(notebook)
    titles = [title for _, level, title in found if level == 1]
    if len(titles) != 1 or found[0][1] != 1:
        yield f"one title must stand at the top, got {titles}"
    for (_, above, _), (number, level, title) in pairwise(found):
        if level > above + 1:
            yield f"cell {number}: heading {title!r} skips from level {above} to {level}"
    second = [title for _, level, title in found if level == 2]
    closing = [title for title in CLOSING if titles != [TOUR] or title != "Questions"]
    if second[:1] != ["Overview"] or second[-len(closing) :] != closing:
        yield f"sections must open with Overview and close with {closing}, got {second}"


def section(notebook, title: str) -> str:
    """The prose beneath a heading of level 2."""
    prose = "\n\n".join(cell.source for _, cell in text_cells(notebook))
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", prose, re.M | re.S)
    return found[1] if found else ""


def exercises(notebook) -> list[str]:
    """Where the section Exercises leads to, relative to the chapter."""
    return re.findall(r"\]\((exercises/[^)]+)\)", section(notebook, "Exercises"))


def closing_faults(notebook):
    if any(title == TOUR for _, _, title in headings(notebook)):
        return
    questions = section(notebook, "Questions")
    asked = re.findall(r"^\*\*(\d)\.\*\* .*\?$", questions, re.M)
    if asked != list("12345") or len(ANSWER.findall(questions)) != 5:
        yield f"there must be five questions, each with an answer that unfolds, got {asked}"
    links = exercises(notebook)
    if not links or not all((chapters()[0].parent / link).is_file() for link in links):
        yield f"the exercises must be linked and be there, got {links}"


def picture_faults(notebook):
    for number, cell in code_cells(notebook):
        places = pictures(cell)
        if len(places) > 1:
            yield f"cell {number}: {len(places)} pictures in one cell"
        shows = SHOWS.search(cell.source)
        if places and not shows:
            yield f"cell {number}: a picture that this cell doesn't show"
        if shows and not places:
            yield f"cell {number}: shows a picture that isn't recorded"
        for place in places:
            below = cell.outputs[place + 1 : place + 2]
            if not below or len(below[0].get("data", {}).get("text/markdown", "")) < 20:
                yield f"cell {number}: a picture without a caption beneath"


def run_faults(notebook):
    counts = [cell.execution_count for _, cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"not recorded in one run from top to bottom: execution counts {counts}"
    if not any(cell.outputs for _, cell in code_cells(notebook)):
        yield "no outputs are recorded: there is nothing to compare with"
    for number, cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"cell {number}: an error is recorded: {output.ename}"
            if output.get("name") == "stderr":
                yield f"cell {number}: stderr is recorded"


def text_faults(notebook):
    for number, cell in enumerate(notebook.cells, 1):
        everything = nbformat.v4.writes(nbformat.v4.new_notebook(cells=[cell]))
        if leak := MACHINE_PATH.search(re.sub(r'"image/png": "[^"]*"', "", everything)):
            yield f"cell {number}: a path of one machine, {leak[0]}"
        if re.search(r"!\[\s*\]\(", cell.source):
            yield f"cell {number}: an image without alt text"
        if "NBVAL_" in cell.source or any("nbval" in t for t in cell.metadata.get("tags", [])):
            yield f"cell {number}: its output is not compared"


def meta_faults(notebook):
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernel must be named python3, so that the notebook opens anywhere"
    for number, cell in enumerate(notebook.cells, 1):
        if "slideshow" not in cell.metadata:
            yield f"cell {number}: no slideshow metadata"
        if re.search(r"\A#+ .*\n", cell.source) and cell.cell_type == "markdown":
            yield f"cell {number}: a heading needs a cell of its own, to open a slide"
    # the doctor speaks before MXNet is imported, which may fail
    first = next(cell for _, cell in code_cells(notebook) if "doctor()" not in cell.source)
    if "%matplotlib inline" not in first.source or "npx.set_np()" not in first.source:
        yield "the first code cell must hold %matplotlib inline and npx.set_np()"


def main(paths: list[str]) -> int:
    notebooks = {Path(path): nbformat.read(path, 4) for path in paths or chapters()}
    for path, notebook in notebooks.items():
        numbers = ", ".join(f"{name} {value:g}" for name, value in measures(notebook).items())
        print(f"{path.stem}: {numbers}")
        for number, level, title in headings(notebook):
            print(f"  {number:>3} {'#' * level} {title}")
    bad = [f"{path.name}: {fault}" for path, nb in notebooks.items() for fault in faults(nb)]
    print("\n".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
