"""The machine that chapters run on: what it lacks, a kernel that finds CUDA, and recording.

Only the standard library is imported with this module, so that it can speak where the rest can't.
"""

import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_CELL_SECONDS = 120
_IMPORT_SECONDS = 600  # the first call of a GPU newer than CUDA 11.2 may compile for minutes

# What MXNet's CUDA build asks the loader for (readelf -d libmxnet.so), the driver's apart.
CUDA_LIBRARIES = (
    "libcublas.so.11",
    "libcudart.so.11.0",
    "libcudnn.so.8",
    "libcufft.so.10",
    "libcurand.so.10",
    "libcusolver.so.11",
    "libnccl.so.2",
    "libnvToolsExt.so.1",
    "libnvrtc.so.11.2",
)
DRIVER = "libcuda.so.1"
OLDEST_DRIVER = (460, 27)  # CUDA 11.2 release notes, table 3
SYSTEM_LIBRARIES = {"libgomp.so.1": "libgomp1", "libquadmath.so.0": "libquadmath0"}
_CPU = "pip install --require-hashes -r requirements/cpu.txt"
_CUDA = "pip install --require-hashes -r requirements/cu112.txt"
_NEW_ENVIRONMENT = "uv venv --python 3.11 && make lab"
# Runs apart: where MXNet cannot be loaded, it can take the whole process down.
_PROBE = """
import json, mxnet
import d2l.mxnet, matplotlib, scipy, sklearn
print(json.dumps([mxnet.__version__, mxnet.runtime.Features().is_enabled("CUDA"),
                  mxnet.context.num_gpus()]))
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and what mends it where it is wrong."""

    name: str
    ok: bool
    found: str
    mend: str = ""


@dataclass(frozen=True)
class Report:
    """What :func:`doctor` found, in the order in which to mend it."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether the chapters can run."""
        return all(finding.ok for finding in self.findings)

    def __str__(self) -> str:
        return "\n".join(
            f"{'ok   ' if one.ok else 'WRONG'} {one.name:<18} {one.found}"
            + (f"\n{'':24} mend: {one.mend}" if one.mend else "")
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
    others: dict[str, str]  # CUDA libraries found in another major version
    driver: tuple[int, ...] | None
    probe: str  # what _PROBE printed last, or the last line of its error
    kernels: tuple[str, ...]


def doctor() -> Report:
    """What this environment has and lacks for the chapters, with the command that mends each.

    Nothing that could crash is imported into this process. The same stands behind
    ``python -m d2l_init doctor [--json]``.
    """
    return Report(tuple(_findings(_this_machine())))


def _findings(machine: Machine) -> Iterator[Finding]:
    looked_at = list(_causes(machine))
    yield from looked_at
    yield _chapters(machine, all(one.ok for one in looked_at))
    yield Finding("kernels", True, ", ".join(machine.kernels) or "none of ours yet")


def _causes(machine: Machine) -> Iterator[Finding]:
    yield _platform(machine)
    yield _python(machine)
    yield _mxnet(machine)
    yield _numpy(machine)
    if machine.system == "Linux":
        yield _system_libraries(machine)
    if "mxnet-cu112" in machine.versions:
        yield from _cuda_libraries(machine)
        yield _driver(machine)


def _platform(machine: Machine) -> Finding:
    here = f"{machine.system} on {machine.processor}"
    works = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "x86_64")}
    if (machine.system, machine.processor) in works:
        return Finding("platform", True, here)
    mend = {
        "Windows": "wsl --install, then work in its Linux",
        "Darwin": "docker run --platform linux/amd64, or open the course on Binder",
    }.get(machine.system, "open the course on Binder, or use Linux on x86-64")
    return Finding("platform", False, f"{here}: MXNet 1.9.1 has no wheel for it", mend)


def _python(machine: Machine) -> Finding:
    version = ".".join(map(str, machine.python))
    if machine.python == (3, 11):
        return Finding("Python", True, version)
    why = "MXNet 1.9.1 needs NumPy 1.23, and that CPython 3.11"
    return Finding("Python", False, f"{version}: {why}", _NEW_ENVIRONMENT)


