# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The course of the demo: processes, an operator, a plan of velocities."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from robot_operator.nodes.client import Operator
from robot_sim.demo.processes import Processes
from robot_sim.demo.summary import ReportedTiming
from robot_sim.errors import SimError
from robot_sim.trace import Trace

_log = logging.getLogger("robot_sim_demo")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One velocity (m/s, m/s, rad/s, body frame) for some time."""

    name: str
    duration_s: float
    velocity: tuple[float, float, float]


PLAN = (
    PlanStep(name="stand", duration_s=2.0, velocity=(0.0, 0.0, 0.0)),
    PlanStep(name="forward", duration_s=7.0, velocity=(0.8, 0.0, 0.0)),
    PlanStep(name="forward in a curve", duration_s=5.0, velocity=(0.5, 0.0, 0.6)),
    PlanStep(name="turn", duration_s=5.0, velocity=(0.0, 0.0, 0.8)),
    PlanStep(name="sideways", duration_s=5.0, velocity=(0.0, 0.4, 0.0)),
    PlanStep(name="stop", duration_s=3.0, velocity=(0.0, 0.0, 0.0)),
)
TRACE = "trace.npz"
PLAN_S = sum(step.duration_s for step in PLAN)
EMULATED = {"go2_emulator": ("go2", "go2_driver")}
"""Robots behind their driver, real time only: the emulator's robot, and the driver's command."""
_LIE_DOWN_S = 2.0
_LOOPBACK = "lo"
_TRIES, _BETWEEN_S = 10, 1.0
"""How often control is requested: the driver's start checks need some seconds of states."""


def perform(
    output: Path,
    *,
    robot: str,
    bundle: str,
    backend: str,
    backend_options: str,
    seconds: float,
    lockstep: bool,
) -> tuple[Trace, ReportedTiming]:
    """Let a robot stand up, walk the plan, stop and lie down.

    Args:
        output: Folder for the trace and the processes' logs.
        robot: Name of the robot, a folder of figures, or a name of `EMULATED`.
        bundle: Folder of the policy bundle, or the name of one that is installed.
        backend: Backend, or several in order of preference, comma-separated.
        backend_options: Options of backends, comma-separated.
        seconds: How long the plan shall take; its steps are scaled to that.
        lockstep: Whether simulated time waits for each command, else it is real time.

    Returns:
        The simulator's ground truth, and what the policy node reported up to then.

    Raises:
        SimError: A node ended, or the policy node refused to stand or run.
    """
    file = output / TRACE
    with Processes() as nodes:
        driver = _start_robot(nodes, output, robot, lockstep=lockstep)
        nodes.start(
            "joint_policy_node",
            {
                "bundle": bundle,
                "backend": backend,
                "backend_options": backend_options,
                "use_sim_time": lockstep,
            },
            output / "joint_policy_node.log",
        )
        with Operator(driver_node=driver, use_sim_time=lockstep, watch=nodes.check) as operator:
            operator.wait_for_robot()
            if driver is not None:
                _take_control(operator)
            reported = _operate(operator, seconds / PLAN_S)
    return Trace.load(file), reported


def _start_robot(nodes: Processes, output: Path, robot: str, *, lockstep: bool) -> str | None:
    """Start a simulated robot, which writes the trace; return the name of its driver, if any."""
    trace_file = str(output / TRACE)
    if robot not in EMULATED:
        parameters = {
            "robot": robot,
            "trace_file": trace_file,
            "lockstep": lockstep,
            "joint_state_rate_hz": 200.0,
        }
        nodes.start("sim_node", parameters, output / "sim_node.log")
        return None
    emulated, driver = EMULATED[robot]
    words = ["--robot", emulated, "--interface", _LOOPBACK, "--trace-file", trace_file]
    nodes.run("unitree_emulator", ["unitree_emulator", *words], output / "unitree_emulator.log")
    nodes.start(
        driver,
        {
            "network_interface": _LOOPBACK,
            "domain_id": int(os.environ["ROS_DOMAIN_ID"]),
            "remote_required": False,
        },
        output / f"{driver}.log",
    )
    return driver


def _take_control(operator: Operator) -> None:
    """Take control of a robot once its driver sees no obstacle.

    Raises:
        SimError: The driver refuses again and again.
    """
    for _ in range(_TRIES):
        agreed, message = operator.request("take_control")
        if agreed:
            return
        operator.wait(_BETWEEN_S)
    raise SimError(f"take_control: {message}")


def _operate(operator: Operator, scale: float) -> ReportedTiming:
    _log.info("stand up")
    operator.stand_up()
    for step in PLAN:
        _log.info("%s, %.1f s", step.name, scale * step.duration_s)
        operator.move(*step.velocity)
        operator.wait(scale * step.duration_s)
        if operator.mode not in ("RUN", "HOLD"):
            _log.warning("the policy node left RUN: %s", operator.status.reason)
            break
    running = operator.status
    if operator.mode == "RUN":  # its legs are under it when it lies down
        operator.demand("stand")
        operator.wait_for_mode("READY")
    operator.demand("damp")
    operator.wait_for_mode("DAMP")
    reported = ReportedTiming.of(running, operator.status)
    operator.let_go()
    operator.wait(_LIE_DOWN_S)
    return reported
