# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for a driver in control: followed and refused commands, and reasons to come to rest."""

import itertools
import math
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
from robot_driver.testing.fixtures import DriverFixtures, frames_since
from robot_driver.testing.invariants import PRESSED
from robot_driver.testing.stage import FOLLOWED_RAD, LONGEST_VALID_S, DriverProcess

_COMMANDS = 3
_RESTING = 20
_SHORT_VALID_S, _LONGER, _TRIES = 0.2, 1.5, 3
"""A validity such as policies use, and the factor by which a command may be followed longer."""
_TOLERANCE = 1e-3
_TAKEN, _FRAMES = 10, 100
"""Number of commands sent, and then of frames received, after which a command counts as lost."""


class FollowingConformance(DriverFixtures):
    """Tests with the driver in control."""

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

    def test_each_frame_has_the_values_of_one_command(self, in_control: DriverProcess) -> None:
        """Commands that differ in all values follow each other faster than the frames."""
        in_control.follows()
        robot, fields = in_control.robot, self.case.command_fields
        last = _values_of(in_control.command(), robot.joint_names)
        commands = [*(_distinct(in_control, turn) for turn in range(_COMMANDS)), last]
        place, arrays = len(robot.heard), itertools.cycle(commands[:-1])

        def act() -> bool:
            if in_control.status.state != RobotStatus.FOLLOWING:
                in_control.send_rest()
                return False
            in_control.send(**_arrays_of(in_control, next(arrays)))
            return len(frames_since(in_control, place)) > _FRAMES

        in_control.until(act, "frames that follow commands")
        columns = [COMMAND_FIELDS.index(field) for field in fields]
        tolerance = np.full(len(COMMAND_FIELDS), _TOLERANCE)
        tolerance[POSITION] = self.case.tolerance_rad

        def is_of(values: F64, command: F64) -> bool:
            excess = np.abs(values - command) - tolerance - _TOLERANCE * np.abs(command)
            return bool((excess[:, columns] <= 0.0).all())

        mixed = [
            each.values
            for each in frames_since(in_control, place)
            if each.values is not None
            and not each.rests
            and not any(is_of(each.values, command) for command in commands)
        ]
        assert not mixed, (
            f"{len(mixed)} frames are of no command that was sent: their values are of several "
            f"commands; the first one ({', '.join(COMMAND_FIELDS)}):\n{mixed[0]}"
        )

    @pytest.mark.parametrize("valid_for_s", [LONGEST_VALID_S, _SHORT_VALID_S])
    def test_command_that_expires_brings_to_rest_and_is_latched(
        self, in_control: DriverProcess, valid_for_s: float
    ) -> None:
        robot, rate_hz = in_control.robot, self.case.command_rate_hz
        most = math.ceil(_LONGER * valid_for_s * rate_hz)
        # no other command has these positions
        position = 0.5 * (robot.pose + in_control.followed_pose)

        def followed_s() -> list[float]:
            """Return the times of the frames that follow the command."""
            frames = frames_since(in_control, place)
            return [
                each.at_s for each in frames if not each.rests and in_control.is_at(each, position)
            ]

        def has_expired() -> bool:
            return robot.heard[-1].rests and any(
                status.state == RobotStatus.DAMPING and "expired" in status.reason
                for status in in_control.statuses[since:]
            )

        lasted_s = math.inf
        for _ in range(_TRIES):
            in_control.follows()
            place, since = len(robot.heard), len(in_control.statuses)
            in_control.send(position=position.tolist(), valid_for_s=valid_for_s)
            in_control.until(
                lambda: has_expired() or len(followed_s()) > most, "the end of a command"
            )
            # a busy machine sends fewer frames, but none after the expiry
            times_s = followed_s()
            assert len(times_s) <= most, (
                f"the command does not expire: {len(times_s)} frames followed it, which was valid "
                f"for {valid_for_s} s, expected at most {most} at {rate_hz:g} Hz"
            )
            if times_s:
                lasted_s = min(lasted_s, times_s[-1] - times_s[0])
            # a busy machine delays some frames, but not each time
            if lasted_s <= _LONGER * valid_for_s:
                break
        assert lasted_s <= _LONGER * valid_for_s, (
            f"the command expires too late: it was followed for {lasted_s:.2f} s, and was valid "
            f"for {valid_for_s} s"
        )
        in_control.rests("expired")
        self._nothing_ends_the_rest(in_control)
        in_control.follows()

    def test_position_outside_the_range_is_refused(self, in_control: DriverProcess) -> None:
        figures = in_control.figures
        beyond = figures.highest_rad + 2.0 * figures.position_margin_rad + 0.1
        in_control.refuses("command_refused", position=beyond.tolist())

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
            # its rest mode already has stiffness
            in_control.send_rest(position=far.tolist())
        in_control.rests("the first command with this stiffness puts")
        assert not any(in_control.is_at(each, far) for each in frames_since(in_control, place))

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
        in_control.rests("requested by service")
        self._nothing_ends_the_rest(in_control)
        in_control.follows()

    def test_control_that_was_taken_is_not_taken_again(self, in_control: DriverProcess) -> None:
        in_control.refuses_control("already")

    def _arrived(self, driver: DriverProcess, values: F64, turn: int) -> F64:
        """Send a command until the robot receives its values; return those received last [n, 5]."""
        arrays = _arrays_of(driver, values)
        # a sender may list the joints in any order
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
                # earlier frames may belong to a previous command
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
        """Return how received values [n, 5] differ from the commands sent, as sentences."""
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

    def _nothing_ends_the_rest(self, driver: DriverProcess) -> None:
        """Check that no command is followed until one in the rest mode arrives."""
        self._watch(driver, itertools.repeat(driver.send))

    def _nothing_is_followed(self, driver: DriverProcess) -> None:
        """Check that no command is followed, not even after one in the rest mode."""
        self._watch(driver, itertools.cycle((driver.send_rest, driver.send)))
        self._nothing_ends_the_rest(driver)

    def _watch(self, driver: DriverProcess, senders: Iterator[Any]) -> None:
        place = len(driver.robot.heard)

        def act() -> bool:
            next(senders)()
            return len(driver.robot.heard) > place + _RESTING

        driver.until(act, "frames to the robot")
        assert all(each.rests for each in frames_since(driver, place))


def _arrays_of(driver: DriverProcess, values: F64) -> dict[str, list[Any]]:
    """Return the fields of a command with these values [n, 5]."""
    return {
        **dict(zip(COMMAND_FIELDS, values.T.tolist(), strict=True)),
        "names": list(driver.robot.joint_names),
        "effort_limit": driver.figures.largest_torque_nm.tolist(),
    }


def _values_of(command: JointCommand, joint_names: Sequence[str]) -> F64:
    """Return the values [n, 5] of a command, in the order of these joints."""
    rows = [command.names.index(name) for name in joint_names]
    return np.array([getattr(command, field) for field in COMMAND_FIELDS]).T[rows]


def _distinct(driver: DriverProcess, turn: int) -> F64:
    """Return values [n, 5], different for each joint, for a command near the pose.

    Their torques are below a first command's limit and below `demand_nm`.
    """
    figures, robot = driver.figures, driver.robot
    count = len(robot.joint_names)
    third_nm = 0.15 * min(figures.first_torque_nm, figures.demand_nm, *figures.largest_torque_nm)
    damping = min(figures.largest_damping, 1.0)
    joints = np.arange(count)

    def shares(column: int) -> F64:
        # a different order of the joints in each column and command
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
