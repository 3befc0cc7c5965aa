# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The pose of the base from transforms."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from policy_core.errors import RobotError
from policy_core.interfaces import F64
from policy_inference.messages.pose import Pose, Transforms
from robot_sim.rotation import rotate
from testkit.wording import check_wording, refusal

QUARTER = (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))
PITCHED = (0.0, math.sin(0.1), 0.0, math.cos(0.1))
NOW_NS = 6_000_000_000


def transform(
    parent: str,
    child: str,
    position: tuple[float, float, float] = (0.0, 0.0, 0.0),
    quat_xyzw: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0),
    sec: int = 5,
) -> Any:
    """Return a TransformStamped; second 0: without a stamp."""
    x, y, z, w = quat_xyzw
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=parent, stamp=SimpleNamespace(sec=sec, nanosec=0)),
        child_frame_id=child,
        transform=SimpleNamespace(
            translation=SimpleNamespace(x=position[0], y=position[1], z=position[2]),
            rotation=SimpleNamespace(x=x, y=y, z=z, w=w),
        ),
    )


def message(*transforms: Any) -> Any:
    return SimpleNamespace(transforms=transforms)


def pose_in(transforms: Transforms, frame: str, base: str = "base_link") -> Pose:
    return transforms.pose(base, frame, NOW_NS, 3.0)


def matrix(quat_xyzw: Any) -> F64:
    return np.array([rotate(np.array(quat_xyzw), axis) for axis in np.eye(3)]).T


@pytest.fixture
def transforms() -> Transforms:
    """Return a tree like that of a robot that is localised."""
    found = Transforms()
    found.take(
        message(
            transform("map", "odom", (1.0, 2.0, 0.0), QUARTER, sec=4),
            transform("/odom", "/base_footprint", (0.5, 0.0, 0.0), PITCHED, sec=5),
        ),
        NOW_NS,
    )
    fixed = transform("base_footprint", "base_link", (0, 0, 0.3), sec=1)
    found.take(message(fixed), NOW_NS, static=True)
    return found


def test_the_pose_combines_the_chain_and_is_as_old_as_its_oldest_link(
    transforms: Transforms,
) -> None:
    pose = pose_in(transforms, "map")
    assert (pose.frame, pose.stamp_ns) == ("map", 4_000_000_000)
    in_odom = np.array([0.5, 0.0, 0.0]) + matrix(PITCHED) @ [0.0, 0.0, 0.3]
    there = np.array([1.0, 2.0, 0.0]) + matrix(QUARTER) @ in_odom
    np.testing.assert_allclose(pose.position, there, atol=1e-12)
    expected = matrix(QUARTER) @ matrix(PITCHED)
    np.testing.assert_allclose(matrix(pose.quat_xyzw), expected, atol=1e-12)
    assert pose_in(transforms, "odom").stamp_ns == 5_000_000_000


def test_frames_that_share_an_ancestor_are_connected(transforms: Transforms) -> None:
    camera = (0.1, 0.2, 0.3)
    transforms.take(message(transform("odom", "camera", camera, QUARTER, sec=6)), NOW_NS)
    pose = pose_in(transforms, "camera")
    assert pose.stamp_ns == 5_000_000_000  # map is not between them
    in_odom = np.array([0.5, 0.0, 0.0]) + matrix(PITCHED) @ [0.0, 0.0, 0.3]
    expected = matrix(QUARTER).T @ (in_odom - camera)
    np.testing.assert_allclose(pose.position, expected, atol=1e-12)
    turned = matrix(QUARTER).T @ matrix(PITCHED)
    np.testing.assert_allclose(matrix(pose.quat_xyzw), turned, atol=1e-12)


BROKEN = {
    "no frame": ("base_link", "world", ()),
    "no base": ("trunk", "map", ()),
    "NaN": ("base_link", "map", [transform("map", "odom", (math.nan, 0.0, 0.0))]),
    "no rotation": ("base_link", "map", [transform("map", "odom", quat_xyzw=(0, 0, 0, 0))]),
    "a rotation that overflows": (
        *("base_link", "map"),
        [transform("map", "odom", quat_xyzw=(0, 0, 0, 1e200))],
    ),
    "places that overflow together": (
        *("base_link", "map"),
        [transform(*pair, (1e308, 0, 0)) for pair in (("map", "odom"), ("odom", "base_footprint"))],
    ),
    "a loop": ("base_link", "map", [transform("base_link", "odom")]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_without_a_chain_there_is_no_pose(transforms: Transforms, case: str) -> None:
    base, frame, more = BROKEN[case]
    transforms.take(message(*more), NOW_NS)
    with pytest.raises(RobotError) as raised:
        pose_in(transforms, frame, base)
    check_wording(str(raised.value))


def test_a_transform_without_a_stamp_is_as_old_as_its_arrival(transforms: Transforms) -> None:
    transforms.take(message(transform("map", "odom", sec=0)), NOW_NS)
    assert pose_in(transforms, "map").stamp_ns == 5_000_000_000
    transforms.take(message(transform("odom", "base_footprint", sec=0)), NOW_NS + 1)
    assert pose_in(transforms, "map").stamp_ns == NOW_NS


def test_a_slash_before_a_frame_does_not_count(transforms: Transforms) -> None:
    assert pose_in(transforms, "/map", "/base_link").frame == "/map"


def test_endless_new_frames_are_not_stored_and_known_ones_still_change(
    transforms: Transforms,
) -> None:
    for i in range(10_000):
        transforms.take(message(transform("odom", f"object_{i}")), NOW_NS)
    with pytest.raises(RobotError):
        pose_in(transforms, "odom", "object_9999")
    transforms.take(message(transform("map", "odom", sec=5)), NOW_NS)
    assert pose_in(transforms, "map").stamp_ns == 5_000_000_000


def test_a_transform_that_is_too_old_is_named_but_one_ahead_of_the_clock_is_used(
    transforms: Transforms,
) -> None:
    transforms.take(message(transform("map", "odom", sec=9)), NOW_NS)
    assert pose_in(transforms, "map").stamp_ns == 5_000_000_000
    transforms.take(message(transform("odom", "base_footprint", sec=2)), NOW_NS)
    with refusal(RobotError):
        pose_in(transforms, "map")
