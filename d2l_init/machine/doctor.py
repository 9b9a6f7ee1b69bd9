"""What a machine has and lacks for the chapters, with the command that fixes each."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from .kernels import cuda_environment, cuda_folders, installed_kernels

# What MXNet's CUDA build asks the loader for (readelf -d libmxnet.so), the driver's apart.
CUDA_LIBRARIES = (
    "libcublas.so.11", "libcudart.so.11.0", "libcudnn.so.8", "libcufft.so.10", "libcurand.so.10",
    "libcusolver.so.11", "libnccl.so.2", "libnvToolsExt.so.1", "libnvrtc.so.11.2",
)  # fmt: skip
DRIVER = "libcuda.so.1"
OLDEST_DRIVER = (460, 27)  # CUDA 11.2 release notes, table 3
SYSTEM_LIBRARIES = {"libgomp.so.1": "libgomp1", "libquadmath.so.0": "libquadmath0"}
WHEELS = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "x86_64")}
ELSEWHERE = {
    "Windows": "wsl --install, then work in its Linux",
    "Darwin": "docker run --platform linux/amd64, or open the course on Binder",
}
CPU_BUILD = "pip install --require-hashes -r requirements/cpu.txt"
CUDA_BUILD = "pip install --require-hashes -r requirements/cu112.txt"
NOT_FOUND = "cannot open shared object file"
IMPORT_SECONDS = 600  # the first call of a GPU newer than CUDA 11.2 may compile for minutes
# These run apart: where MXNet cannot be loaded, it can take the whole process down.
LOAD = """
import ctypes, sys
for name in sys.argv[1:]:
    try: ctypes.CDLL(name)
    except OSError: print(name, end=" ")
"""
IMPORT = """
import json, mxnet, d2l.mxnet, matplotlib, scipy, sklearn
print(json.dumps([mxnet.__version__, mxnet.runtime.Features().is_enabled("CUDA"),
                  mxnet.context.num_gpus()]))
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and what fixes it where it is wrong."""

    name: str
    ok: bool
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Report:
    """What :func:`doctor` found, in the order in which to fix it."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether the chapters can run."""
        return all(finding.ok for finding in self.findings)

    def __str__(self) -> str:
        return "\n".join(
            f"{'ok   ' if one.ok else 'WRONG'} {one.name:<18} {one.found}"
            + (f"\n{'':24} fix: {one.fix}" if one.fix else "")
            for one in self.findings
        )

    def dumps(self) -> str:
        """The report as JSON: ``ok`` and a list of findings."""
        return json.dumps({"ok": self.ok, "findings": [asdict(one) for one in self.findings]})


@dataclass(frozen=True)
class Machine:
    """The facts that a report is made from."""

    system: str
    processor: str
    python: tuple[int, int]
    versions: dict[str, str]  # installed packages of interest
    missing: frozenset[str]  # libraries that the loader can't find
    wheels: frozenset[str]  # libraries that the CUDA wheels of this environment hold
    driver: tuple[int, ...]  # version, empty where it is unknown
    imports: str  # what IMPORT printed last, or the last line of its error
    kernels: dict[str, str]


def doctor() -> Report:
    """What this environment has and lacks for the chapters, with the command that fixes each.

    Nothing that could crash is imported into this process. The same stands behind
    ``python -m d2l_init doctor [--json]``.
    """
    return examine(this_machine())


def examine(machine: Machine) -> Report:
    """The report on a machine: causes first, then whether the chapters can run."""
    causes = Report((*_basis(machine), *_cuda(machine)))
    kernels = ", ".join(f"{name} ({folder})" for name, folder in machine.kernels.items())
    last = Finding("kernels", True, kernels or "none of ours yet")
    return Report((*causes.findings, _chapters(machine, causes.ok), last))


def _finding(name: str, ok: object, found: str, why: str, fix: str) -> Finding:
    return Finding(name, True, found) if ok else Finding(name, False, f"{found}: {why}", fix)


