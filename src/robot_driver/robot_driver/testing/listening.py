# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of a driver without control: it publishes states, sends nothing, and may refuse control."""

import math
import time
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pytest
from policy_msgs.msg import JointCommand
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool

from robot_driver.interfaces import F64, NS_PER_S
from robot_driver.testing.case import MOTION_S, Sensed
from robot_driver.testing.differences import UNITS, differences
from robot_driver.testing.fixtures import TWO_SENDERS, DriverFixtures, stamps_ns
from robot_driver.testing.invariants import PRESSED
from robot_driver.testing.stage import DEEP, LATCHED, DriverProcess, Stage

_MESSAGES = 200
_STEP_S, _LONGEST_STEP_S = 0.03, 0.1
_LOST, _TRIES = 5, 3
_ROUNDING = 0.05
"""Share by which a robot's rate may seem higher than it is."""
_AXES = {"ang_vel": ("angular velocity", "rad/s", 1e-3), "lin_acc": ("acceleration", "m/s^2", 0.02)}
"""Name, unit and tolerance of each IMU quantity, by field of `Sensed`."""


class ShownStep(NamedTuple):
    """A moment in a robot's motion, and the first messages that show it.

    Attributes:
        sensed: The robot's sensor values.
        sent_ns: Times at which the robot sent these values, repeatedly (system clock).
        joints: First joint state that shows this moment, in the driver's joint order.
        imu: First IMU message that shows it; None if there is none.
        came_ns: Receipt time of `joints`.
    """

    sensed: Sensed
    sent_ns: list[int]
    joints: JointState
    imu: Imu | None
    came_ns: int


