# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a driver does without control: it publishes the state, sends nothing, refuses control."""

import time
from typing import Any

import numpy as np
import pytest
from policy_msgs.msg import JointCommand
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool

from robot_driver.interfaces import NS_PER_S
from robot_driver.testing.fixtures import PRESSED, TWO_SENDERS, DriverFixtures, stamps_ns
from robot_driver.testing.stage import DEEP, LATCHED, DriverProcess, Stage

_MESSAGES = 200
_GRAVITY_M_S2 = 9.81


class ListeningConformance(DriverFixtures):
    """Without control."""

    def test_state_is_published_by_name_in_si_units(
        self, listening: DriverProcess, stage: Stage
    ) -> None:
        found = stage.collected(JointState, f"/{listening.name}/joint_states", 1)
        last, figures = found[-1], self.case.figures
        count = len(figures.joint_names)
        assert sorted(last.name) == sorted(figures.joint_names)
        pose = dict(zip(figures.joint_names, listening.robot.pose, strict=True))
        assert list(last.position) == pytest.approx([pose[name] for name in last.name], abs=0.01)
        assert (len(last.velocity), len(last.effort)) == (count, count)
        assert np.isfinite([*last.velocity, *last.effort]).all()

    def test_stamps_rise_and_are_those_of_the_receipt(
        self, listening: DriverProcess, stage: Stage
    ) -> None:
        began_ns = time.time_ns()
        found = stage.collected(JointState, f"/{listening.name}/joint_states", _MESSAGES)
        stamps = stamps_ns(found)
        assert (np.diff(stamps) > 0).all()
        assert began_ns - NS_PER_S < stamps[0]
        assert stamps[-1] <= time.time_ns()

    def test_attitude_and_acceleration_of_a_robot_at_rest_agree(
        self, listening: DriverProcess, stage: Stage
    ) -> None:
        if not self.case.imu:
            pytest.skip("the robot has no IMU")
        message = stage.collected(Imu, f"/{listening.name}/{self.case.imu}", 1)[-1]
        quat, acceleration = message.orientation, message.linear_acceleration
        x, y, z, w = quat.x, quat.y, quat.z, quat.w
        up_body = np.array([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)])
        assert np.linalg.norm([x, y, z, w]) == pytest.approx(1.0, abs=1e-3)
        # What is felt at rest is the reaction to gravity, upwards.
        felt = [acceleration.x, acceleration.y, acceleration.z]
        assert felt == pytest.approx(_GRAVITY_M_S2 * up_body, abs=1.0)
        assert message.header.frame_id

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

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [({"names": ["elsewhere"]}, "found also elsewhere"), ({"valid_for_s": 0.0}, "valid_for")],
    )
    def test_control_is_refused_while_commands_are(
        self, listening: DriverProcess, changes: dict[str, Any], reason: str
    ) -> None:
        listening.sends_until(
            lambda: any(reason in each for each in listening.status.obstacles),
            "an obstacle",
            **changes,
        )
        answer = listening.asked("take_control")
        listening.sends_until(answer.done, "an answer to take_control", **changes)
        assert not answer.result().success
        assert "the newest joint_command was refused" in answer.result().message
        assert reason in answer.result().message
        # A sender that is gone is no obstacle.
        listening.may_be_taken()

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
