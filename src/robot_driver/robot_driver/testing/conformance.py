# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What every driver must do: tests to inherit, given a `DriverCase`.

A class of tests has a ROS 2 domain of its own and shares one driver, since taking control may take
a robot seconds. Each test says in which state it wants the driver: `listening` or `in_control`.
"""

import itertools
import signal
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from policy_msgs.msg import JointCommand, RobotStatus
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool

from policy_inference.testing.domains import private_ros_domain
from robot_driver.interfaces import MODE_DAMP, NS_PER_S, POSITION
from robot_driver.testing.case import COMMANDED, GIVEN_BACK, TAKEN, DriverCase, Heard
from robot_driver.testing.stage import DEEP, LATCHED, DriverProcess, Stage

_MESSAGES = 200
_GRAVITY_M_S2 = 9.81
_RESTING_FRAMES = 20
_PRESSED = "the e-stop was pressed"
_TWO_SENDERS = "2 publishers on joint_command (/listener, /listener), expected one"


class DriverFixtures:
    """A driver and its robot's double; see `DriverConformance`."""

    case: ClassVar[DriverCase]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _own_ros_domain(cls) -> Iterator[None]:
        """Keep to a domain on this host that no other test uses meanwhile."""
        with private_ros_domain():
            yield

    @pytest.fixture(scope="class")
    @classmethod
    def stage(
        cls, _own_ros_domain: None, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Stage]:
        """Start drivers; all ends with the class."""
        stage = Stage(cls.case, tmp_path_factory.mktemp("stage"))
        yield stage
        stage.close()

    @pytest.fixture(scope="class")
    @classmethod
    def driver(cls, stage: Stage) -> DriverProcess:
        """Start the driver that the tests of the class share."""
        return stage.driver()

    @pytest.fixture
    def listening(self, driver: DriverProcess) -> DriverProcess:
        """Let the driver have no control, and no reason to refuse it."""
        driver.until(lambda: driver.statuses, "a status")
        driver.gives_back_control()
        assert driver.ask("reset").success
        driver.may_be_taken()
        return driver

    @pytest.fixture
    def in_control(self, driver: DriverProcess) -> DriverProcess:
        """Let the driver have control, and follow nothing yet."""
        driver.until(lambda: driver.statuses, "a status")
        assert driver.ask("reset").success
        if driver.status.state in (RobotStatus.FOLLOWING, RobotStatus.DAMPING):
            assert driver.ask("damp").success
            driver.rests("")
        else:
            driver.gives_back_control()
            driver.takes_control()
        return driver


def frames_since(driver: DriverProcess, place: int) -> list[Heard]:
    """Return what the robot has heard since then; a test asks a whole list, not a growing one."""
    return list(driver.robot.heard[place:])


