# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`ros2 policy VERB`: the verbs of `policy_inference` and `model_tools` under `ros2`."""

from __future__ import annotations

import argparse


class PolicyCommand:
    """Policies: from a training run to a proven bundle on a robot."""

    # What ros2cli asks of a command. It is not derived from its class, since `ros2 -h` loads this
    # module, and the package works without ros2cli.
    NAME = "policy"
    EXTENSION_POINT_VERSION = "0.1"

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        """Take everything after `ros2 policy`; the verb reads it."""
        from model_tools.cli import COMMANDS
        from policy_inference.commands.main import COMMANDS as ON_ROBOT

        self._parser, verbs = parser, {**ON_ROBOT, **COMMANDS}
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
            help=f"one of those below; `{cli_name} VERB --help` describes it",
        )
        words.completer = lambda **_: verbs  # type: ignore[attr-defined]  # ros2's argcomplete

    def main(self, *, parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
        """Run the verb; return its exit status.

        Raises:
            SystemExit: Help was asked for (0), or the arguments are wrong (2).
        """
        from model_tools.cli import main as run_tool
        from policy_inference.commands.main import COMMANDS as ON_ROBOT
        from policy_inference.commands.main import main as run_on_robot

        words = list(args.words)
        if not words:
            self._parser.print_help()  # `parser` is that of `ros2`
            return 0
        return run_on_robot(words) if words[0] in ON_ROBOT else run_tool(words)
