"""The book: the chapters as they are recorded, by Sphinx. ``make book`` builds it."""

import json
import re
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / ".ci"))
import address  # noqa: E402

the_project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
project, version = the_project["name"].replace("-", "_"), the_project["version"]
author = the_project["authors"][0]["name"]
(package,) = find_spec("sphinx-mathjax-offline").submodule_search_locations
mathjax = f"{package}/static/mathjax"

exclude_patterns = ["LICENSE.md", "**/.ipynb_checkpoints", ".ipynb_checkpoints"]
suppress_warnings = ["toc.not_included"]  # exercises and solutions: the chapters lead there
extensions = ["myst_nb", "sphinx_copybutton"]
nb_execution_mode = "off"  # what is shown is what is recorded
nb_ipywidgets_js = {}  # they would come from the web
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 2
copybutton_selector = "div.cell_input pre"

html_theme = "sphinx_book_theme"
html_title = "How neural networks get their first weights"
html_extra_path = [str(HERE.parent / "notebooks")]  # to download
html_static_path = ["_static", f"{mathjax}/tex-svg.js"]
html_css_files = ["book.css"]
html_copy_source = html_use_index = False
html_show_copyright = False
html_context = {"default_mode": "auto"}
html_sidebars = {"**": ["search-button-field.html", "sbt-sidebar-nav.html"]}
html_theme_options = {
    "home_page_in_toc": True,
    "use_download_button": False,  # it stands below each title
    "use_fullscreen_button": False,
}
mathjax_path = "tex-svg.js"  # it draws its letters: no fonts to fetch
if tags.has("paper"):  # noqa: F821
    html_theme, html_css_files, html_theme_options = "basic", ["print.css"], {"nosidebar": True}
    mathjax_path = "tex-chtml.js"  # printed with fonts, its formulas are text
    html_static_path[1:] = [f"{mathjax}/tex-chtml.js", f"{mathjax}/output/chtml/fonts"]
    mathjax3_config = {"chtml": {"fontURL": "_static/woff-v2"}}


MARK = re.compile(r"### (BEGIN|END) SOLUTION")


def first_sentence(text: str) -> str:
    return re.match(r".+?[.?!](?=\s|$)|.+", text, re.S)[0]


def figure(image: nodes.image, caption: nodes.paragraph, file: str, name: str) -> nodes.figure:
    """A picture that opens at its full size, and beneath it the caption that ``show`` made."""
    words = caption.astext()
    title = first_sentence(words)
    image["alt"] = title
    text = [nodes.strong("", title), nodes.Text(words.removeprefix(title))]
    link = nodes.reference("", "", image, refuri=file, classes=["enlarge"])
    return nodes.figure("", link, nodes.caption("", "", *text), ids=[name])


def without_marks(app, docname, source):
    """A solution without nbgrader's marks of where it begins and ends."""
    if docname.startswith("exercises/solutions/"):
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            cell["source"] = [line for line in cell["source"] if not MARK.search(line)]
        source[0] = json.dumps(notebook)


def number_chapters(app, env):
    """Their titles, wherever they are listed, begin with the number that the text calls them by."""
    for docname, title in env.titles.items():
        if number := re.match(r"\d\d(?=-)", docname):
            title.insert(0, nodes.Text(f"{number[0]} "))
            entry = next(env.tocs[docname].findall(nodes.reference))
            entry.insert(0, nodes.Text(f"{number[0]} "))


def beside(app, docname: str) -> nodes.paragraph:
    """Links to open a chapter on Binder, to keep it, and to its exercises."""
    links = {}
    if url := address.repository():
        links["Open on Binder"] = address.binder(url, f"notebooks/{docname}.ipynb")
    links["Download"] = f"{docname.split('/')[-1]}.ipynb"
    for other in sorted(app.env.found_docs):
        if other.startswith(f"exercises/{docname[:2]}-"):
            links["Exercises"] = app.builder.get_relative_uri(docname, other)
    line = [nodes.reference("", words, refuri=target) for words, target in links.items()]
    return nodes.paragraph("", "", *line, classes=["beside"])


