# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Decide which command the drives follow, and for how long."""

import numpy as np

from robot_driver.interfaces import (
    DAMPING,
    EFFORT,
    F64,
    MODE_DAMP,
    NS_PER_S,
    POSITION,
    STIFFNESS,
    VELOCITY,
    DriveFigures,
    DriveState,
    WireCommand,
)

_FIRST_S, _FIRST_FOR_S = 0.5, 0.1
_IGNORED_NS = 300_000_000
_LEAST_SHARE = 0.5
"""Share of the commanded torque below which a joint counts as ignoring its command; a joint that
follows its command exerts the full torque.
"""
_JOINTS = 2
"""Minimum number of joints that ignore their command; a single one may be a failed drive."""


class CommandAcknowledgement:
    """Compares measured with commanded torques to see whether the robot follows this driver.

    Attributes:
        known: True once the robot is known to follow this driver, after control has been taken.
    """

    def __init__(self, figures: DriveFigures, torque_nm: float, host: str) -> None:
        """Start with no command.

        Args:
            figures: The robot's drive figures.
            torque_nm: See `DriverSettings.obeyed_torque_nm`.
            host: See `RobotInterface.host`.
        """
        self.known = False
        self._figures, self._torque_nm, self._host = figures, torque_nm, host
        self._taken_ns = self._strained_ns = self._seen_ns = 0
        self._ignored_since_ns: int | None = None
        self._ignored_ns = 0

    def begin(self, now_ns: int) -> None:
        """Start monitoring; called when control is taken and the drives should be braking."""
        self.known, self._taken_ns = False, now_ns

    def see(self, state: DriveState, sent: F64 | None, now_ns: int) -> None:
        """Update with a state, and with the values sent last [n, 5]; None if none were sent."""
        self._seen_ns = now_ns
        if np.abs(state.joint_effort).max() >= self._torque_nm:
            self._strained_ns = now_ns
        if sent is None or not self._ignored(state, sent):
            self._ignored_since_ns = None
        elif self._ignored_since_ns is None:
            self._ignored_since_ns = now_ns
        self._ignored_ns = 0 if self._ignored_since_ns is None else now_ns - self._ignored_since_ns

    def problem(self, now_ns: int) -> str:
        """Return why another controller must be driving the robot, or ""; update `known`."""
        if self._torque_nm <= 0.0:
            self.known = True
        elif self.known:
            if self._ignored_ns >= _IGNORED_NS:
                return (
                    f"{self._host} ignores commands: for {_IGNORED_NS / NS_PER_S} s, every joint "
                    f"commanded to give more than {self._figures.demand_nm} N m gave less than "
                    f"{_LEAST_SHARE:.0%} of that, or braked joints gave more than "
                    f"{self._figures.foreign_nm} N m too much (set obeyed_torque_nm to 0.0 if the "
                    "reported torques cannot be trusted)"
                )
        elif now_ns - self._taken_ns >= _FIRST_S * NS_PER_S:
            if now_ns - self._strained_ns < _FIRST_FOR_S * NS_PER_S:
                return (
                    f"another controller is in charge: {_FIRST_S} s after the drives "
                    "were commanded to brake, a lying robot's torques are still above "
                    f"{self._torque_nm} N m (obeyed_torque_nm)"
                )
            # Without a state, nothing is known: either a state arrives, or the host is gone.
            self.known = now_ns - self._seen_ns < _FIRST_FOR_S * NS_PER_S
        return ""

    def _ignored(self, state: DriveState, sent: F64) -> bool:
        figures = self._figures
        demand, given = np.abs(law_torque(sent, state)), np.abs(state.joint_effort)
        braked = sent[:, STIFFNESS] == 0.0
        asked = (demand > figures.demand_nm) & ~braked
        if asked.sum() >= _JOINTS and (given < _LEAST_SHARE * demand)[asked].all():
            return True
        return bool((braked & (given > demand + figures.foreign_nm)).sum() >= _JOINTS)


LONGEST_VALID_NS = NS_PER_S
"""Maximum command validity: a dead policy drives the robot for no longer than this, and then counts
as silent.
"""
_MOST_LOST = 100
"""Step of the sequence number beyond which the sender counts as new, since no network loses so many
commands; a backward step also means a new sender.
"""
_LARGEST_RATE_HZ = 1000
"""Maximum command rate; it bounds how far the sequence advances while the e-stop blocks commands.
"""
_GROWS = 4.0
"""Factor beyond which an increase in stiffness is checked like a joint's first stiffness."""
_CARRIES = 1.0
"""Stiffness (N m/rad) below which a joint counts as having none."""
_MOST_EFFORT = 3.0
"""Maximum feed-forward torque, as a multiple of the joint's rated torque."""
_LEAST_GAINS = 0.1
"""Sum of stiffness (N m/rad) and damping (N m s/rad) below which a joint carries no load."""
_LARGEST = float(np.finfo(np.float32).max)


