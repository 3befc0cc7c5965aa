# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Entry points of the commands that run nodes; imports are deferred."""

import signal
from importlib import import_module

from policy_store.command_line import node_command
from policy_store.signals import INTERRUPTING, unblock_signals
from robot_operator.arguments import parse
from robot_operator.requests import OperatorRequest

_INTERRUPTED = 130
_STOPS = (OperatorRequest.ESTOP.value, OperatorRequest.DAMP.value)
"""Actions with their own module, which sends its first message before importing anything else."""

operator_node = node_command("robot_operator.nodes.operator_node")
jogged_leader = node_command("robot_operator.nodes.jogged_leader")


def robot_operator() -> int:
    given = parse()
    for number in INTERRUPTING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    unblock_signals()
    try:
        if given.action in _STOPS:
            return int(import_module("robot_operator.nodes.stop").main(given))
        return int(import_module("robot_operator.nodes.command").main(given))
    except KeyboardInterrupt:
        return _INTERRUPTED
