# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from policy_core.interfaces import F64
from policy_core.observation.state import gravity_body, tilt_rad
from testkit.kernel.contracts import quat_xyzw

ANGLES = [
    (0.0, 0.0, 0.0),
    (0.3, -0.4, 2.0),
    (-1.2, 0.7, -3.0),
    (math.pi, 0.0, 0.5),
    (2.5, 1.5, 1.0),
]


def gravity_of(quat: tuple[float, ...]) -> F64:
    out = np.empty(3)
    gravity_body(np.array(quat), out)
    return out


@pytest.mark.parametrize("angles", ANGLES)
def test_gravity_in_the_body_frame_is_the_world_vector_rotated_back(
    angles: tuple[float, float, float],
) -> None:
    roll, pitch, yaw = angles
    cr, sr, cp, sp, cy, sy = (f(a) for a in (roll, pitch, yaw) for f in (math.cos, math.sin))
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    world_from_body = about_z @ about_y @ about_x
    expected = world_from_body.T @ (0.0, 0.0, -1.0)
    np.testing.assert_allclose(gravity_of(quat_xyzw(*angles)), expected, atol=1e-12)


def test_a_quaternion_that_was_never_set_gives_nan_instead_of_upright() -> None:
    assert np.isnan(gravity_of((0.0, 0.0, 0.0, 0.0))).all()


@pytest.mark.parametrize(
    ("roll", "pitch", "tilt"),
    [
        (0.0, 0.0, 0.0),
        (0.4, 0.0, 0.4),
        (0.0, -0.7, 0.7),
        (math.pi, 0.0, math.pi),
        (0.3, 0.4, math.acos(math.cos(0.3) * math.cos(0.4))),
    ],
)
def test_tilt_is_the_angle_between_the_two_ups(roll: float, pitch: float, tilt: float) -> None:
    assert tilt_rad(gravity_of(quat_xyzw(roll, pitch, 1.0))) == pytest.approx(tilt, abs=1e-7)
