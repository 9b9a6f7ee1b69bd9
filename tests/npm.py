"""Packages of npm that tests use: fetched once into .tools, the very ones that were looked at."""

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

TOOLS = Path(__file__).parents[1] / ".tools"


def package(name, sha512, folder):
    """Unpacks ``name@version`` into the folder; returns where its files lie."""
    kept = TOOLS / f"{name}.tgz"
    if not kept.exists():
        command = ["npm", "pack", "--silent", name, "--pack-destination", str(folder)]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        TOOLS.mkdir(exist_ok=True)
        shutil.copy(folder / ran.stdout.split()[-1], kept)
    digest = base64.b64encode(hashlib.sha512(kept.read_bytes()).digest()).decode()
    assert digest == sha512, f"{kept} is not {name}"
    shutil.unpack_archive(kept, folder, "gztar")
    return folder / "package"
