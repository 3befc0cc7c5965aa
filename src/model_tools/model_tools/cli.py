# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `model_tools`: one verb per step from a training run to a proven bundle."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, Protocol

from model_tools.commands import compare, compile, export, import_policy, inspect
from policy_inference.errors import PolicyError

INTERRUPTED, TERMINATED = 130, 143
_log = logging.getLogger("model_tools")


class Command(Protocol):
    """A verb: a module of `model_tools.commands`."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments of the verb."""

    def run(self, given: argparse.Namespace) -> int:
        """Do it; return the exit status.

        Raises:
            PolicyError: The user can correct something: where, expected, found, remedy.
            OSError: A file cannot be read or written.
        """


COMMANDS: dict[str, Command] = {
    "export": export,
    "import": import_policy,
    "inspect": inspect,
    "compile": compile,
    "compare": compare,
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status: 1 for errors and limits that do not hold.

    Raises:
        SystemExit: The arguments are wrong (2), or the process was terminated (143).
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = _parser().parse_args(args)
    try:
        with _cleaning_up_when_terminated():
            return int(given.run(given))
    except PolicyError as error:
        _log.error("model_tools %s: %s", given.verb, error)
        return 1
    except OSError as error:
        _log.error("model_tools %s: %s", given.verb, _words(error))
        return 1
    except KeyboardInterrupt:
        _log.error("model_tools %s: interrupted; nothing was left half-written", given.verb)
        return INTERRUPTED


@contextmanager
def _cleaning_up_when_terminated() -> Iterator[None]:
    """Leave through all `finally` at SIGTERM, which otherwise ends the process where it stands."""
    def stop(*_: object) -> NoReturn:
        sys.exit(TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _words(error: OSError) -> str:
    if error.filename is None:
        return f"expected files that can be read and written, found: {error}"
    return f"{error.filename}: expected one that can be read or written, found: {error.strerror}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="model_tools", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, command in COMMANDS.items():
        text = command.__doc__ or ""
        verb = verbs.add_parser(name, help=text.splitlines()[0], description=text,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
        command.add_arguments(verb)
        verb.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
