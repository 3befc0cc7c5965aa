# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages are judged before an episode as a conversion would judge them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from geometry_msgs.msg import Twist
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState

from lerobot_bridge.nodes.message_check import judges_of

from ..bags import LEADER, STATE, mapping_of

pytestmark = pytest.mark.ros

MAPPING = mapping_of(
    vectors={
        "observation.state": [STATE],
        "action": [
            LEADER,
            {
                "topic": "cmd_vel",
                "type": "geometry_msgs/msg/Twist",
                "fields": {"x.vel": "linear.x"},
            },
        ],
    }
)


def joints(pan_rad: float) -> JointState:
    return JointState(name=["pan_joint", "gripper"], position=[pan_rad, 1.0])


def image(encoding: str, height: int = 16) -> Image:
    return Image(height=height, width=24, step=72, encoding=encoding, data=bytes(height * 72))


@pytest.mark.parametrize(
    ("topic", "message", "problem"),
    [
        ("joint_states", joints(0.5), ""),
        ("joint_states", joints(math.nan), "pan.pos: expected a finite value"),
        (
            "leader/joint_states",
            joints(30.0),
            "found 1719: most likely the topic does not use rad",
        ),
        ("leader/joint_states", JointState(name=["pan_joint"], position=[0.5]), "missing: gripper"),
        ("cmd_vel", Twist(), ""),
        ("front/image_raw", image("rgb8"), ""),
        ("front/image_raw", image("16UC1"), "expected one of the encodings rgb8, "),
        (
            "front/image_raw",
            image("rgb8", 8),
            "expected an image of 24 x 16 pixels, found 24 x 8",
        ),
    ],
)
def test_what_convert_would_refuse_is_named(topic: str, message: Any, problem: str) -> None:
    package = type(message).__module__.partition(".")[0]
    kind = f"{package}/msg/{type(message).__name__}"

    found = judges_of(MAPPING)[topic](kind, serialize_message(message))

    assert problem in found
    assert bool(found) is bool(problem)


def test_broken_message_is_named() -> None:
    data = serialize_message(image("rgb8"))[:30]
    said = judges_of(MAPPING)["front/image_raw"]("sensor_msgs/msg/Image", data)
    assert "found 30 bytes that cannot be read as one" in said


def test_broken_values_are_named() -> None:
    data = serialize_message(JointState(name=["a"]))[:20]
    topic = next(name for name in judges_of(MAPPING) if "image" not in name)
    said = judges_of(MAPPING)[topic]("sensor_msgs/msg/JointState", data)
    assert said.startswith("expected a sensor_msgs/msg/JointState, found 20 bytes")
