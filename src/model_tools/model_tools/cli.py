# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The `model_tools` command: one verb for each step from a training run to a bundle on a robot."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from model_tools.commands import (
    calibrate,
    calibrate_success,
    check,
    compare,
    compile,
    complete,
    deploy_triton,
    evaluate,
    export,
    export_act,
    export_lerobot,
    fleet_status,
    identify,
    import_policy,
    inspect,
    motion,
    pin,
    push,
    release,
    replay,
    run,
    sensitivity,
    set_check,
    sign,
)
from policy_store.command_line import Verb, run_command
from policy_store.commands.main import COMMANDS as STORE

COMMANDS: dict[str, Verb] = {
    "export": export,
    "export act": export_act,
    "export lerobot": export_lerobot,
    "import": import_policy,
    "complete": complete,
    "motion": motion,
    "inspect": inspect,
    "calibrate": calibrate,
    "calibrate success": calibrate_success,
    "compile": compile,
    "deploy triton": deploy_triton,
    "compare": compare,
    "evaluate": evaluate,
    "sensitivity": sensitivity,
    "identify": identify,
    "run": run,
    "replay": replay,
    "check": check,
    "pin": pin,
    "set-check": set_check,
    "sign": sign,
    "push": push,
    **release.VERBS,
    **STORE,
    "fleet status": fleet_status,
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the `model_tools` command.

    Returns:
        The exit status: 1 for errors and violated limits, 3 if another machine must finish the
        work, 130 after SIGINT and 143 after SIGTERM.
    """
    return run_command("model_tools", __doc__, COMMANDS, args)


if __name__ == "__main__":
    sys.exit(main())
