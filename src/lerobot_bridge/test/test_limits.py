# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import math
from typing import Any

import pytest

from lerobot_bridge.limits import ActionLimits
from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.mapping_file import parse_mapping
from policy_core.errors import RobotError
from testkit.wording import refusal


def mapping_of_lift(joint: dict[str, Any], **more: Any) -> RobotMapping:
    state = {"topic": "joint_states", "type": "sensor_msgs/msg/JointState"}
    return parse_mapping(
        {
            "schema_version": 1,
            "robot_type": "arm",
            "rate_hz": 20,
            "joints": {"lift": joint},
            "vectors": {"observation.state": [state]},
            "command": [
                {"topic": "command", "type": "std_msgs/msg/Float64MultiArray", "joints": ["lift"]}
            ],
            **more,
        },
        "mapping.yaml",
    )


def limited_lift(joint: dict[str, Any], asked: float, measured: float) -> tuple[Any, bool]:
    values, clipped = ActionLimits(mapping_of_lift(joint)).apply(
        {"lift.pos": asked}, {"lift.pos": measured}
    )
    assert set(clipped) <= {"lift.pos"}
    return values["lift.pos"], bool(clipped)


DEGREES = {"unit": "degrees", "position_min": -math.pi / 2, "position_max": math.pi}
FREE = {"unit": "degrees", "max_relative_target": math.pi / 6}
RANGE = {"unit": "range_0_100", "low_rad": -0.2, "high_rad": 1.8, "max_relative_target": 0.5}


@pytest.mark.parametrize(
    ("joint", "asked", "measured", "expected"),
    [
        ({**DEGREES, "max_relative_target": 1.0}, 12.3, 0.0, 12.3),
        (DEGREES, -91.0, 0.0, -90.0),
        (DEGREES, 181.0, 0.0, 180.0),
        ({**DEGREES, "sign": -1}, 120.0, 0.0, 90.0),
        ({**DEGREES, "sign": -1}, -200.0, 0.0, -180.0),
        (FREE, 90.0, 30.0, 60.0),
        (FREE, -90.0, 30.0, 0.0),
        (RANGE, 100.0, 10.0, 35.0),
        ({**DEGREES, "max_relative_target": math.pi / 18}, 300.0, 220.0, 210.0),
    ],
    ids=[
        "within",
        "below",
        "above",
        "above, counted down",
        "below, counted down",
        "step up",
        "step down",
        "step in a range",
        "led back from beyond the limits",
    ],
)
def test_an_action_ends_at_limits_and_a_step_from_the_measured_position(
    joint: dict[str, Any], asked: float, measured: float, expected: float
) -> None:
    assert limited_lift(joint, asked, measured) == (pytest.approx(expected), asked != expected)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"x.vel": 1e6, "turn.vel": -1e6}, {"x.vel": 0.5, "turn.vel": -90.0}),
        ({"x.vel": -0.25, "turn.vel": 45.0}, {"x.vel": -0.25, "turn.vel": 45.0}),
    ],
)
def test_fields_end_at_their_limits_in_lerobot_s_units(
    asked: dict[str, float], expected: dict[str, float]
) -> None:
    mapping = mapping_of_lift(
        DEGREES,
        command=[
            {
                "topic": "cmd_vel",
                "type": "geometry_msgs/msg/Twist",
                "degrees": ["turn.vel"],
                "fields": {"x.vel": "linear.x", "turn.vel": "angular.z"},
                "limits": {"x.vel": [-0.25, 0.5], "turn.vel": [-90, 90]},
            }
        ],
    )
    values, clipped = ActionLimits(mapping).apply(asked, {})
    assert values == expected
    assert set(clipped) == {name for name in asked if asked[name] != expected[name]}


@pytest.mark.parametrize(
    "action",
    [{}, {"lift.pos": 0.0, "pan.pos": 0.0}, {"lift": 0.0}],
    ids=["missing lift.pos", "unknown pan.pos", "missing lift.pos unknown lift"],
)
def test_names_must_be_those_of_the_action(action: dict[str, float]) -> None:
    with refusal(RobotError):
        ActionLimits(mapping_of_lift(DEGREES)).apply(action, {})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_never_sent(value: float) -> None:
    with refusal(RobotError):
        ActionLimits(mapping_of_lift(DEGREES)).apply({"lift.pos": value}, {})


def test_a_limited_step_needs_a_measured_position() -> None:
    velocity = {
        "topic": "joint_states",
        "type": "sensor_msgs/msg/JointState",
        "quantity": "velocity",
    }
    mapping = mapping_of_lift(
        {"unit": "degrees", "max_relative_target": 0.1}, vectors={"observation.state": [velocity]}
    )
    with refusal(RobotError):
        ActionLimits(mapping)
