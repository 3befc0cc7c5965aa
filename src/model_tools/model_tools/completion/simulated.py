# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Healthy walks of the simulated robot under a bundle: every axis both ways, and jumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_tools.closed_loop.controlled import ControlledPolicy, RecordingBackend
from model_tools.closed_loop.simulated_robot import LITE3, SimulatedRobot
from model_tools.completion.runs import HealthyRun, Measured
from model_tools.errors import ToolError
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.load import Bundle
from policy_inference.comparison.rows import Rows
from policy_inference.interfaces import Mode
from robot_sim.errors import SimError
from robot_sim.metrics import WalkMetrics, measure
from robot_sim.trace import Trace
from robot_sim.walk import Schedule, evenly_timed, walk

_EACH_S = 6.0
_COMMANDS = (
    (0.4, 0.0, 0.0), (0.8, 0.0, 0.0), (0.5, 0.0, 0.6), (0.5, 0.0, -0.6), (0.0, 0.4, 0.0),
    (0.0, -0.4, 0.0), (-0.5, 0.0, 0.0), (0.0, 0.0, 0.8), (0.0, 0.0, -0.8), (0.4, 0.2, -0.4),
    (-0.3, -0.2, 0.4), (0.8, 0.0, 0.0), (0.0, 0.0, 0.0),
)  # fmt: skip
_MIXED_EACH_S, _MIXED_S, _MIXED_SEED = 4.0, 120.0, 1
_WALKS = (
    f"then commands on every axis that jump every {_EACH_S:g} s, with 0 and with 20 ms of latency, "
    f"and {_MIXED_S:g} s of mixed commands that jump every {_MIXED_EACH_S:g} s, with 10 ms"
)
_LARGEST_ERROR_MPS, _LARGEST_ERROR_SHARE = 0.25, 0.68
"""Of a Lite3, and of the error of a robot that stands still: a Lite3 has 0.37 m/s then. Turning has
the share alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What a healthy robot does while it is measured."""

    schedule: Schedule
    duration_s: float
    latency_ns: int
    """Time that commands take to reach the drives: a real robot's are never there at once."""


def source_of(robot: SimulatedRobot) -> str:
    """Return in words where the figures of a robot's walks are from."""
    start = "stand up from lying" if robot.model is None else "stand"
    return f"{robot.name}, flat floor, lockstep: {start}, {_WALKS}"


def walks(contract: JointContract, robot: SimulatedRobot = LITE3) -> tuple[Walk, ...]:
    """Return the walks that make a nominal."""
    commands = [robot.velocity(contract, command) for command in _COMMANDS]
    axes = evenly_timed(commands, each_s=_EACH_S, first_s=_EACH_S)
    axes_s = _EACH_S * (len(_COMMANDS) + 1)
    return (
        Walk(schedule=axes, duration_s=axes_s, latency_ns=0),
        Walk(schedule=axes, duration_s=axes_s, latency_ns=20_000_000),
        Walk(schedule=_mixed(contract), duration_s=_MIXED_S, latency_ns=10_000_000),
    )


def _mixed(contract: JointContract) -> Schedule:
    """Return commands within the trained range that jump on all axes at once."""
    trained = contract.velocity_command
    if trained is None:
        return []
    random, count = np.random.default_rng(_MIXED_SEED), int(_MIXED_S / _MIXED_EACH_S)
    commands = random.uniform(trained.min, trained.max, (count, 3))
    return evenly_timed(commands.tolist(), each_s=_MIXED_EACH_S, first_s=_MIXED_EACH_S)


def simulated(bundle: Bundle, robot: SimulatedRobot = LITE3) -> Measured:
    """Let the bundle do all walks.

    Raises:
        PolicyError: It cannot be opened, does not fit the simulated robot, or does not walk.
    """
    runs = [_walk(bundle, wanted, robot) for wanted in walks(bundle.contract, robot)]
    return Measured(source=source_of(robot), runs=runs)


def _walk(bundle: Bundle, wanted: Walk, robot: SimulatedRobot) -> HealthyRun:
    """Let the bundle do one walk."""
    contract = bundle.contract
    backend, _ = open_backend(bundle, ["onnx"])
    recorder = RecordingBackend(backend)
    try:
        policy = ControlledPolicy(bundle, recorder, robot=robot)
        world = robot.world(contract)
        world.latency_ns = wanted.latency_ns
        trace = walk(
            world, policy, wanted.schedule, duration_s=wanted.duration_s,
            rate_hz=contract.rate_hz, until=None,
        )  # fmt: skip
    except SimError as error:
        raise ToolError(f"{bundle.path}: {error}") from error
    finally:
        recorder.close()
    metrics = measure(trace, effort_limit_nm=world.effort_limit_nm,
                      fallen_height_m=world.fallen_height_m)  # fmt: skip
    _require_health(contract.name, policy, metrics, robot)
    begin = per_joint(contract.stand.position, contract.joints.names)
    order = [world.joint_names.index(name) for name in contract.joints.on_robot()]
    return HealthyRun(rows=_rows(contract, recorder, trace, order, source_of(robot)), begin=begin)


def _rows(
    contract: JointContract, recorder: RecordingBackend, trace: Trace, order: list[int],
    source: str,
) -> Rows:  # fmt: skip
    """Return the ticks in RUN, which are the last ones of the walk."""
    tensors, model = recorder.recorded(), contract.model
    ticks = slice(-recorder.runs, None)
    return Rows(
        source=source,
        inputs={name: tensors[name] for name in model.inputs},
        outputs={name: tensors[name] for name in model.outputs},
        sensed={"joint_pos": trace.joint_pos[ticks, order],
                "joint_vel": trace.joint_vel[ticks, order]},
    )  # fmt: skip


def _require_health(
    name: str, policy: ControlledPolicy, metrics: WalkMetrics, robot: SimulatedRobot
) -> None:
    snapshot = policy.controller.snapshot()
    if snapshot.mode is not Mode.RUN or metrics.falls:
        raise ToolError(
            f"{name}: expected a walk in RUN without a fall, found falls: {metrics.falls}, mode: "
            f"{snapshot.mode.name} ({snapshot.reason}); only a healthy policy has a nominal"
        )
    commands = np.array([segment.command for segment in metrics.segments] or [(0.0, 0.0, 0.0)])
    still_mps = float(np.mean(np.hypot(commands[:, 0], commands[:, 1])))
    still_radps = float(np.mean(np.abs(commands[:, 2])))
    largest_mps = _LARGEST_ERROR_MPS if robot.model is None else _LARGEST_ERROR_SHARE * still_mps
    _require_following(name, metrics.mean_velocity_error_mps, largest_mps, "m/s", still_mps)
    _require_following(name, metrics.mean_turn_error_radps, _LARGEST_ERROR_SHARE * still_radps,
                       "rad/s", still_radps)  # fmt: skip


def _require_following(name: str, error: float, largest: float, unit: str, still: float) -> None:
    """Raise unless the mean error is at most `largest`; `still` is that of a robot at rest."""
    if still and error > largest:
        raise ToolError(
            f"{name}: expected a robot that follows its commands within {largest:.2g} {unit} "
            f"in the mean, found {error:.2f}; only a healthy policy has a nominal"
        )
