# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The `policy_inference` command: checks before robots move, plans, `act` and `serve`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from policy_inference.commands import act, controller_plan, self_test, serve
from policy_store.command_line import Verb, run_command

COMMANDS: dict[str, Verb] = {
    "act": act,
    "controller-plan": controller_plan,
    "self-test": self_test,
    "serve": serve,
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 1 for errors, or if the machine or the bundle is not ready to run; 130
            after SIGINT and 143 after SIGTERM.
    """
    return run_command("policy_inference", __doc__, COMMANDS, args)


if __name__ == "__main__":
    sys.exit(main())
