# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs one case; determines its outcome and the time until the robot was damped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from examples.demos.runner import LoggedProcess
from lite3_driver.wire import Oddity
from robot_operator.requests import OperatorError
from tools.robot_faults.cases import WATCHED_MS, BadStart, Case
from tools.robot_faults.stack import Stack
from unitree_driver.reception import StateOddity

NS_PER_MS = 1_000_000
_LATEST_S = 10.0
"""Maximum wait until the drives are damped."""
_LASTS_S, QUIET_S = 0.5, 2.0
"""Time for which an emulator's fault lasts after damping, so that the driver keeps control; time
for which the aftermath is watched."""
_READY_S = 4.0
_LEAVE_NOTHING = ("robot", "network")
"""Groups of faults that the emulator can end again."""
_STALLED = "the machine is too busy"
_BY_STALLS = (" ms old", "no recent state from the robot", "the newest joint_command has expired")
"""Reasons for damping that a busy machine may also cause."""
_EARLY_NS = 20 * NS_PER_MS
"""Maximum error in the start time of a planned fault, which is set on the emulator's clock."""

_CODES = dict.fromkeys(
    [
        *("old", "frozen_imu", "implausible", "foreign"),
        *(oddity.value for oddity in (*Oddity, *StateOddity)),
    ]
)
_INCIDENTAL = 10
"""Number of rejected frames that another cause may explain."""
MakeStack = Callable[..., Stack]
"""Starts the processes of a robot; takes the arguments of `Stack`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Outcome of a case.

    Attributes:
        group, what: Same as in the case.
        within_ms: Same as in the case; None for a start that must be refused.
        ended: Final reports of driver, policy and host.
        damped_ms: Time from the start of the fault to damped drives; None if the robot goes on.
        as_wanted: True if the outcome is the expected one.
    """

    group: str
    what: str
    within_ms: int | None = None
    ended: str
    damped_ms: float | None
    as_wanted: bool


class KeptRobot:
    """Holds a robot that can move again after a case, so that the next case can use it."""

    def __init__(self) -> None:
        self._robot: Stack | None = None

    def take(self, make: MakeStack) -> Stack | None:
        """Return the kept robot if it is the kind `make` makes and moves again; else end it."""
        robot, self._robot = self._robot, None
        if robot is not None and type(robot) is make and _sets_off(robot):
            return robot
        if robot is not None:
            robot.end()
        return None

    def keep(self, robot: Stack) -> None:
        self._robot = robot


def goes_on(robot: Stack) -> bool:
    return robot.operator.mode == "RUN" and robot.phase == "FOLLOWING"


def _sets_off(robot: Stack) -> bool:
    """End a robot's faults; return True if the robot goes on, or stands up and moves again."""
    try:
        robot.set_faults()
        if not goes_on(robot):
            robot.set_off_again()
    except OperatorError:
        return False
    return True


def try_case(make: MakeStack, case: Case, folder: Path, kept: KeptRobot | None = None) -> Ending:
    """Make a robot move, or use the kept one; then cause the fault, and watch."""
    with ExitStack() as opened:
        robot = kept.take(make) if kept else None
        if robot is None:
            robot = opened.enter_context(make(folder))
            robot.walk()
        else:
            opened.push(robot)
        counted = robot.details()
        began_ns = case.act(robot) - _EARLY_NS
        robot.expect_deaths()
        damped_ns = _wait_for_damping(robot, began_ns)
        if damped_ns is not None:
            robot.operator.wait(_LASTS_S)
        said = _said(robot, began_ns)
        said += [f"frames rejected as `{code}`" for code in _rejected(counted, robot.details())]
        # The policy may keep running: the driver follows again only from a command in MODE_DAMP on.
        given_up = robot.phase != "FOLLOWING"
        if damped_ns is not None:
            if case.group in _LEAVE_NOTHING and not case.taken_over:
                robot.set_faults()
            robot.operator.wait(QUIET_S)
        again = damped_ns is not None and any(
            event.event == "following" for event in robot.events_since(damped_ns)
        )
        went_on = damped_ns is None and goes_on(robot)
        emulated = robot.emulator.status is None
        alive = [node.status is None for node in (robot.emulator, robot.driver, robot.policy)]
        followed = robot.phase == "FOLLOWING"
        if kept and all(alive) and followed and case.group in _LEAVE_NOTHING:
            kept.keep(robot)
            opened.pop_all()
    first = ["moved again"] if again else ["goes on"] if went_on else []
    ended = "; ".join([*first, *said])
    damped_ms = (
        None if damped_ns is None else max(0.0, (damped_ns - began_ns - _EARLY_NS) / NS_PER_MS)
    )
    in_time = damped_ms is not None and damped_ms <= case.within_ms
    unexpected = damped_ms is not None and (case.goes_on is not False or not in_time)
    if unexpected and case.group != "processes":  # whose faults may themselves be stalls
        _require_undisturbed(ended)
    damped = in_time and not again
    wanted = went_on if case.goes_on else given_up if case.taken_over else damped
    if case.goes_on is None:
        wanted = went_on or damped
    return Ending(
        group=case.group,
        what=case.what,
        within_ms=case.within_ms,
        as_wanted=wanted and emulated,
        ended=ended,
        damped_ms=damped_ms,
    )


