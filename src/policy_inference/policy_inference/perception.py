# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Ground perception for a policy from a stream of maps and poses; no ROS is needed."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_core.bundle.body import AnyContract
from policy_core.bundle.height_scan import HeightScan
from policy_core.bundle.state_fields import require_pose
from policy_core.errors import RobotError
from policy_core.interfaces import F64
from policy_core.observation.height_scan import ElevationMap, HeightScanner
from policy_inference.messages.elevation import read_elevation, sampled_heights
from policy_inference.messages.readers import require_past, stamp_ns

_FASTEST_M_S, _FASTEST_RAD_S, _LONGEST_GAP_S = 10.0, 20.0, 0.1
"""No robot moves or turns faster: such a pose was corrected, and the map follows later."""
_JUMP_M, _JUMP_RAD = 0.05, 0.1
FROZEN_AFTER_M = 0.5
"""Default distance after which an unchanged map is no longer trusted."""
_OTHER_CLOCK_S = 1e6


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
    quat_xyzw = np.array([q.x, q.y, q.z, q.w])
    return Pose(
        stamp_ns=stamp_ns(message) or 0,
        frame=message.header.frame_id,
        position=np.array([p.x, p.y, p.z]),
        quat_xyzw=quat_xyzw / np.linalg.norm(quat_xyzw),
    )


class ScanSource:
    """One height scan of a contract: converts maps, or points sampled elsewhere, to values."""

    def __init__(self, topic: str, scan: HeightScan, frozen_after_m: float) -> None:
        """Begin without a map.

        Args:
            topic: Topic of the values.
            scan: Section of the contract.
            frozen_after_m: Distance of the robot after which an unchanged map is no longer trusted;
                0 for no limit, for a map that is known in advance.
        """
        self.topic, self._scan = topic, scan
        self.scanner = HeightScanner(scan)
        self._frozen_after_m = frozen_after_m
        self._map: ElevationMap | None = None
        self._problem = "no elevation map has come"
        self._frame, self.map_stamp_ns = "", 0
        self._content: tuple[int, tuple[float, float]] | None = None
        self._seen_from: F64 | None = None
        self._pose: Pose | None = None
        self._jumped_ns: int | None = None

    def take_map(self, message: Any, now_ns: int) -> None:
        """Take a grid_map_msgs/GridMap that has just arrived; an unusable one makes `see` fail."""
        made_ns = stamp_ns(message) or now_ns
        try:
            found = read_elevation(message, self._scan.layer)
        except RobotError as error:
            self._map, self._problem = None, f"elevation map: {error}"
            return
        self.take(found, message.header.frame_id, made_ns)

    def take(self, found: ElevationMap, frame: str, made_ns: int) -> None:
        """Store a map in a frame, created at a time on the clock of stamps."""
        if made_ns < self.map_stamp_ns:
            if self.map_stamp_ns - made_ns < self._scan.map_timeout_s * 1e9:
                return  # overtaken by a newer one in transit
            self._jumped_ns = None  # its clock was set back
        self._map, self._frame, self.map_stamp_ns = found, frame, made_ns
        content = zlib.crc32(found.heights.tobytes()), found.centre
        if content != self._content:
            self._content, self._seen_from = content, None
        if self._jumped_ns is not None and self.map_stamp_ns > self._jumped_ns:
            self._jumped_ns = None

    def see(self, pose: Pose, now_ns: int) -> F64:
        """Return the values at a pose; the next call overwrites them.

        Raises:
            RobotError: There is no map, it or the pose is too old, the map has not changed for too
                long, the pose has jumped or has another frame, or too few points are known.
        """
        _require_age("pose", (now_ns - pose.stamp_ns) * 1e-9, self._scan.pose_timeout_s)
        self._note_pose(pose)
        elevation = self._map
        if elevation is None:
            raise RobotError(self._problem)
        age_s = (now_ns - self.map_stamp_ns) * 1e-9
        _require_age("elevation map", age_s, self._scan.map_timeout_s)
        if pose.frame != self._frame:
            raise RobotError(
                f"elevation map: expected one in the frame of the pose, {pose.frame!r}, found "
                f"{self._frame!r}"
            )
        if self._jumped_ns is not None:
            raise RobotError("the pose has jumped: expected a map that was made after that")
        moved_m = self._moved_m(pose)
        if self._frozen_after_m and moved_m > self._frozen_after_m:
            raise RobotError(
                f"elevation map: expected another one after {moved_m:.2f} m of way, found the same"
            )
        self.scanner.sample(elevation, pose.position, pose.quat_xyzw)
        self.scanner.see()
        return self.scanner.values

    def ground(self) -> F64 | None:
        """Return the ground points of the last scan [points, 3], base frame, m.

        None if another program has sampled them.
        """
        if self._pose is None:
            return None
        return self.scanner.ground(self._pose.position, self._pose.quat_xyzw)

    def take_points(self, message: Any) -> F64:
        """Return the values of points sampled by another program.

        Raises:
            RobotError: They do not match the contract, or too few are known.
        """
        self.scanner.heights[:] = sampled_heights(message, self.scanner.heights.size)
        self.scanner.see()
        return self.scanner.values

    def _note_pose(self, pose: Pose) -> None:
        before, self._pose = self._pose, pose
        if before is None or pose.stamp_ns <= before.stamp_ns:
            return
        gap_s = min((pose.stamp_ns - before.stamp_ns) * 1e-9, _LONGEST_GAP_S)
        way_m = float(np.linalg.norm(pose.position - before.position))
        half_turn = min(1.0, abs(float(pose.quat_xyzw @ before.quat_xyzw)))
        turned_rad = 2.0 * math.acos(half_turn)
        if (
            way_m > _JUMP_M + _FASTEST_M_S * gap_s
            or turned_rad > _JUMP_RAD + _FASTEST_RAD_S * gap_s
        ):
            self._jumped_ns = pose.stamp_ns

    def _moved_m(self, pose: Pose) -> float:
        if self._seen_from is None:
            self._seen_from = pose.position
        return math.dist(self._seen_from, pose.position)


def _require_age(what: str, age_s: float, timeout_s: float) -> None:
    if abs(age_s) > _OTHER_CLOCK_S:
        raise RobotError(
            f"{what}: expected a stamp of this node's clock, found one {age_s:.0f} s old; set "
            "use_sim_time equally in all nodes"
        )
    require_past(what, age_s)
    if age_s > timeout_s:
        raise RobotError(
            f"{what}: expected one of at most {timeout_s:g} s, found one of {age_s:.2f} s"
        )


def make_scans(contracts: Sequence[AnyContract], frozen_after_m: float) -> list[ScanSource]:
    """Return a source for each height scan of contracts, one per topic."""
    scans = {topic: scan for contract in contracts for topic, scan in contract.scans.items()}
    return [ScanSource(topic, scan, frozen_after_m) for topic, scan in scans.items()]
