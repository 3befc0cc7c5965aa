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

from model_tools.commands import compare, compile, complete, export, import_policy, inspect, run
from model_tools.errors import UnfinishedError
from policy_inference.errors import PolicyError

UNFINISHED = 3
"""Exit status beside 1 for errors and 2 for wrong arguments."""
SIGNALLED = 128
"""Added to a signal's number in the exit status, as shells do."""
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
    "complete": complete,
    "inspect": inspect,
    "compile": compile,
    "compare": compare,
    "run": run,
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 1 for errors and limits that do not hold, 3 where the rest is for another
        machine, 130 after SIGINT and 143 after SIGTERM.

    Raises:
        SystemExit: Help was asked for (0), or the arguments are wrong (2).
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = _parser().parse_args(args)
    with _signals_that_interrupt() as came:
        try:
            return int(given.run(given))
        except (Exception, KeyboardInterrupt) as error:
            # Some libraries make an error of their own out of an interruption.
            if came or isinstance(error, KeyboardInterrupt):
                _log.error("model_tools %s: interrupted; nothing was left half-written", given.verb)
                return SIGNALLED + (came or [signal.SIGINT])[0]
            if not isinstance(error, (PolicyError, OSError)):
                raise
            _log.error("model_tools %s: %s", given.verb, _words(error))
            return UNFINISHED if isinstance(error, UnfinishedError) else 1


@contextmanager
def _signals_that_interrupt() -> Iterator[list[int]]:
    """Let SIGTERM interrupt as SIGINT does, through every `finally`; give those that came."""
    came = list[int]()

    def interrupt(number: int, _: object) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
              if signal.getsignal(number) is not signal.SIG_IGN}  # fmt: skip
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _words(error: PolicyError | OSError) -> str:
    if isinstance(error, PolicyError):
        return str(error)
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
