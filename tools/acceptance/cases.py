# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a walking policy is asked to do: one case per walk.

Errors are |mean velocity after 2 s of a command - command| in the yaw-aligned base frame, and
where there are several commands the mean of those.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from robot_sim.faults import Fault
from robot_sim.ground import LEVEL, Ground
from robot_sim.walk import Schedule, evenly_timed

PUSHED_AT_S, PUSH_S, PUSH_N = 5.0, 0.1, 100.0
MIXED_EACH_S, MIXED_LARGEST = 4.0, 0.8
LATENCIES_MS = (0, 5, 10, 15, 20)
LONG_SEED, OTHER_SEEDS = 2, (5, 6, 7, 8)
SIDES = ("front", "rear", "left", "right")
FOLLOWS = 0.2
"""Error on any axis up to which a robot follows jumping commands; one that stands has 0.35."""
Velocity = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a case must not exceed, beside that the robot does not fall.

    Attributes:
        error: On any axis, m/s and rad/s.
        tilt_deg: At any time.
        torque_limit_share: Share of samples (joint x physics step) at the torque limit.
        action_change: Mean |change of the action from tick to tick|.
        altered_share: Share of ticks in which the guard changes a target.
    """

    error: float = np.inf
    tilt_deg: float = np.inf
    torque_limit_share: float = np.inf
    action_change: float = np.inf
    altered_share: float = np.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One walk.

    Attributes:
        name: Says what is special about it.
        group: The row of the summary to which it belongs.
        schedule: Commands by time since the case began.
        duration_s: Its length.
        push: Side from which the robot is pushed at `PUSHED_AT_S`.
        friction, latency_ms, ground, payload_kg: The world.
        limits: What it must not exceed; None where it is only measured.
    """

    name: str
    group: str
    schedule: Schedule
    duration_s: float = 20.0
    push: str | None = None
    friction: float = 1.0
    latency_ms: int = 0
    ground: Ground = LEVEL
    payload_kg: float = 0.0
    limits: Limits | None = Limits()

    def faults(self, start_s: float) -> list[Fault]:
        """Return the push of a case that begins at `start_s` on the world's clock."""
        if self.push is None:
            return []
        return [Fault(kind="push", target=self.push, start_s=start_s + PUSHED_AT_S,
                      duration_s=PUSH_S, value=PUSH_N)]  # fmt: skip


def steady(*velocity: float) -> Schedule:
    """Return one command for the whole case."""
    vx, vy, wz = velocity
    return [(0.0, (vx, vy, wz))]


def mixed(duration_s: float, seed: int) -> Schedule:
    """Return commands that jump on all axes at once; one in ten is zero."""
    count = int(np.ceil(duration_s / MIXED_EACH_S))
    random = np.random.default_rng(seed)
    commands = random.uniform(-MIXED_LARGEST, MIXED_LARGEST, (count, 3))
    commands[9::10] = 0.0
    return evenly_timed(commands.tolist(), each_s=MIXED_EACH_S)


def steady_cases() -> list[Case]:
    """Return the gates of accuracy, posture and torque: one axis at a time, and standing."""
    limits = Limits(error=0.04, tilt_deg=8.0, torque_limit_share=0.005, altered_share=0.001)
    still = dataclasses.replace(limits, action_change=0.002)
    velocities: list[Velocity] = [(0.8, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.8), (0, 0, 0)]
    return [
        Case(
            name="({:g}, {:g}, {:g})".format(*velocity), group="steady",
            schedule=steady(*velocity), limits=limits if any(velocity) else still,
        )
        for velocity in velocities
    ]  # fmt: skip


def push_cases() -> list[Case]:
    """Return pushes from four sides, standing and walking."""
    return [
        Case(name=f"pushed from {side} at {vx:g} m/s", group="pushes", push=side,
             schedule=steady(vx, 0.0, 0.0), duration_s=10.0)
        for vx in (0.0, 0.5) for side in SIDES
    ]  # fmt: skip


def mixed_cases() -> list[Case]:
    """Return jumping commands on slippery and on good ground, with five latencies each."""
    return [
        Case(name=f"mixed, friction {friction:g}, {latency_ms} ms", group=f"mixed {friction:g}",
             schedule=mixed(60.0, seed=1), duration_s=60.0, friction=friction,
             latency_ms=latency_ms, limits=Limits(error=FOLLOWS))
        for friction in (0.4, 1.0) for latency_ms in LATENCIES_MS
    ]  # fmt: skip


def long_cases() -> list[Case]:
    """Return ten minutes of jumping commands; and others, since one draw may be a lucky one."""
    limits = Limits(error=FOLLOWS, tilt_deg=20.0, altered_share=0.001)
    first = Case(name="mixed, 10 minutes", group="long", schedule=mixed(600.0, seed=LONG_SEED),
                 duration_s=600.0, limits=limits)  # fmt: skip
    return [first] + [
        dataclasses.replace(first, name=f"mixed, 10 minutes, draw {seed}", group="long again",
                            schedule=mixed(600.0, seed=seed), limits=None)
        for seed in OTHER_SEEDS
    ]  # fmt: skip


def beyond_cases() -> list[Case]:
    """Return what no gate asks for: slopes, steps, payload, more latency."""
    slopes = [
        Case(name=f"{vx:g} m/s, slope of {deg:g} degrees", group="beyond",
             schedule=steady(vx, 0.0, 0.0), ground=Ground(slope_rad=float(np.radians(deg))),
             limits=None)
        for deg in (8.0, 12.0) for vx in (0.5, -0.5)
    ]  # fmt: skip
    steps = [
        Case(name=f"mixed, steps of {step_m * 100:g} cm", group="beyond", duration_s=60.0,
             schedule=mixed(60.0, seed=1), ground=Ground(step_m=step_m, seed=1), limits=None)
        for step_m in (0.02, 0.03)
    ]  # fmt: skip
    loads = [
        Case(name=f"mixed, payload {kg:+g} kg", group="beyond", schedule=mixed(60.0, seed=1),
             duration_s=60.0, payload_kg=kg, limits=None)
        for kg in (2.0, -2.0)
    ] + [
        Case(name=f"standing, payload {kg:+g} kg", group="beyond", schedule=steady(0.0, 0.0, 0.0),
             payload_kg=kg, limits=None)
        for kg in (2.0, -2.0)
    ]  # fmt: skip
    late = [
        Case(name=f"mixed, {ms} ms", group="beyond", schedule=mixed(60.0, seed=1),
             duration_s=60.0, latency_ms=ms, limits=None)
        for ms in (30, 40)
    ]  # fmt: skip
    return slopes + steps + loads + late


def all_cases() -> list[Case]:
    """Return all cases in the order of the tables."""
    return [*steady_cases(), *push_cases(), *mixed_cases(), *long_cases(), *beyond_cases()]
