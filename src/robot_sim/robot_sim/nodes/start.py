# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Entry points of the commands that run nodes or an emulator, which imports what it needs later.

As in `policy_inference`, which a simulator does without: importing takes a second, in which a
Ctrl-C would be shown as a traceback, and nothing is commanded or recorded yet.
"""

import os
import signal
from collections.abc import Callable
from importlib import import_module


def _node_command(module: str) -> Callable[[], int | None]:
    def command() -> int | None:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, lambda *_: os._exit(0))
        status: int | None = import_module(module).main()
        return status

    return command


arm_leader = _node_command("robot_sim.nodes.arm_leader_node")
arm_sim_node = _node_command("robot_sim.nodes.arm_sim_node")
lite3_emulator = _node_command("robot_sim.nodes.lite3_emulator")
sim_node = _node_command("robot_sim.nodes.sim_node")
so101_emulator = _node_command("robot_sim.nodes.so101_emulator")
unitree_emulator = _node_command("robot_sim.unitree_emulator")
