# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The senses of a recorded Lite3 that walks agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from lite3_driver.figures import FIGURES
from robot_driver.consistency import WARNING_SHARE, SenseConsistency
from robot_driver.interfaces import F64
from robot_sim.rotation import roll_pitch_yaw

pytestmark = pytest.mark.real_data


@dataclass(frozen=True)
class Joints:
    """What a recorded message says of the joints, in the order of the wire."""

    tick: int
    joint_pos: F64
    joint_vel: F64
    joint_effort: F64
    temperature_c: F64


def largest_shares(bag: Path, velocity_sign: float = 1.0) -> dict[str, float]:
    """Return the largest shares of the limits in a recording without commands."""
    rules = SenseConsistency(FIGURES, torques=True)
    largest = dict.fromkeys(rules.shares, 0.0)
    imu: Any = None
    with AnyReader([bag]) as reader:
        wanted = [
            each for each in reader.connections if each.topic in ("/joint_states", "/imu/data")
        ]
        for connection, log_ns, data in reader.messages(wanted):
            message: Any = reader.deserialize(data, connection.msgtype)
            if connection.topic == "/imu/data":
                imu = message
                continue
            if imu is None:
                continue
            order = [message.name.index(name) for name in FIGURES.joint_names]
            position, velocity, effort = (
                np.asarray(values)[order]
                for values in (message.position, message.velocity, message.effort)
            )
            state = Joints(
                log_ns // 1_000_000, position, velocity_sign * velocity, effort, np.zeros(12)
            )
            quat, turning, acceleration = (
                np.array([getattr(values, axis) for axis in axes])
                for values, axes in (
                    (imu.orientation, "xyzw"),
                    (imu.angular_velocity, "xyz"),
                    (imu.linear_acceleration, "xyz"),
                )
            )
            rules.see(state, np.array(roll_pitch_yaw(quat)), turning, acceleration)
            largest = {rule: max(share, rules.shares[rule]) for rule, share in largest.items()}
    return largest


def test_the_senses_of_a_recorded_walk_give_no_warning(shared_data: Path) -> None:
    found = largest_shares(shared_data / "legged" / "lite3" / "bag_mcap")
    assert {rule: share for rule, share in found.items() if share >= WARNING_SHARE} == {}
    assert all(found[rule] > 0.0 for rule in ("velocity", "turn", "bias", "gravity"))


def test_velocities_of_the_wrong_sign_in_it_are_found(shared_data: Path) -> None:
    bag = shared_data / "legged" / "lite3" / "bag_mcap"
    assert largest_shares(bag, velocity_sign=-1.0)["velocity"] >= 1.0
