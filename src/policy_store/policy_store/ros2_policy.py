# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`ros2 policy VERB`: the verbs of all installed packages of the suite, as a `ros2` command."""

from __future__ import annotations

import argparse
from importlib.metadata import entry_points
from typing import Any

GROUP = "policy_store.commands"
"""Entry-point group of the modules that have `COMMANDS` and `main`."""


class PolicyCommand:
    """Policies: from a training run to a proven bundle on a robot."""

    # Has the interface that ros2cli expects of a command, but is not derived from ros2cli's class:
    # the package works without ros2cli, and `ros2 -h` loads this module.
    NAME = "policy"
    EXTENSION_POINT_VERSION = "0.1"

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        """Declare that all arguments after `ros2 policy` are for the verb, which parses them."""
        self._parser, self._commands = parser, _commands()
        verbs = {
            name: does for command in self._commands for name, does in command.COMMANDS.items()
        }
        width = max(map(len, verbs))
        parser.epilog = "\n".join(
            f"  {name:<{width}}  {(does.__doc__ or '').splitlines()[0]}"
            for name, does in verbs.items()
        )
        parser.usage = f"{cli_name} VERB ..."
        words = parser.add_argument(
            "words",
            nargs=argparse.REMAINDER,
            metavar="VERB",
            help=f"one of the verbs below; `{cli_name} VERB --help` describes it",
        )
        words.completer = lambda **_: verbs  # type: ignore[attr-defined]  # ros2's argcomplete

    def main(self, *, parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
        """Run the verb; return its exit status."""
        words = list(args.words)
        if not words:
            self._parser.print_help()  # `parser` is that of `ros2`
            return 0
        known = (
            command
            for command in self._commands
            if any(name.split()[0] == words[0] for name in command.COMMANDS)
        )
        # for a mistyped verb, the command with the most verbs gives the best suggestions
        most = max(self._commands, key=lambda command: len(command.COMMANDS))
        return int(next(known, most).main(words))


def _commands() -> list[Any]:
    """Return the commands' modules; model_tools, which includes other commands' verbs, is last."""
    found = [entry.load() for entry in entry_points(group=GROUP)]
    return sorted(found, key=lambda command: len(command.COMMANDS))
