# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A depth camera on the base of a simulated robot, by ray casting; it needs no graphics.

Its faults use the syntax of robot faults (`robot_sim.faults`), with times in simulated seconds:

===============================  =================================================================
`freeze:depth_camera`            the last image repeats, stamp included
`stuck:depth_camera`             the last image repeats with fresh stamps
`drop:depth_camera`              no image is sent
`covered:depth_camera`           all depths are unknown
`unknown:depth_camera=share`     this share of the pixels, 0 to 1, has unknown depth
`slow:depth_camera=factor`       the image rate is divided by this factor
===============================  =================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from robot_sim.driven import NS_PER_S
from robot_sim.errors import SimError
from robot_sim.faults import Fault
from robot_sim.figures import Array
from robot_sim.world import World

STREAM = "depth_camera"
"""Target of the camera's faults, and the name of its frame and topics."""
UNKNOWN = np.float32(np.nan)
_WITH_VALUE = ("unknown", "slow")


class CameraFault(Fault):
    """A camera fault; see the module docstring."""

    targets: ClassVar = dict.fromkeys(
        ("freeze", "stuck", "drop", "covered", *_WITH_VALUE), (STREAM,)
    )
    with_value: ClassVar = _WITH_VALUE


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthCameraFigures:
    """The camera's mounting and optics.

    Attributes:
        size: Height and width of the image, pixels.
        vertical_deg: Vertical field of view.
        position_m: Position in the frame of the base [3].
        pitch_deg: Angle by which the optical axis points down from the base's x axis.
        far_m: Range: larger depths are reported as infinity.
        rate_hz: Images per second.
        noise_m: Standard deviation of each depth; no two images of a real camera are the same.
    """

    size: tuple[int, int] = (60, 106)
    vertical_deg: float = 58.0
    position_m: tuple[float, ...] = (0.3, 0.0, 0.05)
    pitch_deg: float = 30.0
    far_m: float = 5.0
    rate_hz: float = 10.0
    noise_m: float = 0.001

    @property
    def focal_px(self) -> float:
        """Focal length along both axes."""
        return self.size[0] / 2.0 / math.tan(math.radians(self.vertical_deg) / 2.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthFrame:
    """Depth along the optical axis [height, width], m, and the simulated time of measurement.

    NaN means unknown; infinity means out of range.
    """

    metres: npt.NDArray[np.float32]
    time_ns: int


class DepthCamera:
    """Takes depth images of a robot's world at `rate_hz`.

    Attributes:
        figures: Figures of the camera.
        faults: Faults and their times.
    """

    def __init__(self, figures: DepthCameraFigures, seed: int = 0) -> None:
        """Compute the rays; `seed` is for the noise and the unknown pixels."""
        height, width = figures.size
        if min(height, width) < 1 or len(figures.position_m) != 3:
            raise SimError(
                f"{STREAM}: expected at least one pixel and a position of three numbers, found "
                f"{height} x {width} and {list(figures.position_m)}"
            )
        if not 0.0 < figures.vertical_deg < 180.0:
            raise SimError(
                f"{STREAM}: expected a field of view between 0 and 180 degrees, found "
                f"{figures.vertical_deg:g}"
            )
        self.figures = figures
        self.faults: Sequence[CameraFault] = ()
        self._random = np.random.default_rng(seed)
        self._due_ns = 0
        self._last: DepthFrame | None = None
        down = (np.arange(height) + 0.5 - height / 2.0) / figures.focal_px
        right = (np.arange(width) + 0.5 - width / 2.0) / figures.focal_px
        # In the camera's frame: x forward, y left, z up; depth 1.
        ahead = np.stack(
            np.broadcast_arrays(1.0, -right[None, :], -down[:, None]), axis=-1
        ).reshape(-1, 3)
        angle = math.radians(figures.pitch_deg)
        c, s = math.cos(angle), math.sin(angle)
        lengths = np.linalg.norm(ahead, axis=1)
        self._per_m: Array = 1.0 / lengths
        about_y = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
        self._rays: Array = ahead @ about_y.T / lengths[:, None]

    def look(self, world: World) -> DepthFrame | None:
        """Return an image if one is due and no fault withholds it."""
        now_ns = world.time_ns
        if now_ns < self._due_ns:
            return None
        active = {fault.kind: fault.value for fault in self.faults if fault.active(now_ns)}
        slower = max(1.0, active.get("slow", 1.0))
        self._due_ns = now_ns + round(slower * NS_PER_S / self.figures.rate_hz)
        if "drop" in active:
            return None
        if self._last is not None and "freeze" in active:
            return self._last
        if self._last is not None and "stuck" in active:
            return replace(self._last, time_ns=now_ns)
        self._last = DepthFrame(metres=self._seen(world, active), time_ns=now_ns)
        return self._last

    def _seen(self, world: World, active: dict[str, float]) -> npt.NDArray[np.float32]:
        figures = self.figures
        farthest_m = figures.far_m / float(self._per_m.min())
        distances = world.distances(np.array(figures.position_m), self._rays, farthest_m)
        depth = (distances * self._per_m).astype(np.float32)
        depth += self._random.normal(0.0, figures.noise_m, depth.size).astype(np.float32)
        depth[depth > figures.far_m] = np.inf
        share = 1.0 if "covered" in active else active.get("unknown", 0.0)
        if share:
            depth[self._random.random(depth.size) < share] = UNKNOWN
        return depth.reshape(figures.size)
