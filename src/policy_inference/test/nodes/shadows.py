# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of shadows of both kinds of policies share."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_msgs.msg import JointCommand, ShadowStatus
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from policy_inference.backends.registry import GROUP
from policy_inference.interfaces import Mode
from policy_inference.shadow.slots import SLOTS
from policy_inference.testing.bundles import register
from policy_inference.testing.process import children

from .harness import Robot, StageOf
from .shadow_backends import SLOW_S, Faulty

Walk = Callable[[int, Callable[[int], None]], None]
"""Ticks so many times with sensor values that change, and calls a function before each tick."""

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
    # What these two hit is chance: the node gives up, or gets no answers any more.
    ("garbage", "shadow: "),
    ("answers", "shadow: "),
    ("cuts", ""),
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
        lambda: robot.tick() and robot.statuses and condition(robot.statuses[-1].shadow[0]),
        what,
        IDLE_S,
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


def assert_commands_stay(
    stage: StageOf[Any, Any],
    bundle: Path,
    folder: Path,
    begin: Callable[[], None],
    walk: Walk,
    *,
    fault: str,
    reason: str,
) -> None:
    """Require the commands of a run without a shadow, bit for bit, beside one that has a fault.

    Args:
        stage: Without nodes yet.
        bundle: Of the policy, and of its shadow on the back end `faulty`.
        folder: For the file that says what goes wrong.
        begin: Brings the sensors' values to those from which the robot stands up, and ticks.
        walk: The run.
        fault: One of FAULTS or MISCHIEF, in the middle of the run.
        reason: Beginning of the problem that is reported; empty: none is.
    """
    node, robot = (
        stage.node(bundle=str(bundle), use_sim_time=True, status_rate_hz=20.0),
        stage.robot,
    )
    plain, status = _run(node, robot, begin, lambda: walk(3 * SLOTS, lambda _: None))
    node.trigger_deactivate()
    node.trigger_cleanup()
    before = children()

    def act(tick: int) -> None:
        if tick == SLOTS // 2 and fault.startswith("SIG"):
            (process,) = children() - before
            os.kill(process, getattr(signal, fault))
        elif tick == SLOTS // 2:
            (folder / "fault").write_text(fault)

    shadow = {
        "shadow_bundle": str(bundle),
        "shadow_backend": "faulty",
        "backend_options": f"faulty.fault={folder / 'fault'}",
    }
    for result in node.set_parameters([Parameter(k, value=v) for k, v in shadow.items()]):
        assert result.successful, result.reason
    found, beside = _run(node, robot, begin, lambda: walk(3 * SLOTS, act))

    assert found == plain
    assert not beside.latched
    assert [(c.name, c.count) for c in beside.guard_counters] == [
        (c.name, c.count) for c in status.guard_counters
    ]
    if reason:
        # A machine that is busy may first be the cause that there is no answer.
        shadow_of(robot, lambda shadow: shadow.problem.startswith(reason), reason)
    if fault == "SIGSTOP":
        assert beside.shadow[0].lost > 0
    if fault == "nan":
        shadow_of(robot, lambda shadow: shadow.not_finite > 0, "answers")
    if fault == "slow":
        shadow_of(robot, lambda shadow: shadow.duration_max_s >= SLOW_S, "a slow answer")


def _run(
    node: Any, robot: Any, begin: Callable[[], None], walk: Callable[[], None]
) -> tuple[list[list[Any]], Any]:
    """Configure the node, run in lockstep, no tick missed; return all commands, the last status."""
    assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
    robot.is_met()
    missed = _next_status(robot).ticks_missed
    robot.commands.clear()
    begin()
    robot.request("stand")
    for _ in range(10):
        robot.tick()
    robot.request("run")
    walk()
    assert robot.commands[-1].mode == Mode.RUN
    found, status = commands(robot), _next_status(robot)
    assert status.ticks_missed == missed
    return found, status


def _next_status(robot: Any) -> Any:
    robot.statuses.clear()
    robot.until(lambda: robot.tick() and robot.statuses, "a status")
    return robot.statuses[-1]