class Follower:
    """Keeps the newest command for as long as it is valid.

    When following ends (by expiry, a different sender, or a request to damp), the end is latched:
    no command is followed until one in the rest mode (`DriveFigures.rest_mode`, usually MODE_DAMP)
    arrives. A policy that was cut off while running therefore does not drive the robot again until
    its operator has stepped it through its modes.

    Attributes:
        latch: Reason why nothing is followed; None while `command` is followed.
        newest: Latest valid command, followed or not.
        counts: Counters of commands.
        refusal: Reason for the last refusal of a command.
    """

    def __init__(self, figures: DriveFigures, max_start_error_rad: float) -> None:
        """Start with no command; `max_start_error_rad`: see `DriverSettings`."""
        self._figures = figures
        self._max_start_error_rad = max_start_error_rad
        self.latch: str | None = "no command has arrived"
        self.newest: WireCommand | None = None
        self.counts = {"command_received": 0, "command_refused": 0}
        self.refusal = ""
        self._unfit_ns: int | None = None
        """Receipt time of the newest command, if that command was invalid; otherwise None."""
        self._stiffness = np.zeros(len(self._figures.joint_names))

    def notice(self, command: WireCommand) -> bool:
        """If a command is valid, keep it as the newest and return True."""
        self.counts["command_received"] += 1
        problem = command_problem(command, self._figures)
        if problem:
            self._unfit_ns = command.received_ns
            self._refuse(problem)
            return False
        self.newest, self._unfit_ns = command, None
        return True

    def follow(self, command: WireCommand, state: DriveState | None) -> None:
        """Follow a command from now on, unless there is a reason to refuse it."""
        before = self.newest
        if not self.notice(command):
            if command.mode == self._figures.rest_mode:
                # Even though the command is invalid, its sender no longer wants to drive.
                self.hold(
                    f"a command in {rest_mode_name(self._figures)} was refused: {self.refusal}"
                )
            return
        if before is not None and not (
            0 < command.sequence - before.sequence <= _most_skipped(before, command)
        ):
            # Even a command in the rest mode is refused if it is a sender's first, so that two
            # senders that alternate are never followed.
            self.hold(
                f"another sender of joint_command: its sequence went from {before.sequence} "
                f"to {command.sequence}"
            )
            return
        if command.mode == self._figures.rest_mode:
            self.latch = None
        if self.latch is not None:
            return
        problem = self._start_problem(command, state)
        if problem:
            self.hold(problem)
            self._refuse(problem)
        else:
            self._stiffness = command.values[:, STIFFNESS]

    def hold(self, reason: str) -> None:
        """Follow no command until one in the rest mode arrives; `reason` becomes the latch."""
        self.latch = reason
        self._stiffness = np.zeros(len(self._figures.joint_names))

    def valid(self, now_ns: int) -> WireCommand | None:
        """Return the command to follow now; None if there is none."""
        if self.latch is not None or self.newest is None:
            return None
        command = self.unexpired(now_ns)
        if command is None:
            self.hold(
                f"the newest joint_command has expired: it was valid for "
                f"{self.newest.valid_for_ns / NS_PER_S:.3f} s"
            )
        return command

    def unexpired(self, now_ns: int) -> WireCommand | None:
        """Return the newest command, followed or not; None if there is none, or it has expired."""
        newest = self.newest
        if newest is None or now_ns - newest.received_ns >= newest.valid_for_ns:
            return None
        return newest

    def sender_problem(self, now_ns: int) -> str:
        """Return why the current sender's commands are refused, or ""."""
        if self._unfit_ns is None or now_ns - self._unfit_ns >= LONGEST_VALID_NS:
            return ""
        return refused(self.refusal)

    def _refuse(self, problem: str) -> None:
        self.counts["command_refused"] += 1
        self.refusal = problem

    def _start_problem(self, command: WireCommand, state: DriveState | None) -> str:
        """Return why a command must not begin to stiffen or drive limp joints; "" if it may."""
        if state is None:
            return "a command arrived before any robot state"
        names, first_torque_nm = self._figures.joint_names, self._figures.first_torque_nm
        position, velocity, effort, stiffness, damping = command.values.T
        begins = stiffness > _GROWS * self._stiffness
        error = np.where(begins, np.abs(position - state.joint_pos), 0.0)
        worst = int(error.argmax())
        if error[worst] > self._max_start_error_rad:
            return (
                f"the first command with this stiffness puts {names[worst]} "
                f"{error[worst]:.2f} rad from its measured position, expected at most "
                f"{self._max_start_error_rad} (max_start_error_rad)"
            )
        torque = np.where(self._stiffness >= _CARRIES, 0.0, np.abs(damping * velocity + effort))
        worst = int(torque.argmax())
        if torque[worst] > first_torque_nm:
            return (
                f"{names[worst]}, without stiffness until now, is driven with "
                f"{torque[worst]:.1f} N m by velocity and effort, expected at most "
                f"{first_torque_nm}"
            )
        return ""


