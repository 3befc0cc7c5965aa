# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of sim_node: defaults, descriptions, and what their values must be."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from robot_sim.errors import SimError
from robot_sim.world import NS_PER_S, World

PARAMETERS: dict[str, tuple[Any, str]] = {
    "lockstep": (False, "Wait for the command of each tick and publish /clock"),
    "period_s": (0.02, "Time between ticks in lockstep, and between rows of the trace, s"),
    "answer_timeout_s": (2.0, "Time to wait in lockstep for a command before the drives damp, s"),
    "joint_state_rate_hz": (500.0, "Rate of joint_states in real time, Hz"),
    "imu_rate_hz": (200.0, "Rate of imu/data in real time, Hz"),
    "contact_rate_hz": (100.0, "Rate of contact_forces and odom in real time, Hz"),
    "pose": ("lying", "How the robot starts: lying or standing"),
    "friction": (1.0, "Sliding friction of feet and floor"),
    "latency_s": (0.0, "Time that a command takes to reach the drives, up to 0.04 s"),
    "seed": (0, "Varies the start pose and the noise; 0 is the exact pose"),
    "faults": ([""], "Faults, e.g. 'drop:imu@4+0.5', 'push:left@5+0.1=100'; see robot_sim.faults"),
    "joint_order": ([""], "Order of the names in joint_states; the robot's own if empty"),
    "trace_file": ("", "Where the trace is written when the node ends (.npz); empty: nowhere"),
    "duration_s": (0.0, "Simulated time after which the node ends, s; 0: never"),
}
"""Default and description by name."""


def described() -> str:
    """Return the parameters, a line each."""
    return "\n".join(f"  {name} ({default!r}): {doc}"
                     for name, (default, doc) in PARAMETERS.items())


def declared(node: Node) -> Callable[[str], Any]:
    """Declare the parameters; return what gives their values by name.

    Raises:
        SimError: A value cannot be meant.
    """
    for name, (default, doc) in PARAMETERS.items():
        node.declare_parameter(name, default, ParameterDescriptor(description=doc))

    def get(name: str) -> Any:
        return node.get_parameter(name).value

    for name, (default, _) in PARAMETERS.items():
        if type(default) in (int, float) and not 0 <= get(name) < math.inf:
            raise SimError(f"{name}: expected a number >= 0, got {get(name)}")
        if name.endswith("_hz") and get(name) == 0.0:
            raise SimError(f"{name}: expected a rate > 0, got 0")
    folder = Path(get("trace_file")).parent
    if not folder.is_dir():
        raise SimError(f"trace_file: expected a file in a folder that is there, got {folder}")
    return get


def whole_steps(name: str, period_s: float, world: World) -> int:
    """Return a period in ns.

    Raises:
        SimError: It is not a positive multiple of the world's time step.
    """
    period_ns = round(period_s * NS_PER_S)
    try:
        world.whole_steps(period_ns)
    except SimError:
        raise SimError(f"{name}: expected a period that is a multiple of "
                       f"{1e3 / world.steps_per_s:g} ms, got {period_s * 1e3:g} ms") from None
    return period_ns