def _basis(machine: Machine) -> Iterator[Finding]:
    here = (machine.system, machine.processor)
    fix = ELSEWHERE.get(machine.system, "open the course on Binder, or use Linux on x86-64")
    why = "MXNet 1.9.1 has no wheel for it"
    yield _finding("platform", here in WHEELS, " on ".join(here), why, fix)
    found = ".".join(map(str, machine.python))
    why = "MXNet 1.9.1 needs NumPy 1.23, and that CPython 3.11"
    fix = "uv venv --python 3.11 && make lab"
    yield _finding("Python", machine.python == (3, 11), found, why, fix)
    builds = [f"{name} {version}" for name, version in machine.versions.items() if "mxnet" in name]
    why = "installed over each other" if builds else "No module named 'mxnet'"
    fix = "pip uninstall -y mxnet mxnet-cu112 && " * bool(builds) + CPU_BUILD
    yield _finding("MXNet", len(builds) == 1, ", ".join(builds) or "not installed", why, fix)
    found = machine.versions.get("numpy", "not installed")
    works = re.match(r"(1\.([01]?\d|2[0-3])|0)(\.|$)", found)
    why = "MXNet would say module 'numpy' has no attribute 'bool'"
    yield _finding("NumPy", works, found, why, "pip install numpy==1.23.5")
    if machine.system == "Linux":
        lacking = [name for name in SYSTEM_LIBRARIES if name in machine.missing]
        packages = " ".join(SYSTEM_LIBRARIES[name] for name in lacking)
        fix = f"apt-get install -y {packages} (Amazon Linux: dnf install -y libgomp libquadmath)"
        found = ", ".join(lacking or SYSTEM_LIBRARIES)
        yield _finding("system libraries", not lacking, found, NOT_FOUND, fix)


def _cuda(machine: Machine) -> Iterator[Finding]:
    if "mxnet-cu112" not in machine.versions:
        return
    for name in CUDA_LIBRARIES:
        stem = name.split(".so")[0] + ".so."
        others = sorted(other for other in machine.wheels - {name} if other.startswith(stem))
        why = NOT_FOUND + (f"; {others[0]} is there, another version" if others else "")
        found, ok = (f"OSError: {name}", False) if name in machine.missing else ("found", True)
        yield _finding(name, ok, found, why, CUDA_BUILD)
    fix = f"without a GPU: pip uninstall -y mxnet-cu112 && {CPU_BUILD}"
    if DRIVER in machine.missing:
        found, ok, why = "the NVIDIA driver is missing", False, f"{DRIVER}: {NOT_FOUND}"
    else:
        ok = not machine.driver or machine.driver >= OLDEST_DRIVER
        why = f"CUDA 11.2 needs {'.'.join(map(str, OLDEST_DRIVER))} or newer"
        found, fix = ".".join(map(str, machine.driver)), f"update the driver; {fix}"
    yield _finding("NVIDIA driver", ok, found or "version unknown", why, fix)


def _chapters(machine: Machine, causes_ok: bool) -> Finding:
    try:
        version, cuda, gpus = json.loads(machine.imports)
    except ValueError:
        fix = CPU_BUILD if causes_ok else "what is wrong above, then ask again"
        return Finding("chapters", False, f"they can't run: {machine.imports}", fix)
    found = f"MXNet {version}, {'CUDA' if cuda else 'CPU'} build, {gpus} GPUs: they can run"
    return Finding("chapters", True, found)


def this_machine() -> Machine:
    """The facts of the machine and the environment that this process runs in."""
    return Machine(
        system=platform.system(),
        processor=platform.machine(),
        python=sys.version_info[:2],
        versions={
            name: metadata.version(name)
            for name in ("mxnet", "mxnet-cu112", "numpy")
            if any(metadata.distributions(name=name))
        },
        missing=frozenset(_run(LOAD, *SYSTEM_LIBRARIES, *CUDA_LIBRARIES, DRIVER).split()),
        wheels=frozenset(path.name for folder in cuda_folders() for path in folder.iterdir()),
        driver=_driver_version(),
        imports=_run(IMPORT),
        kernels=installed_kernels(),
    )


def _run(code: str, *arguments: str) -> str:
    """The last line that the code prints in a kernel's environment, or that its error says."""
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    environment = os.environ | cuda_environment(os.environ.get("LD_LIBRARY_PATH", ""))
    try:
        ran = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=IMPORT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {IMPORT_SECONDS} s"
    text = (ran.stdout if ran.returncode == 0 else ran.stderr).strip()
    return text.split("\n")[-1] if text else f"ended with status {ran.returncode}"


def _driver_version() -> tuple[int, ...]:
    file = Path("/proc/driver/nvidia/version")
    text = file.read_text() if file.exists() else ""
    match = re.search(r"Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)", text)
    return tuple(map(int, match[1].split("."))) if match else ()