def _mxnet(machine: Machine) -> Finding:
    found = [name for name in ("mxnet", "mxnet-cu112") if name in machine.versions]
    builds = ", ".join(f"{name} {machine.versions[name]}" for name in found)
    if len(found) == 2:
        one = "pip uninstall -y mxnet mxnet-cu112 && "
        return Finding("MXNet", False, f"{builds}: installed over each other", one + _CPU)
    if not found:
        return Finding("MXNet", False, "not installed (No module named 'mxnet')", _CPU)
    return Finding("MXNet", True, builds)


def _numpy(machine: Machine) -> Finding:
    version = machine.versions.get("numpy", "not installed")
    if re.match(r"(1\.([01]?\d|2[0-3])|0)(\.|$)", version):
        return Finding("NumPy", True, version)
    why = f"{version}: MXNet would say module 'numpy' has no attribute 'bool'"
    return Finding("NumPy", False, why, "pip install numpy==1.23.5")


def _system_libraries(machine: Machine) -> Finding:
    lacking = [name for name in SYSTEM_LIBRARIES if name in machine.missing]
    if not lacking:
        return Finding("system libraries", True, ", ".join(SYSTEM_LIBRARIES))
    packages = " ".join(SYSTEM_LIBRARIES[name] for name in lacking)
    found = f"{', '.join(lacking)}: cannot open shared object file"
    mend = f"apt-get install -y {packages} (Amazon Linux: dnf install -y libgomp libquadmath)"
    return Finding("system libraries", False, found, mend)


def _cuda_libraries(machine: Machine) -> Iterator[Finding]:
    for name in CUDA_LIBRARIES:
        if name not in machine.missing:
            yield Finding(name, True, "found")
            continue
        other = machine.others.get(name)
        instead = f"; {other} is there, another version" if other else ""
        said = f"OSError: {name}: cannot open shared object file{instead}"
        yield Finding(name, False, said, _CUDA)


def _driver(machine: Machine) -> Finding:
    to_cpu = f"without a GPU: pip uninstall -y mxnet-cu112 && {_CPU}"
    if DRIVER in machine.missing:
        said = f"the NVIDIA driver is missing ({DRIVER}: cannot open shared object file)"
        return Finding("NVIDIA driver", False, said, to_cpu)
    version = ".".join(map(str, machine.driver)) if machine.driver else "version not told"
    if machine.driver and machine.driver[:2] < OLDEST_DRIVER:
        said = f"{version}, and CUDA 11.2 needs {OLDEST_DRIVER[0]}.{OLDEST_DRIVER[1]} or newer"
        return Finding("NVIDIA driver", False, said, f"update the driver; {to_cpu}")
    return Finding("NVIDIA driver", True, version)


def _chapters(machine: Machine, causes_ok: bool) -> Finding:
    try:
        version, cuda, gpus = json.loads(machine.probe)
    except ValueError:
        mend = _CPU if causes_ok else "what is wrong above, then ask again"
        return Finding("chapters", False, f"they can't run: {machine.probe}", mend)
    build = "CUDA build" if cuda else "CPU build"
    return Finding("chapters", True, f"MXNet {version}, {build}, {gpus} GPUs: they can run")


def _this_machine() -> Machine:
    environment = cuda_environment()
    names = ("mxnet", "mxnet-cu112", "numpy", "d2l")
    libraries = (*SYSTEM_LIBRARIES, *CUDA_LIBRARIES, DRIVER)
    return Machine(
        system=platform.system(),
        processor={"AMD64": "x86_64", "arm64": "aarch64"}.get(
            platform.machine(), platform.machine()
        ),
        python=sys.version_info[:2],
        versions={name: version for name in names if (version := _version(name))},
        missing=frozenset(_missing(libraries, environment)),
        others=_other_versions(),
        driver=_driver_version(),
        probe=_run(_PROBE, environment),
        kernels=tuple(kernels()),
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def cuda_folders() -> list[str]:
    """Where the ``nvidia-*-cu11`` wheels of this environment keep their libraries."""
    places = dict.fromkeys([sysconfig.get_path("platlib"), sysconfig.get_path("purelib")])
    return [str(folder) for place in places for folder in sorted(Path(place).glob("nvidia/*/lib"))]


def cuda_environment() -> dict[str, str]:
    """This process's environment, with those folders first on the loader's path."""
    before = [path for path in [os.environ.get("LD_LIBRARY_PATH")] if path]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join([*cuda_folders(), *before])}


