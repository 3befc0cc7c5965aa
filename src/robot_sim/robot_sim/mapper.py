# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot's elevation map of the ground, with typical errors.

Its faults are switched on and off by the simulated clock, and written like those of a robot
(`robot_sim.faults`):

================================  ================================================================
`freeze:elevation_map`            the last map repeats, stamp included
`drop:elevation_map`              no map is sent
`stuck:elevation_map`             the last map repeats with fresh stamps
`latency:elevation_map=seconds`   maps arrive this long after their measurement
`drift:elevation_map=metres`      the map is shifted against the ground, along each axis
`unknown:elevation_map=share`     this share of the cells, 0 to 1, is unknown
`blind:elevation_map=metres`      all cells within this radius of the base are unknown
================================  ================================================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from policy_core.observation.height_scan import ElevationMap
from robot_sim.driven import NS_PER_S
from robot_sim.faults import Fault
from robot_sim.ground import LEVEL, Ground
from robot_sim.world import Sensors

FRAME = "odom"
"""Frame of the map, in which the base's pose is known."""
CELLS, RESOLUTION_M, RATE_HZ = 100, 0.04, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MapErrors:
    """Errors of a map.

    Attributes:
        latency_s: Time from a measurement to its map; the stamp is the time of measurement.
        drift_m: Shift of the map against the ground along each axis.
        unknown_share: Share of unknown cells.
        blind_m: Radius around the base within which all cells are unknown.
        seed: Seed of the drift's direction and the unknown cells.
    """

    latency_s: float = 0.0
    drift_m: float = 0.0
    unknown_share: float = 0.0
    blind_m: float = 0.0
    seed: int = 0


NO_ERRORS = MapErrors()
STREAM = "elevation_map"
"""Target of the map's faults."""
_ERRORS = {
    "latency": "latency_s",
    "drift": "drift_m",
    "unknown": "unknown_share",
    "blind": "blind_m",
}
"""Attribute of `MapErrors` by kind of fault."""


class MapFault(Fault):
    """A fault of the map; see above."""

    targets: ClassVar = dict.fromkeys(("freeze", "drop", "stuck", *_ERRORS), (STREAM,))
    with_value: ClassVar = tuple(_ERRORS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MadeMap:
    """A map and its simulated time of measurement."""

    elevation: ElevationMap
    time_ns: int


class Mapper:
    """Measures the ground around the robot, `RATE_HZ` times a second.

    Attributes:
        faults: Faults and their times.
    """

    def __init__(self, ground: Ground = LEVEL, errors: MapErrors = NO_ERRORS) -> None:
        """Start without a map.

        Args:
            ground: The ground to measure.
            errors: Errors of all maps; an active fault replaces its own error.
        """
        self.faults: Sequence[MapFault] = ()
        self._ground, self._errors = ground, errors
        self._random = np.random.default_rng(errors.seed)
        self._drift_signs = self._random.choice([-1.0, 1.0], 3)
        self._due_ns = 0
        self._coming = deque[MadeMap]()
        self._last: MadeMap | None = None
        half = (CELLS - 1) / 2.0
        # the first cell is at the largest x and y
        along = RESOLUTION_M * (half - np.arange(CELLS))
        self._apart = np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1)

    def look(self, sensors: Sensors) -> MadeMap | None:
        """Measure, if a measurement is due, and return the map that arrives now, if any.

        Args:
            sensors: The true pose of the robot, and the time.
        """
        now_ns = sensors.time_ns
        active = {fault.kind: fault.value for fault in self.faults if fault.active(now_ns)}
        wrong: dict[str, Any] = {
            _ERRORS[kind]: value for kind, value in active.items() if kind in _ERRORS
        }
        errors = replace(self._errors, **wrong)
        if now_ns >= self._due_ns:
            self._due_ns = now_ns + round(NS_PER_S / RATE_HZ)
            self._coming.append(MadeMap(elevation=self._measured(sensors, errors), time_ns=now_ns))
        if not self._coming or now_ns - self._coming[0].time_ns < errors.latency_s * NS_PER_S:
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

    def _measured(self, sensors: Sensors, errors: MapErrors) -> ElevationMap:
        base_xy, drift_m = sensors.pos_world[:2], errors.drift_m * self._drift_signs
        x, y = (RESOLUTION_M * np.round(base_xy / RESOLUTION_M)).tolist()
        places = self._apart + np.array([x, y])
        heights = self._ground.height_m(places + drift_m[:2]) + drift_m[2]
        unknown = self._random.random(heights.shape) < errors.unknown_share
        unknown |= np.linalg.norm(places - base_xy, axis=-1) < errors.blind_m
        heights[unknown] = np.nan
        return ElevationMap(
            heights=heights.astype(np.float32), centre=(x, y), resolution_m=RESOLUTION_M
        )
