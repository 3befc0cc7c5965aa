# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated robot's legs, in the form of a contract's `estimation` section."""

from __future__ import annotations

import numpy as np

from policy_core.bundle.contract import ChainLink, ContactPoint, Estimation, Leg
from robot_sim.figures import Foot, LeggedRobot


def make_estimation(robot: LeggedRobot, error_mps: float = 0.05) -> Estimation:
    """Return a contract's `estimation` section for a robot's legs and IMU.

    Args:
        robot: The robot's data.
        error_mps: The velocity error that the contract declares.
    """
    legs = tuple(_leg(robot, foot) for foot in robot.feet)
    return Estimation(error_mps=error_mps, legs=legs, imu_m=robot.imu)


def _leg(robot: LeggedRobot, foot: Foot) -> Leg:
    bodies, chain = {body.name: body for body in robot.bodies}, list[ChainLink]()
    body = bodies[foot.body]
    while body is not robot.base:
        joint = body.joint
        chain.insert(
            0,
            ChainLink(
                joint=joint.name if joint else None,
                position_m=body.pos,
                quat_xyzw=(*body.quat_wxyz[1:], body.quat_wxyz[0]),
                axis=joint.axis if joint else (0.0, 0.0, 1.0),
            ),
        )
        body = bodies[body.parent]
    places = np.array(foot.pos) + np.array(foot.spheres)
    points = tuple(
        ContactPoint(position_m=tuple(place.tolist()), radius_m=foot.radius_m) for place in places
    )
    return Leg(name=foot.leg, chain=tuple(chain), points=points)
