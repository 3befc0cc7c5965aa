# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a healthy rollout of a bundle does, measured on the simulated robot."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_tools.closed_loop.controlled import ControlledPolicy, RecordingBackend
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.expected import Nominal, Statistics
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.load import Bundle
from policy_inference.core.action import ActionDecoder
from policy_inference.core.joint_order import JointOrder
from policy_inference.errors import PolicyError
from policy_inference.interfaces import F64, JointTargets, Mode, Tensor
from robot_sim.figures import JOINT_NAMES
from robot_sim.metrics import WalkMetrics, measure
from robot_sim.trace import Trace
from robot_sim.walk import Schedule, evenly_timed, walk
from robot_sim.world import World

_EACH_S = 6.0
_COMMANDS = (
    (0.4, 0.0, 0.0), (0.8, 0.0, 0.0), (0.5, 0.0, 0.6), (0.5, 0.0, -0.6), (0.0, 0.4, 0.0),
    (0.0, -0.4, 0.0), (-0.5, 0.0, 0.0), (0.0, 0.0, 0.8), (0.0, 0.0, -0.8), (0.4, 0.2, -0.4),
    (-0.3, -0.2, 0.4), (0.8, 0.0, 0.0), (0.0, 0.0, 0.0),
)  # fmt: skip
_MIXED_EACH_S, _MIXED_S, _MIXED_SEED = 4.0, 120.0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What a healthy robot does while it is measured."""

    schedule: Schedule
    duration_s: float
    latency_ns: int
    """Time that commands take to reach the drives: a real robot's are never there at once."""


def walks(contract: JointContract) -> tuple[Walk, ...]:
    """Return the walks that make a nominal: every axis both ways, and jumps between mixtures."""
    axes = evenly_timed(_COMMANDS, each_s=_EACH_S, first_s=_EACH_S)
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


SOURCE = (
    "robot_sim, flat floor, lockstep: stand up from lying, then commands on every axis that jump "
    f"every {_EACH_S:g} s, with 0 and with 20 ms of latency, and {_MIXED_S:g} s of mixed commands "
    f"that jump every {_MIXED_EACH_S:g} s, with 10 ms"
)
_LARGEST_ERROR_MPS = 0.25
"""A robot that stands still has 0.37 in these walks."""
_SMALLEST_BOUND = 1e-3
"""For joints that a policy never moves; the contract wants bounds above zero."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollout:
    """A healthy walk: ground truth, and what the model took and gave in each tick in RUN."""

    trace: Trace
    tensors: dict[str, Tensor]
    altered_ticks: int

    @property
    def ticks(self) -> int:
        """Return the number of ticks in RUN."""
        return len(next(iter(self.tensors.values())))


def roll_out(bundle: Bundle) -> tuple[Rollout, ...]:
    """Let the bundle do all walks on its ONNX Runtime backend.

    Raises:
        PolicyError: It cannot be opened, does not fit the robot, or a walk is not healthy.
    """
    return tuple(_walk(bundle, wanted) for wanted in walks(bundle.contract))


def _walk(bundle: Bundle, wanted: Walk) -> Rollout:
    """Let the bundle do one walk.

    Raises:
        PolicyError: It cannot be opened, does not fit the robot, or its walk is not healthy.
    """
    backend, _ = open_backend(bundle, ["onnx"])
    recorder = RecordingBackend(backend)
    try:
        policy, world = ControlledPolicy(bundle, recorder), World()
        world.latency_ns = wanted.latency_ns
        trace = walk(
            world, policy, wanted.schedule, duration_s=wanted.duration_s,
            rate_hz=bundle.contract.rate_hz, until=None,
        )  # fmt: skip
    finally:
        recorder.close()
    _require_health(bundle.contract.name, policy, measure(trace))
    return Rollout(trace=trace, tensors=recorder.recorded(), altered_ticks=policy.altered_ticks)


def _require_health(name: str, policy: ControlledPolicy, metrics: WalkMetrics) -> None:
    snapshot, error_mps = policy.controller.snapshot(), metrics.mean_velocity_error_mps
    if snapshot.mode is not Mode.RUN or metrics.falls:
        raise PolicyError(
            f"{name}: expected a walk in RUN without a fall, found {metrics.falls} falls and the "
            f"mode {snapshot.mode.name} ({snapshot.reason}); only a healthy policy has a nominal"
        )
    if error_mps > _LARGEST_ERROR_MPS:
        raise PolicyError(
            f"{name}: expected a robot that follows its commands within {_LARGEST_ERROR_MPS} m/s "
            f"in the mean, found {error_mps:.2f}; only a healthy policy has a nominal"
        )


def measure_nominal(contract: JointContract, rollouts: Sequence[Rollout]) -> Nominal:
    """Return the largest step and torque demand per joint, and statistics of the inputs."""
    names = contract.joints.names
    measured = [_steps_and_demands(contract, rollout) for rollout in rollouts]
    steps, demands = (np.concatenate(parts) for parts in zip(*measured, strict=True))
    return Nominal(
        source=SOURCE,
        ticks=sum(rollout.ticks for rollout in rollouts),
        target_step=_by_name(names, steps.max(axis=0)),
        effort_demand=_by_name(names, demands.max(axis=0)),
        observation={
            name: _statistics(np.concatenate([rollout.tensors[name] for rollout in rollouts]))
            for name in contract.observations
        },
    )


def without_nominal(bundle: Bundle) -> Bundle:
    """Return the bundle with the contract's limits as its only guard, to measure it."""
    return dataclasses.replace(bundle, contract=dataclasses.replace(bundle.contract, nominal=None))


