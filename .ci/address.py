"""The project's public address. It stands once, in pyproject.toml, and until then nowhere.

``make publish URL=https://…`` writes it there, and from there into the README and CITATION.cff; the
book reads it when it is built.
"""

import os
import re
import sys
import tomllib
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).parent.parent
FORM = r"https://[\w-]+(\.[\w-]+)+(/[\w.~-]+){2,}"
TABLE = "[project.urls]  # by `make publish URL=…`\n"


def repository() -> str | None:
    """Where the project can be cloned from."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project.get("urls", {}).get("Repository")


def book(url: str) -> str | None:
    """Where .github/workflows/ci.yml puts the book: GitHub's own pages."""
    host, account, name = url.removeprefix("https://").split("/", 2)
    return f"https://{account.lower()}.github.io/{name}/" if host == "github.com" else None


def start_page() -> str:
    """The page on which the course opens: it stands in the Makefile, as START."""
    return re.search(r"^START = (\S+)$", (ROOT / "Makefile").read_text(), re.M)[1]


def binder(url: str, page: str) -> str:
    """The address that opens a page of the project on Binder."""
    host, path = url.removeprefix("https://").split("/", 1)
    kinds = {"github.com": f"gh/{path}", "gitlab.com": f"gl/{quote(path, safe='')}"}
    kind = kinds.get(host, f"git/{quote(url, safe='')}")
    return f"https://mybinder.org/v2/{kind}/HEAD?urlpath=lab/tree/{page}"


def checked(url: str) -> str:
    """The address in its one form, without a slash or .git at its end; ValueError for others."""
    plain = url.strip().removesuffix("/").removesuffix(".git")
    if not re.fullmatch(FORM, plain):
        raise ValueError(f"URL must be https://host/account/project, got {url!r}")
    host, path = plain.removeprefix("https://").split("/", 1)
    host = host.lower().removeprefix("www.")
    if host == "github.com" and path.count("/") != 1:
        raise ValueError(f"URL must be https://github.com/account/project, got {url!r}")
    return f"https://{host}/{path}"


def publish(url: str) -> None:
    """Writes the address into pyproject.toml and CITATION.cff."""
    urls = {"Repository": url, "Documentation": book(url)}
    table = TABLE + "".join(f'{key} = "{one}"\n' for key, one in urls.items() if one) + "\n"
    project = ROOT / "pyproject.toml"
    text = re.sub(r"^\[project\.urls\].*?(?=^\[)", "", project.read_text(), flags=re.M | re.S)
    project.write_text(text.replace("[tool.flit.module]\n", f"{table}[tool.flit.module]\n", 1))
    citation = ROOT / "CITATION.cff"
    text = re.sub(r"^repository-code: .*\n", "", citation.read_text(), flags=re.M)
    line = f'repository-code: "{url}"\n'
    citation.write_text(re.sub(r"^(?=license: )", line, text, count=1, flags=re.M))


def main() -> int:
    try:
        url = checked(os.environ.get("URL", ""))
    except ValueError as error:
        print(f"{error}\nFor example: make publish URL=https://github.com/you/d2l_init")
        return 1
    publish(url)
    print(f"{url} stands in pyproject.toml, CITATION.cff and README.md: commit them.")
    if book(url):
        print(f"For the book at {book(url)} set Settings > Pages > Source to GitHub Actions.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
