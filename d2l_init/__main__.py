"""Look at this machine, install its kernel, record the notebooks."""

import argparse
import signal
import sys
from typing import NoReturn

from .machine import doctor as runtime


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0 when it did what it should."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    try:
        return int(options.run(options))
    except (FileNotFoundError, ValueError, runtime.RecordError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; a notebook that was running is as it was", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m d2l_init", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="doctor | kernel | record")

    record = commands.add_parser("record", help="run notebooks and keep their outputs")
    record.add_argument("notebooks", nargs="*", help="default: the chapters in notebooks/")
    record.set_defaults(run=_record)

    doctor = commands.add_parser("doctor", help="what is missing here, and what mends it")
    doctor.add_argument("--json", action="store_true", help="for machines")
    doctor.set_defaults(run=_doctor)

    kernel = commands.add_parser("kernel", help="the Jupyter kernel of this environment")
    actions = kernel.add_subparsers(required=True, metavar="install | remove | list")
    install = actions.add_parser("install", help="into this environment, unless told otherwise")
    place = install.add_mutually_exclusive_group()
    place.add_argument("--user", action="store_true", help="for this user, in every Jupyter")
    place.add_argument("--prefix", help="below this folder")
    install.add_argument("--display-name", default="Python 3.11 (d2l_init)")
    remove = actions.add_parser("remove", help="remove it again")
    for action, run in ((install, _install), (remove, _remove)):
        action.add_argument("--name", default="d2l-init")
        action.set_defaults(run=run)
    actions.add_parser("list", help="those that were installed").set_defaults(run=_list)
    return parser


def _record(options: argparse.Namespace) -> int:
    runtime.record(options.notebooks or None)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    report = runtime.doctor()
    print(report.dumps() if options.json else report)
    return 0 if report.ok else 1


def _install(options: argparse.Namespace) -> int:
    given = {"user": options.user, "prefix": options.prefix}
    print(f"installed in {runtime.install_kernel(options.name, options.display_name, **given)}")
    return 0


def _remove(options: argparse.Namespace) -> int:
    print(f"removed {runtime.remove_kernel(options.name)}")
    return 0


def _list(options: argparse.Namespace) -> int:
    print("\n".join(runtime.kernels()) or "none")
    return 0


def _stop(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
