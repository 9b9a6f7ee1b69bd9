"""Do the numbers in a chapter's prose stand in its outputs or code?

``python tests/notebooks/prose.py [NOTEBOOK ...]`` lists the numbers that don't.

A number is checked when it has a decimal point, an exponent, a per cent sign or at least three
digits. Code, links, headings, years of citation and numbers of sections are left out. It must
equal, at its printed precision, a number in an output of its section (from one heading of level 1
or 2 to the next) or, exactly, one in its code. What frames a chapter (Overview, Summary, Questions,
Exercises, What's next) may only repeat numbers that the sections state. A power of ten counts as
one number.
"""

import ast
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

FRAME = ("Overview", "Summary", "Questions", "Exercises", "What's next")
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
NUMBER = re.compile(
    r"""(?<![\w.^]) (?P<sign>[-−])?
        (?P<digits>\d{1,3}(?:[,\u2009\u202f]\d{3})+|\d+) (?P<part>\.\d+)?
        (?: [eE](?P<e>[-+−]?\d+) | \s*(?:×|·|\\times|\\cdot)\s*10\^\{?(?P<ten>[-−]?\d+)\}?
          | (?P<power>\^\{?[-−]?\d+\}?) )?
        (?: \s?\\?(?P<percent>%) )? (?![\w]) (?!\.\d)""",
    re.X,
)
NOT_CLAIMS = re.compile(
    r"""```.*?``` | `[^`]*` | (?<=\])\([^)]*\) | ^\#[^\n]* | <!--.*?-->
        | \b(?:[Ss]ections?|[Cc]hapters?|[Ee]quations?|eqs?\.|[Ff]igures?|[Pp]ages?)\s*[\d.,]+
        | (?<=[A-Za-z.]\s)\(?(?:19|20)\d\d(?=[,);\]]) """,
    re.X | re.S | re.M,
)


@dataclass(frozen=True)
class Number:
    """A number as printed: its value and half the unit of its last digit."""

    text: str
    value: float
    slack: float
    exact: bool = False  # a literal, which prose must not round

    def equals(self, other: "Number") -> bool:
        """Whether ``other``, rounded to this number's precision, is this number."""
        slack = 0.0 if other.exact else self.slack
        return abs(other.value - self.value) <= slack * (1 + 1e-9) + 1e-12 * abs(self.value)


@dataclass
class Section:
    """A heading, the prose beneath it as (cell number, text), and the numbers it may use."""

    title: str
    prose: list[tuple[int, str]] = field(default_factory=list)
    known: list[Number] = field(default_factory=list)


def numbers(text: str) -> list[Number]:
    plain = re.sub("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda m: "^" + m[0].translate(SUPERSCRIPTS), text)
    return [_number(match) for match in NUMBER.finditer(plain)]


def _number(match: re.Match) -> Number:
    digits = re.sub(r"[^\d]", "", match["digits"]) + (match["part"] or "")
    exponent = match["e"] or match["ten"] or "0"
    if match["power"] and digits == "10":
        digits, exponent = "1", match["power"].strip("^{}")
    scale = 10.0 ** int(exponent.replace("−", "-")) / (100 if match["percent"] else 1)
    decimals = len(match["part"] or ".") - 1
    sign = -1 if match["sign"] else 1
    return Number(match[0], sign * float(digits) * scale, 0.5 * 10.0**-decimals * scale)


def is_claim(number: Number) -> bool:
    plain = number.text.replace(",", "")
    return bool(re.search(r"\d\.\d|\d\d\d|[eE×%]|times|cdot|10\^", plain))


def claims(text: str) -> list[Number]:
    return [number for number in numbers(NOT_CLAIMS.sub(" ", text)) if is_claim(number)]


def in_code(source: str) -> list[Number]:
    """Literals, and what expressions of literals alone come to: 10**3, 1 / 4, 2 / 64."""
    plain = "\n".join(line for line in source.split("\n") if not line.startswith(("%", "!")))
    found = []
    for node in ast.walk(ast.parse(plain)):
        if isinstance(node, ast.expr) and _is_arithmetic(node):
            value = eval(compile(ast.Expression(node), "cell", "eval"))  # literals only
            if isinstance(value, (int, float)):
                found.append(Number(ast.unparse(node), float(value), 0.0, exact=True))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += numbers(node.value)
    return found


def _is_arithmetic(node: ast.AST) -> bool:
    allowed = (ast.BinOp, ast.UnaryOp, ast.Constant, ast.operator, ast.unaryop)
    inside = list(ast.walk(node))
    return all(isinstance(part, allowed) for part in inside) and not any(
        isinstance(part, ast.Constant) and not isinstance(part.value, (int, float))
        for part in inside
    )


def in_outputs(cell) -> list[Number]:
    texts = []
    for output in cell.get("outputs", []):
        texts += [output.get("text", ""), output.get("evalue", "")]
        texts += [text for kind, text in output.get("data", {}).items() if kind.startswith("text")]
    return [number for text in texts for number in numbers(text)]


def sections(notebook) -> list[Section]:
    found = [Section("")]
    for index, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code":
            found[-1].known += in_code(cell.source) + in_outputs(cell)
            continue
        for piece in re.split(r"(?m)^(?=\#{1,2}\s)", cell.source):
            if heading := re.match(r"\#{1,2}\s+(.*)", piece):
                found.append(Section(heading[1].strip()))
            found[-1].prose.append((index, piece))
    return found


def checked(notebook) -> list[tuple[int, Number, list[Number]]]:
    """Every claim: its cell, the number, and what it may be."""
    parts = sections(notebook)
    body = [part for part in parts if not part.title.startswith(FRAME)]
    stated = [number for part in body for _, text in part.prose for number in claims(text)]
    return [
        (cell, number, stated if part.title.startswith(FRAME) else part.known)
        for part in parts
        for cell, text in part.prose
        for number in claims(text)
    ]


def unsupported(notebook) -> list[tuple[int, Number, list[Number]]]:
    return [
        (cell, number, nearest(number, known))
        for cell, number, known in checked(notebook)
        if is_caught(number, known)
    ]


def nearest(number: Number, known: list[Number]) -> list[Number]:
    return sorted(set(known), key=lambda other: abs(other.value - number.value))[:3]


def is_caught(number: Number, known: list[Number]) -> bool:
    return is_claim(number) and not any(number.equals(other) for other in known)


def mutations(number: Number) -> list[Number]:
    """The same number with one digit changed: by one, by five, at each place."""
    changed = []
    for match in re.finditer(r"\d(?!0?\^\{?[-−]?\d)", number.text):  # not the base of a power
        for step in (1, 5, 9):
            digit = str((int(match[0]) + step) % 10)
            text = number.text[: match.start()] + digit + number.text[match.end() :]
            new = numbers(text.replace("\\%", "%"))
            if re.match(r"[-−]?0\d", text):  # nobody prints 06 or 00,000
                continue
            if new and new[0].value != number.value:
                changed.append(new[0])
    return changed


def main(paths: list[str]) -> int:
    bad = 0
    for path in paths or sorted(map(str, Path("notebooks").glob("*.ipynb"))):
        for cell, number, near in unsupported(nbformat.read(path, 4)):
            print(f"{path} cell {cell}: {number.text} (near: {', '.join(n.text for n in near)})")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
