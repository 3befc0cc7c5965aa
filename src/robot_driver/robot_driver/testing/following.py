# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a driver in control follows, what it refuses, and what brings the robot to rest."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from policy_msgs.msg import JointCommand, RobotStatus

from robot_driver.interfaces import (
    COMMAND_FIELDS,
    DAMPING,
    EFFORT,
    F64,
    MODE_DAMP,
    POSITION,
    STIFFNESS,
    VELOCITY,
)
from robot_driver.testing.case import COMMANDED
from robot_driver.testing.differences import UNITS, differences
from robot_driver.testing.fixtures import (
    MANY_IGNORED,
    RESTING_FRAMES,
    TWO_SENDERS,
    DriverFixtures,
    frames_since,
)
from robot_driver.testing.invariants import PRESSED
from robot_driver.testing.stage import (
    DEEP,
    FOLLOWED_RAD,
    LONGEST_VALID_S,
    DriverProcess,
    Stage,
)

_COMMANDS = 3
_TAKEN, _FRAMES = 10, 100
"""So many commands and then frames, none of which is what was sent, show that none will be."""


class FollowingConformance(DriverFixtures):
    """In control."""

    def test_each_value_of_a_command_reaches_its_joint(self, in_control: DriverProcess) -> None:
        commands = [_distinct(in_control, turn) for turn in range(_COMMANDS)]
        arrived = [self._arrived(in_control, each, i) for i, each in enumerate(commands)]
        problems = self._wrong(in_control, arrived, commands)
        assert not problems, "commands, as the robot heard them:\n" + "\n".join(problems)

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

    def test_command_that_expires_brings_to_rest_and_is_latched(
        self, in_control: DriverProcess
    ) -> None:
        in_control.follows()
        place, most = len(in_control.robot.heard), 2.0 * LONGEST_VALID_S * self.case.command_rate_hz

        def followed() -> int:
            frames = frames_since(in_control, place)
            return sum(not each.rests for each in frames if each.what == COMMANDED)

        # Counted: a busy machine sends fewer frames, and none after the end.
        in_control.until(
            lambda: in_control.status.state == RobotStatus.DAMPING or followed() > most, "DAMPING"
        )
        assert followed() <= most, (
            f"the command does not expire: {followed()} frames followed the last one, which was "
            f"valid for {LONGEST_VALID_S} s, expected at most {LONGEST_VALID_S} s of frames"
        )
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
        figures = in_control.figures
        beyond = figures.highest_rad + 2.0 * figures.position_margin_rad + 0.1
        self._is_refused(in_control, "command_refused", position=beyond.tolist())

    def test_gains_beyond_the_figures_are_refused(self, in_control: DriverProcess) -> None:
        figures = in_control.figures
        stiff = [2.0 * figures.largest_stiffness] * len(figures.joint_names)
        self._is_refused(in_control, "command_refused", stiffness=stiff)

    def test_command_that_names_other_joints_is_refused(self, in_control: DriverProcess) -> None:
        names = list(in_control.figures.joint_names)
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
        figures, robot = in_control.figures, in_control.robot
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
        assert not any(in_control.is_at(each, far) for each in frames_since(in_control, place))

    def test_sequence_of_another_sender_brings_to_rest(self, in_control: DriverProcess) -> None:
        in_control.follows()
        in_control.skip(10_000_000)
        in_control.send()
        in_control.rests("another sender of joint_command")
        in_control.follows()

    def test_commands_of_a_second_publisher_are_ignored_and_counted(
        self, in_control: DriverProcess, stage: Stage
    ) -> None:
        in_control.follows()
        other = stage.node.create_publisher(JointCommand, f"/{in_control.name}/joint_command", DEEP)
        place, sequence = len(in_control.robot.heard), itertools.count()

        def both() -> bool:
            in_control.send()
            other.publish(in_control.rest_command(next(sequence)))
            return int(in_control.details["command_ignored"]) > MANY_IGNORED

        def other_alone() -> bool:
            other.publish(in_control.rest_command(next(sequence)))
            return bool(in_control.status.state == RobotStatus.FOLLOWING)

        in_control.until(both, "commands that are ignored")
        assert all(in_control.is_followed(each) for each in frames_since(in_control, place))
        in_control.reports(lambda status: "are ignored" in status.reason, "whose are ignored")
        in_control.has_obstacle(TWO_SENDERS)
        in_control.rests("expired")
        # It has expired: the next publisher that sends a command is followed.
        in_control.until(other_alone, "a command in the mode of rest that is followed")
        stage.node.destroy_publisher(other)
        in_control.rests("expired")
        in_control.follows()

    def test_estop_brings_to_rest_until_it_is_reset(self, in_control: DriverProcess) -> None:
        in_control.follows()
        in_control.presses_estop(pressed=False)
        in_control.follows()
        in_control.presses_estop()
        in_control.rests(PRESSED)
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

    def _arrived(self, driver: DriverProcess, values: F64, turn: int) -> F64:
        """Send a command until its values [n, 5] have arrived, or others many times: what came."""
        arrays = dict(zip(COMMAND_FIELDS, values.T.tolist(), strict=True))
        arrays |= {
            "names": list(driver.robot.joint_names),
            "effort_limit": driver.figures.largest_torque_nm.tolist(),
        }
        # The order in a message is the sender's.
        arrays = {field: row[:: -1 if turn % 2 else 1] for field, row in arrays.items()}
        newest = np.zeros_like(values)
        place = len(driver.robot.heard)
        received: int | None = None

        def act() -> bool:
            nonlocal newest, place, received
            if driver.status.state != RobotStatus.FOLLOWING:
                received = None
                driver.send_rest()
                return False
            driver.send(**arrays)
            count = int(driver.details["command_received"])
            received = count if received is None else received
            if count < received + _TAKEN:
                # Those before may be of another command.
                place = len(driver.robot.heard)
            frames = [
                each.values for each in frames_since(driver, place) if each.values is not None
            ]
            newest = frames[-1] if frames else newest
            return len(frames) > _FRAMES or not self._wrong(driver, [newest], [values])

        driver.until(act, "frames that follow a command")
        return newest

    def _wrong(
        self, driver: DriverProcess, found: Sequence[F64], expected: Sequence[F64]
    ) -> list[str]:
        """Return in which ways values [n, 5] of commands are not what was sent: a sentence each."""
        fields = self.case.command_fields
        arrived, sent = (
            {
                field: np.array([each[:, COMMAND_FIELDS.index(field)] for each in values])
                for field in fields
            }
            for values in (found, expected)
        )
        gains = [arrived[field] for field in ("stiffness", "damping") if field in fields]
        torques = ["torque mode: neither stiffness nor damping reaches the drives"]
        problems = torques if gains and not np.any(gains) else []
        for field in fields:
            problems += differences(
                field,
                UNITS[field],
                driver.robot.joint_names,
                arrived[field],
                sent[field],
                tolerance=self.case.tolerance_rad if field == "position" else 1e-3,
                others={each: values for each, values in sent.items() if each != field},
            )
        return problems

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
            return len(driver.robot.heard) > place + RESTING_FRAMES

        driver.until(act, "frames to the robot")
        assert all(each.rests for each in frames_since(driver, place))


