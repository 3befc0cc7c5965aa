# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Fault cases: each starts a fault in a moving robot, and returns the start time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from std_msgs.msg import Bool

from robot_sim.faults import STREAM_FIELDS
from tools.robot_faults.stack import Stack

_STREAMS = ("joint_states", "imu", "contact")
"""The robot data in a state message."""
_UNREAD = ("contact.force",)
"""Fields that may be NaN: neither driver nor policy reads them."""
_NOISE = (0.01, 0.2, 0.5, 0.01, 0.05, 0.5, 5.0)
"""Noise for the streams' fields, each in the field's unit."""
_LATE_S, _SLOW_S = 0.03, 3.0
_WAYS = ("state", "command")
WATCHED_MS = 5000
SOON_MS = 250
"""Time limit for damping after a request, after data is lost, rejected or not finite, and after
commands are no longer renewed. Drivers allow 100 ms, and 150 ms for an IMU whose values do not
change; commands to an arm are valid for 200 ms.
"""
Act = Callable[[Stack], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A fault case.

    Attributes:
        group: Part of the table that lists the case.
        what: Text for the table.
        act: Starts the fault; returns the start time, ns on the system clock.
        goes_on: True if the robot should go on, False if it should be damped, None if the physics
            decides.
        within_ms: Time limit from the fault until the robot is damped.
        taken_over: True if another controller then drives the robot, so that the driver need only
            give up control.
    """

    group: str
    what: str
    act: Act
    goes_on: bool | None = False
    within_ms: int = WATCHED_MS
    taken_over: bool = False


def _nothing() -> AbstractContextManager[Mapping[str, Any]]:
    return nullcontext({})


@dataclass(frozen=True, slots=True, kw_only=True)
class BadStart:
    """A fault that is present before control is requested.

    Attributes:
        what: Text for the table.
        says: Words that the refusal must contain.
        emulator, driver: Parameters that cause the fault.
        beside: Context in which the whole case runs; yields further parameters for the driver.
        act: Called before control is requested.
    """

    what: str
    says: str
    emulator: Mapping[str, Any] = field(default_factory=dict)
    driver: Mapping[str, Any] = field(default_factory=dict)
    beside: Callable[[], AbstractContextManager[Mapping[str, Any]]] = _nothing
    act: Callable[[Stack], None] = lambda robot: None


def of_the_robot(*legs: str) -> list[Case]:
    """Return cases with the faults of `robot_sim`.

    Args:
        legs: Motors without which the robot cannot stand.
    """
    fields = [f"{stream}.{field}" for stream in _STREAMS for field in STREAM_FIELDS[stream]]
    damped_soon = [
        *(f"drop:{stream}" for stream in _STREAMS),
        "freeze:imu",
        *(f"nan:{field}" for field in fields if field not in _UNREAD),
        "order:joint_states",
    ]
    damped = [
        "freeze:joint_states",
        "zero:joint_states.velocity",
        "bias:imu.angular_velocity=0.5",
        "reverse:imu.linear_acceleration",
        f"stuck:{legs[1]}",
    ]
    walked = [
        "drop:joint_states+0.03",
        "freeze:joint_states+0.03",
        "freeze:contact",
        *(f"nan:{field}" for field in _UNREAD),
        *(f"nan:{field}+0.02" for field in fields),
        *(f"noise:{field}={sigma:g}" for field, sigma in zip(fields, _NOISE, strict=True)),
        "latency:command=0.02",
        *(f"push:{side}+0.1=100" for side in ("front", "rear", "left", "right")),
    ]
    either = [
        *(f"{kind}:{stream}={_LATE_S}" for stream in _STREAMS for kind in ("slow", "late")),
        *(f"drop:{stream}+0.03" for stream in ("imu", "contact")),
        *(f"hold:{field}" for field in fields),
        f"swapped:{legs[1]}.{legs[2]}",
        f"motor_off:{legs[1]}+0.1",
    ]
    return [
        *(planned("robot", text, within_ms=SOON_MS) for text in damped_soon),
        *(planned("robot", text) for text in damped),
        planned("robot", *(f"motor_off:{joint}" for joint in legs)),
        *(planned("robot", text, goes_on=True) for text in walked),
        *(planned("robot", text, goes_on=None) for text in either),
    ]


def of_the_network() -> list[Case]:
    """Return cases in which the network loses, delays, reorders or duplicates messages."""
    both = [
        f"{kind}:{{}}={share:g}"
        for kind, share in (("loss", 0.2), ("reorder", 0.1), ("duplicate", 0.5), ("delay", 0.005))
    ]
    return [
        *(planned("network", f"loss:{way}=0.2", goes_on=True) for way in _WAYS),
        *(
            planned("network", text.format("state"), text.format("command"), goes_on=True)
            for text in both
        ),
    ]


def of_a_lost_link() -> list[Case]:
    """Return cases in which no usable data arrives, permanently or for a while."""
    down = ("silent:state", "deaf:command")
    return [
        *(
            planned("network", text, within_ms=SOON_MS)
            for text in ("silent:state", "restart:host", "repeat:state", "garbage:state")
        ),
        *(planned("network", f"{kind}:command") for kind in ("deaf", "repeat", "garbage")),
        *(planned("network", f"slow:{way}={_LATE_S}", goes_on=None) for way in _WAYS),
        planned("network", "restart:host+0.5"),
        *(
            planned("network", *(f"{text}+{for_s:g}" for text in down), goes_on=for_s < 0.04)
            for for_s in (0.03, 0.5, 3.0)
        ),
    ]


def of_processes() -> list[Case]:
    """Return cases in which processes end or hang, named like an emulator's faults."""

    def add(
        fault: str, act: Act, *, goes_on: bool | None = False, within_ms: int = WATCHED_MS
    ) -> Case:
        return Case(
            group="processes", what=f"`{fault}`", act=act, goes_on=goes_on, within_ms=within_ms
        )

    return [
        *(
            add(f"{kind}:{name}", partial(_send, number, pids), within_ms=within_ms)
            for kind, number in (("killed", signal.SIGKILL), ("hangs", signal.SIGSTOP))
            for name, pids, within_ms in _PROCESSES
        ),
        *(
            add(f"{fault}:{name}{more}", partial(_halt, pids, stops_s, runs_s), goes_on=None)
            for name, pids, _ in _PROCESSES
            if name != "both"
            for fault, more, stops_s, runs_s in (
                ("hangs", "+0.5", 0.5, 0.0),
                ("slow", "", 0.01, 0.01),
            )
        ),
        *(
            add(f"gone:driver={number.name}", partial(_group, "driver", number))
            for number in (signal.SIGINT, signal.SIGTERM)
        ),
        add("gone:policy=SIGINT", partial(_group, "policy", signal.SIGINT), within_ms=SOON_MS),
        add("again:policy", _restart_policy, within_ms=SOON_MS),
        add("again:both", _restart_both),
        add("second:policy", _start_second_policy, goes_on=True),
    ]


_PROCESSES: Sequence[tuple[str, Callable[[Stack], list[int]], int]] = (
    ("driver", lambda robot: [robot.driver.pid], WATCHED_MS),
    ("link", lambda robot: [robot.link_pid()], WATCHED_MS),
    ("both", lambda robot: [robot.link_pid(), robot.driver.pid], WATCHED_MS),
    ("policy", lambda robot: [robot.policy.pid], SOON_MS),
)
"""Names of processes, their ids, and limits (ms) for damping after their end."""


def _send(number: signal.Signals, pids: Callable[[Stack], list[int]], robot: Stack) -> int:
    return robot.signal(number, *pids(robot))


def _halt(pids: Callable[[Stack], list[int]], stops_s: float, runs_s: float, robot: Stack) -> int:
    """Stop a process for a while: once, or repeatedly if `runs_s` is not 0."""
    (halted,) = pids(robot)
    began_ns = time.time_ns()
    with suppress(ProcessLookupError):  # the driver ends a link that hangs
        for _ in range(round(_SLOW_S / (stops_s + runs_s)) if runs_s else 1):
            robot.signal(signal.SIGSTOP, halted)
            time.sleep(stops_s)
            robot.signal(signal.SIGCONT, halted)
            time.sleep(runs_s)
    return began_ns


def of_people() -> list[Case]:
    """Return cases in which people ask the robot to stop moving."""

    def add(what: str, act: Act, within_ms: int = SOON_MS) -> Case:
        return Case(group="people", what=what, act=act, within_ms=within_ms)

    return [
        add("e-stop by topic", _press),
        add("policy e-stop by service", partial(_ask_policy, "estop")),
        add("`damp` requested from the policy", partial(_ask_policy, "damp")),
        add("`damp` requested from the driver", partial(_ask_driver, "damp")),
        add(
            "`release_control` while the robot walks",
            partial(_ask_driver, "release_control"),
            WATCHED_MS,
        ),
    ]


def planned(
    group: str,
    *faults: str,
    goes_on: bool | None = False,
    within_ms: int = WATCHED_MS,
    taken_over: bool = False,
) -> Case:
    """Return the case with these emulator faults, which also serve as its name."""
    return Case(
        group=group,
        what=", ".join(f"`{text}`" for text in faults),
        act=lambda robot: robot.fail(*faults),
        goes_on=goes_on,
        within_ms=within_ms,
        taken_over=taken_over,
    )


def _group(name: str, number: signal.Signals, robot: Stack) -> int:
    """Send a signal to a process and its children, as a terminal does."""
    robot.expect_deaths()
    now_ns = time.time_ns()
    getattr(robot, name).send(number)
    return now_ns


def _restart_policy(robot: Stack) -> int:
    began_ns = robot.kill(robot.policy.pid)
    robot.start_policy()
    return began_ns


def _start_second_policy(robot: Stack) -> int:
    robot.start_second_policy()
    robot.wait_until(
        lambda: robot.details().get("command_ignored", "0") != "0", "commands of the second node"
    )
    return time.time_ns()


def _restart_both(robot: Stack) -> int:
    began_ns = robot.kill(robot.policy.pid, robot.driver.pid)
    link = robot.driver.wait()
    assert link != 0
    robot.start_driver()
    robot.start_policy()
    robot.wait_until(lambda: robot.driver_status is not None, "a status of the new driver")
    return began_ns


def _press(robot: Stack) -> int:
    button = robot.operator.node.create_publisher(Bool, "estop", 1)
    robot.wait_until(
        lambda: button.get_subscription_count() >= robot.estop_listeners, "who listens to estop"
    )
    now_ns = time.time_ns()
    button.publish(Bool(data=True))
    return now_ns


def _ask_policy(request: str, robot: Stack) -> int:
    now_ns = time.time_ns()
    robot.operator.demand(request)
    return now_ns


def _ask_driver(request: str, robot: Stack) -> int:
    now_ns = time.time_ns()
    robot.ask_driver(request)
    return now_ns
