# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policy, driver and motion host in one loop, in lockstep: no sockets, no clock, no ROS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from policy_inference.interfaces import Mode
from robot_driver.interfaces import DriverPhase
from robot_sim.driven import NS_PER_S
from robot_sim.lite3_host import Lite3Fault, Lite3FaultPlan

from .lockstep import MS, VALID_FOR_NS, Policy, Robot

BOTH = ("state", "command")
SPEED = 0.5


@pytest.fixture
def policy() -> Iterator[Policy]:
    """The policy that ships with the suite."""
    opened = Policy()
    yield opened
    opened.close()


def walks(robot: Robot) -> bool:
    """Return whether the robot follows its command to go ahead, after some time to begin."""
    robot.policy.velocity = (SPEED, 0.0, 0.0)
    robot.run(1.0)
    vx, vy = robot.mean_velocity(1.0)
    return abs(vx - SPEED) < 0.1 and abs(vy) < 0.1 and robot.world.upright


def test_a_robot_is_taken_walks_and_is_given_back(policy: Policy) -> None:
    robot = Robot(policy, in_full=True)
    robot.take_control()
    robot.stand_and_run()
    assert walks(robot)

    policy.velocity = (0.0, 0.0, 0.0)
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
def test_a_policy_that_stalls_is_damped_in_time_and_walks_again_when_asked(policy: Policy) -> None:
    robot = Robot(policy)
    robot.take_control()
    robot.stand_and_run()
    robot.policy.velocity = (SPEED, 0.0, 0.0)
    robot.run(1.0)

    stalled_ns, policy.stalls = robot.world.time_ns, True
    robot.run(1.0)
    damped = robot.events[-1]
    assert damped.what == "damped"
    assert damped.time_ns - stalled_ns <= VALID_FOR_NS + 2 * MS
    assert "watchdog" not in robot.happened

    policy.stalls = False
    robot.run(1.0)
    # It goes on where it was, in RUN or in what that led to, and no driver follows it.
    assert robot.events[-1] is damped
    policy.controller.reset()
    policy.controller.damp()
    policy.velocity = (0.0, 0.0, 0.0)
    robot.run(0.5)
    robot.stand_and_run()
    assert robot.phase() is DriverPhase.FOLLOWING
    assert walks(robot)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["loss=0.2", "reorder=0.2", "duplicate=0.2"])
def test_a_poor_network_is_walked_over(policy: Policy, kind: str) -> None:
    name, _, share = kind.partition("=")
    robot = Robot(
        policy, faults=[Lite3Fault(kind=name, target=way, value=float(share)) for way in BOTH]
    )
    robot.take_control()
    robot.stand_and_run()

    assert walks(robot)
    assert "watchdog" not in robot.happened
    assert policy.controller.mode is Mode.RUN


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
    policy: Policy, kind: str, target: str, value: float, duration_s: float
) -> None:
    robot = Robot(policy)
    robot.take_control()
    robot.stand_and_run()
    robot.host.adopt(
        Lite3FaultPlan(
            [
                Lite3Fault(
                    kind=kind,
                    target=target,
                    value=value,
                    duration_s=duration_s,
                    start_s=robot.world.time_ns / NS_PER_S + 0.5,
                )
            ]
        )
    )

    assert walks(robot)
    assert robot.phase() is DriverPhase.FOLLOWING
    assert "damped" not in robot.happened


@pytest.mark.slow
def test_a_host_that_goes_silent_is_damped_and_left(policy: Policy) -> None:
    robot = Robot(policy)
    robot.take_control()
    robot.stand_and_run()
    silent_ns = robot.world.time_ns
    robot.host.adopt(Lite3FaultPlan([Lite3Fault(kind="silent", target="state")]))

    robot.run(3.2)

    damped = next(event for event in robot.events if event.what == "damped")
    assert damped.time_ns - silent_ns <= 102 * MS
    assert robot.happened[-1] == "control_given_back"
    assert robot.phase() is DriverPhase.LISTENING


def test_a_host_that_restarts_is_left_until_control_is_asked_for_again(policy: Policy) -> None:
    robot = Robot(policy)
    robot.take_control()
    robot.stand_and_run()
    robot.host.adopt(
        Lite3FaultPlan(
            [
                Lite3Fault(
                    kind="restart",
                    target="host",
                    duration_s=2.0,
                    start_s=robot.world.time_ns / NS_PER_S,
                )
            ]
        )
    )
    robot.run(4.0)
    policy.controller.reset()
    policy.controller.damp()
    robot.run(0.5)

    assert robot.phase() is DriverPhase.LISTENING
    assert robot.happened[-1] == "started"


def test_a_host_that_another_controller_has_is_refused(policy: Policy) -> None:
    robot = Robot(policy, faults=[Lite3Fault(kind="occupied", target="host")])
    robot.run(6.0)

    robot.link.take((), robot.world.time_ns)
    robot.run(1.0)

    assert "another controller is in charge" in robot.answers[0].message
    assert "following" not in robot.happened


def test_a_fold_is_stopped_by_a_request_to_damp(policy: Policy) -> None:
    robot = Robot(policy)
    robot.run(1.2)
    robot.link.take((), robot.world.time_ns)
    robot.run(0.1)

    robot.link.damp("e-stop", robot.world.time_ns)
    robot.run(2.1)

    assert robot.happened == ["folding", "control_taken", "control_given_back"]
    assert robot.phase() is DriverPhase.LISTENING
    assert not robot.answers[0].success


def test_a_host_that_took_control_back_is_found_out(policy: Policy) -> None:
    robot = Robot(policy)
    robot.take_control()
    robot.stand_and_run()
    robot.host.adopt(
        Lite3FaultPlan(
            [
                Lite3Fault(
                    kind="deaf",
                    target="command",
                    duration_s=0.2,
                    start_s=robot.world.time_ns / NS_PER_S,
                )
            ]
        )
    )

    robot.run(1.0)

    assert robot.happened[-2:] == ["watchdog", "damped"]
    assert robot.phase() is DriverPhase.RELEASING
    assert "does not obey" in robot.link.reason


@pytest.mark.slow
@pytest.mark.parametrize("joint", ["FL_HipX_joint", "FL_HipY_joint", "FL_Knee_joint"])
def test_a_drive_that_fails_is_not_taken_for_a_host_that_does_not_obey(
    policy: Policy, joint: str
) -> None:
    robot = Robot(policy)
    robot.take_control()
    robot.stand_and_run()
    robot.policy.velocity = (SPEED, 0.0, 0.0)
    robot.host.adopt(Lite3FaultPlan([Lite3Fault(kind="motor_off", target=joint)]))

    robot.run(3.0)

    assert robot.phase() is DriverPhase.FOLLOWING
    assert "control_given_back" not in robot.happened


def test_an_imu_that_stands_still_while_ticks_run_on_is_a_lost_robot(policy: Policy) -> None:
    robot = Robot(policy)
    robot.take_control()
    robot.stand_and_run()
    robot.host.adopt(Lite3FaultPlan([Lite3Fault(kind="freeze", target="imu")]))

    robot.run(0.2)
    assert robot.phase() is DriverPhase.DAMPING
    robot.run(3.2)

    assert robot.phase() is DriverPhase.LISTENING
    assert "`frozen_imu`" in robot.link.reason