class ListeningConformance(DriverFixtures):
    """Tests of a driver that is not in control."""

    @pytest.fixture(scope="class")
    @classmethod
    def shown(cls, driver: DriverProcess, stage: Stage) -> list[ShownStep]:
        """Move the robot step by step, and return what the driver published for each step."""
        driver.until(lambda: driver.statuses, "a status")
        driver.gives_back_control()
        robot, joints, imus = driver.robot, list[tuple[JointState, int]](), list[Imu]()

        def came(message: JointState) -> None:
            joints.append((message, time.time_ns()))

        topic = f"/{driver.name}/"
        subscriptions = [
            stage.node.create_subscription(JointState, f"{topic}joint_states", came, DEEP)
        ]
        if cls.case.imu:
            subscriptions.append(
                stage.node.create_subscription(Imu, topic + cls.case.imu, imus.append, DEEP)
            )
        driver.until(lambda: joints and (imus or not cls.case.imu), "joint_states and the IMU")
        steps, began_s = [], time.monotonic()
        while robot.moved_s < MOTION_S - _STEP_S:
            position = joints[-1][0].position
            orientation = imus[-1].orientation if imus else None
            joints.clear()
            imus.clear()
            # in real time, because drivers compare velocities with positions; slower if needed
            time_s = time.monotonic()
            robot.moved_s += min(max(time_s - began_s, _STEP_S), _LONGEST_STEP_S)
            began_s = time_s
            driver.until(
                partial(_shows, time_s + _STEP_S, joints, position, imus, orientation),
                "joint_states and an IMU that show that the robot has moved",
            )
            message, came_ns = next(each for each in joints if each[0].position != position)
            imu = next((each for each in imus if each.orientation != orientation), None)
            sensed = robot.sensed(robot.moved_s)
            steps.append(ShownStep(sensed, robot.sent_ns[robot.moved_s], message, imu, came_ns))
        robot.moved_s = 0.0
        for each in subscriptions:
            stage.node.destroy_subscription(each)
        return steps

    def test_state_of_each_joint_is_the_robots(
        self, shown: list[ShownStep], driver: DriverProcess
    ) -> None:
        names = driver.robot.joint_names
        found_names = shown[0].joints.name
        assert sorted(found_names) == sorted(names)
        rows = [found_names.index(name) for name in names]
        problems = []
        for field in self.case.state_fields:
            found = np.array([getattr(each.joints, field) for each in shown])
            of_robot = {"position": "joint_pos", "velocity": "joint_vel", "effort": "joint_effort"}
            expected = {
                other: np.array([getattr(each.sensed, attribute) for each in shown])
                for other, attribute in of_robot.items()
            }
            problems += differences(
                field,
                UNITS[field],
                names,
                found[:, rows],
                expected.pop(field),
                tolerance=self.case.tolerance_rad if field == "position" else 1e-3,
                others=expected,
            )
        assert not problems, "joint_states of a robot that moves:\n" + "\n".join(problems)

    def test_imu_is_the_robots(self, shown: list[ShownStep]) -> None:
        if not self.case.imu:
            pytest.skip("the robot has no IMU")
        messages = [each.imu for each in shown if each.imu is not None]
        quat = [[getattr(each.orientation, axis) for axis in "xyzw"] for each in messages]
        assert np.linalg.norm(quat, axis=1) == pytest.approx(1.0, abs=1e-3)
        assert messages[0].header.frame_id
        expected = np.array([each.sensed.quat_xyzw for each in shown])
        problems = rotation_problems(np.array(quat), expected)
        for field, (quantity, unit, tolerance) in _AXES.items():
            name = "angular_velocity" if field == "ang_vel" else "linear_acceleration"
            vectors = [getattr(each, name) for each in messages]
            problems += differences(
                quantity,
                unit,
                ("x", "y", "z"),
                np.array([[vector.x, vector.y, vector.z] for vector in vectors]),
                np.array([getattr(each.sensed, field) for each in shown]),
                tolerance=tolerance,
                others={},
            )
        assert not problems, f"{self.case.imu} of a robot that moves:\n" + "\n".join(problems)

    def test_stamps_are_those_of_the_receipt(self, shown: list[ShownStep]) -> None:
        stamps = stamps_ns([each.joints for each in shown])
        early_ns = [each.sent_ns[0] - stamp for each, stamp in zip(shown, stamps, strict=True)]
        assert max(early_ns) <= 0, (
            f"the stamp of joint_states is {1e-6 * np.median(early_ns):.1f} ms (median) older than "
            "the robot's state in it, expected the time of its receipt"
        )
        late_ns = [stamp - each.came_ns for each, stamp in zip(shown, stamps, strict=True)]
        assert max(late_ns) <= 0, (
            f"the stamp of joint_states is {1e-6 * max(late_ns):.1f} ms ahead of the clock, "
            "expected the time of the receipt of the robot's state"
        )

    def test_joint_states_are_not_frames_behind(self, shown: list[ShownStep]) -> None:
        behind = count_frames_behind(shown, self.case.joint_state_rate_hz)
        assert behind <= 0, (
            f"joint_states show what the robot sent {behind} frames before, expected the frame "
            "that has just been received"
        )

    def test_each_state_is_published_once(self, listening: DriverProcess, stage: Stage) -> None:
        """The last state before a silence differs from those before, so it can be counted."""
        robot, found = listening.robot, list[JointState]()
        moved_s = 1.5 * _STEP_S
        before = len(robot.sent_ns.get(moved_s, ()))
        topic = f"/{listening.name}/joint_states"
        subscription = stage.node.create_subscription(JointState, topic, found.append, DEEP)
        listening.until(lambda: found, "joint_states")
        robot.moved_s = moved_s
        listening.until(
            lambda: len(robot.sent_ns.get(moved_s, ())) > before, "a state that differs"
        )
        self._silence(listening)
        sent = len(robot.sent_ns[moved_s]) - before
        robot.moved_s, robot.silent = 0.0, False
        stage.node.destroy_subscription(subscription)
        rest = dict(zip(robot.joint_names, robot.sensed(0.0).joint_pos, strict=True))
        moved = [
            message
            for message in found
            if np.abs(np.subtract(message.position, [rest[name] for name in message.name])).max()
            > self.case.tolerance_rad
        ]
        assert len(moved) <= sent, (
            f"joint_states show the robot's last state {len(moved)} times, with new stamps, "
            f"expected at most {sent} times, as often as the robot sent it"
        )

    def test_lost_states_are_counted(self, listening: DriverProcess) -> None:
        counter = self.case.lost_counter
        if counter is None:
            pytest.skip("the robot does not number its states")
        robot = listening.robot
        assert counter in listening.details, (
            f"lost_counter: expected an entry of the status's `details`, found `{counter}`, and "
            f"{', '.join(listening.details)}"
        )

        def count_sent() -> int:
            return sum(map(len, robot.sent_ns.values()))

        def has_sent_more_than(count: int) -> bool:
            return count_sent() > count

        def count() -> tuple[int, int]:
            """Return the number of states that were sent or lost, and of those in the counters."""
            self._silence(listening)
            details = listening.details
            sent = count_sent() + robot.lost
            robot.silent = False
            return sent, int(details["received"]) + int(details[counter])

        found = list[tuple[int, int]]()
        # a busy machine may be too late to count, but not each time
        while len(found) < _TRIES and not (found and found[-1][1] <= 0):
            sent, counted = count()
            listening.reports(lambda status: status.state_rate_hz > 0.0, "states again")
            robot.loses = _LOST
            listening.until(lambda: robot.loses == 0, "states that are lost")
            # the next state shows that they are missing
            listening.until(partial(has_sent_more_than, count_sent()), "a state after them")
            sent_then, counted_then = count()
            found.append((sent_then - sent, sent_then - sent - (counted_then - counted)))
        states, missing = found[-1]
        assert missing <= 0, (
            f"of {states} states, {_LOST} of which were lost on the way, {missing} are neither in "
            f"`received` nor in `{counter}`"
        )

    def _silence(self, driver: DriverProcess) -> None:
        """Stop the robot's states, and wait until the driver has had none for a second."""
        driver.robot.silent = True
        driver.reports(lambda status: status.state_rate_hz == 0.0, "a robot that sends nothing")

    def test_stamps_rise(self, listening: DriverProcess, stage: Stage) -> None:
        found = stage.collected(JointState, f"/{listening.name}/joint_states", _MESSAGES)
        assert (np.diff(stamps_ns(found)) > 0).all()

    def test_nothing_is_sent_before_control_is_asked_for(self, stage: Stage) -> None:
        driver = stage.driver()
        driver.may_be_taken()
        driver.sends_until(
            lambda: int(driver.details["command_received"]) > 0, "a command that was noticed"
        )
        assert driver.robot.heard == []
        driver.close()

    def test_control_is_refused_while_the_sender_is_not_at_rest(
        self, listening: DriverProcess
    ) -> None:
        listening.sends_until(
            lambda: any(
                "the sender of joint_command" in each for each in listening.status.obstacles
            ),
            "an obstacle",
        )
        answer = listening.asked("take_control")
        listening.sends_until(answer.done, "an answer to take_control")
        assert not answer.result().success
        assert "ask it to damp first" in answer.result().message

    def test_control_is_refused_while_no_state_comes(self, listening: DriverProcess) -> None:
        heard = len(listening.robot.heard)
        listening.robot.silent = True
        listening.reports(lambda status: status.obstacles, "an obstacle")
        response = listening.ask("take_control")
        listening.robot.silent = False
        assert not response.success
        assert len(listening.robot.heard) == heard

    def test_control_is_refused_while_two_nodes_send_commands(
        self, listening: DriverProcess, stage: Stage
    ) -> None:
        other = stage.node.create_publisher(JointCommand, f"/{listening.name}/joint_command", DEEP)
        listening.has_obstacle(TWO_SENDERS)
        listening.refuses_control(TWO_SENDERS)
        stage.node.destroy_publisher(other)

    def test_control_is_refused_while_the_estop_is_pressed(self, listening: DriverProcess) -> None:
        listening.presses_estop()
        listening.has_obstacle(PRESSED)
        listening.refuses_control(PRESSED)
        listening.presses_estop(pressed=False)
        listening.refuses_control(PRESSED)
        assert listening.ask("reset").success
        listening.may_be_taken()

    def test_estop_that_was_pressed_before_the_driver_was_there_counts(self, stage: Stage) -> None:
        pressed = stage.node.create_publisher(Bool, "/late/estop", LATCHED)
        pressed.publish(Bool(data=True))
        driver = stage.driver(name="late")
        driver.has_obstacle(PRESSED)
        driver.close()

    def test_request_to_damp_fails_without_control(self, listening: DriverProcess) -> None:
        response = listening.ask("damp")
        assert not response.success
        assert "control was not taken" in response.message


