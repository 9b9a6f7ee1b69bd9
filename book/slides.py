"""One deck a chapter, from the slide types of its cells; nothing in it asks the web.

``python book/slides.py FOLDER``
"""

import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter
from nbformat.v4 import new_markdown_cell
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

HERE = Path(__file__).parent
MOST_LINES = 4  # of code beside a figure; longer code goes to the notes


def slide_type(cell) -> str:
    return cell.metadata.get("slideshow", {}).get("slide_type", "-")


def typed(text: str, kind: str):
    return new_markdown_cell(text, metadata={"slideshow": {"slide_type": kind}})


def arranged(notebook):
    """Each slide tells its section; captions and long code beside figures go to the notes."""
    cells, section = [], ""
    for cell in notebook.cells:
        if heading := re.match(r"## (.+)", cell.source):
            section = heading[1]
        if slide_type(cell) == "subslide" and section != "Overview":
            cells.append(typed(f'<p class="running">{section}</p>', "subslide"))
            cell.metadata.slideshow.slide_type = "-"
        cells.append(cell)
        cells += with_figure(cell)
    notebook.cells = cells
    for number, cell in enumerate(notebook.cells):
        cell.id = f"slide-{number}"
    return notebook


def with_figure(cell) -> list:
    outputs = cell.get("outputs", [])
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    captions = [output for output in outputs if "text/markdown" in output.get("data", {})]
    if not (pictures and captions):
        return []
    words = captions[0].data["text/plain"]
    pictures[0].metadata["alt"] = re.match(r".+?[.?!](?=\s|$)", words, re.S)[0]
    outputs.remove(captions[0])
    notes = [typed(words, "notes")]
    if len(cell.source.splitlines()) > MOST_LINES:
        cell.metadata.tags = ["told"]
        notes.append(typed(f"```python\n{cell.source}\n```", "notes"))
    return notes


def library(folder: Path) -> None:
    """What the decks load: reveal.js, MathJax, and our own style."""
    (reveal,) = find_spec("sphinx_revealjs").submodule_search_locations
    (mathjax,) = find_spec("sphinx-mathjax-offline").submodule_search_locations
    for part in ("dist/reveal.js", "dist/reveal.css", "plugin/notes/notes.js"):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(f"{reveal}/_static/revealjs/{part}", folder / part)
    shutil.copy(f"{mathjax}/static/mathjax/tex-svg.js", folder)
    shutil.copy(HERE / "slides" / "slides.js", folder)
    colours = HtmlFormatter(style="a11y-high-contrast-light").get_style_defs(".highlight")
    (folder / "slides.css").write_text((HERE / "slides" / "slides.css").read_text() + colours)


def main(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    library(folder / "lib")
    told = Config(TagRemovePreprocessor={"enabled": True, "remove_input_tags": {"told"}})
    exporter = SlidesExporter(told, template_name="slides", extra_template_basedirs=[str(HERE)])
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    for path in sorted((HERE.parent / "notebooks").glob("[0-9][0-9]-*.ipynb")):
        notebook = nbformat.read(path, 4)
        title = re.match(r"# (.+)", notebook.cells[0].source)[1]
        html, _ = exporter.from_notebook_node(arranged(notebook), {"deck_title": title})
        html = re.sub(r'href="(\d\d-[\w-]+)\.ipynb"', r'href="\1.html"', html)  # its deck
        html = re.sub(r'<a href="[\w/.-]+\.(?:md|ipynb)">(.*?)</a>', r"\1", html)  # has none
        (folder / f"{path.stem}.html").write_text(html)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
