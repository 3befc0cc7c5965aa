# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the operator's node has seen of others, and the view of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from policy_msgs.msg import JointCommand, PolicyStatus, RobotStatus
from sensor_msgs.msg import BatteryState

from robot_operator.cockpit import Tone, View
from robot_operator.keys import CONFIRM, keys_of
from robot_operator.nodes.words import (
    STATES,
    Lines,
    battery_lines,
    driver_lines,
    input_lines,
    mode_of,
    next_step,
    policy_lines,
)
from robot_operator.pilot import Pilot
from robot_operator.requests import Request


@dataclass(slots=True)
class Seen:
    """The newest message of each kind, None where there is none that still counts."""

    policy: PolicyStatus | None = None
    policy_ns: int = 0
    """Time of receipt, steady clock."""
    driver: RobotStatus | None = None
    driver_ns: int = 0
    battery: BatteryState | None = None
    served: bool = False
    """Whether the services of the policy node are there."""

    def forget(self, before_ns: int) -> list[str]:
        """Forget statuses received before this time; return whose."""
        gone = []
        if self.policy is not None and self.policy_ns < before_ns:
            self.policy = None
            gone.append("policy")
        if self.driver is not None and self.driver_ns < before_ns:
            self.driver = None
            gone.append("driver")
        return gone


def view_of(
    seen: Seen, pilot: Pilot | None, rivals: Sequence[str], news: Sequence[str], now_ns: int
) -> View:
    """Return what a screen shows.

    Args:
        seen: The newest statuses.
        pilot: None before there is one.
        rivals: Who else commands velocities.
        news: What happened, the oldest first.
        now_ns: Steady clock.
    """
    policy, driver = seen.policy, seen.driver
    headline = "no policy node" if policy is None else mode_of(policy)
    lines = [("next", _next(seen)), *_pilot_lines(pilot, now_ns)]
    if driver is None:
        lines.append(("driver", "none: nothing to take control of"))
    else:
        lines += driver_lines(driver)
        headline += f" | robot: {STATES[driver.state]}"
    lines += battery_lines(seen.battery) if seen.battery is not None else []
    if policy is not None:
        lines = [("reason", policy.reason), *lines, *_policy_lines(policy)]
    if rivals:
        lines.insert(0, ("cmd_vel", f"others command velocities too: {', '.join(rivals)}"))
    return View(headline=headline, tone=_tone(policy, driver), lines=lines, news=news)


def _policy_lines(policy: PolicyStatus) -> Lines:
    """Return the rest of what the policy node says, its inputs in one line."""
    inputs = input_lines(policy)
    names = {"mode", "reason", *(name for name, _ in inputs)}
    rest = [(name, value) for name, value in policy_lines(policy) if name not in names and value]
    return [("inputs", ", ".join(f"{name} {value}" for name, value in inputs)), *rest]


def _next(seen: Seen) -> str:
    if seen.policy is not None and not seen.served:
        return "wait: the services of the policy node are not there yet"
    request, against = next_step(seen.policy, seen.driver)
    if request is None:
        return "; ".join(against) or "drive"
    name = f"{_words(request)} ({keys_of(request)})"
    return f"{name}: {'; '.join(against)}" if against else name


def _words(request: Request) -> str:
    return request.value.replace("_", " ")


def _pilot_lines(pilot: Pilot | None, now_ns: int) -> Lines:
    if pilot is None:
        return []
    keys, wish = pilot.keys, pilot.keys.wish(now_ns)
    drives = "let them go first" if keys.barred(now_ns) else f"{100.0 * keys.share:.0f} %"
    asked = [] if wish is None else [("confirm", f"{_words(wish)}: {CONFIRM.capitalize()}")]
    vx, vy, wz = pilot.velocity
    stick = pilot.joystick
    if not stick.present:
        heard = "none"
    elif stick.trouble:
        heard = stick.trouble
    else:
        heard = "dead-man's switch held" if stick.deadman else "there; hold the dead-man's switch"
    return [*asked,
            ("velocity", f"{vx:+.2f} m/s  {vy:+.2f} m/s  {wz:+.2f} rad/s; keys: {drives}"),
            ("joystick", heard)]


def _tone(policy: PolicyStatus | None, driver: RobotStatus | None) -> Tone:
    if policy is None:
        return Tone.UNKNOWN
    if policy.latched:
        return Tone.FAULT
    taking = driver is not None and driver.state == RobotStatus.TAKING
    return Tone.MOVING if taking or policy.mode != JointCommand.MODE_DAMP else Tone.AT_REST