def _shows(
    not_before_s: float,
    joints: list[tuple[JointState, int]],
    position: Any,
    imus: list[Imu],
    orientation: Any,
) -> bool:
    """Return True once this time has passed and messages show that the joints and any IMU moved."""
    return (
        time.monotonic() >= not_before_s
        and any(each.position != position for each, _ in joints)
        and (orientation is None or any(each.orientation != orientation for each in imus))
    )


def count_frames_behind(shown: Sequence[ShownStep], joint_state_rate_hz: float) -> int:
    """Return by how many of the robot's frames joint states are late; 0 or less: by none.

    Args:
        shown: What a driver published for each step of a motion.
        joint_state_rate_hz: Rate of the joint states. A robot may send more often: the driver then
            leaves out frames, those that show a step first as well.
    """
    sent_ns = sorted(chain.from_iterable(each.sent_ns for each in shown))
    robot_hz = (len(sent_ns) - 1) * NS_PER_S / max(1, sent_ns[-1] - sent_ns[0])
    left_out = max(0, math.ceil(robot_hz / joint_state_rate_hz - _ROUNDING) - 1)
    stamps = stamps_ns([each.joints for each in shown])
    later = [
        sum(sent_ns <= stamp for sent_ns in each.sent_ns) - 1
        for each, stamp in zip(shown, stamps, strict=True)
    ]
    # a busy machine delays some of them, but not all
    return min(later) - left_out


def rotation_problems(found: F64, expected: F64) -> list[str]:
    """Return the errors in quaternions [k, 4] (x, y, z, w; body to world), as sentences.

    Recognizes two common mistakes, which also give valid rotations: w first, and the inverse.
    """
    # A rotation has two quaternions. Of one that is perpendicular to the expected one, either.
    found = np.where(np.sum(found * expected, axis=1) < 0.0, -1.0, 1.0)[:, np.newaxis] * found
    problems = differences(
        "orientation", "", tuple("xyzw"), found, expected, tolerance=2e-3, others={}
    )
    mistakes = {
        "has w first, expected x, y, z, w": expected[:, [3, 0, 1, 2]],
        "is from the world to the body, expected from the body to the world": expected
        * np.array([-1.0, -1.0, -1.0, 1.0]),
    }
    for text, values in mistakes.items():
        if problems and np.allclose(np.abs(np.sum(found * values, axis=1)), 1.0, atol=1e-6):
            return [f"orientation {text}"]
    return problems