def _arrays(command: JointCommand) -> dict[str, list[float]]:
    fields = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")
    return {field: getattr(command, field).tolist() for field in fields}


def _distinct(driver: DriverProcess, turn: int) -> F64:
    """Return the values [n, 5] of a command near the pose, in which no two joints have the same.

    What the law asks of a joint is less than a first command may ask, and than is judged.
    """
    figures, robot = driver.figures, driver.robot
    count = len(robot.joint_names)
    third_nm = 0.15 * min(figures.first_torque_nm, figures.demand_nm, *figures.largest_torque_nm)
    damping = min(figures.largest_damping, 1.0)
    joints = np.arange(count)

    def shares(column: int) -> F64:
        # Another order of the joints in each column and command.
        ranks = (joints + 2 * turn + column) % count
        return np.asarray(0.3 + 0.7 * (ranks + 1) / count)

    signs = np.where((joints + turn) % 2, -1.0, 1.0)
    inwards = np.sign(driver.followed_pose - robot.pose)
    values = np.empty((count, len(COMMAND_FIELDS)))
    values[:, POSITION] = robot.pose + inwards * FOLLOWED_RAD * shares(POSITION)
    values[:, VELOCITY] = signs * third_nm / damping * shares(VELOCITY)
    values[:, EFFORT] = signs * third_nm * shares(EFFORT)
    values[:, STIFFNESS] = min(figures.largest_stiffness, third_nm / FOLLOWED_RAD)
    values[:, STIFFNESS] *= shares(STIFFNESS)
    values[:, DAMPING] = damping * shares(DAMPING)
    return values
