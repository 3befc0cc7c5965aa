# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of messages of every type to LeRobot's values, from recordings and from ROS 2."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lerobot_bridge.mapping import Source
from lerobot_bridge.values import SourceReader
from policy_core.errors import RobotError
from testkit.bags import TYPES, array, header, joint_state, twist
from testkit.wording import refusal

from .mapping_cases import rolling_arm

JOINTS = ("gripper", "elbow", "joint_1", "spare")
"""As the robot calls them, in an order of its own."""
RAD = np.array([0.5, 1.0, -0.5, 9.0])
SEEN = np.array([np.rad2deg(1.0), -50.0, 50.0])
"""Of shoulder (its degrees count down from 0.5 rad), elbow (a range counted down), gripper."""

JOINT_STATE = "sensor_msgs/msg/JointState"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
ARRAY = "std_msgs/msg/Float64MultiArray"


def source_of_values(kind: str = JOINT_STATE, **more: Any) -> Source:
    return Source(topic="anywhere", type=kind, **more)


def values_read(message: object, **more: Any) -> np.ndarray[Any, Any]:
    return SourceReader(rolling_arm(), source_of_values(**more)).read(message)


def joint_state_message(**changes: Any) -> object:
    fields = {"name": JOINTS, "position": RAD, "velocity": 2 * RAD, "effort": 3 * RAD, **changes}
    return joint_state(0, **fields)


def test_joints_are_found_by_name_and_converted() -> None:
    np.testing.assert_allclose(values_read(joint_state_message()), SEEN, atol=1e-12)


@pytest.mark.parametrize(
    ("quantity", "expected"), [("velocity", np.rad2deg(1.0)), ("effort", -1.5)]
)
def test_velocities_have_sign_and_factor_but_no_zero_and_efforts_stay(
    quantity: str, expected: float
) -> None:
    seen = values_read(joint_state_message(), quantity=quantity, joints=("shoulder",))

    np.testing.assert_allclose(seen, [expected], atol=1e-12)


def test_a_range_stands_for_a_value_of_each_number() -> None:
    message, source = (
        array([0.1, 0.2, 0.3, 0.4]),
        source_of_values(ARRAY, fields={"z": "data[1:4]"}),
    )
    reader = SourceReader(rolling_arm(), source)

    assert reader.names == ("z.0", "z.1", "z.2")
    np.testing.assert_allclose(reader.read(message), [0.2, 0.3, 0.4])


def test_fields_are_read_by_their_paths_and_angles_in_degrees_where_asked() -> None:
    message = twist(0.25, np.pi / 2)
    fields = {"theta.vel": "angular.z", "x.vel": "linear.x"}

    np.testing.assert_allclose(
        values_read(message, kind="geometry_msgs/msg/Twist", fields=fields), [np.pi / 2, 0.25]
    )
    np.testing.assert_allclose(
        values_read(message, kind="geometry_msgs/msg/Twist", fields=fields, degrees=("theta.vel",)),
        [90.0, 0.25],
    )


def test_field_may_be_a_place_in_an_array_or_true_or_false() -> None:
    fields = {"b": "data[1]", "a": "data[0]"}

    np.testing.assert_array_equal(
        values_read(_array_message([3.0, 4.0]), kind=ARRAY, fields=fields), [4.0, 3.0]
    )
    np.testing.assert_array_equal(
        values_read(
            TYPES.types["std_msgs/msg/Bool"](data=True),
            kind="std_msgs/msg/Bool",
            fields={"closed": "data"},
        ),
        [1.0],
    )


@pytest.mark.parametrize(
    "path", ["data[2]", "data", "speed", "data[0].x", "layout", "layout[0]", "layout.dim[0]"]
)
def test_field_without_a_number_is_named(path: str) -> None:
    with refusal(RobotError) as caught:
        values_read(_array_message([3.0, 4.0]), kind=ARRAY, fields={"a": path})

    assert f"the field {path}" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ["gripper", "elbow", "hip", "spare"]},
        {"name": ["gripper", "elbow", "joint_1", "elbow"]},
        {"position": np.array([])},
        {"position": RAD[:3]},
        {"position": np.array([0.0, np.nan, 0.0, 0.0])},
        {"position": np.array([0.0, 0.0, np.inf, 0.0])},
    ],
)
def test_message_that_lacks_a_joint_s_value_is_refused(changes: Mapping[str, Any]) -> None:
    with refusal(RobotError):
        values_read(joint_state_message(**changes))


def test_array_of_another_length_is_refused() -> None:
    with refusal(RobotError):
        values_read(_array_message([1.0, 2.0]), kind=ARRAY, joints=("shoulder", "elbow", "gripper"))


@pytest.mark.parametrize("points", [0, 2])
def test_trajectory_of_another_number_of_points_is_refused(points: int) -> None:
    """With several points, the first is usually where the arm already is."""
    with refusal(RobotError):
        values_read(_trajectory(*[RAD] * points), kind=TRAJECTORY)


def test_scan_without_values_says_why() -> None:
    message = SimpleNamespace(data=[], problem="no elevation map received")
    with refusal(RobotError):
        values_read(message, kind="policy_msgs/msg/Perceived", fields={"scan": "data[0]"})


def test_field_that_is_not_finite_is_named() -> None:
    with refusal(RobotError):
        values_read(
            _array_message([1.0, np.nan]),
            kind=ARRAY,
            fields={"cube.x": "data[0]", "cube.z": "data[1]"},
        )


def _array_message(values: Sequence[float]) -> object:
    return array(values, np.float64)


def _trajectory(*points: np.ndarray[Any, Any]) -> object:
    none, at = np.array([]), TYPES.types["builtin_interfaces/msg/Duration"](sec=0, nanosec=0)
    point = TYPES.types["trajectory_msgs/msg/JointTrajectoryPoint"]
    return TYPES.types[TRAJECTORY](
        header=header(0),
        joint_names=list(JOINTS),
        points=[
            point(
                positions=positions,
                velocities=none,
                accelerations=none,
                effort=none,
                time_from_start=at,
            )
            for positions in points
        ],
    )