def _steps_and_demands(contract: JointContract, rollout: Rollout) -> tuple[F64, F64]:
    """Return |change of the target| and |torque it asks for|, both [ticks, joints]."""
    names, trace = contract.joints.names, rollout.trace
    output = np.zeros_like(rollout.tensors[contract.action.output][:1])
    decoder, targets = ActionDecoder(contract, output), JointTargets(len(names))
    order, sensed = JointOrder(names), np.zeros((2, len(names)))
    last, steps, demands = per_joint(contract.stand.position, names), list[F64](), list[F64]()
    start = len(trace.time_s) - rollout.ticks
    for tick, row in enumerate(range(start, len(trace.time_s))):
        output[:] = rollout.tensors[contract.action.output][tick]
        decoder.read()
        command = decoder.decode().copy()
        decoder.fill(targets)
        for values, out in zip((trace.joint_pos, trace.joint_vel), sensed, strict=True):
            order.take(JOINT_NAMES, values[row], out)
        steps.append(np.abs(command - last))
        demands.append(_demand(targets, *sensed))
        last = command
    return np.array(steps), np.array(demands)


def _demand(targets: JointTargets, joint_pos: F64, joint_vel: F64) -> F64:
    """Return |torque| [joints] that targets and gains ask for, N·m, before any limit."""
    spring = targets.stiffness * (targets.position - joint_pos)
    return np.asarray(
        np.abs(spring + targets.damping * (targets.velocity - joint_vel) + targets.effort)
    )


def _by_name(names: tuple[str, ...], values: F64) -> dict[str, float]:
    bounds = np.maximum(values, _SMALLEST_BOUND)
    return {name: _rounded(value) for name, value in zip(names, bounds, strict=True)}


def _statistics(rows: Tensor) -> Statistics:
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    return Statistics(
        mean=_list(flat.mean(axis=0)), std=_list(flat.std(axis=0)),
        min=_list(flat.min(axis=0)), max=_list(flat.max(axis=0)),
    )  # fmt: skip


def _list(values: F64) -> tuple[float, ...]:
    return tuple(_rounded(value) for value in values)


def _rounded(value: float) -> float:
    """Four digits are more than a margin of 1.5 needs; `+ 0.0` turns -0.0 into 0.0."""
    return float(f"{value:.4g}") + 0.0
