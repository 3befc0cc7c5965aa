# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Convert odometry, or a transform tree, to the base pose, without ROS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_core.bundle.state_fields import require_pose
from policy_core.errors import RobotError
from policy_core.interfaces import F64
from policy_core.observation.quaternion import (
    Quat,
    Vector,
    conjugate,
    normalized,
    product,
    rotated,
)
from policy_inference.messages.readers import require_age, stamp_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Base pose in `frame`, position in m; `stamp_ns` is on the clock used for stamps."""

    stamp_ns: int
    frame: str
    position: F64
    quat_xyzw: F64


def read_pose(message: Any) -> Pose:
    """Return the pose in a nav_msgs/Odometry.

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


_MOST_FRAMES = 10_000
"""Maximum number of stored frames; some programs create one for each object that they see."""
_LENGTH_TOLERANCE = 0.1
"""Maximum deviation of a quaternion's length from 1, same as for odometry."""


class Transforms:
    """The newest transform to each frame from its parent, as on the tf and tf_static topics.

    It keeps no history: a pose combines the newest transforms and is as old as the oldest of them.
    """

    def __init__(self) -> None:
        self._links = dict[str, tuple[Any, int | None]]()

    def take(self, message: Any, now_ns: int, *, static: bool = False) -> None:
        """Store the transforms of a tf2_msgs/TFMessage.

        Args:
            message: The message.
            now_ns: Time on the clock used for stamps, for transforms without a stamp.
            static: True if the transforms do not age.
        """
        for each in message.transforms:
            child = each.child_frame_id.lstrip("/")
            if child in self._links or len(self._links) < _MOST_FRAMES:
                self._links[child] = each, None if static else stamp_ns(each) or now_ns

    def pose(self, base: str, frame: str, now_ns: int, timeout_s: float) -> Pose:
        """Return the pose of frame `base` in `frame`.

        Args:
            base: Frame of the base.
            frame: Frame of the map.
            now_ns: Time on the clock used for stamps.
            timeout_s: Maximum age of a transform; one stamped ahead of the clock, as by some
                localization systems, counts as new.

        Raises:
            RobotError: No transforms connect the frames, or one is invalid, too old, or part of a
                loop.
        """
        at, top = base.lstrip("/"), frame.lstrip("/")
        ways = self._way(at), self._way(top)
        shared = next((name for name in ways[0] if name in ways[1]), None)
        if shared is None:
            raise RobotError(
                f"tf: expected transforms from {frame!r} to {base!r}, found none that leads to "
                f"{ways[0][-1]!r}"
            )
        stamps = list[int]()
        limits = now_ns, timeout_s, stamps
        (position, quat), (origin, turn) = (
            self._inside(way[: way.index(shared)], *limits) for way in ways
        )
        back = conjugate(turn)
        offset = [one - other for one, other in zip(position, origin, strict=True)]
        return Pose(
            stamp_ns=min(stamps, default=0),
            frame=frame,
            position=np.array(rotated(back, offset)),
            quat_xyzw=np.array(product(back, quat)),
        )

    def _way(self, frame: str) -> list[str]:
        """Return a frame and its ancestors."""
        way = [frame]
        while (link := self._links.get(way[-1])) is not None:
            parent = link[0].header.frame_id.lstrip("/")
            if parent in way:
                raise RobotError(f"tf: expected a tree of frames, found a loop through {parent!r}")
            way.append(parent)
        return way

    def _inside(
        self, way: Sequence[str], now_ns: int, timeout_s: float, stamps: list[int]
    ) -> tuple[Vector, Quat]:
        """Return the pose of the first frame in the last frame's parent; add stamps to `stamps`."""
        position: Vector = (0.0, 0.0, 0.0)
        quat: Quat = (0.0, 0.0, 0.0, 1.0)
        for at in way:
            link, made_ns = self._links[at]
            p, q = link.transform.translation, link.transform.rotation
            turn = normalized([q.x, q.y, q.z, q.w])
            x, y, z = rotated(turn, position)
            position, quat = (x + p.x, y + p.y, z + p.z), product(turn, quat)
            length = math.hypot(q.x, q.y, q.z, q.w)
            if not (abs(length - 1.0) < _LENGTH_TOLERANCE and all(map(math.isfinite, position))):
                raise RobotError(
                    f"tf: expected a finite position and a unit quaternion for {at!r}, found "
                    f"{p.x:g}, {p.y:g}, {p.z:g} and {q.x:g}, {q.y:g}, {q.z:g}, {q.w:g}"
                )
            if made_ns is not None:
                require_age(f"tf: {at}", max(0.0, (now_ns - made_ns) * 1e-9), timeout_s)
                stamps.append(made_ns)
        return position, quat
