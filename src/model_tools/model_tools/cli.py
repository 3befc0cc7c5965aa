# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `model_tools`: one verb per step from a training run to a proven bundle."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import Protocol

from model_tools.commands import compare, compile, complete, export, import_policy, inspect, run
from policy_inference.errors import PolicyError

INTERRUPTED = 130
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
    """Run the command; return the exit status: 1 for errors and limits that do not hold."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = _parser().parse_args(args)
    try:
        return int(given.run(given))
    except (PolicyError, OSError) as error:
        _log.error("model_tools %s: %s", given.verb, error)
        return 1
    except KeyboardInterrupt:
        _log.error("model_tools %s: interrupted; nothing was left half-written", given.verb)
        return INTERRUPTED


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
