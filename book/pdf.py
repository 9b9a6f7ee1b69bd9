"""Prints build/paper/index.html as a tagged PDF: once for the page numbers, once with them.

``python book/pdf.py PAGE.html BOOK.pdf``
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pypdf import PdfReader

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PLACE = '<span class="page"></span>'


def printed(page: Path, pdf: Path) -> None:
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if browser is None:
        raise SystemExit("make pdf needs Chromium (Debian: apt-get install chromium)")
    command = [browser, "--headless", "--disable-gpu", "--allow-file-access-from-files"]
    command += ["--virtual-time-budget=120000"]
    command += ["--no-sandbox"] * (os.getuid() == 0)  # root cannot have one
    command += ["--no-pdf-header-footer", "--generate-pdf-document-outline"]
    command += [f"--print-to-pdf={pdf.resolve()}", page.resolve().as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode or not pdf.exists():
        raise SystemExit(f"Chromium printed no PDF:\n{ran.stderr[-2000:]}")


def pages(pdf: Path) -> list[int]:
    """The page of each chapter and of each of its sections, in order."""
    reader = PdfReader(pdf)

    def below(entries, level):
        for entry in entries:
            if isinstance(entry, list):
                yield from below(entry, level + 1)
            elif level in (1, 2):
                yield reader.get_destination_page_number(entry) + 1

    return list(below(reader.outline, 0))


def main(page: Path, pdf: Path) -> None:
    printed(page, pdf)
    numbers, html = pages(pdf), page.read_text()
    if html.count(PLACE) != len(numbers):
        raise SystemExit(f"{html.count(PLACE)} headings in the contents, {len(numbers)} on paper")
    page.write_text(re.sub(PLACE, lambda _: PLACE.replace("><", f">{numbers.pop(0)}<"), html))
    printed(page, pdf)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