def refused(problem: str) -> str:
    return f"the newest joint_command was refused: {problem}"


def rest_mode_name(figures: DriveFigures) -> str:
    return "MODE_DAMP" if figures.rest_mode == MODE_DAMP else "MODE_HOLD_MEASURED"


def _most_skipped(before: WireCommand, command: WireCommand) -> int:
    """Return how far the sequence number may advance; further if the sender was silent for long."""
    silent_ns = command.received_ns - before.received_ns
    if silent_ns < before.valid_for_ns:
        return _MOST_LOST
    return _MOST_LOST + silent_ns * _LARGEST_RATE_HZ // NS_PER_S


def command_problem(command: WireCommand, figures: DriveFigures) -> str:
    """Return why a robot must refuse a whole command; "" if it is valid."""
    values, limit = command.values, command.effort_limit
    if not (np.abs(values).max() <= _LARGEST and np.isfinite(limit).all()):
        return "a value is not finite, or exceeds the range of float32"
    if not 0 < command.valid_for_ns <= LONGEST_VALID_NS:
        return (
            f"valid_for is {command.valid_for_ns / NS_PER_S} s, expected more than 0 and at "
            f"most {LONGEST_VALID_NS / NS_PER_S} s"
        )
    if command.mode == MODE_DAMP and values[:, [VELOCITY, EFFORT, STIFFNESS]].any():
        return "a command in MODE_DAMP must not have a stiffness, a velocity or an effort"
    if values[:, STIFFNESS].min() < 0.0 or values[:, DAMPING].min() < 0.0 or limit.min() < 0.0:
        return "a stiffness, a damping or an effort_limit is negative"
    if (
        values[:, STIFFNESS].max() > figures.largest_stiffness
        or values[:, DAMPING].max() > figures.largest_damping
    ):
        return (
            f"its largest stiffness is {values[:, STIFFNESS].max():.4g} and its largest "
            f"damping {values[:, DAMPING].max():.4g}, expected at most "
            f"{figures.largest_stiffness} and {figures.largest_damping}"
        )
    beyond = np.abs(values[:, EFFORT]) > _MOST_EFFORT * figures.largest_torque_nm
    if beyond.any():
        joint = int(beyond.argmax())
        return (
            f"{figures.joint_names[joint]} is given an effort of {values[joint, EFFORT]:.0f} N m, "
            f"expected at most {_MOST_EFFORT} times {figures.largest_torque_nm[joint]}"
        )
    position, margin = values[:, POSITION], figures.position_margin_rad
    outside = (
        (position < figures.lowest_rad - margin) | (position > figures.highest_rad + margin)
    ) & (values[:, STIFFNESS] > 0.0)
    if outside.any():
        joint = int(outside.argmax())
        return (
            f"{figures.joint_names[joint]} is commanded to {position[joint]:.2f} rad, outside its "
            f"range {figures.lowest_rad[joint]:.2f}..{figures.highest_rad[joint]:.2f}"
        )
    return ""


def law_torque(values: F64, state: DriveState) -> F64:
    """Return the torques [n], N m, that the drives' control law gives for values [n, 5] at a state.

    policy_msgs/JointCommand defines the law.
    """
    position, velocity, effort, stiffness, damping = values.T
    return np.asarray(
        stiffness * (position - state.joint_pos) + damping * (velocity - state.joint_vel) + effort
    )


def drive_values(
    command: WireCommand, state: DriveState, largest_torque_nm: F64, rest: F64 | None
) -> F64:
    """Return the values [n, 5] to send to the drives for a command; columns as in COMMAND_FIELDS.

    The robot's protocol has no field for `effort_limit`. If the control law would exceed that limit
    at the newest measured state, effort, stiffness and damping are scaled down in proportion so
    that the law just reaches it; this never adds to the policy's command, however wrong the state
    is. A joint that is left with hardly any stiffness and damping receives its row of `rest`, the
    values [n, 5] that bring the robot to rest, because a limp robot falls. `rest` is None for a
    robot that may be limp.
    """
    values = command.values.copy()
    torque = np.abs(law_torque(values, state))
    limit = np.minimum(command.effort_limit, largest_torque_nm)
    share = np.divide(limit, torque, out=np.ones_like(torque), where=torque > limit)
    values[:, EFFORT:] *= share[:, np.newaxis]
    if rest is not None:
        limp = values[:, STIFFNESS] + values[:, DAMPING] < _LEAST_GAINS
        values[limp] = rest[limp]
    return values
