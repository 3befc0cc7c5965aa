# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of shadows of both kinds of policies share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_msgs.msg import JointCommand, ShadowStatus

from policy_inference.backends.registry import GROUP
from policy_inference.testing.bundles import register

from .harness import Robot
from .shadow_backends import Faulty

IDLE_S = 120.0
FIELDS = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit", "mode")
FAULTS = [
    ("nan", ""),
    ("raise", "shadow: faulty: asked to fail"),
    ("slow", ""),
    ("segfault", "shadow: its process ended with status -11"),
    ("exit", "shadow: its process ended with status 7"),
    ("SIGKILL", "shadow: its process ended with status -9"),
    ("SIGSTOP", ""),
]
"""Of `shadow_backends.Faulty`, and signals to its process; with the problem that is reported."""
MISCHIEF = [
    ("garbage", "shadow: gave up"),
    ("answers", "shadow: gave up"),
    ("prints", ""),
    ("forks", ""),
    ("closes", "shadow: "),
]
"""The same, of what no runtime should do."""


def register_faulty(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the back end of these tests in a folder, for this process and its children."""
    module = Faulty.__module__
    register(site, "shadows", GROUP, {"faulty": f"{module}:Faulty"})
    monkeypatch.syspath_prepend(str(site))
    folder = str(Path(__file__).parents[len(module.split(".")) - 1])
    path = [str(site), folder, os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


def shadow_of(robot: Robot, condition: Callable[[ShadowStatus], object], what: str) -> ShadowStatus:
    """Wait for a status whose shadow fulfils a condition; simulated time passes meanwhile."""
    robot.until(
        lambda: robot.tick() and robot.statuses and condition(robot.statuses[-1].shadow[0]), what
    )
    return robot.statuses[-1].shadow[0]


def settled(robot: Robot, since: int = 0) -> ShadowStatus:
    """Leave RUN; return the status in which all ticks in RUN have been answered.

    On a busy machine that takes long: the shadow runs only when nothing else wants the core.

    Args:
        robot: Ticks on.
        since: Number of commands before the first one that counts.
    """
    robot.request("damp")
    robot.tick()
    asked = sum(each.mode == JointCommand.MODE_RUN for each in robot.commands[since:])
    ends_s = time.monotonic() + IDLE_S
    while not (robot.statuses and total(robot.statuses[-1].shadow[0]) == asked):
        assert time.monotonic() < ends_s, robot.statuses[-1].shadow[0]
        robot.tick()
    return robot.statuses[-1].shadow[0]


def total(status: ShadowStatus) -> int:
    return int(status.compared + status.skipped + status.lost + status.failed + status.not_finite)


def commands(robot: Robot) -> list[list[Any]]:
    """Return the content of all commands so far."""
    return [[list(np.ravel(getattr(each, name))) for name in FIELDS] for each in robot.commands]
