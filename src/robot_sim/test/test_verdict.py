# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which walks are good ones, and what is said about the others."""

import dataclasses
import math
from typing import Any

import pytest

from robot_sim.demo.summary import ReportedTiming, verdict
from robot_sim.metrics import WalkMetrics

GOOD = WalkMetrics(
    duration_s=27.0,
    distance_m=10.0,
    mean_velocity_error_mps=0.05,
    mean_turn_error_radps=0.02,
    max_tilt_deg=8.0,
    min_height_m=0.29,
    falls=0,
    torque_limit_share=0.0,
    segments=(),
)
QUIET = ReportedTiming(
    bundle="some",
    backend="onnx",
    runs_on="CPU",
    fallback="",
    ticks=1350,
    ticks_missed=0,
    latency_ms=(0.2, 0.5, 1.0),
    guard_events={},
    left_run=False,
    reason="asked for",
)
CONTRACT = "check joint order, term order and scales of the contract"


def verdict_on(*, lockstep: bool = True, **changes: Any) -> str | None:
    """Return the verdict on a good walk with some figures changed."""
    of_walk = {field.name for field in dataclasses.fields(WalkMetrics)}
    walk = {name: value for name, value in changes.items() if name in of_walk}
    report = {name: value for name, value in changes.items() if name not in of_walk}
    return verdict(
        dataclasses.replace(GOOD, **walk), dataclasses.replace(QUIET, **report), lockstep=lockstep
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"guard_events": {"state_stale": 3}},
        {"mean_velocity_error_mps": math.nan},
        {"ticks_missed": 5, "lockstep": False},
    ],
    ids=["nothing", "recovered holds", "too short to measure", "missed ticks"],
)
def test_a_walk_that_only_had_small_troubles_is_good(changes: dict[str, Any]) -> None:
    assert verdict_on(**changes) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {
                "falls": 1,
                "max_tilt_deg": 90.0,
                "min_height_m": 0.05,
                "mean_velocity_error_mps": 0.8,
            },
            f"the robot fell once; {CONTRACT}",
        ),
        ({"falls": 2}, f"the robot fell 2 times; {CONTRACT}"),
        (
            {"left_run": True, "reason": "attitude: tilt 1.01 rad", "falls": 1},
            "the policy node left RUN by itself (attitude: tilt 1.01 rad); the robot fell once; "
            + CONTRACT,
        ),
        (
            {"left_run": True, "reason": "estop: pressed"},
            "the policy node left RUN by itself (estop: pressed)",
        ),
        (
            {"left_run": True, "reason": "held_too_long: x", "ticks_missed": 7, "lockstep": False},
            "the policy node left RUN by itself (held_too_long: x); 7 ticks were missed, so this "
            "machine may be too busy for real time: try --lockstep",
        ),
        (
            {"max_tilt_deg": 38.8},
            "the robot is unsteady: expected a tilt of at most 25 degrees on "
            f"flat ground, found 38.8; {CONTRACT}",
        ),
        (
            {"min_height_m": 0.15},
            "the robot does not stay up: expected its body at 0.2 m or more, "
            f"found 0.15 m; {CONTRACT}",
        ),
        (
            {"mean_velocity_error_mps": 0.41},
            "the robot does not follow its commands: expected a "
            f"mean velocity error of at most 0.3 m/s, found 0.41 m/s; {CONTRACT}",
        ),
    ],
    ids=["fell", "fell twice", "attitude", "e-stop", "busy", "unsteady", "low", "not following"],
)
def test_each_cause_is_named_once_with_its_remedy(changes: dict[str, Any], expected: str) -> None:
    assert verdict_on(**changes) == expected
