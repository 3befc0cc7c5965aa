# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the policy takes and gives, as the contract of `lite3_walk` orders and scales it."""

from __future__ import annotations

import numpy as np

from robot_sim.figures import LITE3, Array
from robot_sim.rotation import rotate_inverse

ACTION_SCALE_RAD: Array = np.tile([0.125, 0.25, 0.25], len(LITE3.legs))
ANG_VEL_SCALE, JOINT_VEL_SCALE = 0.25, 0.05
ACTION_SIZE, OBS_SIZE = len(LITE3.joint_names), 9 + 3 * len(LITE3.joint_names)


def observe(
    quat_xyzw: Array,
    gravity_unit: Array,
    ang_vel_body: Array,
    command: Array,
    joint_pos: Array,
    joint_vel: Array,
    last_action: Array,
) -> Array:
    """Return the policy's inputs [robots, 45]."""
    parts = [
        ang_vel_body * ANG_VEL_SCALE,
        rotate_inverse(quat_xyzw, gravity_unit),
        command,
        joint_pos - LITE3.standing_rad,
        joint_vel * JOINT_VEL_SCALE,
        last_action,
    ]
    return np.concatenate(parts, axis=-1)
