# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Render arm episodes: an outside view, with the policy's images next to it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from robot_sim.arm_episodes import ArmTrace
from robot_sim.arm_model import POLICY_CAMERAS
from robot_sim.arm_world import ArmWorld
from robot_sim.errors import SimError
from robot_sim.offscreen import Frame
from robot_sim.video import caption, write_frames

WIDTH, HEIGHT = 960, 480
"""Size of a frame: 640 x 480 for the outside view, and 320 x 240 for each policy camera."""
RUN_MODE = 3.0
"""JointCommand.MODE_RUN, as stored in the trace."""
_SHOWN_AFTER_S = 0.6
_Rows = npt.NDArray[np.intp]


def write_episodes(
    trace: ArmTrace,
    path: Path,
    *,
    image_size: tuple[int, int],
) -> None:
    """Write an H.264 video (`.mp4`) of all episodes in real time, without the pauses between them.

    Args:
        trace: The run to show.
        path: The file to write.
        image_size: Height and width of the policy's images.
    """
    rows = shown(trace)
    rate_hz = round(1.0 / float(np.median(np.diff(trace.time_s))), 3)
    write_frames(
        _images(trace, rows, image_size),
        path,
        rate_hz=rate_hz,
        width=WIDTH,
        height=HEIGHT,
    )


def shown(trace: ArmTrace) -> _Rows:
    """Return the rows to show: those of each episode and of a short time after it."""
    under_way = trace.episode >= 0
    if not under_way.any():
        raise SimError("trace: expected rows of an episode, found none; the policy never ran")
    lasting = int(_SHOWN_AFTER_S / float(np.median(np.diff(trace.time_s))))
    recently = np.convolve(under_way, np.ones(lasting + 1))[: len(under_way)] > 0
    # After RUN the cube is moved.
    return np.flatnonzero(under_way | (recently & (trace.mode == RUN_MODE)))


def _images(trace: ArmTrace, rows: _Rows, image_size: tuple[int, int]) -> Iterator[Frame]:
    world = ArmWorld(image_size=image_size)
    try:
        for row in rows:
            world.show(trace.pose[row])
            yield _composed(world, _text(trace, int(row)))
    finally:
        world.close()


def _composed(world: ArmWorld, text: str) -> Frame:
    """Return the captioned outside view, with the policy's images next to it."""
    outside = caption(world.render("outside", (HEIGHT, WIDTH * 2 // 3)), text)
    small = (WIDTH // 3, HEIGHT // 2)
    seen = [
        np.asarray(Image.fromarray(frame).resize(small, Image.Resampling.NEAREST))
        for frame in (world.render(name) for name in POLICY_CAMERAS)
    ]
    return np.hstack([outside, np.vstack(seen)])


def _text(trace: ArmTrace, row: int) -> str:
    number = int(trace.episode[: row + 1].max())
    first, last = np.flatnonzero(trace.episode == number)[[0, -1]]
    text = f"episode {number + 1}   {trace.time_s[row] - trace.time_s[first]:4.1f} s"
    if number >= len(trace.seed):  # the episode was aborted
        return text
    result = "" if row < last else "   reached" if trace.succeeded[number] else "   not reached"
    return f"{text}   seed {trace.seed[number]}{result}"