def keep_together(math):
    """No line ends between a formula and the full stop behind it."""
    line = math.parent
    place = line.index(math)
    after = line[place + 1] if place + 1 < len(line) else ""
    if isinstance(after, nodes.Text) and (mark := re.match(r"[.,;:?!)’”]+", after)):
        together = nodes.inline("", "", math.deepcopy(), nodes.Text(mark[0]), classes=["together"])
        line[place : place + 2] = [together, nodes.Text(after[mark.end() :])]


def for_paper(doctree):
    """Answers unfolded, chapters numbered, and in front a list of contents for page numbers."""
    for raw in doctree.findall(nodes.raw):
        raw[:] = [nodes.Text(raw.astext().replace("<details>", "<details open>"))]
    contents = nodes.bullet_list("", classes=["contents"])
    for chapter in doctree.findall(addnodes.start_of_file):
        (top,) = (child for child in chapter.children if isinstance(child, nodes.section))
        if number := re.match(r"\d\d(?=-)", chapter["docname"]):
            top.next_node(nodes.title).insert(0, nodes.Text(f"{number[0]} "))
        for section in (top, *top.children):
            if isinstance(section, nodes.section):
                name = f"{chapter['docname']}-{section['ids'][0]}"
                section["ids"] = [name]
                words = section.next_node(nodes.title).astext()
                link = nodes.reference("", words, refid=name, internal=True)
                line = nodes.paragraph("", "", link, nodes.inline("", "", classes=["page"]))
                level = "chapter" if section is top else "section"
                contents += nodes.list_item("", line, classes=[level])
    for link in list(doctree.findall(nodes.reference)):
        if link.get("refuri", "").startswith("#document-exercises"):  # they stay on the screen
            link.replace_self(link.children)
    first = next(doctree.findall(addnodes.start_of_file))
    first.parent.insert(first.parent.index(first), contents)


def arrange(app, doctree, docname):
    """Figures from pictures and captions, a place for the sliders, links below the title."""
    up = "../" * docname.count("/") if app.builder.name == "html" else ""
    for number, image in enumerate(list(doctree.findall(nodes.image)), 1):
        output = image.parent
        (caption, *_) = [*output.children[output.index(image) + 1 :], None]
        if "cell_output" not in output.get("classes", []) or caption is None:
            continue
        output.remove(caption)
        file = f"{up}_images/{app.env.images[image['uri']][1]}"
        output.replace(image, figure(image.deepcopy(), caption, file, f"figure-{number}"))
        if app.builder.name == "html" and re.search(r"\bexplore\(", output.parent.astext()):
            output += nodes.raw("", "<div data-explore></div>", format="html")
    for math in list(doctree.findall(nodes.math)):
        keep_together(math)
    for raw in doctree.findall(nodes.raw):  # pandas calls an empty corner a heading
        raw[:] = [nodes.Text(raw.astext().replace("<th></th>", "<td></td>"))]
    if app.builder.name == "singlehtml":
        for_paper(doctree)
    elif app.env.doc2path(docname).suffix == ".ipynb":
        title = next(doctree.findall(nodes.title))
        title.parent.insert(1, beside(app, docname))


def load_sliders(app, docname, template, context, doctree):
    """Their scripts, on the one page that has a place for them."""
    if doctree and "data-explore" in "".join(raw.astext() for raw in doctree.findall(nodes.raw)):
        app.add_css_file("explore.css")
        for script in ("mean-field.js", "explore.js"):
            app.add_js_file(script)


def setup(app):
    app.connect("source-read", without_marks)
    app.connect("env-updated", number_chapters)
    app.connect("doctree-resolved", arrange)
    app.connect("html-page-context", load_sliders)
