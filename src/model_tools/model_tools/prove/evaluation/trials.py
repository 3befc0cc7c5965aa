# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One trial: a pure function of policy, conditions and seed, identified by a key."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import nan, radians
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

import model_tools
import policy_core
import policy_inference
import robot_sim
from model_tools.errors import ToolError
from model_tools.prove.evaluation.plan import (
    ARM,
    Plan,
    parse_fault,
    seeded,
    shown_value,
)
from model_tools.prove.trial import WalkOutcome, try_case
from model_tools.simulation.arm import ReachCase, ReachOutcome, try_reach
from model_tools.simulation.estimated import EstimateError, SensorErrors
from model_tools.simulation.robot import (
    PUSH_S,
    SimulatedRobot,
    WalkCase,
    mixed,
    push_from,
    steady,
)
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F64
from policy_inference.backends.registry import OpenedModels, open_models
from policy_inference.kinds.opening import B
from policy_store.report import plain
from robot_sim.errors import SimError
from robot_sim.faults import TARGETS, Fault
from robot_sim.figures import figures_file
from robot_sim.ground import Ground
from robot_sim.metrics import SETTLE_S
from robot_sim.trace import Trace

DIGITS = 6
"""Number of digits of values in files; smaller differences are not significant."""
_KEY_DIGITS = 32
_AFTER_PUSH_S = 1.0
"""Length of the last part of a trial, in which no push begins, s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedPolicy:
    """A bundle on a back end, in a form that can be sent to other processes.

    Attributes:
        label: Name in tables.
        folder: The bundle's folder, or a copy of it on another machine.
        sha256: Hash of the bundle.
        backend: Name of the back end.
        model_sha256: Hash of the models that the back end opens.
        options: Options of the back end.
    """

    label: str
    folder: Path
    sha256: str
    backend: str
    model_sha256: str
    options: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class TrialTask:
    """All parameters of a trial.

    Attributes:
        policy: Policy to try.
        robot: Robot to simulate, as in the plan.
        duration_s: Time in RUN.
        seed: Seed of everything that the conditions leave open.
        conditions: Value of each factor.
        estimator: True to run the base velocity estimator as well.
        suite: Hash of the code that runs the trial; different code may give different results.
    """

    policy: EvaluatedPolicy
    robot: str
    duration_s: float
    seed: int
    conditions: Mapping[str, Any]
    estimator: bool
    suite: str

    @functools.cached_property
    def key(self) -> str:
        """Hash of all parameters; trials with the same key have the same result."""
        policy = self.policy
        content = {
            "bundle": policy.sha256,
            "backend": [policy.backend, policy.model_sha256, sorted(policy.options.items())],
            "robot": robot_sha256(self.robot),
            "duration_s": self.duration_s,
            "seed": self.seed,
            "conditions": self.conditions,
            "estimator": self.estimator,
            "suite": self.suite,
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """Result of a trial, as stored.

    Attributes:
        key: Key of the task.
        policy: Label of the policy.
        seed: Seed of the task.
        conditions: Conditions of the task.
        held: True if the robot survived, or reached its goal, regardless of the plan's limits.
        figures: Measured values by name; null if not measurable.
        stopped_by: Why the trial did not run to the end; empty if it did.
    """

    key: str
    policy: str
    seed: int
    conditions: Mapping[str, Any]
    held: bool
    figures: Mapping[str, float | None]
    stopped_by: str


def trial_tasks(plan: Plan, policies: list[EvaluatedPolicy]) -> list[TrialTask]:
    """Return all trials of a plan, seed by seed, with all policies of a seed side by side."""
    suite = suite_sha256()
    return [
        TrialTask(
            policy=policy,
            robot=plan.robot,
            duration_s=plan.trial_s,
            seed=seed,
            conditions=conditions,
            estimator=plan.estimator,
            suite=suite,
        )
        for seed, conditions in plan.conditions()
        for policy in policies
    ]


def run_trial(task: TrialTask) -> TrialRow:
    """Run a trial and return its result; the bundle's folder must be on this machine."""
    if task.suite != suite_sha256():
        raise ToolError(
            f"suite: expected the code with the hash {task.suite} (the evaluation was started with "
            f"it), found {suite_sha256()}; install the same version on every node"
        )
    try:
        if task.robot == ARM:
            outcome = repeat_reach(task)
            held, figures, stopped = outcome.succeeded, _reach_figures(outcome), outcome.stopped_by
        else:
            walked, trace = repeat_walk(task)
            held, stopped = walked.survived, walked.stopped_by
            figures = _walk_figures(walked, trace)
    except SimError as error:
        raise ToolError(*error.args) from error
    return TrialRow(
        key=task.key,
        policy=task.policy.label,
        seed=task.seed,
        conditions=task.conditions,
        held=held,
        figures=plain(figures, DIGITS),
        stopped_by=stopped,
    )


def repeat_walk(task: TrialTask) -> tuple[WalkOutcome, Trace]:
    """Run a trial's walk, for the first time or again; return its outcome and trace."""
    bundle, models = _opened(task.policy, JointBundle)
    robot = SimulatedRobot(figures=task.robot)
    return try_case(bundle, models.first, walk_case(task), robot=robot)


def repeat_reach(task: TrialTask) -> ReachOutcome:
    """Run a trial's reach, for the first time or again; return its outcome, with the trace."""
    bundle, models = _opened(task.policy, ChunkBundle)
    conditions = {name: float(value) for name, value in task.conditions.items()}
    case = ReachCase(seed=task.seed, duration_s=task.duration_s, **conditions)
    return try_reach(bundle, models, case)


