# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which walks are good ones, and what is said about the others."""

import dataclasses
import math
from typing import Any

import pytest

from examples.demos.walk import ReportedTiming, verdict
from robot_sim.metrics import WalkMetrics
from testkit.wording import check_wording

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
    "changes",
    [
        {"falls": 1, "max_tilt_deg": 90.0, "min_height_m": 0.05, "mean_velocity_error_mps": 0.8},
        {"falls": 2},
        {"left_run": True, "reason": "attitude: tilt 1.01 rad", "falls": 1},
        {"left_run": True, "reason": "estop: pressed"},
        {"left_run": True, "reason": "held_too_long: x", "ticks_missed": 7, "lockstep": False},
        {"max_tilt_deg": 38.8},
        {"min_height_m": 0.15},
        {"mean_velocity_error_mps": 0.41},
    ],
    ids=["fell", "fell twice", "attitude", "e-stop", "busy", "unsteady", "low", "not following"],
)
def test_each_cause_is_named_once_with_its_remedy(changes: dict[str, Any]) -> None:
    check_wording(verdict_on(**changes))
