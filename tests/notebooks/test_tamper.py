"""Changes to a recorded chapter that the suite must notice, made to a copy of each.

nbval itself runs one tampered chapter. In the others its comparison is given the outputs as they
are recorded, which are what a kernel prints: nbval's own run of the chapters says so.
"""

import re
import subprocess
import sys

import nbformat
import pytest
from nbval.plugin import IPyNbFile

from notebooks import form, prose

CHAPTERS = form.chapters()


def with_text_output(notebook):
    """Indices, among code cells, of those that end in a printed value with a digit."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return code, [
        k
        for k, cell in enumerate(code)
        if cell.outputs and re.search(r"\d", cell.outputs[-1].get("data", {}).get("text/plain", ""))
    ]


def nbval_failures(path, folder):
    """Numbers of the cells that nbval reports, as it counts them."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-o", "addopts="]
    command += [f"--rootdir={folder}", "-c", "/dev/null", "--nbval", "--nbval-cell-timeout=120"]
    command += [
        f"--nbval-sanitize-with={form.chapters()[0].parents[1]}/tests/notebooks/sanitize.cfg"
    ]
    ran = subprocess.run([*command, str(path)], capture_output=True, text=True, cwd=folder)
    failed = re.findall(rf"FAILED {re.escape(path.name)}::Cell (\d+)", ran.stdout)
    assert ran.returncode == (1 if failed else 0), ran.stdout[-2000:]
    return {int(number) for number in failed}


def tampered(chapter):
    """A chapter with a digit, a caption and an output changed, and the numbers of those cells."""
    notebook = nbformat.read(chapter, 4)
    code, with_output = with_text_output(notebook)
    digit, deleted, caption = with_output[0], with_output[1], with_output[-1]
    change_a_digit(code[digit].outputs[-1])
    code[deleted].outputs = []
    change_a_digit(code[caption].outputs[-1])
    return notebook, {digit, deleted, caption}


def test_nbval_names_each_tampered_cell_and_no_other(tmp_path):
    notebook, cells = tampered(CHAPTERS[0])
    code, with_output = with_text_output(notebook)
    code[with_output[2]].source += "\n12345"  # the cell's result is another one now
    nbformat.write(notebook, tmp_path / CHAPTERS[0].name)
    failures = nbval_failures(tmp_path / CHAPTERS[0].name, tmp_path)
    assert failures == {*cells, with_output[2]}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_nbvals_comparison_tells_each_tampered_cell_and_no_other(chapter, tmp_path, request):
    notebook, cells = tampered(chapter)
    nbformat.write(notebook, tmp_path / chapter.name)
    file = IPyNbFile.from_parent(request.session, path=tmp_path / chapter.name)
    file.setup_sanitize_files()
    recorded = form.code_cells(nbformat.read(chapter, 4))
    differ = {
        item.cell_num
        for item, (_, cell) in zip(file.collect(), recorded, strict=True)
        if not item.compare_outputs(cell.outputs, item.cell.outputs)
    }
    assert differ == cells


def change_a_digit(output):
    text = output["data"]["text/plain"]
    place = [match.start() for match in re.finditer(r"\d", text)][-1]
    digit = str((int(text[place]) + 1) % 10)
    output["data"]["text/plain"] = text[:place] + digit + text[place + 1 :]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_stripped_chapter_is_no_chapter(chapter):
    notebook = nbformat.read(chapter, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    faults = form.faults(notebook)
    assert any("no outputs are recorded" in fault for fault in faults)
    assert any("execution counts" in fault for fault in faults)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_changed_number_in_the_prose_is_named_with_its_cell(chapter):
    notebook = nbformat.read(chapter, 4)
    cell, number, known = next(
        claim
        for claim in prose.checked(notebook)
        if notebook.cells[claim[0] - 1].source.count(claim[1].text) == 1
    )
    wrong = next(n.text for n in prose.mutations(number) if prose.is_caught(n, known))
    text = notebook.cells[cell - 1].source
    notebook.cells[cell - 1].source = text.replace(number.text, wrong, 1)
    assert (cell, wrong) in [(at, found.text) for at, found, _ in prose.unsupported(notebook)]
