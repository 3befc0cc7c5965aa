# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Store the operator node's messages and events, and create the screen content from them."""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from policy_msgs.msg import JointCommand, PolicyStatus, RobotStatus
from sensor_msgs.msg import BatteryState

from policy_core.errors import printable
from robot_operator.cockpit import RobotCondition, View
from robot_operator.nodes.words import (
    STATES,
    Lines,
    battery_lines,
    describe_mode,
    driver_lines,
    input_lines,
    next_step,
    policy_lines,
)
from robot_operator.pilot import CONFIRM, Pilot, read_keys
from robot_operator.requests import OperatorRequest

_GONE = "the driver's status has stopped"
_KEPT = 50


@dataclass(slots=True)
class Seen:
    """The newest message of each kind; None if none is still valid."""

    policy: PolicyStatus | None = None
    policy_ns: int = 0
    """Receipt time of `policy`, on the steady clock."""
    driver: RobotStatus | None = None
    driver_ns: int = 0
    battery: BatteryState | None = None
    refused: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """By kind, why the newest unusable status was refused, and its receipt time."""
    served: bool = False
    """True if the services of the policy node are available."""

    @property
    def unfollowed(self) -> str:
        """Reason why the robot does not follow the policy node; empty if it may."""
        driver = self.driver  # another thread may replace it
        if driver is None:
            return _GONE if self.driver_ns else ""
        if driver.state == RobotStatus.FOLLOWING:
            return ""
        return f"the driver is in {STATES[driver.state]}: {driver.reason}"

    def refuse(self, kind: str, reason: str) -> bool:
        """Keep why a status was refused; return whether this begins a series of refusals."""
        begins = kind not in self.refused
        self.refused = {**self.refused, kind: (reason, time.monotonic_ns())}
        return begins

    def forget(self, before_ns: int) -> list[str]:
        """Drop the statuses received before this time; return their kinds."""
        gone = []
        self.refused = {
            kind: (reason, at_ns)
            for kind, (reason, at_ns) in self.refused.items()
            if at_ns >= before_ns
        }
        if self.policy is not None and self.policy_ns < before_ns:
            self.policy = None
            gone.append("policy")
        if self.driver is not None and self.driver_ns < before_ns:
            self.driver = None
            gone.append("driver")
        return gone


class OperatorNews:
    """Events, which are logged and kept for a screen."""

    def __init__(self, logger: Any) -> None:
        self._logger, self._lock = logger, threading.Lock()
        self._kept: deque[str] = deque(maxlen=_KEPT)
        self.refusal = ""
        """Refusal of the newest request; empty if it was not refused."""

    @property
    def newest(self) -> list[str]:
        """The newest events with their time of day, oldest first."""
        with self._lock:
            return [*self._kept]

    def refuse(self, text: str) -> None:
        """Report a refusal, and keep it until the next request."""
        self.refusal = text
        self.tell(text, wrong=True)

    def tell(self, text: str, *, wrong: bool = False) -> None:
        """Add an event; `wrong` marks it as abnormal."""
        for line in printable(text).split("\n"):
            with self._lock:
                self._kept.append(f"{time.strftime('%H:%M:%S')}  {line}")
            if wrong:
                self._logger.error(line)
            else:
                self._logger.info(line)


def make_view(
    seen: Seen, pilot: Pilot | None, rivals: Sequence[str], news: OperatorNews, now_ns: int
) -> View:
    """Return the content of a screen.

    Args:
        seen: The newest statuses.
        pilot: The pilot; None if there is none yet.
        rivals: Other nodes that command velocities.
        news: The events.
        now_ns: Current time on the steady clock.
    """
    policy, driver = seen.policy, seen.driver
    headline = "no policy node" if policy is None else describe_mode(policy)
    if policy is not None and policy.mode != JointCommand.MODE_DAMP and seen.unfollowed:
        headline += ", NOT FOLLOWED"
    refused = [("refused", news.refusal)] if news.refusal else []
    lines = [("next", _next(seen)), *refused, *_pilot_lines(pilot, now_ns)]
    if driver is None:
        lines.append(("driver", seen.unfollowed or "none: nothing to take control of"))
    else:
        lines += driver_lines(driver)
    if driver is not None or seen.unfollowed:
        headline += f" | robot: {'NO DRIVER' if driver is None else STATES[driver.state]}"
    lines += battery_lines(seen.battery) if seen.battery is not None else []
    if policy is not None:
        lines = [("reason", policy.reason), *lines, *_policy_lines(policy)]
    lines = [*((f"{kind} status", reason) for kind, (reason, _) in seen.refused.items()), *lines]
    if rivals:
        lines.insert(
            0, ("cmd_vel", f"other nodes publish velocity commands too: {', '.join(rivals)}")
        )
    return View(headline=headline, condition=_condition(seen), lines=lines, news=news.newest)


def _policy_lines(policy: PolicyStatus) -> Lines:
    """Return the policy node's status without mode and reason, and with all inputs on one line."""
    inputs = input_lines(policy)
    names = {"mode", "reason", *(name for name, _ in inputs)}
    rest = [(name, value) for name, value in policy_lines(policy) if name not in names and value]
    return [("inputs", ", ".join(f"{name} {value}" for name, value in inputs)), *rest]


def _next(seen: Seen) -> str:
    if seen.driver is None and seen.unfollowed:
        return seen.unfollowed
    if seen.policy is not None and not seen.served:
        return "wait: the policy node's services are not available yet"
    request, against = next_step(seen.policy, seen.driver)
    if request is None:
        return "; ".join(against) or "drive"
    name = f"{_words(request)} ({read_keys(request)})"
    return f"{name}: {'; '.join(against)}" if against else name


def _words(request: OperatorRequest) -> str:
    return request.value.replace("_", " ")


def _pilot_lines(pilot: Pilot | None, now_ns: int) -> Lines:
    if pilot is None:
        return []
    keys, wish = pilot.keys, pilot.keys.wish(now_ns)
    drives = "release them first" if keys.barred(now_ns) else f"{100.0 * keys.share:.0f} %"
    asked = [] if wish is None else [("confirm", f"{_words(wish)}: {CONFIRM.capitalize()}")]
    vx, vy, wz = pilot.velocity
    stick = pilot.joystick
    if not stick.present:
        heard = "none"
    elif stick.trouble:
        heard = stick.trouble
    else:
        heard = f"connected; {stick.hint}" if stick.hint else "dead-man's switch held"
    return [
        *asked,
        ("velocity", f"{vx:+.2f} m/s  {vy:+.2f} m/s  {wz:+.2f} rad/s; keys: {drives}"),
        ("joystick", heard),
    ]


def _condition(seen: Seen) -> RobotCondition:
    if seen.policy is None or seen.unfollowed == _GONE:
        return RobotCondition.UNKNOWN
    if seen.policy.latched:
        return RobotCondition.FAULT
    if seen.driver is not None and seen.driver.state == RobotStatus.TAKING:
        return RobotCondition.MOVING
    damped = seen.policy.mode == JointCommand.MODE_DAMP or seen.unfollowed
    return RobotCondition.AT_REST if damped else RobotCondition.MOVING
