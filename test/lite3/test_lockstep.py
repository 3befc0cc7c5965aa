# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policy, driver and motion host in one loop, in lockstep: no sockets, no clock, no ROS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lite3_driver.wire import JOINT_NAMES
from policy_core.interfaces import Mode
from robot_driver.interfaces import DriverPhase
from robot_sim.lite3_host import Lite3Fault
from testkit.wire_policy import VALID_FOR_NS, WirePolicy

from .lockstep import BUNDLE, MS, Robot

BOTH = ("state", "command")
SPEED = 0.5


@pytest.fixture
def shipped_policy() -> Iterator[WirePolicy]:
    opened = WirePolicy(BUNDLE, JOINT_NAMES)
    yield opened
    opened.close()


@pytest.fixture
def lite3_walker(shipped_policy: WirePolicy) -> Robot:
    """A robot under control, its policy in RUN."""
    robot = Robot(shipped_policy)
    robot.take_control()
    robot.stand_and_run()
    return robot


def goes_ahead(robot: Robot) -> bool:
    """Return whether the robot follows its command to go ahead, after some time to begin."""
    robot.policy.velocity = (SPEED, 0.0, 0.0)
    robot.run(1.0)
    vx, vy = robot.mean_velocity(1.0)
    return abs(vx - SPEED) < 0.1 and abs(vy) < 0.1 and robot.world.upright


def test_a_robot_is_taken_walks_and_is_given_back(shipped_policy: WirePolicy) -> None:
    robot = Robot(shipped_policy, in_full=True)
    robot.take_control()
    robot.stand_and_run()
    assert goes_ahead(robot)

    shipped_policy.velocity = (0.0, 0.0, 0.0)
    robot.run(1.0)
    robot.link.release("asked", robot.world.time_ns)
    robot.run(2.1)

    assert [answer.success for answer in robot.answers] == [True]
    assert robot.happened == [
        "folding",
        "control_taken",
        "following",
        "damped",
        "control_given_back",
    ]
    assert robot.link.report(robot.world.time_ns).largest_gap_s <= 0.002


@pytest.mark.slow
def test_a_policy_that_stalls_is_damped_in_time_and_not_followed_when_it_goes_on(
    lite3_walker: Robot,
) -> None:
    lite3_walker.policy.velocity = (SPEED, 0.0, 0.0)
    lite3_walker.run(0.5)

    stalled_ns, lite3_walker.policy.stalls = lite3_walker.world.time_ns, True
    lite3_walker.run(0.3)
    damped = lite3_walker.events[-1]
    assert damped.what == "damped"
    assert damped.time_ns - stalled_ns <= VALID_FOR_NS + 2 * MS
    assert "watchdog" not in lite3_walker.happened

    lite3_walker.policy.stalls = False
    lite3_walker.run(0.3)
    # It goes on where it was, in RUN or in what that led to, and no driver follows it.
    assert lite3_walker.events[-1] is damped


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["loss=0.2", "reorder=0.2", "duplicate=0.2"])
def test_a_poor_network_is_walked_over(shipped_policy: WirePolicy, kind: str) -> None:
    name, _, share = kind.partition("=")
    robot = Robot(
        shipped_policy,
        faults=[Lite3Fault(kind=name, target=way, value=float(share)) for way in BOTH],
    )
    robot.take_control()
    robot.stand_and_run()

    assert goes_ahead(robot)
    assert "watchdog" not in robot.happened
    assert shipped_policy.controller.mode is Mode.RUN


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "target", "value", "duration_s"),
    [
        ("forged", "state", 5000, 0.001),
        ("forged", "state", 5000, 1.0),
        ("forged", "state", 40, 0.001),
        ("nan", "contact.force", 0.0, 1.0),
    ],
)
def test_a_lie_in_the_hosts_name_and_contact_forces_that_are_no_numbers_are_walked_over(
    lite3_walker: Robot, kind: str, target: str, value: float, duration_s: float
) -> None:
    lite3_walker.fail(kind=kind, target=target, value=value, duration_s=duration_s, in_s=0.5)

    assert goes_ahead(lite3_walker)
    assert lite3_walker.phase() is DriverPhase.FOLLOWING
    assert "damped" not in lite3_walker.happened


@pytest.mark.slow
def test_a_host_that_took_control_back_is_found_out(lite3_walker: Robot) -> None:
    lite3_walker.fail(kind="deaf", target="command", duration_s=0.2)

    lite3_walker.run(1.0)

    assert lite3_walker.happened[-2:] == ["watchdog", "damped"]
    assert lite3_walker.phase() is DriverPhase.RELEASING
    assert "ignores commands" in lite3_walker.link.reason
