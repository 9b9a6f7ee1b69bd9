"""What a machine has and lacks for the chapters, with the command that fixes each."""

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from .kernels import cuda_environment, cuda_folders, dead_kernels, installed_kernels

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
# Commands work from any folder, so they name the course's and this Python.
COURSE, PYTHON = Path(__file__).parents[2], shlex.quote(sys.executable)
CPU_BUILD, CUDA_BUILD = (
    f"install --require-hashes -r {shlex.quote(str(COURSE / 'requirements' / lock))}"
    for lock in ("cpu.txt", "cu112.txt")
)
NOT_FOUND = "cannot open shared object file"
# MXNet's CUDA build has machine code for 5.0, 6.0, 7.0, 8.0 and 8.6, which runs on what has the
# same major number and no smaller minor one; it has no PTX, from which a driver could make more.
CAPABILITIES = r"[5-8]\."
IMPORT_SECONDS = 600  # a slow disk reads some GB of CUDA libraries
# These run apart: where MXNet cannot be loaded, it can take the whole process down.
LOAD = """
import ctypes, sys
for name in sys.argv[1:]:
    try: ctypes.CDLL(name)
    except OSError: print(name, end=" ")
"""
IMPORT = """
import json, mxnet, d2l.mxnet, matplotlib, scipy, sklearn
gpus = mxnet.context.num_gpus()
for number in range(gpus): mxnet.nd.ones(1, mxnet.gpu(number)).wait_to_read()
print(json.dumps([mxnet.__version__, mxnet.runtime.Features().is_enabled("CUDA"), gpus]))
"""
GPUS = """
import ctypes, json
cuda, number, name = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.create_string_buffer(99)
def ask(call, *arguments):
    getattr(cuda, call)(ctypes.byref(number), *arguments)
    return number.value
cuda.cuInit(0)
gpus = {}
for device in [ask("cuDeviceGet", index) for index in range(ask("cuDeviceGetCount"))]:
    cuda.cuDeviceGetName(name, 99, device)
    capability = [ask("cuDeviceGetAttribute", which, device) for which in (75, 76)]
    gpus[name.value.decode()] = ".".join(map(str, capability))
print(json.dumps(gpus))
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and what fixes it where it is wrong."""

    name: str
    ok: bool
    found: str
    fix: str = ""


class UnfitError(RuntimeError):
    """The chapters can't run here; the message says why, and what fixes it."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows instead of a traceback."""
        return str(self).splitlines()


