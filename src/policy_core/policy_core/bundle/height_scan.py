# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Contract section for a height scan: the positions of its points, the meaning of its values.

Settings that differ between training setups have no default: a scan that is transposed, negated or
shifted by half a cell looks right on flat ground, but makes the robot walk off a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from policy_core.bundle.schema import Check, Found, entry, expect_paired
from policy_core.interfaces import F64

MOST_POINTS = 2500
"""Maximum number of points; `nearest` is quadratic: 0.2 GB and 0.8 s for this many."""
_ROUNDED = 1e-3
"""Tolerance in steps: a size this close to a whole number of steps includes the last point, so size
1.6 with step 0.1 gives 17 points.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanGrid:
    """Grid of points with both ends of each axis included, as training setups generate it."""

    size_m: tuple[float, ...] = entry(
        "distance between the first and the last point along each axis, [x, y] in m",
        length=2,
        minimum=0,
    )
    resolution_m: tuple[float, ...] = entry(
        "distance between neighboring points along each axis, [x, y] in m",
        length=2,
        exclusiveMinimum=0,
    )
    centre_m: tuple[float, ...] = entry(
        "center of the grid in the scan frame, [x, y] in m", length=2
    )
    order: Literal["x_fastest", "y_fastest"] = entry(
        "coordinate that varies fastest: x_fastest for Isaac Lab's ordering xy and for mjlab, "
        "y_fastest for Isaac Lab's ordering yx and for legged_gym"
    )
    x: Literal["ascending", "descending"] = entry("order of x with increasing index")
    y: Literal["ascending", "descending"] = entry("order of y with increasing index")

    @property
    def count(self) -> int:
        """Number of points; if it exceeds the limit, the limit plus one."""
        x, y = map(_axis_count, self.size_m, self.resolution_m)
        return min(x * y, MOST_POINTS + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeightScan:
    """Height scan: points around the robot, and what the value at each point means."""

    grid: ScanGrid | None = entry("points on a grid; or use `points_m`", default=None)
    points_m: tuple[tuple[float, ...], ...] | None = entry(
        "list of points, each [x, y] in the scan frame, in m", default=None, minItems=1
    )
    origin_m: tuple[float, ...] = entry(
        "origin of the scan frame in the base frame, [x, y, z] in m", length=3
    )
    alignment: Literal["yaw", "base", "world"] = entry(
        "how the points turn with the base: yaw, only with its heading, with rays straight down "
        "(usual in Isaac Lab, mjlab, legged_gym); base, also with roll and pitch, with rays "
        "along its -z axis; world, not at all"
    )
    heading: Literal["rotated_x", "twist"] | None = entry(
        "definition of the heading for alignment yaw, else null: rotated_x, direction of the "
        "base's x axis (Isaac Lab, mjlab); twist, rotation about z, 2 atan2(z, w) of the "
        "quaternion (legged_gym)",
        default=None,
    )
    value: Literal["frame_minus_ground", "ground_minus_frame", "ground_minus_mean"] = entry(
        "height in m: of the frame above the ground (Isaac Lab, mjlab, legged_gym), of the "
        "ground above the frame, or of the ground above the mean of all points"
    )
    offset_m: float = entry(
        "number subtracted from each value, m (0.5 in Isaac Lab and legged_gym, 0 in mjlab)",
        minimum=-1000,
        maximum=1000,
    )
    reach_m: float | None = entry(
        "maximum ray length in training, m (mjlab's max_distance); a ray that hits no ground "
        "within it is a miss; null: unlimited",
        default=None,
        exclusiveMinimum=0,
    )
    miss: float | None = entry(
        "value of a ray that misses the ground, before the term's clip and scale (mjlab's "
        "max_distance); null without reach_m",
        default=None,
        minimum=-1000,
        maximum=1000,
    )
    invalid: Literal["value", "nearest", "mean", "fault"] = entry(
        "how an unknown height is replaced: value, by `invalid_value`; nearest, by the value of "
        "the nearest known point; mean, by the mean of the known points; fault, not at all: the "
        "scan is refused"
    )
    invalid_value: float | None = entry(
        "value of an unknown point, before the term's clip and scale",
        default=None,
        minimum=-1000,
        maximum=1000,
    )
    max_invalid_ratio: float = entry("maximum share of unknown points", minimum=0, maximum=1)
    map_timeout_s: float = entry("maximum age of the map, s", exclusiveMinimum=0, maximum=60)
    pose_timeout_s: float = entry(
        "maximum age of the base's pose in the map, s", exclusiveMinimum=0, maximum=5
    )
    layer: str = entry("layer of the grid_map_msgs/GridMap that contains the heights")

    @property
    def count(self) -> int:
        """Number of points; if it exceeds the limit, the limit plus one."""
        return len(self.points_m or ()) if self.grid is None else self.grid.count

    @property
    def points(self) -> F64:
        """Positions of the points [points, 2] in the scan frame, in m, in the values' order."""
        if self.grid is None:
            return np.array(self.points_m, dtype=np.float64).reshape(-1, 2)
        grid = self.grid
        x, y = (
            _axis(size, step, centre, direction)
            for size, step, centre, direction in zip(
                grid.size_m, grid.resolution_m, grid.centre_m, (grid.x, grid.y), strict=True
            )
        )
        if grid.order == "x_fastest":
            return np.stack([np.tile(x, y.size), np.repeat(y, x.size)], axis=1)
        return np.stack([np.repeat(x, y.size), np.tile(y, x.size)], axis=1)


def _axis_count(size_m: float, step_m: float) -> int:
    return 1 + int(min(size_m / step_m + _ROUNDED, MOST_POINTS))


def _axis(size_m: float, step_m: float, centre_m: float, direction: str) -> F64:
    steps = np.arange(_axis_count(size_m, step_m), dtype=np.float64)
    values: F64 = centre_m - size_m / 2.0 + step_m * steps
    return values if direction == "ascending" else values[::-1]


def check_scan(scan: HeightScan, key: str, problem: Check) -> None:
    """Report contradictions in a scan.

    Args:
        scan: The parsed section.
        key: Contract key of the section.
        problem: Called with the key, the expected value and the found value.
    """
    if (scan.grid is None) == (scan.points_m is None):
        found = "neither" if scan.grid is None else "both"
        problem(key, "either `grid` or `points_m`", Found(found))
        return
    for i, point in enumerate(scan.points_m or ()):
        if len(point) != 2:
            problem(f"{key}.points_m[{i}]", "x and y", list(point))
            return
    if scan.count > MOST_POINTS:
        problem(key, f"at most {MOST_POINTS} points", Found("more"))
    elif scan.grid is not None:
        for axis, size_m, step_m in zip(
            "xy", scan.grid.size_m, scan.grid.resolution_m, strict=True
        ):
            if abs(size_m / step_m - round(size_m / step_m)) > _ROUNDED:
                problem(
                    f"{key}.grid.size_m",
                    f"a multiple of resolution_m along {axis} (both ends have a point)",
                    list(scan.grid.size_m),
                )
    expect_paired(scan.alignment == "yaw", scan.heading, f"{key}.heading", "alignment yaw", problem)
    expect_paired(
        scan.reach_m is not None, scan.miss, f"{key}.miss", "a scan with reach_m", problem
    )
    expect_paired(
        scan.invalid == "value",
        scan.invalid_value,
        f"{key}.invalid_value",
        "invalid: value",
        problem,
    )
