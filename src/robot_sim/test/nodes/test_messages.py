# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion between the world's values and messages: names, frames and units."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from policy_core.observation.height_scan import ElevationMap
from policy_inference.messages.elevation import read_elevation
from robot_sim.errors import SimError
from robot_sim.figures import LITE3
from robot_sim.mapper import MadeMap
from robot_sim.nodes.messages import (
    JointStateWriter,
    contact_message,
    drive_command,
    elevation_map_message,
    imu_message,
    odometry_message,
    to_time,
)
from robot_sim.world import Sensors, World
from testkit.ros_time import ns
from testkit.wording import refusal

from .harness import standing_command

pytestmark = pytest.mark.ros
ALL = LITE3.joint_names
STAMP = to_time(12_345_678_901)


@pytest.fixture
def numbered_sensors() -> Sensors:
    """Return sensor readings in which each number is different."""
    sensors, numbers = World().sense(), iter(range(1, 1000))
    spread: dict[str, Any] = {
        field.name: np.array([next(numbers) for _ in range(value.size)], float).reshape(value.shape)
        for field in dataclasses.fields(sensors)
        if isinstance(value := getattr(sensors, field.name), np.ndarray)
    }
    return dataclasses.replace(sensors, **spread)


def test_joint_state_gives_values_in_the_order_of_its_names(numbered_sensors: Sensors) -> None:
    order = list(reversed(LITE3.joint_names))
    message = JointStateWriter(order, LITE3.joint_names).fill(numbered_sensors, STAMP)
    assert list(message.name) == order
    for field, values in (
        ("position", numbered_sensors.joint_pos),
        ("velocity", numbered_sensors.joint_vel),
        ("effort", numbered_sensors.joint_effort),
    ):
        by_name = dict(zip(message.name, getattr(message, field), strict=True))
        assert [by_name[name] for name in LITE3.joint_names] == values.tolist()
    assert message.header.stamp == STAMP


@pytest.mark.parametrize(
    "order",
    [ALL[:-1], (*ALL[:-1], "tail"), (*ALL, ALL[0])],
)
def test_joint_order_must_name_each_joint_once(order: tuple[str, ...]) -> None:
    with refusal(SimError):
        JointStateWriter(order, LITE3.joint_names)


def test_imu_is_in_its_own_frame(numbered_sensors: Sensors) -> None:
    message = imu_message(numbered_sensors, STAMP)
    for found, expected in (
        (message.orientation, numbered_sensors.quat_xyzw),
        (message.angular_velocity, numbered_sensors.ang_vel_body),
        (message.linear_acceleration, numbered_sensors.lin_acc_body),
    ):
        assert [getattr(found, axis) for axis in "xyzw"[: len(expected)]] == expected.tolist()
    assert (message.header.frame_id, message.header.stamp) == ("imu_link", STAMP)


def test_odometry_gives_pose_in_odom_and_velocity_in_the_base(numbered_sensors: Sensors) -> None:
    message = odometry_message(numbered_sensors, STAMP)
    position, velocity = message.pose.pose.position, message.twist.twist.linear
    assert [position.x, position.y, position.z] == numbered_sensors.pos_world.tolist()
    assert [velocity.x, velocity.y, velocity.z] == numbered_sensors.lin_vel_body.tolist()
    assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")


def test_contact_forces_are_named_by_foot_in_the_world_frame(numbered_sensors: Sensors) -> None:
    message = contact_message(numbered_sensors, World().foot_names, STAMP)
    assert [[f.x, f.y, f.z] for f in message.forces] == numbered_sensors.foot_force_world.tolist()
    assert list(message.names) == list(World().foot_names)
    assert message.header.frame_id == "world"


def test_command_reaches_the_drives_field_by_field() -> None:
    message = standing_command(
        0, valid_for_ns=1_250_000_000, velocity=[1.0] * 12, effort=[2.0] * 12
    )
    drives = drive_command(message)
    assert drives.joint_names == LITE3.joint_names
    assert drives.valid_for_ns == ns(message.valid_for) == 1_250_000_000
    np.testing.assert_array_equal(drives.position, LITE3.standing_rad)
    for values, number in (
        (drives.velocity, 1.0),
        (drives.effort, 2.0),
        (drives.stiffness, 100.0),
        (drives.damping, 2.5),
        (drives.effort_limit, 24.0),
    ):
        np.testing.assert_array_equal(values, [number] * 12)


def test_elevation_map_is_read_as_it_was_made() -> None:
    elevation = ElevationMap(
        heights=np.arange(12, dtype=np.float32).reshape(3, 4), centre=(1.0, -2.0), resolution_m=0.1
    )
    message = elevation_map_message(MadeMap(elevation=elevation, time_ns=1), STAMP)
    assert message.header.frame_id == "odom"
    assert ns(message.header.stamp) == 12_345_678_901
    read = read_elevation(message, "elevation")
    np.testing.assert_array_equal(read.heights, elevation.heights)
    assert (read.centre, read.resolution_m) == (elevation.centre, 0.1)
