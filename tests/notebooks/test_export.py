"""The start page as HTML: figures and captions stand there, and nothing of a widget."""

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbformat.v4 import new_output

from d2l_init.lab.explore import NO_WIDGETS
from notebooks import form

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def page():
    return nbformat.read(form.chapters()[0], 4)


def the_cell(page):
    return next(cell for _, cell in form.code_cells(page) if "explore(" in cell.source)


def exported(page):
    return HTMLExporter().from_notebook_node(page)[0]


def test_no_widget_is_recorded(page):
    assert "widgets" not in page.metadata
    kinds = [sorted(output.data) for output in the_cell(page).outputs]
    assert kinds == [["image/png", "text/plain"], ["text/markdown", "text/plain"]]


def test_the_export_has_every_figure_and_its_caption(page):
    html = exported(page)
    assert html.count('src="data:image/png') == form.measures(page)["figures"]
    assert the_cell(page).outputs[1].data["text/plain"][:80] in html
    assert VIEW not in html


@pytest.mark.filterwarnings("ignore:.*jupyter.widget")  # nbconvert: no state of it is stored
def test_what_a_reader_saved_exports_with_words_where_the_controls_were(page):
    view = {VIEW: {"version_major": 2, "version_minor": 0, "model_id": "0"}}
    data = {**view, "text/plain": NO_WIDGETS}
    the_cell(page).outputs.insert(0, new_output("display_data", data))
    html = exported(page)
    assert NO_WIDGETS in html
    assert VIEW not in html