def walk_case(task: TrialTask) -> WalkCase:
    given, seed = task.conditions, task.seed
    command = given["command"]
    pushes = () if not given["push_n"] else (_push(seed, given["push_n"], task.duration_s),)
    return WalkCase(
        name=f"seed {seed}",
        group="evaluate",
        schedule=mixed(task.duration_s, seed) if command == "mixed" else steady(*command),
        duration_s=task.duration_s,
        faults=(*pushes, *map(parse_fault, given["faults"])),
        friction=given["friction"],
        latency_ms=given["latency_ms"],
        ground=make_ground(task),
        payload_kg=given["payload_kg"],
        joint_friction_nm=given["joint_friction_nm"],
        stiffness_scale=given["stiffness_scale"],
        damping_scale=given["damping_scale"],
        seed=seed,
        estimator=task.estimator,
        sensor_errors=SensorErrors(
            scale=given["sensor_error"], imu_delay_s=given["imu_delay_ms"] / 1e3, seed=seed
        ),
        velocity_error_mps=given["velocity_error_mps"],
        limits=None,
    )


def make_ground(task: TrialTask) -> Ground:
    given = task.conditions
    return Ground(slope_rad=radians(given["slope_deg"]), step_m=given["step_m"], seed=task.seed)


def _push(seed: int, newton: float, duration_s: float) -> Fault:
    random = seeded(seed, "push")
    at_s = random.uniform(SETTLE_S, max(SETTLE_S, duration_s - PUSH_S - _AFTER_PUSH_S))
    side = TARGETS["push"][random.integers(len(TARGETS["push"]))]
    return push_from(side, newton=newton, at_s=float(at_s))


def shown_conditions(task: TrialTask, names: tuple[str, ...]) -> str:
    """Return a task's seed and relevant conditions in one line."""
    values = (f"{name} {shown_value(task.conditions[name])}" for name in names)
    return ", ".join([f"seed {task.seed}", *values])


@functools.cache
def suite_sha256() -> str:
    """Return a hash of all code and data that affect a trial, and of the simulator's version."""
    content = hashlib.sha256(mujoco.__version__.encode())
    for package in (model_tools, policy_core, policy_inference, robot_sim):
        folder = Path(package.__path__[0])
        for file in sorted(folder.rglob("*")):
            if file.suffix in (".py", ".yaml"):
                content.update(f"{package.__name__}/{file.relative_to(folder)}\n".encode())
                content.update(file.read_bytes())
    return content.hexdigest()[:_KEY_DIGITS]


@functools.cache
def robot_sha256(robot: str) -> str:
    return hashlib.sha256(figures_file(robot).read_bytes()).hexdigest()


def _opened(policy: EvaluatedPolicy, kind: type[B]) -> tuple[B, OpenedModels]:
    options = tuple(sorted(policy.options.items()))
    key: Any = kind  # mypy considers a `type[B]` not hashable
    return _open(policy.folder, policy.sha256, key, policy.backend, options)


@functools.lru_cache(maxsize=8)
def _open(
    folder: Path, sha256: str, kind: type[Any], backend: str, options: tuple[tuple[str, str], ...]
) -> tuple[Any, OpenedModels]:
    """Return a bundle and its models, which this process keeps open for its next trials."""
    bundle = load_bundle(folder, kind=kind)
    if bundle.sha256 != sha256:
        raise ToolError(
            f"{folder}: expected the bundle with the hash {sha256}, found {bundle.sha256}; the "
            "bundle changed during the evaluation"
        )
    return bundle, open_models(bundle.models, [backend], {backend: dict(options)})


def _walk_figures(outcome: WalkOutcome, trace: Trace) -> dict[str, float]:
    vx, vy, wz = outcome.error
    ran = slice(None) if outcome.survived_s > 0.0 else slice(0)
    return {
        "survived_s": outcome.survived_s,
        "error_vx": vx,
        "error_vy": vy,
        "error_wz": wz,
        "tilt_deg": outcome.tilt_deg,
        **_efforts(trace.joint_effort[ran], trace.joint_vel[ran], outcome.survived_s),
        "torque_limit_share": outcome.torque_limit_share,
        "action_change": outcome.action_change,
        "altered_share": outcome.altered_share,
        **_estimate_figures(outcome.estimate),
    }


def _estimate_figures(error: EstimateError | None) -> dict[str, float]:
    if error is None:
        return {}
    return {f"estimate_{name}": value for name, value in dataclasses.asdict(error).items()}


def _reach_figures(outcome: ReachOutcome) -> dict[str, float]:
    """Return the measurements from a reach; signal values are 0 or 1, so their mean is a rate."""
    signal = dict[str, float]()
    if outcome.signalled is not None:
        came, succeeded = float(outcome.signalled), outcome.succeeded
        signal["signal"] = came
        signal["signal_false_positive"] = nan if succeeded else came
        signal["signal_false_negative"] = 1.0 - came if succeeded else nan
    return {
        "took_s": outcome.took_s,
        "closest_m": outcome.closest_m,
        **signal,
        **_efforts(outcome.effort_nm, outcome.joint_vel, outcome.took_s),
    }


def _efforts(effort_nm: F64, joint_vel: F64, lasted_s: float) -> dict[str, float]:
    """Return the drives' torque and work, given [ticks, joints]; braking recovers no energy."""
    if not len(effort_nm):
        return dict.fromkeys(("torque_rms_nm", "power_w", "energy_j"), nan)
    power_w = float(np.maximum(effort_nm * joint_vel, 0.0).sum(axis=1).mean())
    return {
        "torque_rms_nm": float(np.sqrt(np.mean(np.square(effort_nm)))),
        "power_w": power_w,
        "energy_j": power_w * lasted_s,
    }
