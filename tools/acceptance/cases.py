# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Test cases of a walking policy: one case per walk."""

from __future__ import annotations

import dataclasses

import numpy as np

from model_tools.simulation.robot import (
    Velocity,
    WalkCase,
    WalkLimits,
    mixed,
    push_from,
    steady,
)
from robot_sim.ground import Ground

LATENCIES_MS = (0, 5, 10, 15, 20)
LONG_SEED, OTHER_SEEDS = 2, (5, 6, 7, 8)
SIDES = ("front", "rear", "left", "right")
FOLLOWS = 0.2
"""Maximum error on any axis for a robot that follows step commands; a standing robot has 0.35."""


def steady_cases() -> list[WalkCase]:
    """Return gated cases for accuracy, posture and torque: one axis at a time, and standing."""
    limits = WalkLimits(error=0.04, tilt_deg=8.0, torque_limit_share=0.005, altered_share=0.001)
    still = dataclasses.replace(limits, action_change=0.002)
    velocities: list[Velocity] = [(0.8, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.8), (0, 0, 0)]
    return [
        WalkCase(
            name="({:g}, {:g}, {:g})".format(*velocity),
            group="steady",
            schedule=steady(*velocity),
            limits=limits if any(velocity) else still,
        )
        for velocity in velocities
    ]


def push_cases() -> list[WalkCase]:
    """Return pushes from four sides, while standing and while walking."""
    return [
        WalkCase(
            name=f"pushed from {side} at {vx:g} m/s",
            group="pushes",
            faults=(push_from(side),),
            schedule=steady(vx, 0.0, 0.0),
            duration_s=10.0,
        )
        for vx in (0.0, 0.5)
        for side in SIDES
    ]


def mixed_cases() -> list[WalkCase]:
    """Return walks with step commands on slippery and on good ground, with five latencies each."""
    return [
        WalkCase(
            name=f"mixed, friction {friction:g}, {latency_ms} ms",
            group=f"mixed {friction:g}",
            schedule=mixed(60.0, seed=1),
            duration_s=60.0,
            friction=friction,
            latency_ms=latency_ms,
            limits=WalkLimits(error=FOLLOWS),
        )
        for friction in (0.4, 1.0)
        for latency_ms in LATENCIES_MS
    ]


def long_cases() -> list[WalkCase]:
    """Return a 10-minute walk with random step commands, and repeats with different seeds."""
    limits = WalkLimits(error=FOLLOWS, tilt_deg=20.0, altered_share=0.001)
    first = WalkCase(
        name="mixed, 10 minutes",
        group="long",
        schedule=mixed(600.0, seed=LONG_SEED),
        duration_s=600.0,
        limits=limits,
    )
    return [first] + [
        dataclasses.replace(
            first,
            name=f"mixed, 10 minutes, draw {seed}",
            group="long again",
            schedule=mixed(600.0, seed=seed),
            limits=None,
        )
        for seed in OTHER_SEEDS
    ]


def beyond_cases() -> list[WalkCase]:
    """Return cases without a gate: slopes, steps, payload and more latency."""
    slopes = [
        WalkCase(
            name=f"{vx:g} m/s, slope of {deg:g} degrees",
            group="beyond",
            schedule=steady(vx, 0.0, 0.0),
            ground=Ground(slope_rad=float(np.radians(deg))),
            limits=None,
        )
        for deg in (8.0, 12.0)
        for vx in (0.5, -0.5)
    ]
    steps = [
        WalkCase(
            name=f"mixed, steps of {step_m * 100:g} cm",
            group="beyond",
            duration_s=60.0,
            schedule=mixed(60.0, seed=1),
            ground=Ground(step_m=step_m, seed=1),
            limits=None,
        )
        for step_m in (0.02, 0.03)
    ]
    loads = [
        WalkCase(
            name=f"mixed, payload {kg:+g} kg",
            group="beyond",
            schedule=mixed(60.0, seed=1),
            duration_s=60.0,
            payload_kg=kg,
            limits=None,
        )
        for kg in (2.0, -2.0)
    ] + [
        WalkCase(
            name=f"standing, payload {kg:+g} kg",
            group="beyond",
            schedule=steady(0.0, 0.0, 0.0),
            payload_kg=kg,
            limits=None,
        )
        for kg in (2.0, -2.0)
    ]
    late = [
        WalkCase(
            name=f"mixed, {ms} ms",
            group="beyond",
            schedule=mixed(60.0, seed=1),
            duration_s=60.0,
            latency_ms=ms,
            limits=None,
        )
        for ms in (30, 40)
    ]
    return slopes + steps + loads + late


def all_cases() -> list[WalkCase]:
    """Return all cases in the order of the tables."""
    return [*steady_cases(), *push_cases(), *mixed_cases(), *long_cases(), *beyond_cases()]
