# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot beside the nodes under test, on a ROS 2 domain of the test's own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TextIO

import pytest
import rclpy

from .robot import Robot


@pytest.fixture
def new_stderr(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Return what this process wrote to its standard error since the last call.

    `capfd.readouterr` cuts short what another thread writes just then.
    """
    with ExitStack() as opened:

        @cache  # in the test: while fixtures are set up, another file is there
        def log() -> TextIO:
            return opened.enter_context(Path("/proc/self/fd/2").open(errors="replace"))

        yield lambda: log().read()


@pytest.fixture
def rig(new_stderr: Callable[[], str]) -> Iterator[Robot]:
    """A robot that is not there until it appears; all ends with the test."""
    rclpy.init(args=[])
    try:
        robot = Robot(new_stderr)
        yield robot
        robot.close()
    finally:
        rclpy.shutdown()
