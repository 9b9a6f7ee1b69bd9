"""Brings README.md up to date: links made from the address in pyproject.toml, and the picture.

``python .ci/readme.py`` writes, ``python .ci/readme.py --check`` only tells (exit status 1).
"""

import base64
import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHAPTER = "notebooks/01-default-initialization.ipynb"
PICTURE = "notebooks/first-figure.png"


def start_page() -> str:
    """The page on which the course opens: it stands in the Makefile, as START."""
    return re.search(r"^START = (\S+)$", (ROOT / "Makefile").read_text(), re.M)[1]


def binder(project: dict) -> str:
    owner_and_name = "/".join(project["urls"]["Repository"].split("/")[-2:])
    address = f"https://mybinder.org/v2/gh/{owner_and_name}/v{project['version']}"
    return f"{address}?urlpath=lab/tree/{start_page()}"


def links() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    repository = project["urls"]["Repository"]
    launch = f"[![Open on Binder](https://mybinder.org/badge_logo.svg)]({binder(project)})"
    code = "[![Code: Apache-2.0](https://img.shields.io/badge/code-Apache--2.0-006BA4)](LICENSE)"
    text = (
        "[![Text: CC BY-SA 4.0](https://img.shields.io/badge/text-CC%20BY--SA%204.0-595959)]"
        "(notebooks/LICENSE.md)"
    )
    folder = repository.split("/")[-1]
    return f"{launch} {code} {text}\n\n```sh\ngit clone {repository}\ncd {folder}\n```"


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
