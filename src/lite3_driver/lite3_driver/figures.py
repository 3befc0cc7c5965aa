# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is known of the robot: limits and poses, in the order of the wire."""

from typing import Final

import numpy as np

from lite3_driver.wire import F64

LEGS: Final = 4


def _each_leg(hip_x: float, hip_y: float, knee: float) -> F64:
    return np.array([hip_x, hip_y, knee] * LEGS)


# DeepRoboticsLab/URDF_model fea2482, Lite3/Lite3_urdf/urdf/Lite3.urdf: rad, N m, rad/s.
LOWEST_RAD: Final = _each_leg(-0.523, -2.67, 0.524)
HIGHEST_RAD: Final = _each_leg(0.523, 0.314, 2.792)
LARGEST_TORQUE_NM: Final = _each_leg(24.0, 24.0, 36.0)
FASTEST_RAD_S: Final = _each_leg(26.2, 26.2, 17.3)
LARGEST_STIFFNESS: Final = 300.0
LARGEST_DAMPING: Final = 20.0
"""N m/rad and N m s/rad: three and four times the most that published controllers of this robot ask
for (100 and 5)."""
POSITION_MARGIN_RAD: Final = 0.1
"""By how much a joint may leave its range: stops give way, encoders have offsets."""

# Where the legs of the folded robot are, with room for what each robot's encoders say: the
# vendor's simulator starts at 0, -1.35453, 2.54948 (DeepRoboticsLab/Lite3_rl_deploy 7871b47).
FOLDED_LOWEST_RAD: Final = _each_leg(-0.6, -1.9, 2.3)
FOLDED_HIGHEST_RAD: Final = _each_leg(0.6, -0.8, float(HIGHEST_RAD[2]) + POSITION_MARGIN_RAD)
