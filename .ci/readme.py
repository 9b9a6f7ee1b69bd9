"""Brings README.md up to date: links made from the address in pyproject.toml, and the picture.

``python .ci/readme.py`` writes, ``python .ci/readme.py --check`` only tells (exit status 1).
"""

import base64
import json
import re
import sys
from pathlib import Path

import address

ROOT = Path(__file__).parent.parent
CHAPTER = "notebooks/01-default-initialization.ipynb"
PICTURE = "notebooks/first-figure.png"


def links() -> str:
    code = "[![Code: Apache-2.0](https://img.shields.io/badge/code-Apache--2.0-006BA4)](LICENSE)"
    text = (
        "[![Text: CC BY-SA 4.0](https://img.shields.io/badge/text-CC%20BY--SA%204.0-595959)]"
        "(notebooks/LICENSE.md)"
    )
    url = address.repository()
    return published(url, f"{code} {text}") if url else unpublished(f"{code} {text}")


def published(url: str, licences: str) -> str:
    badges = [badge(address.binder(url, address.start_page())), licences]
    lines = [f"```sh\ngit clone {url} d2l_init\ncd d2l_init\n```"]
    if book := address.book(url):
        runs = f"{url}/actions/workflows/ci.yml"
        badges.insert(1, f"[![tests, weekly]({runs}/badge.svg)]({runs})")
        lines.insert(0, f"Read it as [a book]({book}), or open it:")
    return "\n\n".join([" ".join(badges), *lines])


def unpublished(licences: str) -> str:
    page = address.start_page()
    sample = badge(address.binder("https://github.com/<account>/<project>", page))
    told = (
        "Clone the repository that shows you this page and change into its folder. With nothing "
        "installed, paste its address into the form at [mybinder.org](https://mybinder.org), and "
        f"`lab/tree/{page}` as the URL to open. A badge does the same: `make publish URL=https://…`"
        " sets it here, and the address wherever it belongs; by hand its line is"
    )
    return f"{licences}\n\n{told}\n\n```md\n{sample}\n```"


def badge(target: str) -> str:
    return f"[![Open on Binder](https://mybinder.org/badge_logo.svg)]({target})"


def readme() -> str:
    text = (ROOT / "README.md").read_text()
    filled, count = re.subn(
        r"(<!-- links -->\n).*?(\n<!-- end -->)", rf"\g<1>{links()}\g<2>", text, flags=re.S
    )
    if count != 1:
        raise SystemExit("README.md must hold one <!-- links --> ... <!-- end -->")
    return filled


def picture() -> bytes:
    for cell in json.loads((ROOT / CHAPTER).read_text())["cells"]:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output["data"]["image/png"])
    raise SystemExit(f"{CHAPTER} holds no figure: record it first")


def main() -> int:
    new = {ROOT / "README.md": readme().encode(), ROOT / PICTURE: picture()}
    stale = [path for path in new if not path.exists() or path.read_bytes() != new[path]]
    if "--check" in sys.argv:
        print("\n".join(f"{path.name} is out of date: run make record" for path in stale))
        return bool(stale)
    for path in stale:
        path.write_bytes(new[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
