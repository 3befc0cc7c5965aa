# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The window, tested in separate processes: a process can use only one window system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from robot_sim.errors import SimError
from robot_sim.figures import LITE3
from robot_sim.render import FollowingCamera, write_video
from robot_sim.trace import Trace
from robot_sim.walk import walk
from robot_sim.world import World, position_command
from testkit.wording import check_wording

ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE")
}
OPENED = """
from robot_sim.arm_world import ArmWorld
from robot_sim.errors import SimError
from robot_sim.viewer import Viewer
from robot_sim.world import World

world = {world}
world.step(100_000_000)
before = world.pose
try:
    viewer = Viewer(world)
except SimError as error:
    print("refused:", error)
    raise SystemExit(0)
viewer.show()
print("open:", viewer.is_open)
{then}
viewer.close()
print("changed:", bool((before != world.pose).any()))
"""


@pytest.fixture
def display() -> Iterator[dict[str, str]]:
    """Provide the environment variables of a virtual display."""
    if (server := shutil.which("Xvfb")) is None:
        pytest.skip("Xvfb is not installed (apt install xvfb)")
    read, write = os.pipe()
    screen = ["-screen", "0", "1280x720x24", "-displayfd", str(write)]
    with subprocess.Popen(
        [server, *screen], pass_fds=[write], stderr=subprocess.DEVNULL
    ) as process:
        os.close(write)
        with os.fdopen(read) as numbers:
            number = numbers.readline().strip()
        yield {**ENVIRONMENT, "DISPLAY": f":{number}"}
        process.terminate()


def run_window(world: str, environment: dict[str, str], then: str = "") -> list[str]:
    """Open a window in a new process; return the lines that the process prints."""
    done = subprocess.run(
        [sys.executable, "-c", OPENED.format(world=world, then=then)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout.splitlines()


def test_a_window_without_a_display_is_refused_in_one_line() -> None:
    (line,) = run_window("World()", ENVIRONMENT)
    check_wording(line)


@pytest.mark.parametrize(
    "world", ["World()", pytest.param("ArmWorld()", marks=pytest.mark.acceptance)]
)
def test_a_window_shows_the_robot_and_leaves_it_alone(world: str, display: dict[str, str]) -> None:
    grab = """
import time
from PIL import ImageGrab
ends = time.monotonic() + 60.0
while len(ImageGrab.grab(xdisplay="").getcolors(1 << 24)) < 50 and time.monotonic() < ends:
    time.sleep(0.05)
print("colours:", len(ImageGrab.grab(xdisplay="").getcolors(1 << 24)) >= 50)
"""
    assert run_window(world, display, grab) == ["open: True", "colours: True", "changed: False"]


@pytest.mark.acceptance
def test_a_camera_renders_beside_a_window(display: dict[str, str]) -> None:
    """The window and the policy's cameras use OpenGL in the same process."""
    render = "print(world.render('front').std() > 10.0)"
    assert run_window("ArmWorld()", display, render)[1] == "True"


FLOOR_ROWS = slice(40, None)
WHITE = 150  # the floor is darker


@pytest.fixture(scope="module")
def stance_trace() -> Trace:
    command = position_command(LITE3.standing_rad, stiffness=100.0, damping=2.5)
    return walk(World(pose="standing"), lambda *_: command, [], duration_s=0.5)


@pytest.fixture(scope="module", autouse=True)
def _needs_opengl() -> None:
    """Skip the test if the machine cannot render."""
    try:
        FollowingCamera(width=64, height=64).close()
    except SimError as error:
        pytest.skip(str(error))


def test_the_image_shows_the_robot_and_follows_it(stance_trace: Trace) -> None:
    far = stance_trace.qpos[0].copy()
    far[0] += 20.0
    with closing(FollowingCamera(width=160, height=96)) as camera:
        here = camera.image(stance_trace.qpos[0], camera.below(stance_trace.pos_world[0]))
        there = camera.image(far, camera.below(far[:3]))
        away = camera.image(far, camera.below(stance_trace.pos_world[0]))
    assert here.shape == (96, 160, 3)
    images = (here, there, away)
    white = [int((shown.min(axis=2) > WHITE)[FLOOR_ROWS].sum()) for shown in images]
    assert min(white[:2]) > 30
    assert white[2] == 0


def test_a_video_is_written(stance_trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "walk.mp4"
    write_video(stance_trace, path, rate_hz=10.0, width=160, height=96)
    assert path.read_bytes()[4:8] == b"ftyp"
