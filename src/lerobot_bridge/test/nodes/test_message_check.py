# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages are checked before an episode as a conversion would check them."""

import math
from typing import Any

import pytest
from geometry_msgs.msg import Twist
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState

from lerobot_bridge.nodes.message_check import make_judges
from testkit.wording import check_wording, lines_with

from ..bags import LEADER, STATE, arm_mapping

pytestmark = pytest.mark.ros

TWIST = {"topic": "cmd_vel", "type": "geometry_msgs/msg/Twist", "fields": {"x.vel": "linear.x"}}
MAPPING = arm_mapping(vectors={"observation.state": [STATE], "action": [LEADER, TWIST]})


def measured_joints(pan_rad: float) -> JointState:
    return JointState(name=["pan_joint", "gripper"], position=[pan_rad, 1.0])


def front_image(encoding: str, height: int = 16) -> Image:
    return Image(height=height, width=24, step=72, encoding=encoding, data=bytes(height * 72))


@pytest.mark.parametrize(
    ("topic", "message", "fits"),
    [
        ("joint_states", measured_joints(0.5), True),
        ("joint_states", measured_joints(math.nan), False),
        ("leader/joint_states", measured_joints(30.0), False),
        ("leader/joint_states", JointState(name=["pan_joint"], position=[0.5]), False),
        ("cmd_vel", Twist(), True),
        ("front/image_raw", front_image("rgb8"), True),
        ("front/image_raw", front_image("16UC1"), False),
        ("front/image_raw", front_image("rgb8", 8), False),
    ],
    ids=["joints", "NaN", "degrees", "joint missing", "twist", "image", "encoding", "image size"],
)
def test_what_convert_would_refuse_is_named(topic: str, message: Any, fits: bool) -> None:
    package = type(message).__module__.partition(".")[0]
    kind = f"{package}/msg/{type(message).__name__}"

    found = make_judges(MAPPING)[topic](kind, serialize_message(message))

    assert bool(found) is not fits
    if not fits:
        check_wording(found)


def test_broken_message_is_named() -> None:
    data = serialize_message(front_image("rgb8"))[:30]
    said = make_judges(MAPPING)["front/image_raw"]("sensor_msgs/msg/Image", data)
    check_wording(*lines_with(said, "cannot"))
