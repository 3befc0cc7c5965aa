# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The `lerobot_bridge` command: converts ROS 2 recordings to LeRobot datasets, and back."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lerobot_bridge.commands import check, convert, replay, to_bag
from policy_store.command_line import Verb, run_command

COMMANDS: dict[str, Verb] = {"check": check, "convert": convert, "replay": replay, "to-bag": to_bag}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 1 for errors, 130 after SIGINT and 143 after SIGTERM.
    """
    return run_command("lerobot_bridge", __doc__, COMMANDS, sys.argv[1:] if args is None else args)


if __name__ == "__main__":
    sys.exit(main())
