# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The course of the demo: two processes, an operator, a plan of velocities."""

import logging
from dataclasses import dataclass
from pathlib import Path

from robot_operator.nodes.client import Operator
from robot_sim.demo.processes import Processes
from robot_sim.demo.summary import ReportedTiming
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
_LIE_DOWN_S = 2.0


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
        robot: Name of the robot, or a folder of figures.
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
        nodes.start(
            "sim_node",
            {
                "robot": robot,
                "trace_file": str(file),
                "lockstep": lockstep,
                "joint_state_rate_hz": 200.0,
            },
            output / "sim_node.log",
        )
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
        with Operator(use_sim_time=lockstep, watch=nodes.check) as operator:
            reported = _operate(operator, seconds / PLAN_S)
    return Trace.load(file), reported


def _operate(operator: Operator, scale: float) -> ReportedTiming:
    operator.wait_for_robot()
    _log.info("stand up")
    operator.stand_up()
    for step in PLAN:
        _log.info("%s, %.1f s", step.name, scale * step.duration_s)
        operator.move(*step.velocity)
        operator.wait(scale * step.duration_s)
        if operator.mode not in ("RUN", "HOLD"):
            _log.info("the policy node left RUN")
            break
    running = operator.status
    operator.demand("damp")
    operator.wait_for_mode("DAMP")
    reported = ReportedTiming.of(running, operator.status)
    operator.let_go()
    operator.wait(_LIE_DOWN_S)
    return reported
