# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Images of a walk show the robot, whatever the format."""

from pathlib import Path

import pytest
from PIL import Image

from robot_sim.errors import SimError
from robot_sim.figures import LITE3
from robot_sim.render import (
    FollowingCamera,
    write_contact_sheet,
    write_video,
)
from robot_sim.trace import Trace
from robot_sim.walk import walk
from robot_sim.world import World, position_command

FLOOR_ROWS = slice(40, None)
WHITE = 150  # the floor is darker


@pytest.fixture(scope="module")
def stance_trace() -> Trace:
    """A robot that holds its stance for half a second."""
    command = position_command(LITE3.standing_rad, stiffness=100.0, damping=2.5)
    return walk(World(pose="standing"), lambda *_: command, [], duration_s=0.5)


@pytest.fixture(scope="module", autouse=True)
def _needs_opengl() -> None:
    """Skip where the machine cannot render at all."""
    try:
        FollowingCamera(width=64, height=64).__exit__(None, None, None)
    except SimError as error:
        pytest.skip(str(error))


def test_the_image_shows_the_robot_and_follows_it(stance_trace: Trace) -> None:
    far = stance_trace.qpos[0].copy()
    far[0] += 20.0
    with FollowingCamera(width=160, height=96) as camera:
        here = camera.image(stance_trace.qpos[0], stance_trace.pos_world[0, :2])
        there = camera.image(far, far[:2])
        away = camera.image(far, stance_trace.pos_world[0, :2])
    assert here.shape == (96, 160, 3)
    images = (here, there, away)
    white = [int((shown.min(axis=2) > WHITE)[FLOOR_ROWS].sum()) for shown in images]
    assert min(white[:2]) > 30
    assert white[2] == 0


def test_a_video_is_written(stance_trace: Trace, tmp_path: Path) -> None:
    path, told = tmp_path / "walk.mp4", list[tuple[int, int]]()
    write_video(
        stance_trace,
        path,
        rate_hz=10.0,
        width=160,
        height=96,
        on_image=lambda *counts: told.append(counts),
    )
    assert path.read_bytes()[4:8] == b"ftyp"
    assert list(tmp_path.iterdir()) == [path]
    assert told == [(done, 5) for done in range(1, 6)]


def test_a_contact_sheet_holds_all_its_moments(stance_trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    write_contact_sheet(stance_trace, path, columns=2, rows=1)
    with Image.open(path) as image:
        assert image.size == (960, 270)
