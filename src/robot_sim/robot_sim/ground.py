# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Ground that is not level: slopes, and tiles of different heights to step over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import mujoco
import numpy as np

from robot_sim.figures import Array

Terrain = Literal["tiles", "stairs", "stones", "gaps"]
TERRAINS: dict[Terrain, tuple[float, int]] = {
    "tiles": (0.4, 10),
    "stairs": (0.3, 16),
    "stones": (0.3, 12),
    "gaps": (0.15, 16),
}
"""Tile edge length (m), and period of the height pattern (in tiles)."""
_STEPS = 5
Spec = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A plane, sloped or level, with or without tiles on it.

    The tile pattern repeats in x and y. A robot starts on even ground at least 0.9 m wide.

    Attributes:
        slope_rad: Angle of the plane; it rises along the world's x axis.
        step_m: Height of a step; 0 means no tiles.
        terrain: Kind of tiles. tiles: random heights from 0 to `step_m`; stairs: a pit, from which
            `_STEPS` steps of 0.3 m lead up on each side, and down again beyond; stones: level, but
            with holes `step_m` deep in place of a third of the tiles; gaps: level, with trenches
            across x, 0.15 m wide and `step_m` deep.
        seed: Seed for the random terrain.
        reach_m: Minimum distance from the origin to which the tiles extend.
    """

    slope_rad: float = 0.0
    step_m: float = 0.0
    terrain: Terrain = "tiles"
    seed: int = 0
    reach_m: float = 10.0

    @property
    def quat_wxyz(self) -> Array:
        """Orientation [4] of the plane: a turn about y, negative since the plane rises along x."""
        half_rad = -self.slope_rad / 2.0
        return np.array([np.cos(half_rad), 0.0, np.sin(half_rad), 0.0])

    @property
    def normal(self) -> Array:
        """Upward unit normal [3] of the plane, world frame."""
        return np.array([-np.sin(self.slope_rad), 0.0, np.cos(self.slope_rad)])

    @property
    def tile_m(self) -> float:
        """Edge length of a tile."""
        return TERRAINS[self.terrain][0]

    def heights_m(self) -> Array:
        """Return one period of heights above the plane [n, n], m; the tile around 0, 0 is [0, 0].

        The tile [i, j] is centered at (i, j) * `tile_m`.
        """
        count = TERRAINS[self.terrain][1]
        drawn = np.random.default_rng(self.seed).uniform(0.0, 1.0, (count, count))
        away = np.minimum(np.arange(count), count - np.arange(count))
        even = np.maximum(away[:, None], away) <= 1
        if self.terrain == "tiles":
            share = np.where(even, 0.0, drawn)
        elif self.terrain == "stairs":
            share = np.clip(np.maximum(away[:, None], away) - 1.0, 0.0, _STEPS)
        elif self.terrain == "stones":
            share = np.where(even | (drawn > 1.0 / 3.0), 1.0, 0.0)
        else:
            share = np.tile(np.where(away % 8 == 6, 0.0, 1.0)[:, None], count)
        return np.asarray(self.step_m * share, dtype=np.float64)

    def height_m(self, xy: Array) -> Array:
        """Return the world-frame ground height [...] at points [..., 2], m.

        On a slope, the edge of a tile may be off in x by up to the tile's height times the slope.
        """
        slope, x = self.slope_rad, xy[..., 0]
        tiles = self._tile(np.stack([x / np.cos(slope), xy[..., 1]], axis=-1))
        return np.asarray(tiles / np.cos(slope) + x * np.tan(slope))

    def over_m(self, place_m: Array) -> float:
        """Return the height of a point [3] above the tile below it, along the plane's normal, m."""
        along = place_m[0] * np.cos(self.slope_rad) + place_m[2] * np.sin(self.slope_rad)
        return float(place_m @ self.normal - self._tile(np.array([along, place_m[1]])))

    def _tile(self, xy: Array) -> Array:
        """Return heights above the plane [...] at points on it [..., 2], m."""
        if not self.step_m:
            return np.zeros(xy.shape[:-1])
        heights = self.heights_m()
        i, j = np.moveaxis(np.round(xy / self.tile_m).astype(int) % len(heights), -1, 0)
        return np.asarray(heights[i, j])


LEVEL = Ground()
"""A level plane."""


def add_ground(spec: Spec, ground: Ground, *, friction: float) -> None:
    """Tilt the floor of `spec` and lay the tiles on it."""
    floor = spec.geom("floor")
    floor.quat = ground.quat_wxyz
    if ground.step_m:
        for low, high, top in _boxes(ground):
            _add_box(spec, low, high, top, ground, friction)


def _boxes(ground: Ground) -> Iterator[tuple[Array, Array, float]]:
    """Yield boxes of adjacent, equally high tiles: two corners [2] on the plane, and a height."""
    heights, tile_m = ground.heights_m(), ground.tile_m
    count = int(np.ceil(ground.reach_m / tile_m))
    places, period = range(-count, count + 1), len(heights)
    for i in places:
        start = 0
        row = [float(heights[i % period, j % period]) for j in places]
        for top, same in groupby(row):
            end = start + len(list(same))
            if top:
                low = np.array([i, places[start]]) - 0.5
                high = np.array([i, places[end - 1]]) + 0.5
                yield low * tile_m, high * tile_m, top
            start = end


def _add_box(
    spec: Spec, low: Array, high: Array, top: float, ground: Ground, friction: float
) -> None:
    """Add a box from the plane up to `top`, between two corners on the plane."""
    centre, turned = np.array([*(low + high) / 2.0, top / 2.0]), np.zeros(3)
    mujoco.mju_rotVecQuat(turned, centre, ground.quat_wxyz)
    shade = 0.26 + min(4.0 * top, 0.45)  # higher tiles are lighter
    floor = spec.geom("floor")
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=turned,
        quat=ground.quat_wxyz,
        size=[*(high - low) / 2.0, top / 2.0],
        rgba=[shade, shade * 1.15, shade * 1.3, 1.0],
        contype=1,
        conaffinity=0,
        friction=[friction, 0.01, 0.01],
        solref=floor.solref,
    )
