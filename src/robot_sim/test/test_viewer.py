# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The window, in processes of their own: a window system is a matter of a whole process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

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
    """The environment of a display that nobody sees."""
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
    """Return the lines that a process prints which opens a window."""
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


@pytest.mark.parametrize("world", ["World()", "ArmWorld()"])
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
