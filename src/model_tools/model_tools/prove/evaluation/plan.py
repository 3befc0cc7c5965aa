# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`plan.yaml`: robot, number of trials, conditions, and criteria of success."""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model_tools.prove.evaluation.statistics import highest_shown
from model_tools.simulation.robot import SimulatedRobot
from policy_core.bundle.schema import Found, Reader, entry, json_schema, load_yaml
from policy_core.errors import BundleError
from robot_sim.errors import SimError
from robot_sim.faults import Fault, FaultPlan

ARM = "so101"
"""The robot that reaches for a cube; all other robots walk."""
MOST_TRIALS = 1_000_000
_WALK_S, _REACH_S = 20.0, 6.0
_SHORTEST_WALK_S = 4.0
"""Minimum duration of a walk: leaves time for measuring after the 2 s in which a robot must reach
the commanded velocity.
"""
_FAULTS = ("noise", "nan", "drop", "order", "motor_off", "push")
_MIXED = "mixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorRange:
    """A range from which each seed draws a value uniformly."""

    min: float = entry("lower end of the range")
    max: float = entry("upper end of the range")


Values = tuple[float, ...] | FactorRange
Command = Literal["mixed"] | tuple[float, ...]


def _factor(doc: str, default: float = 0.0, **bounds: Any) -> Any:
    return entry(
        f"{doc}. Either a list (every value is tried) or a range {{min, max}} (each seed draws one "
        "value)",
        default=(default,),
        minItems=1,
        **bounds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """Factors of the trials: every combination of the listed values is tried with every seed."""

    command: tuple[Command, ...] = entry(
        "velocity commands [vx, vy in m/s, yaw rate in rad/s], or `mixed`: a new command every 4 "
        "s, drawn by the seed; legged robots only",
        default=("mixed",),
        minItems=1,
    )
    friction: Values = _factor(
        "coefficient of sliding friction between feet and floor", 1.0, minimum=0
    )
    payload_kg: Values = _factor("mass added to the base, kg")
    latency_ms: Values = _factor("delay until commands reach the drives, ms", minimum=0, maximum=40)
    push_n: Values = _factor(
        "force of a 0.1 s push on the base, N; the seed draws its time and side",
        minimum=0,
    )
    slope_deg: Values = _factor(
        "slope of the ground ahead of the robot, degrees; positive is uphill",
        minimum=-30,
        maximum=30,
    )
    step_m: Values = _factor(
        "maximum height of the 0.4 m tiles on the ground, m; the seed draws each tile's height",
        minimum=0,
        maximum=0.2,
    )
    joint_friction_nm: Values = _factor("dry friction added to each joint, N·m", minimum=0)
    stiffness_scale: Values = _factor(
        "position gain of the drives, as a share of the commanded gain", 1.0, minimum=0
    )
    damping_scale: Values = _factor(
        "velocity gain of the drives, as a share of the commanded gain", 1.0, minimum=0
    )
    inference_ms: Values = _factor(
        "time to compute a chunk, ms; chunk policies only", minimum=0, maximum=5000
    )
    sensor_error: Values = _factor(
        "noise and bias of the estimator's sensors, as a multiple of the data sheet's "
        "(docs/estimation.md)",
        minimum=0,
    )
    imu_delay_ms: Values = _factor(
        "delay of the estimator's IMU relative to its joints, ms", minimum=0, maximum=40
    )
    velocity_error_mps: Values = _factor(
        "RMS magnitude of the error vector added to base_lin_vel, m/s (docs/estimation.md)",
        minimum=0,
    )
    faults: tuple[tuple[str, ...], ...] = entry(
        "lists of sensor and motor faults in the syntax of robot_sim, timed from the start of "
        "the trial: [noise:imu.angular_velocity=0.1, drop:imu@4+0.06]; legged robots only",
        default=((),),
    )


OF_LEGS = (
    "command",
    "friction",
    "payload_kg",
    "push_n",
    "slope_deg",
    "step_m",
    "joint_friction_nm",
    "sensor_error",
    "imu_delay_ms",
    "velocity_error_mps",
    "faults",
)
OF_THE_ARM = ("inference_ms",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """Limits for a successful walk; the robot must also stay on its feet, in RUN, to the end."""

    error: float | None = entry(
        "maximum |mean velocity - command| on each axis, m/s and rad/s, averaged over the commands",
        default=None,
        exclusiveMinimum=0,
    )
    tilt_deg: float | None = entry("maximum tilt, degrees", default=None, exclusiveMinimum=0)
    torque_limit_share: float | None = entry(
        "maximum share of samples at the torque limit", default=None, minimum=0
    )
    estimate_rmse_mps: float | None = entry(
        "maximum root mean square error of the estimated base velocity, m/s",
        default=None,
        exclusiveMinimum=0,
    )
    altered_share: float | None = entry(
        "maximum share of ticks in which the guard changed a target", default=None, minimum=0
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The trials, and the criteria of success."""

    robot: str = entry(
        "robot to simulate: lite3, go2, g1, so101, or a folder with the figures.yaml of another "
        "legged robot"
    )
    seeds: int = entry(
        "number of seeds; every combination of the factors is tried with each seed",
        minimum=1,
        maximum=MOST_TRIALS,
    )
    first_seed: int = entry("first seed; the others follow consecutively", default=1, minimum=1)
    duration_s: float | None = entry(
        "duration of RUN in each trial, s; if absent, 20 for a walk, 6 for a reach",
        default=None,
        exclusiveMinimum=0,
        maximum=3600,
    )
    backends: tuple[str, ...] = entry(
        "back ends on which each bundle is run", default=("onnx",), minItems=1
    )
    estimator: bool = entry(
        "run the base velocity estimator in each walk and measure its error; always true if the "
        "policy needs it",
        default=False,
    )
    factors: Factors = entry("factors that vary between trials", default=Factors())
    success: Success = entry(
        "limits for a successful walk, in addition to survival", default=Success()
    )
    required_success: float | None = entry(
        "success rate that the lower end of each policy's interval must reach",
        default=None,
        exclusiveMinimum=0,
        maximum=1,
    )

    @cached_property
    def combinations(self) -> tuple[Mapping[str, Any], ...]:
        """Every combination of listed factor values, by factor name; ranges are kept as ranges."""
        names = self.factor_names
        lists = [
            [values] if isinstance(values, FactorRange) else list(values)
            for values in (getattr(self.factors, name) for name in names)
        ]
        return tuple(dict(zip(names, each, strict=True)) for each in itertools.product(*lists))

    @property
    def factor_names(self) -> tuple[str, ...]:
        others = OF_LEGS if self.reaches else OF_THE_ARM
        names = (field.name for field in dataclasses.fields(Factors))
        return tuple(name for name in names if name not in others)

    @property
    def reaches(self) -> bool:
        """True if the robot reaches for a cube instead of walking."""
        return self.robot == ARM

    @property
    def kind(self) -> Literal["joint", "chunk"]:
        return "chunk" if self.reaches else "joint"

    @property
    def trial_s(self) -> float:
        return self.duration_s or (_REACH_S if self.reaches else _WALK_S)

    @property
    def varied(self) -> tuple[str, ...]:
        return tuple(
            name
            for name in self.factor_names
            if isinstance(values := getattr(self.factors, name), FactorRange) or len(values) > 1
        )

    def conditions(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield the seed and conditions of each trial of a policy, seed by seed."""
        for seed in range(self.first_seed, self.first_seed + self.seeds):
            for combination in self.combinations:
                yield seed, {name: _drawn(seed, name, value) for name, value in combination.items()}

    def __len__(self) -> int:
        return self.seeds * len(self.combinations)


def seeded(seed: int, what: str) -> np.random.Generator:
    """Return a random generator for one quantity of a seed, independent of all others."""
    return np.random.default_rng([seed, zlib.crc32(what.encode())])


def plan_schema() -> dict[str, Any]:
    return json_schema(Plan)


def load_plan(file: Path) -> Plan:
    value, reader = load_yaml(file), Reader(str(file))
    plan: Plan | None = reader.section(Plan, value)
    if plan is not None:
        _check(plan, value, reader)
    if plan is None or reader.problems:
        raise BundleError(*reader.problems)
    return plan


def _drawn(seed: int, name: str, value: Any) -> Any:
    """Return a factor's value for a seed, rounded as in files."""
    if not isinstance(value, FactorRange):
        return value
    return float(f"{seeded(seed, name).uniform(value.min, value.max):.6g}")


def _check(plan: Plan, given: Any, reader: Reader) -> None:
    for field in dataclasses.fields(Factors):
        values, rules = getattr(plan.factors, field.name), field.metadata["schema"]
        if isinstance(values, FactorRange):
            _check_range(values, f"factors.{field.name}", rules, reader)
        elif len(set(values)) < len(values):
            reader.problem(f"factors.{field.name}", "every value once", list(values))
    stated = (given.get("factors") or {}) if isinstance(given, Mapping) else {}
    for name in stated:
        if name in Factors.__dataclass_fields__ and name not in plan.factor_names:
            reader.problem(
                f"factors.{name}",
                f"one of the factors of {plan.robot}: {', '.join(plan.factor_names)}",
                Found("a factor for other robots"),
            )
    if plan.reaches:
        if plan.estimator:
            reader.problem("estimator", "false for a robot that does not walk", True)
        if isinstance(given, Mapping) and given.get("success"):
            reader.problem(
                "success",
                "nothing: a reach succeeds when the gripper's tip stays over the cube",
                Found("limits of a walk"),
            )
    else:
        _check_walk(plan, reader)
    if not plan.factors.faults:
        reader.problem("factors.faults", "at least one value", Found("an empty list"))
    most = highest_shown(len(plan))
    if plan.required_success is not None and most < plan.required_success:
        reader.problem(
            "seeds",
            f"enough trials to show a success rate of {plan.required_success:g}",
            Found(f"{len(plan)}, which can show at most {most:.3g}, even if all succeed"),
        )
    if len(plan) > MOST_TRIALS:
        reader.problem(
            "seeds",
            f"at most {MOST_TRIALS} trials (seeds x combinations of the factors)",
            Found(f"{len(plan)}"),
        )


def _check_range(values: FactorRange, key: str, rules: Mapping[str, Any], reader: Reader) -> None:
    low, high = rules.get("minimum", -inf), rules.get("maximum", inf)
    if not values.min < values.max:
        reader.problem(key, "min < max", Found(f"{values.min:g} and {values.max:g}"))
    if values.min < low or values.max > high:
        bounds = f"{low:g} to {high:g}"
        reader.problem(key, f"a range within {bounds}", Found(f"{values.min:g} to {values.max:g}"))


def _check_walk(plan: Plan, reader: Reader) -> None:
    for place, command in enumerate(plan.factors.command):
        if command != _MIXED and len(command) != 3:
            reader.problem(
                f"factors.command[{place}]",
                "3 values (vx, vy in m/s, yaw rate in rad/s), or `mixed`",
                Found(f"{len(command)} values"),
            )
    if plan.success.estimate_rmse_mps is not None and not plan.estimator:
        reader.problem("estimator", "true (estimate_rmse_mps limits the estimator's error)", False)
    if plan.trial_s < _SHORTEST_WALK_S:
        reader.problem(
            "duration_s",
            f"at least {_SHORTEST_WALK_S:g} s (so that a robot has 2 s to follow a command)",
            plan.trial_s,
        )
    try:
        body = SimulatedRobot(figures=plan.robot).body
    except SimError as error:
        reader.problem("robot", "one of robot_sim's robots", Found(f"another ({error})"))
        return
    least_kg = -body.base.mass_kg / 2.0
    if _least(plan.factors.payload_kg) < least_kg:
        reader.problem(
            "factors.payload_kg",
            f"values >= {least_kg:.3g} (minus half of the base's mass)",
            _least(plan.factors.payload_kg),
        )
    for place, faults in enumerate(plan.factors.faults):
        for number, text in enumerate(faults):
            try:
                fault = parse_fault(text)
                FaultPlan([fault], joint_names=body.joint_names)
            except SimError as error:
                where = f"factors.faults[{place}][{number}]"
                reader.problem(
                    where, "a fault of the simulated robot", Found(f"an invalid one ({error})")
                )


def parse_fault(text: str) -> Fault:
    fault = Fault.parse(text)
    if fault.kind not in _FAULTS:
        raise SimError(
            f"fault {fault.kind}: expected one of {', '.join(_FAULTS)}; the factor latency_ms "
            "delays commands"
        )
    return fault


def _least(values: Values) -> float:
    return values.min if isinstance(values, FactorRange) else min(values)


def shown_value(value: Any) -> str:
    """Return a factor's value as shown in tables and names."""
    if isinstance(value, FactorRange):
        return f"{value.min:g} to {value.max:g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(shown_value, value)) or "none"
    return value if isinstance(value, str) else f"{value:g}"
