# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `policy_inference`: what a user with a board asks before robots move."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import Protocol

from policy_inference.commands import doctor, self_test
from policy_inference.errors import PolicyError

SIGNALLED = 130
_log = logging.getLogger("policy_inference")


class Command(Protocol):
    """A verb: a module of `policy_inference.commands`."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments of the verb."""

    def run(self, given: argparse.Namespace) -> int:
        """Do it; return the exit status.

        Raises:
            PolicyError: The user can correct something: where, expected, found, remedy.
            OSError: A file cannot be read or written.
        """


COMMANDS: dict[str, Command] = {"doctor": doctor, "self-test": self_test}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 1 for errors and verdicts that speak against running, 130 after SIGINT.

    Raises:
        SystemExit: Help was asked for (0), or the arguments are wrong (2).
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = _parser().parse_args(args)
    try:
        return int(given.run(given))
    except KeyboardInterrupt:
        _log.error("policy_inference %s: interrupted", given.verb)
        return SIGNALLED
    except (PolicyError, OSError) as error:
        _log.error("policy_inference %s: %s", given.verb, error)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="policy_inference", description=__doc__)
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