def _require_undisturbed(ended: str) -> None:
    """Raise OperatorError if stalls of the machine may have caused or delayed the damping."""
    if _STALLED in ended and any(reason in ended for reason in _BY_STALLS):
        raise OperatorError(f"expected a machine without other work, found: {ended}")


def try_bad_start(make: MakeStack, start: BadStart, folder: Path) -> Ending:
    """Request control with a fault that is present from the start."""
    with (
        start.beside() as parameters,
        make(folder, emulator=start.emulator, driver={**start.driver, **parameters}) as robot,
    ):
        robot.expect_deaths()
        start.act(robot)
        success, message = _ask_for_control(robot)
        events = [
            event.event
            for event in robot.events()
            if event.event in ("folding", "following") and "another" not in event.who
        ]
    as_wanted = not success and start.says in message and not events
    return Ending(
        group="start",
        what=start.what,
        damped_ms=None,
        as_wanted=as_wanted,
        ended=f"{message}{''.join(f'; {what}' for what in events)}",
    )


def _ask_for_control(robot: Stack) -> tuple[bool, str]:
    """Return the driver's answer, or its last words if it has exited instead."""
    driver = robot.driver
    try:
        robot.wait_until(
            lambda: robot.driver_status is not None or driver.status is not None,
            "a status of the driver, or its end",
        )
        if driver.status is None:
            # the fault becomes visible after some frames
            robot.operator.wait(_READY_S)
            return robot.ask_driver("take_control")
    except OperatorError:
        if driver.status is None:
            raise
    return False, _last_words(driver)


def _wait_for_damping(robot: Stack, began_ns: int) -> int | None:
    """Return the time of damping, ns on the system clock; None if the drives were not damped."""
    while True:
        robot.operator.wait(0.1)
        for event in robot.events_since(began_ns):
            if event.event == "damped":
                return event.unix_ns
        after_ms = (time.time_ns() - began_ns) / NS_PER_MS
        if after_ms > (WATCHED_MS if goes_on(robot) else _LATEST_S * 1e3):
            return None


def _rejected(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the codes of the driver's reasons for rejecting frames, from its details."""
    return [
        code for code in _CODES if int(after.get(code, 0)) > int(before.get(code, 0)) + _INCIDENTAL
    ]


def _said(robot: Stack, began_ns: int) -> list[str]:
    """Return the reports of the driver, the policy node and the host."""
    said = []
    if robot.emulator.status is not None:
        said.append(f"emulator exited with status {robot.emulator.status}")
    if robot.driver.status is not None:
        said.append(f"driver exited with status {robot.driver.status}")
    elif robot.driver_status is not None:
        said.append(f"driver {robot.phase}: {robot.driver_status.reason}")
    if robot.policy.status is not None:
        said.append(f"policy node exited with status {robot.policy.status}")
    else:
        said.append(f"policy {robot.operator.mode}: {robot.operator.status.reason}")
    seen = dict.fromkeys(event.event for event in robot.events_since(began_ns))
    of_host = [_HOST_EVENTS[what] for what in seen if what in _HOST_EVENTS]
    return [*said, f"host: {', '.join(of_host)}"] if of_host else said


_HOST_EVENTS = {
    "control_given_back": "control given back",
    "watchdog": "watchdog",
    "stopped": "switched off",
    "started": "switched on",
    "control_refused": "refused another",
    "mode_returned": "its own controller came back",
    "mode_selected": "its own controller selected",
}


def _last_words(node: LoggedProcess) -> str:
    lines = [line for line in node.output().splitlines() if line.strip()]
    return f"status {node.status}: {lines[-1] if lines else 'nothing'}"
