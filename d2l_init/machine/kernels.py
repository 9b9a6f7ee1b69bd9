"""Jupyter kernels that run this Python and find the CUDA libraries of its wheels."""

from __future__ import annotations  # Python 3.9 can then ask the doctor

import os
import re
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

NAME, DISPLAY_NAME = "d2l-init", "Python 3.11 (d2l_init)"


def cuda_folders() -> list[Path]:
    """Where the ``nvidia-*-cu11`` wheels of this environment keep their libraries."""
    places = dict.fromkeys(sysconfig.get_path(path) for path in ("platlib", "purelib"))
    return [folder for place in places for folder in sorted(Path(place).glob("nvidia/*/lib"))]


def cuda_environment(before: str) -> dict[str, str]:
    """What puts those folders on the loader's path, in front of what was there ``before``."""
    folders = list(map(str, cuda_folders()))
    return {"LD_LIBRARY_PATH": ":".join([*folders, before]).rstrip(":")} if folders else {}


def _ours() -> dict[str, Any]:
    try:
        from jupyter_client.kernelspec import KernelSpecManager
    except ImportError:
        return {}
    specs = KernelSpecManager().get_all_specs()
    ours = (name for name, one in specs.items() if "d2l_init" in one["spec"].get("metadata", {}))
    return {name: specs[name] for name in sorted(ours)}


def installed_kernels() -> dict[str, str]:
    """Names and folders of the kernels that :func:`install_kernel` made."""
    return {name: one["resource_dir"] for name, one in _ours().items()}


def dead_kernels() -> list[str]:
    """The names of those whose Python is gone, or whose environment."""
    specs = {name: one["spec"] for name, one in _ours().items()}
    return [
        name
        for name, spec in specs.items()
        if not shutil.which(spec["argv"][0])
        or not os.path.isdir(spec["metadata"]["d2l_init"]["prefix"])
    ]


def install_kernel(
    name: str = NAME,
    display_name: str = DISPLAY_NAME,
    *,
    user: bool = False,
    prefix: str | None = None,
) -> Path:
    """Install a kernel that runs this Python and finds the CUDA libraries; returns its folder.

    A notebook on it can begin with ``from mxnet import init``. It goes into this environment, or
    with ``user`` into the user's Jupyter folder, or below ``prefix``. Installing again replaces it.

    Raises ValueError for a name that Jupyter refuses or that a platform keeps for itself, and for
    both ``user`` and ``prefix``.
    """
    from ipykernel.kernelspec import write_kernel_spec
    from jupyter_client.kernelspec import KernelSpecManager

    if not re.fullmatch(r"[a-z0-9._-]+", name) or name.startswith("conda_"):
        rule = "letters in lower case, digits, '.', '_' and '-', not beginning with 'conda_'"
        raise ValueError(f"name must be made of {rule}, got {name!r}")
    spec = {
        "display_name": display_name,
        "metadata": {"debugger": True, "d2l_init": {"prefix": sys.prefix}},
        # Jupyter fills in ${...} when the kernel starts
        "env": cuda_environment("${LD_LIBRARY_PATH}"),
    }
    place = prefix or (None if user else sys.prefix)
    with tempfile.TemporaryDirectory() as folder:
        source = write_kernel_spec(os.path.join(folder, name), overrides=spec)
        manager = KernelSpecManager()
        return Path(manager.install_kernel_spec(source, name, user=user, prefix=place))


def remove_kernel(name: str = NAME) -> Path:
    """Remove a kernel that :func:`install_kernel` made; returns the folder that is gone.

    Raises ValueError where no kernel of that name is ours.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    if name not in (ours := installed_kernels()):
        known = ", ".join(ours) or "none"
        raise ValueError(f"name must be a kernel of ours ({known}), got {name!r}")
    return Path(KernelSpecManager().remove_kernel_spec(name))
