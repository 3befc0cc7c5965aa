# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the policy takes and gives, as the contract of its bundle orders and scales it."""

from __future__ import annotations

import numpy as np

from robot_sim.figures import Array
from robot_sim.rotation import rotate_inverse
from tools.train_walk.definition import LEG_JOINTS, LEGS

ANG_VEL_SCALE, JOINT_VEL_SCALE = 0.25, 0.05
ACTION_SIZE = LEGS * LEG_JOINTS
OBS_SIZE = 9 + 3 * ACTION_SIZE
CRITIC_SIZE = OBS_SIZE + 16


def observe(
    quat_xyzw: Array,
    gravity_unit: Array,
    ang_vel_body: Array,
    command: Array,
    joint_pos_rel: Array,
    joint_vel: Array,
    last_action: Array,
) -> Array:
    """Return the policy's inputs [robots, 45]; `joint_pos_rel` is relative to the default pose."""
    parts = [
        ang_vel_body * ANG_VEL_SCALE,
        rotate_inverse(quat_xyzw, gravity_unit),
        command,
        joint_pos_rel,
        joint_vel * JOINT_VEL_SCALE,
        last_action,
    ]
    return np.concatenate(parts, axis=-1)
