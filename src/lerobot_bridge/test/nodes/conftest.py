# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures that run a robot next to the nodes under test, in their own ROS 2 domain."""

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
    """Return a function that reads what this process has written to stderr since the last call.

    `capfd.readouterr` truncates what another thread writes at that moment.
    """
    with ExitStack() as opened:

        @cache  # opened in the test: while fixtures are set up, stderr is another file
        def log() -> TextIO:
            return opened.enter_context(Path("/proc/self/fd/2").open(errors="replace"))

        yield lambda: log().read()


@pytest.fixture
def rig(new_stderr: Callable[[], str]) -> Iterator[Robot]:
    """Provide a robot without topics until `appears` is called; close it after the test."""
    rclpy.init(args=[])
    try:
        robot = Robot(new_stderr)
        yield robot
        robot.close()
    finally:
        rclpy.shutdown()
