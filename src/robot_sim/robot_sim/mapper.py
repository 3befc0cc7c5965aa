# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The elevation map that a robot makes of the ground, with the errors that such maps have."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from policy_core.observation.height_scan import ElevationMap
from robot_sim.driven import NS_PER_S
from robot_sim.ground import LEVEL, Ground
from robot_sim.world import Sensors

FRAME = "odom"
"""Frame of the map, in which the base's pose is known."""
CELLS, RESOLUTION_M, RATE_HZ = 100, 0.04, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MapErrors:
    """What is wrong with a map.

    Attributes:
        latency_s: Time from a measurement until its map comes; the map is stamped when measured.
        drift_m: Shift of the map against the ground along each axis.
        unknown_share: Share of the cells that are not known.
        blind_m: Radius around the base in which nothing is known.
        seed: Draws the directions of the drift and the unknown cells.
    """

    latency_s: float = 0.0
    drift_m: float = 0.0
    unknown_share: float = 0.0
    blind_m: float = 0.0
    seed: int = 0


NO_ERRORS = MapErrors()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MadeMap:
    """A map, and when it was measured, on the simulated clock."""

    elevation: ElevationMap
    time_ns: int


class Mapper:
    """Measures the ground around the robot, `RATE_HZ` times a second."""

    def __init__(self, ground: Ground = LEVEL, errors: MapErrors = NO_ERRORS) -> None:
        """Begin without a map."""
        self._ground, self._errors = ground, errors
        self._random = np.random.default_rng(errors.seed)
        self._drift_m = errors.drift_m * self._random.choice([-1.0, 1.0], 3)
        self._due_ns = 0
        self._coming = deque[MadeMap]()
        half = (CELLS - 1) / 2.0
        # The first cell is at the largest x and y.
        along = RESOLUTION_M * (half - np.arange(CELLS))
        self._apart = np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1)

    def look(self, sensors: Sensors) -> MadeMap | None:
        """Measure, if it is time to, and return the map that comes now, if one does.

        Args:
            sensors: The true pose of the robot, and the time.
        """
        now_ns = sensors.time_ns
        if now_ns >= self._due_ns:
            self._due_ns = now_ns + round(NS_PER_S / RATE_HZ)
            self._coming.append(MadeMap(elevation=self._measured(sensors), time_ns=now_ns))
        latency_ns = round(self._errors.latency_s * NS_PER_S)
        if self._coming and now_ns - self._coming[0].time_ns >= latency_ns:
            return self._coming.popleft()
        return None

    def _measured(self, sensors: Sensors) -> ElevationMap:
        errors, base_xy = self._errors, sensors.pos_world[:2]
        x, y = (RESOLUTION_M * np.round(base_xy / RESOLUTION_M)).tolist()
        places = self._apart + np.array([x, y])
        heights = self._ground.height_m(places + self._drift_m[:2]) + self._drift_m[2]
        unknown = self._random.random(heights.shape) < errors.unknown_share
        unknown |= np.linalg.norm(places - base_xy, axis=-1) < errors.blind_m
        heights[unknown] = np.nan
        return ElevationMap(
            heights=heights.astype(np.float32), centre=(x, y), resolution_m=RESOLUTION_M
        )