def _run(code: str, environment: dict[str, str]) -> str:
    """The last line that the code prints in a Python of its own, or that its error says."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    try:
        ran = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_IMPORT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_IMPORT_SECONDS} s"
    told = (ran.stdout if ran.returncode == 0 else ran.stderr).strip()
    return told.split("\n")[-1] if told else f"ended with status {ran.returncode}"


def _missing(libraries: Iterable[str], environment: dict[str, str]) -> list[str]:
    """Those that the loader can't find, each tried in the environment of a kernel."""
    code = f"""
import ctypes, json
def missing(name):
    try:
        ctypes.CDLL(name)
    except OSError:
        return True
print(json.dumps([name for name in {list(libraries)!r} if missing(name)]))
"""
    try:
        return list(json.loads(_run(code, environment)))
    except ValueError:
        return list(libraries)


def _other_versions() -> dict[str, str]:
    found = {path.name for folder in cuda_folders() for path in Path(folder).glob("lib*.so.*")}
    stems = {name: name.split(".so")[0] + ".so." for name in CUDA_LIBRARIES}
    same = {name: [f for f in sorted(found) if f.startswith(stem)] for name, stem in stems.items()}
    return {name: files[0] for name, files in same.items() if files and name not in files}


def _driver_version() -> tuple[int, ...] | None:
    try:
        told = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    match = re.search(r"Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)", told)
    return tuple(map(int, match[1].split("."))) if match else None


def kernels() -> list[str]:
    """Names and folders of the kernels that :func:`install_kernel` made."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager
    except ImportError:
        return []
    specs = KernelSpecManager().get_all_specs()
    ours = (name for name, one in specs.items() if "d2l_init" in one["spec"].get("metadata", {}))
    return [f"{name} ({specs[name]['resource_dir']})" for name in sorted(ours)]


def install_kernel(
    name: str = "d2l-init",
    display_name: str = "Python 3.11 (d2l_init)",
    *,
    user: bool = False,
    prefix: str | None = None,
) -> Path:
    """Install a kernel that runs this Python and finds the CUDA libraries; returns its folder.

    A notebook on it can begin with ``from mxnet import init``. It goes into this environment, or
    with ``user`` into the user's Jupyter folder, or below ``prefix``. Installing again replaces it.

    Raises ValueError for a name that Jupyter refuses or that a platform keeps for itself.
    """
    from ipykernel.kernelspec import install

    if not re.fullmatch(r"[a-z0-9._-]+", name) or name.startswith("conda_"):
        rule = "letters in lower case, digits, '.', '_' and '-', not beginning with 'conda_'"
        raise ValueError(f"name must be made of {rule}, got {name!r}")
    if user and prefix:
        raise ValueError(f"user and prefix exclude each other, got both ({prefix!r})")
    place = None if user else prefix or sys.prefix
    folder = Path(install(user=user, kernel_name=name, display_name=display_name, prefix=place))
    _finish_kernel(folder / "kernel.json")
    return folder


def _finish_kernel(path: Path) -> None:
    spec = json.loads(path.read_text(encoding="utf-8"))
    spec["metadata"] = {**spec.get("metadata", {}), "d2l_init": {"prefix": sys.prefix}}
    if folders := cuda_folders():
        # Jupyter fills in ${...} when the kernel starts
        spec["env"] = {"LD_LIBRARY_PATH": ":".join([*folders, "${LD_LIBRARY_PATH}"])}
    _replace(path, json.dumps(spec, indent=1) + "\n")


def remove_kernel(name: str = "d2l-init") -> Path:
    """Remove a kernel that :func:`install_kernel` made; returns the folder that is gone.

    Raises ValueError where no kernel of that name is ours.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    ours = [line.split(" (")[0] for line in kernels()]
    if name not in ours:
        raise ValueError(
            f"name must be a kernel of ours ({', '.join(ours) or 'none'}), got {name!r}"
        )
    return Path(KernelSpecManager().remove_kernel_spec(name))


