# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Height scans: sampling from an elevation map, and conversion for the policy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_core.bundle.height_scan import HeightScan
from policy_core.errors import RobotError
from policy_core.interfaces import F64, Index

_RAY_STEPS = 4
"""Number of iterations for following a slanted ray to the ground."""
_SHALLOWEST = 0.2
"""Sine of the minimum angle below the horizon at which rays are followed."""
_ROUNDED = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ElevationMap:
    """Ground heights on a grid; NaN if unknown.

    Attributes:
        heights: Heights in the map frame [rows, columns], m. Row 0 is at the largest x, column 0 at
            the largest y, but both are shifted by `start`.
        centre: Center of the map, x and y, m.
        resolution_m: Edge length of a cell, m.
        start: Row and column in `heights` of the corner with the largest x and y.
    """

    heights: npt.NDArray[np.float32]
    centre: tuple[float, float]
    resolution_m: float
    start: tuple[int, int] = (0, 0)


class HeightScanner:
    """Determines the ground height at each scan point, and converts it to a policy value.

    Attributes:
        values: Values before the term's clip and scale [points], m; finite after `see`.
        heights: Ground height above the scan frame at each point [points], m; NaN if unknown.
        invalid: Number of unknown points in the last scan.
    """

    def __init__(self, scan: HeightScan) -> None:
        """Prepare the points of a scan section that has passed `check_scan`."""
        self._scan, points = scan, scan.points
        size = len(points)
        self._x, self._y = points[:, 0].copy(), points[:, 1].copy()
        self._origin = np.array(scan.origin_m)
        self.values: F64 = np.zeros(size)
        self.heights: F64 = np.full(size, np.nan)
        self.invalid = size
        self._at_x, self._at_y, self._work = np.zeros((3, size))
        self._row: Index = np.zeros(size, np.intp)
        self._column: Index = np.zeros(size, np.intp)
        self._outside, self._more, self._known, self._reached = np.zeros((4, size), bool)
        self._frame_z = 0.0
        self._reach_m = np.inf if scan.reach_m is None else scan.reach_m
        # Lowest height, relative to the scan frame, that each ray reaches.
        self._lowest: F64 = np.full(size, -self._reach_m)
        self._neighbours: Index | None = None
        if scan.invalid == "nearest":
            distances = np.square(points[:, None] - points[None]).sum(axis=2)
            # Rounded, so that of equally near points the first is chosen.
            self._neighbours = distances.round(9).argsort(axis=1, kind="stable")

    def sample(self, elevation: ElevationMap, position: F64, quat_xyzw: F64) -> None:
        """Set `heights` from the map: below each point, or where its slanted ray hits the ground.

        Args:
            elevation: The map.
            position: Position of the base in the map frame [3], m.
            quat_xyzw: Rotation from the base to the map frame [4].
        """
        (x, y, z), turn, down = self._placed(position, quat_xyzw)
        self._turned(self._at_x, turn[0], x)
        self._turned(self._at_y, turn[1], y)
        self._look_up(elevation)
        if self._scan.alignment == "base":
            begins = self._x * turn[2, 0] + self._y * turn[2, 1]
            self._lowest[:] = begins + self._reach_m * down[2]
            self._follow(elevation, z + begins, down)
        np.subtract(self.heights, z, self.heights)
        self._frame_z = z

    def ground(self, position: F64, quat_xyzw: F64) -> F64:
        """Return the ground points from the last `sample` [points, 3], in the base frame, m.

        Args:
            position: Same as for `sample`.
            quat_xyzw: Same as for `sample`.
        """
        found = np.stack([self._at_x, self._at_y, self.heights + self._frame_z], axis=1)
        return np.asarray((found - position) @ _rotation(quat_xyzw))

    def take_hits(self, hits: F64, position: F64, quat_xyzw: F64) -> F64:
        """Set `heights` from ray hits on the ground; return the distances between hits and rays.

        Args:
            hits: Hits in the map frame [points, 3], m; not finite for rays without a hit.
            position: Position of the base in the map frame [3], m.
            quat_xyzw: Rotation from the base to the map frame [4].

        Returns:
            Distances [points], m; 0 for a ray without a hit.
        """
        begin, turn, down = self._placed(position, quat_xyzw)
        level = np.stack([self._x, self._y, np.zeros(self._x.size)], axis=1)
        self._lowest[:] = level @ turn[2] + self._reach_m * down[2]
        met = np.asarray(np.isfinite(hits).all(axis=1))
        apart = np.where(met[:, None], hits - (level @ turn.T + begin), 0.0)
        farther = np.nan if self._scan.reach_m is None else self._lowest - 1.0
        self.heights[:] = np.where(met, hits[:, 2] - begin[2], farther)
        return np.asarray(np.linalg.norm(apart - np.outer(apart @ down, down), axis=1))

    def _placed(self, position: F64, quat_xyzw: F64) -> tuple[list[float], F64, F64]:
        """Return the scan frame's origin [3] and rotation [3, 3], and the ray direction [3]."""
        rotation = _rotation(quat_xyzw)
        begin: list[float] = (position + rotation @ self._origin).tolist()
        if self._scan.alignment == "base":
            return begin, rotation, -rotation[:, 2]
        turn = np.eye(3)
        if self._scan.alignment == "yaw":
            turn = _about_z(self._heading(rotation, quat_xyzw))
        return begin, turn, np.array([0.0, 0.0, -1.0])

    def see(self) -> None:
        """Compute `values` from `heights`, as the contract's scan section defines.

        Raises:
            RobotError: More points are unknown than the scan allows.
        """
        scan, values, heights = self._scan, self.values, self.heights
        known = np.isfinite(heights, self._known)
        self.invalid = heights.size - int(np.count_nonzero(known))
        most = 0.0 if scan.invalid == "fault" else scan.max_invalid_ratio
        if self.invalid > most * heights.size + _ROUNDED:
            raise RobotError(
                f"expected at most {100 * most:.3g}% of the points to have an unknown ground "
                f"height, found {self.invalid} of {heights.size}"
            )
        if self.invalid == heights.size and scan.invalid != "value":
            raise RobotError("expected a known ground height at some points, found none")
        reached = known
        if scan.reach_m is not None:
            np.greater_equal(heights, self._lowest, self._more)
            reached = np.logical_and(self._more, known, self._reached)
        if scan.value == "frame_minus_ground":
            np.negative(heights, values)
        elif scan.value == "ground_minus_frame":
            np.copyto(values, heights)
        else:
            found = heights[reached]
            np.subtract(heights, found.mean() if found.size else 0.0, values)
        np.subtract(values, scan.offset_m, values)
        if scan.miss is not None:
            values[known & ~reached] = scan.miss
        if self.invalid:
            self._fill(known)

    def _fill(self, known: npt.NDArray[np.bool_]) -> None:
        scan, values = self._scan, self.values
        if scan.invalid == "value":
            assert scan.invalid_value is not None
            values[~known] = scan.invalid_value
        elif scan.invalid == "mean":
            values[~known] = values[known].mean()
        else:
            assert self._neighbours is not None
            for point in np.flatnonzero(~known):
                order = self._neighbours[point]
                values[point] = values[order[known[order].argmax()]]

    def _heading(self, rotation: F64, quat_xyzw: F64) -> float:
        if self._scan.heading == "twist":
            return 2.0 * math.atan2(quat_xyzw[2], quat_xyzw[3])
        return math.atan2(rotation[1, 0], rotation[0, 0])

    def _turned(self, out: F64, row: F64, begin: float) -> None:
        """Write one map-frame coordinate of the points, given a rotation row and the origin."""
        np.multiply(self._x, row[0], out)
        np.multiply(self._y, row[1], self._work)
        np.add(out, self._work, out)
        np.add(out, begin, out)

    def _look_up(self, elevation: ElevationMap) -> None:
        """Set `heights` to the map's heights at the points; NaN outside the map."""
        rows, columns = elevation.heights.shape
        outside = self._outside
        outside[:] = False
        for at, centre, cells, start, into in (
            (self._at_x, elevation.centre[0], rows, elevation.start[0], self._row),
            (self._at_y, elevation.centre[1], columns, elevation.start[1], self._column),
        ):
            work = self._work
            np.subtract(centre + 0.5 * cells * elevation.resolution_m, at, work)
            np.multiply(work, 1.0 / elevation.resolution_m, work)
            np.floor(work, work)
            np.less(work, 0.0, self._more)
            np.logical_or(outside, self._more, outside)
            np.greater_equal(work, cells, self._more)
            np.logical_or(outside, self._more, outside)
            np.clip(work, 0.0, cells - 1.0, work)
            np.copyto(into, work, casting="unsafe")
            if start:
                np.add(into, start, into)
                np.remainder(into, cells, into)
        np.copyto(self.heights, elevation.heights[self._row, self._column])
        np.copyto(self.heights, np.nan, where=outside)

    def _follow(self, elevation: ElevationMap, start_z: F64, down: F64) -> None:
        """Follow slanted rays to the ground; a ray ends at a cell with unknown height.

        Args:
            elevation: The map.
            start_z: Heights at which the rays begin [points], m.
            down: Direction of the rays [3].
        """
        if down[2] > -_SHALLOWEST:
            self.heights[:] = np.nan
            return
        start_x, start_y = self._at_x.copy(), self._at_y.copy()
        for _ in range(_RAY_STEPS):
            length = (self.heights - start_z) / down[2]
            goes_on = np.isfinite(length)
            np.copyto(self._at_x, start_x + down[0] * length, where=goes_on)
            np.copyto(self._at_y, start_y + down[1] * length, where=goes_on)
            self._look_up(elevation)


def _rotation(quat_xyzw: F64) -> F64:
    """Return the rotation matrix of a quaternion, which need not be of unit length."""
    x, y, z, w = quat_xyzw.tolist()
    s = 2.0 / (x * x + y * y + z * z + w * w)
    return np.array(
        [
            [1.0 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
            [s * (x * y + z * w), 1.0 - s * (x * x + z * z), s * (y * z - x * w)],
            [s * (x * z - y * w), s * (y * z + x * w), 1.0 - s * (x * x + y * y)],
        ]
    )


def _about_z(angle: float) -> F64:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
