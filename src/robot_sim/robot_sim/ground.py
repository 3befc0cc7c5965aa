# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Ground that is not a level plane: slopes, and tiles of different heights to step over."""

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from robot_sim.figures import Array

TILE_M = 0.4
PERIOD = 10
PERIOD_M = PERIOD * TILE_M
Spec = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A plane, sloping or not, with or without tiles on it.

    Attributes:
        slope_rad: Angle of the plane; it rises along the world's x axis.
        step_m: Tiles of `TILE_M` have random heights from 0 to this.
        seed: Draws the heights. They repeat every `PERIOD` tiles in x and y; the 3 x 3 tiles about
            the origin lie on the plane, so that a robot starts on even ground.
        reach_m: How far tiles lie from the origin, at least.
    """

    slope_rad: float = 0.0
    step_m: float = 0.0
    seed: int = 0
    reach_m: float = 10.0

    @property
    def quat_wxyz(self) -> Array:
        """Orientation [4] of the plane: about y, where a positive turn would lower it along x."""
        half_rad = -self.slope_rad / 2.0
        return np.array([np.cos(half_rad), 0.0, np.sin(half_rad), 0.0])

    @property
    def normal(self) -> Array:
        """Unit vector [3] that points up out of the plane, world frame."""
        return np.array([-np.sin(self.slope_rad), 0.0, np.cos(self.slope_rad)])


LEVEL = Ground()
"""A level plane."""


def tile_heights_m(ground: Ground) -> Array:
    """Return one period of heights over the plane [PERIOD, PERIOD]; the tile about 0, 0 is [0, 0].

    The tile [i, j] is centred at (i, j) * TILE_M.
    """
    heights = np.random.default_rng(ground.seed).uniform(0.0, ground.step_m, (PERIOD, PERIOD))
    even = np.arange(-1, 2)
    heights[np.ix_(even, even)] = 0.0
    return heights


def add_ground(spec: Spec, ground: Ground, *, friction: float) -> None:
    """Tilt the floor of `spec` and lay the tiles on it."""
    floor = spec.geom("floor")
    floor.quat = ground.quat_wxyz
    if not ground.step_m:
        return
    heights, count = tile_heights_m(ground), int(np.ceil(ground.reach_m / TILE_M))
    for i in range(-count, count + 1):
        for j in range(-count, count + 1):
            height = heights[i % PERIOD, j % PERIOD]
            if height:
                _add_tile(spec, np.array([i * TILE_M, j * TILE_M, height]), ground, friction)


def _add_tile(spec: Spec, top: Array, ground: Ground, friction: float) -> None:
    """Add a box from the plane up to `top` (centre of its upper side, frame of the plane)."""
    centre, turned = top * [1.0, 1.0, 0.5], np.zeros(3)
    mujoco.mju_rotVecQuat(turned, centre, ground.quat_wxyz)
    shade = 0.26 + 4.0 * top[2]  # higher tiles are lighter
    floor = spec.geom("floor")
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=turned,
        quat=ground.quat_wxyz,
        size=[TILE_M / 2.0, TILE_M / 2.0, centre[2]],
        rgba=[shade, shade * 1.15, shade * 1.3, 1.0],
        contype=1,
        conaffinity=0,
        friction=[friction, 0.01, 0.01],
        solref=floor.solref,
    )
