# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The `policy_store` command: versions of policy bundles on this robot."""

from __future__ import annotations

from collections.abc import Sequence

from policy_store.command_line import Verb, run_command
from policy_store.commands import activate, install, list, prune, pull, rollback, trial, verify

COMMANDS: dict[str, Verb] = {
    "pull": pull,
    "install": install,
    "list": list,
    "activate": activate,
    "trial": trial,
    "rollback": rollback,
    "verify": verify,
    "prune": prune,
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 4 for errors, 130 after SIGINT and 143 after SIGTERM.
    """
    return run_command("policy_store", __doc__, COMMANDS, args)
