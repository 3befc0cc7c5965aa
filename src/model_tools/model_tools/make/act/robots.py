# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Robot descriptions for checkpoints: joints, ranges, gains and units, which checkpoints lack.

A description is a YAML file with the keys of `ActRobot`; the `robots` folder contains several.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model_tools.errors import ToolError
from model_tools.make.act.choices import KNOWN, ROBOTS
from policy_core.bundle.chunk_contract import JointUnit
from policy_core.bundle.schema import Reader, entry, load_yaml
from policy_core.errors import BundleError

_SIDES = ("left_", "right_")


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotJoint:
    """A joint and the capabilities of its servo."""

    position_min: float = entry("lower position limit, rad")
    position_max: float = entry("upper position limit, rad")
    velocity_limit: float = entry("maximum speed, rad/s", exclusiveMinimum=0)
    effort_limit: float = entry("maximum torque, N·m", exclusiveMinimum=0)
    stiffness: float = entry("position gain, N·m/rad", exclusiveMinimum=0)
    damping: float = entry("velocity gain, N·m·s/rad", exclusiveMinimum=0)
    calibrated_min: float | None = entry(
        "lower end of the calibrated range, rad; position_min if absent", default=None
    )
    calibrated_max: float | None = entry(
        "upper end of the calibrated range, rad; position_max if absent", default=None
    )
    sign: Literal[1, -1] = entry(
        "-1 if the policy's angle increases when the joint's position decreases", default=1
    )
    zero_rad: float = entry(
        "position at which the policy's degrees or radians are 0, rad", default=0.0
    )
    gripper: bool = entry(
        "whether the joint is a gripper, with values from 0 (low) to 100 (high)", default=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ActRobot:
    """One or more arms, with joints in the order of the policy's state and action."""

    source: str = entry("source of the figures")
    joints: dict[str, RobotJoint] = entry("joints in the order of training", minProperties=1)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the joints."""
        return tuple(self.joints)

    @property
    def grippers(self) -> tuple[str, ...]:
        """Names of the gripper joints."""
        return tuple(name for name, joint in self.joints.items() if joint.gripper)


def read_arm(name_or_file: str) -> ActRobot:
    """Return the robot of this name in the `robots` folder, or the robot that a file describes."""
    file = ROBOTS / f"{name_or_file}.yaml" if name_or_file in KNOWN else Path(name_or_file)
    if not file.is_file():
        raise ToolError(
            f"--robot: expected one of {', '.join(KNOWN)} or a YAML file, found {name_or_file!r}, "
            "which is neither"
        )
    reader = Reader(str(file))
    robot: ActRobot | None = reader.section(ActRobot, load_yaml(file))
    if reader.problems:
        raise BundleError(*reader.problems)
    assert robot is not None  # the reader found no problems
    return robot


def of_size(robot: ActRobot, size: int, prefix: str = "") -> ActRobot:
    """Return the robot with `size` joints: one arm, or a left and a right one."""
    count = len(robot.joints)
    sides = [""] if size == count else list(_SIDES) if size == 2 * count else []
    if not sides:
        raise ToolError(
            f"--robot: expected {size} joints (like the policy), or half as many for two arms, "
            f"found {count} ({', '.join(robot.joints)}); name a file with the joints in training "
            "order"
        )
    return dataclasses.replace(
        robot,
        joints={
            f"{prefix}{side}{name}": joint for side in sides for name, joint in robot.joints.items()
        },
    )


def joint_units(robot: ActRobot, units: str) -> dict[str, JointUnit]:
    """Return the units of each joint, for one of `choices.UNITS`."""
    return {name: _unit(joint, units) for name, joint in robot.joints.items()}


def _unit(joint: RobotJoint, units: str) -> JointUnit:
    low = joint.position_min if joint.calibrated_min is None else joint.calibrated_min
    high = joint.position_max if joint.calibrated_max is None else joint.calibrated_max
    if units == "radians":
        return JointUnit(unit="radians", sign=joint.sign, zero_rad=joint.zero_rad)
    if joint.gripper:
        return JointUnit(unit="range_0_100", low_rad=low, high_rad=high)
    if units == "degrees":
        return JointUnit(unit="degrees", sign=joint.sign, zero_rad=joint.zero_rad)
    ends = (low, high) if joint.sign == 1 else (high, low)
    return JointUnit(unit="range_m100_100", low_rad=ends[0], high_rad=ends[1])
