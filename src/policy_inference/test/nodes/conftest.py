# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node beside a robot, in one process, on a ROS 2 domain of the test's own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TextIO

import pytest
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn

from policy_inference.nodes.joint_policy_node import JointPolicyNode

from .bundles import write_bundle
from .harness import Robot, Stage


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Folder of a bundle without fault."""
    return write_bundle(tmp_path / "two_joints")


@pytest.fixture
def new_log(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Return what this process wrote to its standard error since the last call.

    `capfd.readouterr` cuts the file short after each look, and with it a line that another thread
    writes just then; so the file is read at a place of our own.
    """
    with ExitStack() as opened:

        @cache  # in the test: while fixtures are set up, another file is there
        def log() -> TextIO:
            return opened.enter_context(Path("/proc/self/fd/2").open(errors="replace"))

        yield lambda: log().read()


@pytest.fixture
def stage(new_log: Callable[[], str]) -> Iterator[Stage]:
    """Nodes and a robot; all ends with the test."""
    rclpy.init(args=[])
    stage = Stage(new_log)
    yield stage
    stage.close()
    rclpy.shutdown()


@pytest.fixture
def robot(stage: Stage) -> Robot:
    """The robot of the stage."""
    return stage.robot


@pytest.fixture
def active(stage: Stage, bundle: Path) -> Callable[..., JointPolicyNode]:
    """Configure and activate a node with parameters."""

    def start(**parameters: object) -> JointPolicyNode:
        node = stage.node(**{"bundle": str(bundle), "status_rate_hz": 20.0, **parameters})
        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        return node

    return start


@pytest.fixture
def lockstep(active: Callable[..., JointPolicyNode], robot: Robot) -> Robot:
    """A robot that an active node answers in simulated time."""
    active(use_sim_time=True)
    robot.is_met()
    return robot
