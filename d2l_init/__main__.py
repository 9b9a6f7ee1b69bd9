"""Look at this machine, install its kernel, record the notebooks, grade exercises."""

from __future__ import annotations

import argparse
import signal
import sys

from .classroom.commands import add_commands
from .machine import doctor, kernels, recording


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0 when it did what it should."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: files stay whole
    try:
        return int(options.run(options) is False)
    except (FileNotFoundError, ValueError, recording.RecordError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; a notebook that was running is as it was", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m d2l_init", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="doctor | kernel | record | classroom")

    record = commands.add_parser("record", help="run notebooks and keep their outputs")
    record.add_argument("notebooks", nargs="*", help="default: the chapters in notebooks/")
    record.set_defaults(run=lambda options: recording.record(options.notebooks or None))

    add_commands(commands.add_parser("classroom", help="release exercises and grade them"))

    examine = commands.add_parser("doctor", help="what is missing here, and what fixes it")
    examine.add_argument("--json", action="store_true", help="for machines")
    examine.set_defaults(run=_doctor)

    kernel = commands.add_parser("kernel", help="the Jupyter kernel of this environment")
    actions = kernel.add_subparsers(required=True, metavar="install | remove | list")
    install = actions.add_parser("install", help="into this environment by default")
    place = install.add_mutually_exclusive_group()
    place.add_argument("--user", action="store_true", help="for this user, in every Jupyter")
    place.add_argument("--prefix", help="below this folder")
    install.add_argument("--display-name", default=kernels.DISPLAY_NAME)
    remove = actions.add_parser("remove", help="remove it again")
    for action in (install, remove):
        action.add_argument("--name", default=kernels.NAME)
    install.set_defaults(run=_install)
    remove.set_defaults(run=lambda options: print("removed", kernels.remove_kernel(options.name)))
    actions.add_parser("list", help="those that were installed").set_defaults(run=_list)
    return parser


def _doctor(options: argparse.Namespace) -> bool:
    report = doctor.doctor()
    print(report.dumps() if options.json else report)
    return report.ok


def _install(options: argparse.Namespace) -> None:
    place = {"user": options.user, "prefix": options.prefix}
    print("installed in", kernels.install_kernel(options.name, options.display_name, **place))


def _list(options: argparse.Namespace) -> None:
    ours, dead = kernels.installed_kernels(), kernels.dead_kernels()
    lines = (f"{name} ({ours[name]})" + ": its Python is gone" * (name in dead) for name in ours)
    print("\n".join(lines) or "none")


if __name__ == "__main__":
    sys.exit(main())
