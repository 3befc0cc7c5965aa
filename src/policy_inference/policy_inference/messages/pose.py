# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of odometry, or of a tree of transforms, to the pose of the base; needs no ROS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_core.bundle.state_fields import require_pose
from policy_core.errors import RobotError
from policy_core.interfaces import F64
from policy_core.observation.quaternion import Quat, Vector, normalized, product, rotated
from policy_inference.messages.readers import stamp_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Pose of the base, on the clock of stamps."""

    stamp_ns: int
    frame: str
    position: F64
    quat_xyzw: F64


def read_pose(message: Any) -> Pose:
    """Return the pose of a nav_msgs/Odometry.

    Raises:
        RobotError: The numbers are not finite, or the rotation is invalid.
    """
    require_pose(message.pose)
    p, q = message.pose.pose.position, message.pose.pose.orientation
    return Pose(
        stamp_ns=stamp_ns(message) or 0,
        frame=message.header.frame_id,
        position=np.array([p.x, p.y, p.z]),
        quat_xyzw=np.array(normalized([q.x, q.y, q.z, q.w])),
    )


@dataclass(frozen=True, slots=True)
class _Link:
    """Pose of a frame in its parent; `stamp_ns` is None if it never changes."""

    parent: str
    stamp_ns: int | None
    position: Vector
    quat: Quat


class Transforms:
    """The newest transform to each frame from its parent, as on the topics tf and tf_static.

    It keeps no history: a pose combines the newest transforms, and counts as old as the oldest of
    them.
    """

    def __init__(self) -> None:
        self._links = dict[str, _Link]()

    def take(self, message: Any, *, static: bool = False) -> None:
        """Store the transforms of a tf2_msgs/TFMessage; a broken one removes its frame."""
        for each in message.transforms:
            p, q = each.transform.translation, each.transform.rotation
            link = _Link(
                parent=each.header.frame_id.lstrip("/"),
                stamp_ns=None if static else stamp_ns(each) or 0,
                position=(p.x, p.y, p.z),
                quat=normalized([q.x, q.y, q.z, q.w]),
            )
            child = each.child_frame_id.lstrip("/")
            if all(map(math.isfinite, (*link.position, *link.quat))):
                self._links[child] = link
            else:
                self._links.pop(child, None)

    def pose(self, base: str, frame: str) -> Pose:
        """Return the pose of the frame `base` in `frame`.

        Raises:
            RobotError: No chain of transforms connects them.
        """
        position: Vector = (0.0, 0.0, 0.0)
        quat: Quat = (0.0, 0.0, 0.0, 1.0)
        stamps, at = list[int](), base
        for _ in range(len(self._links) + 1):  # a loop of transforms must end
            if at == frame:
                return Pose(
                    stamp_ns=min(stamps, default=0),
                    frame=frame,
                    position=np.array(position),
                    quat_xyzw=np.array(quat),
                )
            link = self._links.get(at)
            if link is None:
                break
            x, y, z = rotated(link.quat, position)
            position = x + link.position[0], y + link.position[1], z + link.position[2]
            quat, at = product(link.quat, quat), link.parent
            if link.stamp_ns is not None:
                stamps.append(link.stamp_ns)
        raise RobotError(
            f"tf: expected transforms from {frame!r} to {base!r}, found none that leads to {at!r}"
        )