@dataclass(frozen=True)
class Report:
    """What :func:`doctor` found, in the order in which to fix it."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.ok for finding in self.findings)

    def verdict(self) -> str:
        """One line, the same wherever the chapters can run.

        Raises UnfitError where they can't. Jupyter shows what is wrong and its fix in place of a
        traceback, and runs no further cell.
        """
        if all(one.ok for one in self.findings if one.name == "chapters"):
            return "The chapters can run here."
        wrong = Report(tuple(one for one in self.findings if not one.ok))
        raise UnfitError(f"The chapters can't run here.\n{wrong}")

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
    gpus: dict[str, str]  # their names and compute capabilities, as the driver tells
    imports: str  # what IMPORT printed last, or the last line of its error
    kernels: dict[str, str]
    dead: list[str]  # kernels whose Python is gone


def doctor() -> Report:
    """What this environment has and lacks for the chapters, with the command that fixes each.

    Nothing that could crash is imported into this process. The same stands behind
    ``python -m d2l_init doctor [--json]``.
    """
    return examine(this_machine())


def examine(machine: Machine) -> Report:
    """The report on a machine: causes first, then whether the chapters can run."""
    causes = Report(tuple(_basis(machine)))
    if causes.ok:  # nothing can be installed elsewhere
        causes = Report((*causes.findings, *_packages(machine), *_cuda(machine)))
    kernels = ", ".join(f"{name} ({folder})" for name, folder in machine.kernels.items())
    why = f"the Python of {', '.join(machine.dead)} is gone"
    fix = " && ".join(f"{PYTHON} -m d2l_init kernel remove --name {one}" for one in machine.dead)
    last = _finding("kernels", not machine.dead, kernels or "none of ours yet", why, fix)
    return Report((*causes.findings, _chapters(machine, causes.ok), last))


def _finding(name: str, ok: object, found: str, why: str, fix: str) -> Finding:
    return Finding(name, True, found) if ok else Finding(name, False, f"{found}: {why}", fix)


def _pip(*actions: str) -> str:
    """A command for this Python's pip: uv makes environments without one, CPython's own is old."""
    version = next((one.version for one in metadata.distributions(name="pip")), "0")
    first = ["ensurepip", "pip install 'pip>=24'"] * (int(version.split(".")[0]) < 24)
    return " && ".join(f"{PYTHON} -m {one}" for one in (*first, *(f"pip {do}" for do in actions)))


def _basis(machine: Machine) -> Iterator[Finding]:
    here = (machine.system, machine.processor)
    fix = ELSEWHERE.get(machine.system, "open the course on Binder, or use Linux on x86-64")
    why = "MXNet 1.9.1 has no wheel for it"
    yield _finding("platform", here in WHEELS, " on ".join(here), why, fix)
    found = ".".join(map(str, machine.python))
    why = "MXNet 1.9.1 needs NumPy 1.23, and that CPython 3.11"
    fix = f"make -C {shlex.quote(str(COURSE))} lab"
    yield _finding("Python", machine.python == (3, 11), found, why, fix)


def _packages(machine: Machine) -> Iterator[Finding]:
    builds = [f"{name} {version}" for name, version in machine.versions.items() if "mxnet" in name]
    why = "installed over each other" if builds else "No module named 'mxnet'"
    fix = _pip(*["uninstall -y mxnet mxnet-cu112"] * bool(builds), CPU_BUILD)
    yield _finding("MXNet", len(builds) == 1, ", ".join(builds) or "not installed", why, fix)
    found = machine.versions.get("numpy", "not installed")
    works = re.match(r"(1\.([01]?\d|2[0-3])|0)(\.|$)", found)
    why = "MXNet 1.9.1 needs NumPy 1.23"
    if builds and "numpy" in machine.versions:
        why = "MXNet says module 'numpy' has no attribute 'bool'"
    yield _finding("NumPy", works, found, why, _pip("install numpy==1.23.5"))
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
        yield _finding(name, ok, found, why, _pip(CUDA_BUILD))
    to_cpu = _pip("uninstall -y mxnet-cu112", CPU_BUILD)
    fix = f"without a GPU: {to_cpu}"
    if DRIVER in machine.missing:
        found, ok, why = "the NVIDIA driver is missing", False, f"{DRIVER}: {NOT_FOUND}"
    else:
        ok = not machine.driver or machine.driver >= OLDEST_DRIVER
        why = f"CUDA 11.2 needs {'.'.join(map(str, OLDEST_DRIVER))} or newer"
        found, fix = ".".join(map(str, machine.driver)), f"update the driver; {fix}"
    yield _finding("NVIDIA driver", ok, found or "version unknown", why, fix)
    if machine.gpus:
        found = ", ".join(f"{name} ({number})" for name, number in machine.gpus.items())
        others = sorted({one for one in machine.gpus.values() if not re.match(CAPABILITIES, one)})
        why = f"MXNet 1.9.1 has no code for compute capability {', '.join(others)}, only 5.0 to 8.9"
        yield _finding("NVIDIA GPU", not others, found, why, to_cpu)


def _chapters(machine: Machine, causes_ok: bool) -> Finding:
    try:
        version, cuda, gpus = json.loads(machine.imports)
    except ValueError:
        build = CUDA_BUILD if "mxnet-cu112" in machine.versions else CPU_BUILD
        fix = _pip(build) if causes_ok else "what is wrong above, then ask again"
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
        gpus=seen_gpus(),
        imports=_run(IMPORT),
        kernels=installed_kernels(),
        dead=dead_kernels(),
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


def seen_gpus() -> dict[str, str]:
    """Names and compute capabilities of the GPUs that the driver shows; none without a driver."""
    try:
        return dict(json.loads(_run(GPUS)))
    except ValueError:
        return {}


def _driver_version() -> tuple[int, ...]:
    file = Path("/proc/driver/nvidia/version")
    text = file.read_text() if file.exists() else ""
    match = re.search(r"Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)", text)
    return tuple(map(int, match[1].split("."))) if match else ()
