# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The control path of a joint policy."""

from collections.abc import Callable

from policy_inference.bundle.load import Bundle
from policy_inference.core.command import CommandFader
from policy_inference.core.controller import Controller
from policy_inference.core.freshness import Input
from policy_inference.core.limits import Limits, input_timeouts_ns
from policy_inference.core.policy import JointPolicy
from policy_inference.core.state import RobotState
from policy_inference.interfaces import Backend


def joint_controller(
    bundle: Bundle, backend: Backend, limits: Limits, clock: Callable[[], int]
) -> Controller:
    """Return the controller of a joint policy.

    Args:
        bundle: Bundle whose contract holds.
        backend: Opened backend of the bundle; stays the caller's to close.
        limits: Limits in force.
        clock: As for `Controller`.
    """
    contract = bundle.contract
    state = RobotState(contract, orientation=limits.max_tilt_rad is not None)
    timeouts_ns = input_timeouts_ns(contract)
    inputs = {name: Input(name, timeouts_ns.get(name, limits.state_timeout_ns))
              for name in state.inputs}  # fmt: skip
    command = CommandFader(state.get("velocity_command"), contract.velocity_command, limits)
    policy = JointPolicy(bundle, backend, state)
    return Controller(contract, policy, state, inputs, command, limits, clock)
