"""The command line: ``python -m d2l_init record [NOTEBOOK ...]``."""

import argparse
import signal
import sys
from typing import NoReturn

from . import runtime


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0 when it did what it should."""
    parser = argparse.ArgumentParser(prog="python -m d2l_init", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="run notebooks and keep their outputs")
    record.add_argument("notebooks", nargs="*", help="default: the chapters in notebooks/")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    try:
        runtime.record(options.notebooks or None)
    except (FileNotFoundError, runtime.RecordError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the notebook that was running is as it was", file=sys.stderr)
        return 130
    return 0


def _stop(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
