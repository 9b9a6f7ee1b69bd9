"""A chapter's own functions, to be run with other seeds than the chapter's."""

import ast
from types import SimpleNamespace

import nbformat


def definitions(path, data):
    """Functions and classes of a chapter, with ``data``, names that they use, without its work."""
    found = {}
    for cell in (cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"):
        for node in ast.parse(cell.source.replace("%matplotlib inline", "")).body:
            names = {getattr(target, "id", "") for target in getattr(node, "targets", [])}
            defines = isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)
            if defines or names & data:
                exec(compile(ast.Module([node], []), path.name, "exec"), found)
    return SimpleNamespace(**found)