class DriverConformance(DriverFixtures):
    """Inherit it, with `case` as an attribute of the class."""

    # Without control.

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
        listening.has_obstacle(_TWO_SENDERS)
        listening.refuses_control(_TWO_SENDERS)
        stage.node.destroy_publisher(other)

    def test_control_is_refused_while_the_estop_is_pressed(self, listening: DriverProcess) -> None:
        listening.presses_estop()
        listening.has_obstacle(_PRESSED)
        listening.refuses_control(_PRESSED)
        listening.presses_estop(pressed=False)
        listening.refuses_control(_PRESSED)
        assert listening.ask("reset").success
        listening.may_be_taken()

    def test_estop_that_was_pressed_before_the_driver_was_there_counts(self, stage: Stage) -> None:
        pressed = stage.node.create_publisher(Bool, "/late/estop", LATCHED)
        pressed.publish(Bool(data=True))
        driver = stage.driver(name="late")
        driver.has_obstacle(_PRESSED)
        driver.close()

    def test_request_to_damp_fails_without_control(self, listening: DriverProcess) -> None:
        response = listening.ask("damp")
        assert not response.success
        assert "control was not taken" in response.message

    # In control.

    def test_robot_rests_until_a_command_in_its_mode_of_rest_has_come(
        self, listening: DriverProcess
    ) -> None:
        robot = listening.robot
        before = len(robot.heard)
        listening.takes_control()
        commands = [each for each in frames_since(listening, before) if each.what == COMMANDED]
        assert commands
        assert all(each.rests for each in commands)
        self._nothing_ends_the_rest(listening)
        listening.follows()

    def test_values_reach_their_joints_whatever_their_order(
        self, in_control: DriverProcess
    ) -> None:
        in_control.follows()
        figures, robot = self.case.figures, in_control.robot
        forward = in_control.command()
        target = in_control.followed_pose.copy()
        target[0] = robot.pose[0]
        arrays = {**_arrays(forward), "position": target.tolist()}
        reverse = {field: values[::-1] for field, values in arrays.items()}
        place = len(robot.heard)
        in_control.sends_until(
            lambda: any(
                each.values is not None and np.allclose(each.values[:, POSITION], target, atol=1e-3)
                for each in frames_since(in_control, place)
            ),
            "a frame with these positions",
            names=list(figures.joint_names)[::-1],
            **reverse,
        )

    def test_command_that_expires_brings_to_rest_and_is_latched(
        self, in_control: DriverProcess
    ) -> None:
        in_control.follows()
        in_control.rests("expired")
        self._nothing_ends_the_rest(in_control)
        in_control.follows()

    @pytest.mark.parametrize("field", ["position", "velocity", "effort", "stiffness", "damping"])
    @pytest.mark.parametrize("number", [np.nan, np.inf], ids=str)
    def test_number_that_is_not_finite_is_refused(
        self, in_control: DriverProcess, field: str, number: float
    ) -> None:
        values = getattr(in_control.command(), field).tolist()
        self._is_refused(in_control, "command_refused", **{field: [number, *values[1:]]})

    @pytest.mark.parametrize("valid_for_s", [0.0, 1.5])
    def test_command_without_an_end_is_refused(
        self, in_control: DriverProcess, valid_for_s: float
    ) -> None:
        self._is_refused(in_control, "command_refused", valid_for_s=valid_for_s)

    @pytest.mark.parametrize("field", ["stiffness", "damping", "effort_limit"])
    def test_negative_gain_is_refused(self, in_control: DriverProcess, field: str) -> None:
        values = getattr(in_control.command(), field).tolist()
        self._is_refused(in_control, "command_refused", **{field: [-1.0, *values[1:]]})

    def test_position_outside_the_range_is_refused(self, in_control: DriverProcess) -> None:
        figures = self.case.figures
        beyond = figures.highest_rad + 2.0 * figures.position_margin_rad + 0.1
        self._is_refused(in_control, "command_refused", position=beyond.tolist())

    def test_gains_beyond_the_figures_are_refused(self, in_control: DriverProcess) -> None:
        figures = self.case.figures
        stiff = [2.0 * figures.largest_stiffness] * len(figures.joint_names)
        self._is_refused(in_control, "command_refused", stiffness=stiff)

    def test_command_that_names_other_joints_is_refused(self, in_control: DriverProcess) -> None:
        names = list(self.case.figures.joint_names)
        arrays = _arrays(in_control.command())
        missing = {field: values[1:] for field, values in arrays.items()}
        more = {field: [*values, 0.0] for field, values in arrays.items()}
        self._is_refused(in_control, "command_unfit", names=names[1:], **missing)
        self._is_refused(in_control, "command_unfit", names=[*names, "tail"], **more)
        self._is_refused(in_control, "command_unfit", names=[names[0], names[0], *names[2:]])
        self._is_refused(in_control, "command_unfit", effort=[0.0])

    def test_refused_command_in_the_mode_of_rest_brings_to_rest(
        self, in_control: DriverProcess
    ) -> None:
        in_control.follows()
        in_control.send_rest(valid_for_s=1.5)
        in_control.rests("was refused: valid_for is 1.5 s")

    def test_first_command_far_from_the_pose_brings_to_rest(
        self, in_control: DriverProcess
    ) -> None:
        figures, robot = self.case.figures, in_control.robot
        upwards = figures.highest_rad - robot.pose > robot.pose - figures.lowest_rad
        far = np.where(upwards, figures.highest_rad, figures.lowest_rad)
        place = len(robot.heard)
        if figures.rest_mode == MODE_DAMP:
            in_control.send_rest()
            in_control.is_in(RobotStatus.FOLLOWING)
            in_control.send(position=far.tolist())
        else:
            # Its mode of rest has a stiffness already.
            in_control.send_rest(position=far.tolist())
        in_control.rests("the first command with so much stiffness wants")
        sent = [each.values for each in frames_since(in_control, place) if each.values is not None]
        assert not any(np.allclose(values[:, POSITION], far, atol=1e-3) for values in sent)

    def test_sequence_of_another_sender_brings_to_rest(self, in_control: DriverProcess) -> None:
        in_control.follows()
        in_control.skip(10_000_000)
        in_control.send()
        in_control.rests("another sender of joint_command")
        in_control.follows()

    def test_second_publisher_brings_to_rest_until_it_is_gone(
        self, in_control: DriverProcess, stage: Stage
    ) -> None:
        in_control.follows()
        other = stage.node.create_publisher(JointCommand, f"/{in_control.name}/joint_command", DEEP)
        in_control.rests(_TWO_SENDERS)
        self._nothing_is_followed(in_control)
        stage.node.destroy_publisher(other)
        in_control.rests("the other publisher on joint_command is gone")
        self._nothing_ends_the_rest(in_control)
        in_control.follows()

    def test_estop_brings_to_rest_until_it_is_reset(self, in_control: DriverProcess) -> None:
        in_control.follows()
        in_control.presses_estop(pressed=False)
        in_control.follows()
        in_control.presses_estop()
        in_control.rests(_PRESSED)
        self._nothing_is_followed(in_control)
        in_control.presses_estop(pressed=False)
        self._nothing_is_followed(in_control)
        assert in_control.ask("reset").success
        in_control.rests("the e-stop was released")
        self._nothing_ends_the_rest(in_control)
        in_control.follows()

    def test_request_to_damp_brings_to_rest(self, in_control: DriverProcess) -> None:
        in_control.follows()
        response = in_control.ask("damp")
        assert response.success, response.message
        in_control.rests("asked for by service")
        self._nothing_ends_the_rest(in_control)
        in_control.follows()

    def test_control_that_was_taken_is_not_taken_again(self, in_control: DriverProcess) -> None:
        in_control.refuses_control("already")

    def test_lost_state_brings_to_rest_then_control_goes_back(
        self, in_control: DriverProcess
    ) -> None:
        robot = in_control.robot
        in_control.follows()
        robot.silent = True
        in_control.sends_until(
            lambda: in_control.status.state != RobotStatus.FOLLOWING, "the end of following"
        )
        in_control.is_in(RobotStatus.LISTENING)
        robot.silent = False
        assert robot.heard[-1].what == GIVEN_BACK
        reasons = [status.reason for status in in_control.statuses]
        assert any("the robot's state has been lost" in reason for reason in reasons)
        in_control.may_be_taken()

    def test_robot_that_is_restarted_is_given_back_and_can_be_taken_again(
        self, in_control: DriverProcess
    ) -> None:
        if not self.case.reports_restart:
            pytest.skip("nothing shows that the robot was restarted")
        in_control.follows()
        in_control.robot.restart()
        in_control.is_in(RobotStatus.LISTENING)
        assert "restarted" in in_control.status.reason
        in_control.takes_control()
        in_control.follows()

    def test_control_is_given_back_on_request_and_nothing_is_sent_then(
        self, in_control: DriverProcess
    ) -> None:
        in_control.follows()
        answers = [in_control.asked("release_control") for _ in range(2)]
        for answer in answers:
            in_control.until(answer.done, "an answer to release_control")
            assert answer.result().success, answer.result().message
        in_control.is_in(RobotStatus.LISTENING)
        assert_left_well(in_control)
        received = int(in_control.details["command_received"])
        in_control.sends_until(
            lambda: int(in_control.details["command_received"]) > received, "a command"
        )
        assert in_control.robot.heard[-1].what == GIVEN_BACK

    # Ways out.

    def test_control_is_given_back_by_every_way_out(self, stage: Stage) -> None:
        interrupted, terminated, killed, halved, deactivated = drivers = [
            stage.driver() for _ in range(5)
        ]
        stage.take_control(*drivers)
        for driver in drivers:
            driver.follows()
        interrupted.process.send_signal(signal.SIGINT)
        terminated.process.send_signal(signal.SIGTERM)
        killed.process.send_signal(signal.SIGKILL)
        halved.kill_link()
        deactivated.changes(Transition.TRANSITION_DEACTIVATE)
        for driver in drivers:
            assert_left_well(driver)
        assert interrupted.ended() == 0
        assert terminated.ended() == 0
        assert halved.ended() == 2
        assert "SIGKILL" in halved.is_in(RobotStatus.LISTENING).reason
        for driver in (interrupted, terminated, halved, deactivated):
            assert "Traceback" not in driver.log
            assert "terminate called" not in driver.log
        assert deactivated.process.poll() is None
        response = deactivated.ask("take_control")
        assert not response.success
        assert "not active" in response.message
        again = stage.driver(killed.robot)
        again.takes_control()
        again.follows()
        for driver in (*drivers, again):
            driver.close()

    def _is_refused(self, driver: DriverProcess, counter: str, **changes: Any) -> None:
        """Send a wrong command until it is counted, after a right one, which is followed on."""
        driver.follows()
        place, before = len(driver.robot.heard), int(driver.details[counter])
        driver.sends_until(lambda: int(driver.details[counter]) > before, counter, **changes)
        for each in frames_since(driver, place):
            assert each.rests or driver.is_followed(each)
        driver.follows()

    def _nothing_ends_the_rest(self, driver: DriverProcess) -> None:
        """Send commands near the pose: nothing is followed before one in the mode of rest."""
        self._watch(driver, itertools.repeat(driver.send))

    def _nothing_is_followed(self, driver: DriverProcess) -> None:
        """Send commands in the mode of rest, too, but not last: none is on its way then."""
        self._watch(driver, itertools.cycle((driver.send_rest, driver.send)))
        self._nothing_ends_the_rest(driver)

    def _watch(self, driver: DriverProcess, senders: Iterator[Any]) -> None:
        place = len(driver.robot.heard)

        def act() -> bool:
            next(senders)()
            return len(driver.robot.heard) > place + _RESTING_FRAMES

        driver.until(act, "frames to the robot")
        assert all(each.rests for each in frames_since(driver, place))


