# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot's elevation map of the ground, with typical errors.

Its faults use the syntax of robot faults (`robot_sim.faults`), with times in simulated seconds:

================================  ================================================================
`freeze:elevation_map`            the last map repeats, stamp included
`drop:elevation_map`              no map is sent
`stuck:elevation_map`             the last map repeats with fresh stamps
`latency:elevation_map=seconds`   maps arrive this long after their measurement
`drift:elevation_map=meters`      the map is shifted relative to the ground, along each axis
`unknown:elevation_map=share`     this share of the cells, 0 to 1, is unknown
`blind:elevation_map=meters`      all cells within this radius of the base are unknown
================================  ================================================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from policy_core.observation.height_scan import ElevationMap
from robot_sim.driven import NS_PER_S
from robot_sim.faults import Fault
from robot_sim.ground import LEVEL, Ground
from robot_sim.world import Sensors

FRAME = "odom"
"""Frame of the map; the base's pose in it is known."""
CELLS, RESOLUTION_M, RATE_HZ = 100, 0.04, 10.0


STREAM = "elevation_map"
"""Target of the map's faults."""
_WITH_VALUE = ("latency", "drift", "unknown", "blind")


class MapFault(Fault):
    """A map fault; see the module docstring."""

    targets: ClassVar = dict.fromkeys(("freeze", "drop", "stuck", *_WITH_VALUE), (STREAM,))
    with_value: ClassVar = _WITH_VALUE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MadeMap:
    """A map, and the simulated time at which it was measured."""

    elevation: ElevationMap
    time_ns: int


class Mapper:
    """Maps the ground around the robot `RATE_HZ` times per second.

    Attributes:
        faults: Faults and their times.
    """

    def __init__(self, ground: Ground = LEVEL, seed: int = 0) -> None:
        """Start without a map.

        Args:
            ground: The ground to measure.
            seed: Seed for the drift's direction and the unknown cells.
        """
        self.faults: Sequence[MapFault] = ()
        self._ground = ground
        self._random = np.random.default_rng(seed)
        self._drift_signs = self._random.choice([-1.0, 1.0], 3)
        self._due_ns = 0
        self._coming = deque[MadeMap]()
        self._last: MadeMap | None = None
        half = (CELLS - 1) / 2.0
        # the first cell is at the largest x and y
        along = RESOLUTION_M * (half - np.arange(CELLS))
        self._apart = np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1)

    def look(self, sensors: Sensors) -> MadeMap | None:
        """Measure if a measurement is due; return the map that arrives now, if any.

        Args:
            sensors: The true pose of the robot, and the time.
        """
        now_ns = sensors.time_ns
        active = {fault.kind: fault.value for fault in self.faults if fault.active(now_ns)}
        latency_ns = active.get("latency", 0.0) * NS_PER_S
        if now_ns >= self._due_ns:
            self._due_ns = now_ns + round(NS_PER_S / RATE_HZ)
            self._coming.append(MadeMap(elevation=self._measured(sensors, active), time_ns=now_ns))
        if not self._coming or now_ns - self._coming[0].time_ns < latency_ns:
            return None
        made = self._coming.popleft()
        if "drop" in active:
            return None
        if self._last is not None and "freeze" in active:
            return self._last
        if self._last is not None and "stuck" in active:
            made = replace(self._last, time_ns=made.time_ns)
        self._last = made
        return made

    def _measured(self, sensors: Sensors, active: dict[str, float]) -> ElevationMap:
        base_xy, drift_m = sensors.pos_world[:2], active.get("drift", 0.0) * self._drift_signs
        x, y = (RESOLUTION_M * np.round(base_xy / RESOLUTION_M)).tolist()
        places = self._apart + np.array([x, y])
        heights = self._ground.height_m(places + drift_m[:2]) + drift_m[2]
        unknown = self._random.random(heights.shape) < active.get("unknown", 0.0)
        unknown |= np.linalg.norm(places - base_xy, axis=-1) < active.get("blind", 0.0)
        heights[unknown] = np.nan
        return ElevationMap(
            heights=heights.astype(np.float32), centre=(x, y), resolution_m=RESOLUTION_M
        )
