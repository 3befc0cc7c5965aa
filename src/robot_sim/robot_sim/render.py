# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Renders a walk without a display: video, animation, contact sheet."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import mujoco
import numpy as np
from PIL import Image

from robot_sim.figures import LITE3, Array, LeggedRobot
from robot_sim.ground import LEVEL, Ground
from robot_sim.model import build_model
from robot_sim.offscreen import Frame, Offscreen
from robot_sim.trace import Trace
from robot_sim.video import caption, write_frames

AZIMUTH_DEG, ELEVATION_DEG, DISTANCE_M = 135.0, -18.0, 1.25
# Height of the camera's target above the ground, and time constant that filters out the sway.
LOOK_AT_HEIGHT_M, FOLLOW_S = 0.20, 0.4


class FollowingCamera:
    """Renders poses of the robot with a camera that follows it."""

    def __init__(
        self,
        robot: LeggedRobot = LITE3,
        *,
        width: int,
        height: int,
        ground: Ground = LEVEL,
    ) -> None:
        """Create an image buffer.

        Args:
            robot: The robot's data.
            width: Width of the images, at most 1920.
            height: Height of the images, at most 1080.
            ground: The ground of the walk.
        """
        self._model = build_model(robot, ground=ground)
        self._data = mujoco.MjData(self._model)
        self._offscreen = Offscreen(self._model, shadows=True)
        self._width, self._height, self._ground = width, height, ground
        self._view = mujoco.MjvCamera()
        self._view.azimuth, self._view.elevation = AZIMUTH_DEG, ELEVATION_DEG
        # robots of all sizes appear equally large
        size = robot.poses.standing.height_m / LITE3.poses.standing.height_m
        self._view.distance, self._look_at_height_m = DISTANCE_M * size, LOOK_AT_HEIGHT_M * size

    def close(self) -> None:
        self._offscreen.close()

    def image(self, qpos: Array, look_at: Array, dots: Array | None = None) -> Frame:
        """Render one pose.

        Args:
            qpos: Row [7 + n] of `Trace.qpos`.
            look_at: Point [3] on the ground (m, world) in the middle of the image.
            dots: Points to mark [n, 3], m, world.

        Returns:
            Colors [height, width, 3], RGB.
        """
        self._data.qpos[:] = qpos
        mujoco.mj_forward(self._model, self._data)
        self._view.lookat[:] = look_at
        self._view.lookat[2] += self._look_at_height_m
        return self._offscreen.image(
            self._data, self._view, width=self._width, height=self._height, dots=dots
        )

    def below(self, place: Array) -> Array:
        """Return the point [3] on the ground vertically below or above a point [3], m, world."""
        return np.array([*place[:2], self._ground.height_m(place[:2])])


def write_video(
    trace: Trace,
    path: Path,
    *,
    robot: LeggedRobot = LITE3,
    rate_hz: float = 25.0,
    width: int = 800,
    height: int = 448,
    ground: Ground = LEVEL,
    dots: Callable[[int], Array | None] = lambda _: None,
) -> None:
    """Write an H.264 video (`.mp4`) of a walk in real time; each image shows the time and command.

    Args:
        trace: The walk.
        path: The file to write.
        robot: The robot that walked.
        rate_hz: Images per second.
        width: Width of the images; must be a multiple of 16 for H.264.
        height: Height of the images; must also be a multiple of 16.
        ground: The ground of the walk.
        dots: Returns the points to mark [n, 3] for a row of the trace, m, world.
    """
    with closing(FollowingCamera(robot, width=width, height=height, ground=ground)) as camera:
        images = _following(camera, trace, rate_hz, dots)
        write_frames(images, path, rate_hz=rate_hz, width=width, height=height)


def _following(
    camera: FollowingCamera,
    trace: Trace,
    rate_hz: float,
    dots: Callable[[int], Array | None],
) -> Iterator[Frame]:
    grid_s = np.arange(trace.time_s[0], trace.time_s[-1], 1.0 / rate_hz)
    rows = np.minimum(np.searchsorted(trace.time_s, grid_s - 1e-9), len(trace.time_s) - 1)
    follow = min(1.0, 1.0 / (rate_hz * FOLLOW_S))
    look_at = camera.below(trace.pos_world[0])
    for row in map(int, rows):
        look_at = look_at + follow * (camera.below(trace.pos_world[row]) - look_at)
        yield caption(camera.image(trace.qpos[row], look_at, dots(row)), _text(trace, row))


def write_contact_sheet(
    trace: Trace, path: Path, robot: LeggedRobot = LITE3, ground: Ground = LEVEL
) -> None:
    """Write one image that shows 4 x 3 moments spread evenly over the walk."""
    columns, rows, width, height = 4, 3, 480, 270
    chosen = np.linspace(0, len(trace.time_s) - 1, columns * rows).astype(int)
    sheet = Image.new("RGB", (columns * width, rows * height))
    with closing(
        FollowingCamera(robot, width=2 * width, height=2 * height, ground=ground)
    ) as camera:
        for index, row in enumerate(chosen):
            frame = camera.image(trace.qpos[row], camera.below(trace.pos_world[row]))
            small = Image.fromarray(caption(frame, _text(trace, int(row)))).resize((width, height))
            sheet.paste(small, (index % columns * width, index // columns * height))
    sheet.save(path)


def _text(trace: Trace, row: int) -> str:
    vx, vy, wz = trace.command[row] + 0.0
    return f"{trace.time_s[row]:5.1f} s    vx {vx:+.1f}  vy {vy:+.1f} m/s   wz {wz:+.1f} rad/s"