class RecordError(RuntimeError):
    """A notebook could not be run to its end; its file is as it was."""


def record(paths: Iterable[str | Path] | None = None) -> list[Path]:
    """Run notebooks from top to bottom, each in a fresh kernel, and keep their outputs.

    Returns the files that changed. Without ``paths`` these are the chapters, ``notebooks/*.ipynb``
    of the current folder. A file is replaced in one step after its last cell has run: if a cell
    or the kernel fails, or the recording is stopped, it stays as it was. Metadata is normalized, so
    that recording twice changes nothing the second time. Progress goes to stderr.

    Raises FileNotFoundError for a path that is no notebook, RecordError where a run fails.
    """
    chapters = sorted(Path("notebooks").glob("*.ipynb")) if paths is None else map(Path, paths)
    notebooks = list(chapters)
    if not notebooks:
        raise FileNotFoundError("no notebooks in notebooks/: run this in the project's folder")
    for path in notebooks:
        if path.suffix != ".ipynb" or not path.is_file():
            raise FileNotFoundError(f"paths must name notebooks, got {str(path)!r}")
    return [path for path in notebooks if _record_one(path)]


def _record_one(path: Path) -> bool:
    import nbformat

    started = time.monotonic()
    print(f"{path.stem} ...", end=" ", file=sys.stderr, flush=True)
    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    _execute(notebook, path)
    _normalize(notebook)
    changed = _replace(path, nbformat.writes(notebook) + "\n")  # type: ignore[no-untyped-call]
    word = "changed" if changed else "unchanged"
    print(f"{time.monotonic() - started:.1f} s, {word}", file=sys.stderr, flush=True)
    return changed


def _execute(notebook: Any, path: Path) -> None:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    client = NotebookClient(
        notebook,
        kernel_name=_KERNEL["name"],
        timeout=_CELL_SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.reset_execution_trackers()
    with _private_folder() as folder:
        manager = client.create_kernel_manager()
        manager.transport, manager.ip = "ipc", f"{folder}/kernel"  # no port for others to listen to
        with client.setup_kernel():
            # cell by cell: client.execute() would answer signals in our place
            for index, cell in enumerate(notebook.cells):
                try:
                    client.execute_cell(cell, index, client.code_cells_executed + 1)
                except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                    message = f"{path}: cell {index + 1} did not run: {_reason(error)}"
                    raise RecordError(message) from error


def _reason(error: Exception) -> str:
    name, value = getattr(error, "ename", ""), getattr(error, "evalue", "")
    return f"{name}: {value}" if name else f"{type(error).__name__}: {error}".split("\n")[0]


@contextmanager
def _private_folder() -> Iterator[str]:
    """A folder for one kernel, whose IPython profile is empty: no start-up file must leak in."""
    before = os.environ.get("IPYTHONDIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IPYTHONDIR"] = folder
        try:
            yield folder
        finally:
            os.environ.pop("IPYTHONDIR")
            if before is not None:
                os.environ["IPYTHONDIR"] = before


def _normalize(notebook: Any) -> None:
    notebook.metadata = {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells, 1):
        cell.metadata.pop("execution", None)
        cell.setdefault("id", f"cell-{number:03d}")
        cell.source = cell.source.strip("\n")
        for output in cell.get("outputs", []):
            output.pop("transient", None)
        if "outputs" in cell:
            cell.outputs = _merged(cell.outputs)


def _merged(outputs: list[Any]) -> list[Any]:
    """Pieces of one stream joined: how they are cut depends on timing."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output.get("output_type") == "stream" and last.get("name") == output.get("name"):
            last["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def _replace(path: Path, text: str) -> bool:
    """Write a file in one step, unless it holds this text already."""
    if path.read_text(encoding="utf-8") == text:
        return False
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, path.stat().st_mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return True
