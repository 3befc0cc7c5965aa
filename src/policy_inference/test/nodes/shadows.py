# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Robots whose sensors change while a shadow looks on, and what is reported of it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from policy_msgs.msg import JointCommand, ShadowStatus

from policy_core.interfaces import Mode

from .harness import Robot
from .kinds import CHUNK, Kind

Each = Callable[[int], None]
IDLE_S = 120.0
FIELDS = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit", "mode")
FAULTS = {
    "nan": "",
    "slow": "",
    "segfault": "shadow: its process exited with status -11",
    "SIGSTOP": "",
    # What no runtime should do. Where this gives a problem, what it hits is chance: the node gives
    # up, or gets no answers any more.
    "garbage": "shadow: ",
    "answers": "shadow: ",
    "cuts": "",
}
"""Of `shadow_backends.Faulty`, and signals to its process; with the beginning of the problem that
is reported, empty where none is."""


def moves_sensors(robot: Any, kind: Kind, ticks: int, each: Each = lambda _: None) -> None:
    """Tick with sensor values that change, and call a function before each tick."""
    for number in range(ticks):
        if kind is CHUNK:
            robot.colours["front"] = (60 + 11 * number % 180, 7 * number % 200, 100)
            robot.colours["wrist"] = (5 * number % 200, 0, 0)
        else:
            robot.position = [0.2 + 0.1 * math.sin(number), -0.2 + 0.05 * math.cos(number)]
            robot.velocity = [0.3 * math.cos(number), 0.1]
            robot.ang_vel = 0.2 * math.sin(0.7 * number)
        each(number)
        robot.tick()


def rests_sensors(robot: Any, kind: Kind) -> None:
    """Bring the sensors' values to those from which the robot stands up, and tick."""
    if kind is CHUNK:
        moves_sensors(robot, kind, 1)
        return
    robot.position, robot.velocity, robot.ang_vel = robot.stand, (0.0, 0.0), 0.0
    robot.tick()


def shadow_of(robot: Robot, condition: Callable[[ShadowStatus], object], what: str) -> ShadowStatus:
    """Wait for a status whose shadow fulfils a condition; return what it says of the shadow.

    On a busy machine that takes long: the shadow runs only when nothing else wants the core.
    Simulated time passes by one tick per status, so that whoever records these ticks keeps up.
    """

    def is_so() -> object:
        if not robot.statuses:
            return False
        found = condition(robot.statuses[-1].shadow[0])
        if not found:
            robot.statuses.clear()
            robot.tick()
        return found

    robot.until(is_so, what, IDLE_S)
    return robot.statuses[-1].shadow[0]


def settled(robot: Robot, since: int = 0) -> ShadowStatus:
    """Leave RUN; return the status in which all ticks in RUN have been answered.

    Args:
        robot: Ticks on.
        since: Number of commands before the first one that counts.
    """
    robot.request("damp")
    robot.tick()
    asked = sum(each.mode == JointCommand.MODE_RUN for each in robot.commands[since:])
    return shadow_of(robot, lambda shadow: answered(shadow) == asked, f"{asked} answers")


def answered(status: ShadowStatus) -> int:
    return int(status.compared + status.skipped + status.lost + status.failed + status.not_finite)


def run_of_commands(
    robot: Robot, kind: Kind, ticks: int, each: Each = lambda _: None
) -> tuple[list[list[Any]], Any]:
    """Run in lockstep, no tick missed; return the content of all commands, and the last status."""
    robot.is_met()
    missed = robot.newest().ticks_missed
    robot.commands.clear()
    rests_sensors(robot, kind)
    robot.request("stand")
    robot.ticks(10)
    robot.request("run")
    moves_sensors(robot, kind, ticks, each)
    assert robot.commands[-1].mode == Mode.RUN
    found = [[list(np.ravel(getattr(each, name))) for name in FIELDS] for each in robot.commands]
    status = robot.newest()
    assert status.ticks_missed == missed
    return found, status