class DriverTimes(DriverFixtures):
    """What only a machine that is free shows; inherit it, marked `real_time`, with `case`."""

    def test_state_comes_at_its_rate(self, listening: DriverProcess, stage: Stage) -> None:
        found = stage.collected(JointState, f"/{listening.name}/joint_states", 2 * _MESSAGES)
        stamps = stamps_ns(found)
        rate_hz = (len(stamps) - 1) * NS_PER_S / (stamps[-1] - stamps[0])
        assert rate_hz == pytest.approx(self.case.joint_state_rate_hz, rel=0.2)

    def test_frames_go_out_at_their_rate(self, in_control: DriverProcess) -> None:
        in_control.follows()
        place = len(in_control.robot.heard)
        count = round(self.case.command_rate_hz)
        in_control.sends_until(lambda: len(in_control.robot.heard) > place + count, "frames")
        times_s = [each.at_s for each in frames_since(in_control, place)]
        # The median: commands are sent at once, between the steady frames.
        assert 1.0 / np.median(np.diff(times_s)) == pytest.approx(
            self.case.command_rate_hz, rel=0.2
        )

    def test_robot_rests_as_soon_as_a_command_expires(self, in_control: DriverProcess) -> None:
        robot, valid_for_s = in_control.robot, 0.2
        in_control.follows()
        in_control.send(valid_for_s=valid_for_s)
        sent_s, place = time.monotonic(), len(robot.heard)
        in_control.rests("expired")
        first = next(each for each in frames_since(in_control, place) if each.rests)
        assert 0.0 < first.at_s - sent_s < valid_for_s + 0.1

    def test_robot_rests_for_its_time_before_control_goes_back(
        self, in_control: DriverProcess
    ) -> None:
        in_control.follows()
        in_control.gives_back_control()
        *before, last = in_control.robot.heard
        rested = list(itertools.takewhile(lambda each: each.rests, reversed(before)))
        assert last.at_s - rested[-1].at_s == pytest.approx(self.case.figures.rest_s, abs=0.3)


def assert_left_well(driver: DriverProcess) -> None:
    """Require that it followed, brought the robot to rest, gave control back and sent no more."""
    driver.until(lambda: driver.robot.heard[-1].what == GIVEN_BACK, "the end of control")
    *before, _ = driver.robot.heard
    before = [each for each in before if each.what not in (GIVEN_BACK, TAKEN)]
    rested = list(itertools.takewhile(lambda each: each.rests, reversed(before)))
    assert len(rested) >= _RESTING_FRAMES
    assert len(rested) < len(before), "it followed commands until then"


def stamps_ns(messages: list[JointState]) -> list[int]:
    """Return the stamps of messages."""
    return [each.header.stamp.sec * NS_PER_S + each.header.stamp.nanosec for each in messages]


def _arrays(command: JointCommand) -> dict[str, list[float]]:
    fields = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")
    return {field: getattr(command, field).tolist() for field in fields}
