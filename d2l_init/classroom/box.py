"""A box in which a student's notebook runs: out of it comes one stream of bytes, never trusted.

bubblewrap builds it: no network, no file but the libraries' (read-only), no other process. Limits
hold its time, memory, processes, files and output. What runs in it can spoil its own result and
nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any

import psutil  # type: ignore[import-untyped]

from .parcel import Ran, plain, unpack

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"  # the course's, not the grader's
SYSTEM = "/usr /lib /lib32 /lib64 /bin /etc/alternatives /etc/fonts /etc/ld.so.cache /etc/localtime"
MiB = 2**20
STARTING = 30  # seconds beyond its limit after which a box is closed from outside


class NotGraded(Exception):
    """Why a notebook could not be graded, in words for the teacher's table."""


@dataclass(frozen=True)
class Limits:
    """What one notebook may take; in bytes where nothing else is said."""

    seconds: float = 120
    memory: int = 2048 * MiB  # of one process, and of all together
    processes: int = 256  # threads count, too
    file: int = 64 * MiB
    files: int = 256 * MiB  # all together; they lie in memory
    stream: int = 32 * MiB  # what comes out


LIMITS = Limits()


def run(notebook: Mapping[str, Any], seeds: str, limits: Limits = LIMITS) -> Ran:
    """Runs a notebook in the box, with seeds for what it draws.

    Raises NotGraded where it does not come to its end within the limits.
    """
    order = {
        "notebook": notebook,
        "seeds": seeds,
        "seconds": limits.seconds,
        "output": limits.stream // 4,
        "user": 0 if os.getuid() else 61_000 + os.getpid() % 4000,  # nobody's, nor a neighbour's
        "limits": {
            "RLIMIT_DATA": limits.memory,
            "RLIMIT_NPROC": limits.processes + _threads_already(),
            "RLIMIT_FSIZE": limits.file,
            "RLIMIT_CPU": int(limits.seconds * 4),
            "RLIMIT_NOFILE": 1024,
            "RLIMIT_CORE": 0,
        },
    }
    try:
        ran = unpack(_stream(json.dumps(order).encode(), limits), secrets=seeds.split(","))
    except ValueError as error:
        raise NotGraded(f"what came out of it cannot be read ({error})") from None
    if ran.why:
        raise NotGraded(ran.why)
    return ran


def require() -> None:
    """Raises ValueError, with what to do about it, where no box can be built."""
    if not shutil.which("bwrap"):
        raise ValueError(
            "grading needs bubblewrap, which keeps students' code away from this machine; "
            "on Debian and Ubuntu: apt-get install bubblewrap"
        )
    tried = subprocess.run([*_walls(LIMITS), "true"], capture_output=True, text=True)
    if tried.returncode:
        raise ValueError(
            "bubblewrap cannot build its box here, as in many containers; grade on a machine of "
            f"your own. It says: {tried.stderr.strip()}"
        )


def _walls(limits: Limits) -> list[str]:
    read_only = [*SYSTEM.split(), *_libraries()[1:], str(ROOT / "d2l_init")]
    above = {str(parent): 0 for path in read_only for parent in reversed(Path(path).parents)}
    if os.getuid():
        user = ["--unshare-user"]
    else:  # it becomes another user inside: see inside.py
        user = ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [
        *("bwrap", "--die-with-parent", "--new-session", *user),
        *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
        *("--perms", "1777", "--size", str(limits.files), "--tmpfs", "/tmp"),
        *(word for path in above for word in ("--perms", "0755", "--dir", path)),
        *(word for path in read_only for word in ("--ro-bind-try", path, path)),
        *("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
        *("--perms", "1777", "--size", str(limits.files), "--tmpfs", "/dev/shm"),
        *("--remount-ro", "/", "--chdir", "/tmp"),
    ]


@cache
def _libraries() -> tuple[str, str, str]:
    """The course's interpreter, where it is at home, and where its libraries are."""
    ask = "import sys, os, sysconfig as s; print(os.path.realpath(sys.executable), sys.base_prefix,"
    ask += " s.get_path('purelib'), sep='\\n')"
    asked = subprocess.run([PYTHON, "-c", ask], check=True, capture_output=True, text=True)
    interpreter, home, libraries = asked.stdout.splitlines()
    return interpreter, home, libraries


def _stream(order: bytes, limits: Limits) -> bytes:
    """What the box writes until it ends; it is closed where it takes more than it may."""
    interpreter, _, libraries = _libraries()
    process: Any = subprocess.Popen(
        [*_walls(limits), interpreter, "-m", "d2l_init.classroom.inside"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": "/tmp",
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{ROOT}:{libraries}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        },
    )
    given, out, said = process.stdin, process.stdout, process.stderr
    with process, DefaultSelector() as selector:
        try:
            selector.register(out, EVENT_READ, bytearray())
            selector.register(said, EVENT_READ, bytearray())
            came, words = (key.data for key in selector.get_map().values())
            _give(given, order)
            end, look = time.monotonic() + limits.seconds + STARTING, 0.0
            while selector.get_map():
                for key, _ in selector.select(timeout=0.1):
                    chunk = os.read(key.fd, 2**16)
                    key.data.extend(chunk)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    if len(key.data) > limits.stream:
                        raise NotGraded(f"more than {limits.stream >> 20} MB came out of it")
                if (now := time.monotonic()) > end:
                    raise NotGraded(f"it ran longer than {limits.seconds:g} seconds")
                if now > look and _memory(process) > limits.memory:
                    raise NotGraded(f"it took more than {limits.memory >> 20} MB of memory")
                look = max(look, now + 0.3) if now > look else look
        finally:
            process.kill()  # and with it all that is in the box
    if not came:
        raise NotGraded(f"its Python ended early {plain(words.decode(errors='replace'))}".strip())
    return bytes(came)


def _give(stdin: Any, order: bytes) -> None:
    with suppress(BrokenPipeError), stdin:  # the box was not built; why stands on stderr
        stdin.write(order)


def _memory(process: Any) -> int:
    """Bytes that the processes of a box have for themselves."""
    taken = 0
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                memory = child.memory_info()
                taken += memory.rss - memory.shared
    return taken


def _threads_already() -> int:
    """This user's, which Linux before 5.14 counts against the limit of a box."""
    me = os.getuid()
    listed = [process.info for process in psutil.process_iter(["uids", "num_threads"])]
    mine = [info for info in listed if info["uids"] and info["uids"].real == me != 0]
    return sum(info["num_threads"] or 0 for info in mine)
