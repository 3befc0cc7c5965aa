# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which command may be followed, and for how long."""

import numpy as np

from lite3_driver import figures
from lite3_driver.interfaces import Command, Settings
from lite3_driver.meters import NS_PER_S
from lite3_driver.wire import COMMAND_FIELDS, F64, JOINT_NAMES, State

MODE_DAMP = 0
"""Of policy_msgs/JointCommand."""
_LONGEST_VALID_NS = NS_PER_S
"""So long a policy that has died may drive the robot at most."""
_MOST_LOST = 100
"""A sequence that goes further ahead, or back, is another sender's: nobody loses so many."""
_LARGEST_RATE_HZ = 1000
"""Of commands. While the e-stop is pressed no command gets here, and its sender counts on."""
_FIRST_TORQUE_NM = 5.0
_GROWS = 4.0
"""Stiffness that is so many times what it was begins anew, as that of a joint that had none."""
_CARRIES = 1.0
"""Stiffness, N m/rad, below which a joint counts as having none."""
_MOST_EFFORT = 3.0
"""Times what the joint can give: a feed-forward torque beyond it is no torque."""
_LEAST_GAINS = 0.1
"""Sum of stiffness and damping, N m per rad and per rad/s: below it a joint carries nothing."""
_LARGEST = float(np.finfo(np.float32).max)
_POSITION, _VELOCITY, _EFFORT, _STIFFNESS, _DAMPING = range(len(COMMAND_FIELDS))


class Follower:
    """Keeps the newest command for as long as it is valid.

    Whatever ends that - its time, another sender, a request to damp - is latched: until a command
    in MODE_DAMP has come, nothing is followed. So a policy that was cut off while it ran does not
    drive the robot again before its operator has gone through its modes.

    Attributes:
        latch: Why nothing is followed; None while `command` is.
        newest: What came last and was in order, followed or not.
        counts: Of commands.
        refusal: What was wrong with the last one that was refused.
    """

    def __init__(self, settings: Settings) -> None:
        """Begin with nothing."""
        self._settings = settings
        self.latch: str | None = "no command has come"
        self.newest: Command | None = None
        self.counts = {"command_received": 0, "command_refused": 0}
        self.refusal = ""
        self._stiffness = np.zeros(len(JOINT_NAMES))

    def notice(self, command: Command) -> bool:
        """Keep a command as the newest; return whether it is in order."""
        self.counts["command_received"] += 1
        problem = command_problem(command)
        if problem:
            self._refuse(problem)
            return False
        self.newest = command
        return True

    def follow(self, command: Command, state: State | None) -> None:
        """Follow a command from now on, where nothing speaks against it."""
        before = self.newest
        if not self.notice(command):
            if command.mode == MODE_DAMP:
                # Whatever is wrong with it, its sender wants to drive no longer.
                self.hold(f"a command in MODE_DAMP was refused: {self.refusal}")
            return
        if before is not None and not (
                0 < command.sequence - before.sequence <= _most_skipped(before, command)):
            # Nor does its MODE_DAMP count before its next one: two in turn never get through.
            self.hold(f"another sender of joint_command: its sequence went from {before.sequence} "
                      f"to {command.sequence}")
            return
        if command.mode == MODE_DAMP:
            self.latch = None
        if self.latch is not None:
            return
        problem = self._start_problem(command, state)
        if problem:
            self.hold(problem)
            self._refuse(problem)
        else:
            self._stiffness = command.values[:, _STIFFNESS]

    def hold(self, reason: str) -> None:
        """Follow nothing until a command in MODE_DAMP has come."""
        self.latch = reason
        self._stiffness = np.zeros(len(JOINT_NAMES))

    def valid(self, now_ns: int) -> Command | None:
        """Return the command that may be followed now."""
        if self.latch is not None or self.newest is None:
            return None
        command = self.unexpired(now_ns)
        if command is None:
            self.hold(f"the newest joint_command has expired: it was valid for "
                      f"{self.newest.valid_for_ns / NS_PER_S:.3f} s")
        return command

    def unexpired(self, now_ns: int) -> Command | None:
        """Return the newest command that has not expired, followed or not."""
        newest = self.newest
        if newest is None or now_ns - newest.received_ns >= newest.valid_for_ns:
            return None
        return newest

    def _refuse(self, problem: str) -> None:
        self.counts["command_refused"] += 1
        self.refusal = problem

    def _start_problem(self, command: Command, state: State | None) -> str:
        """Judge what a command does to joints that had no stiffness, or far less, until now."""
        if state is None:
            return "a command came before any state of the robot"
        position, velocity, effort, stiffness, damping = command.values.T
        begins = stiffness > _GROWS * self._stiffness
        error = np.where(begins, np.abs(position - state.joint_pos), 0.0)
        worst = int(error.argmax())
        if error[worst] > self._settings.max_start_error_rad:
            return (f"the first command with so much stiffness wants {JOINT_NAMES[worst]} "
                    f"{error[worst]:.2f} rad from where it is, expected at most "
                    f"{self._settings.max_start_error_rad} (max_start_error_rad)")
        torque = np.where(self._stiffness >= _CARRIES, 0.0, np.abs(damping * velocity + effort))
        worst = int(torque.argmax())
        if torque[worst] > _FIRST_TORQUE_NM:
            return (f"{JOINT_NAMES[worst]}, without stiffness until now, is driven with "
                    f"{torque[worst]:.1f} N m by velocity and effort, expected at most "
                    f"{_FIRST_TORQUE_NM}")
        return ""


def _most_skipped(before: Command, command: Command) -> int:
    """Return how far a sequence may go ahead: after a silence, as far as its sender can count."""
    silent_ns = command.received_ns - before.received_ns
    if silent_ns < before.valid_for_ns:
        return _MOST_LOST
    return _MOST_LOST + silent_ns * _LARGEST_RATE_HZ // NS_PER_S


def command_problem(command: Command) -> str:
    """Return why a command is refused whole; nothing where it is in order."""
    values, limit = command.values, command.effort_limit
    if not (np.abs(values).max() <= _LARGEST and np.isfinite(limit).all()):
        return "a number of it is not finite, or not as the wire's float32"
    if not 0 < command.valid_for_ns <= _LONGEST_VALID_NS:
        return (f"valid_for is {command.valid_for_ns / NS_PER_S} s, expected more than 0 and at "
                f"most {_LONGEST_VALID_NS / NS_PER_S} s")
    if command.mode == MODE_DAMP and values[:, [_VELOCITY, _EFFORT, _STIFFNESS]].any():
        return "it is in MODE_DAMP, and has a stiffness, a velocity or an effort"
    if values[:, _STIFFNESS].min() < 0.0 or values[:, _DAMPING].min() < 0.0 or limit.min() < 0.0:
        return "a stiffness, a damping or an effort_limit is negative"
    if (values[:, _STIFFNESS].max() > figures.LARGEST_STIFFNESS
            or values[:, _DAMPING].max() > figures.LARGEST_DAMPING):
        return (f"its largest stiffness is {values[:, _STIFFNESS].max():.4g} and its largest "
                f"damping {values[:, _DAMPING].max():.4g}, expected at most "
                f"{figures.LARGEST_STIFFNESS} and {figures.LARGEST_DAMPING}")
    beyond = np.abs(values[:, _EFFORT]) > _MOST_EFFORT * figures.LARGEST_TORQUE_NM
    if beyond.any():
        joint = int(beyond.argmax())
        return (f"{JOINT_NAMES[joint]} is given an effort of {values[joint, _EFFORT]:.0f} N m, "
                f"expected at most {_MOST_EFFORT} times {figures.LARGEST_TORQUE_NM[joint]}")
    position, margin = values[:, _POSITION], figures.POSITION_MARGIN_RAD
    outside = ((position < figures.LOWEST_RAD - margin)
               | (position > figures.HIGHEST_RAD + margin)) & (values[:, _STIFFNESS] > 0.0)
    if outside.any():
        joint = int(outside.argmax())
        return (f"{JOINT_NAMES[joint]} is sent to {position[joint]:.2f} rad, outside its range "
                f"{figures.LOWEST_RAD[joint]:.2f}..{figures.HIGHEST_RAD[joint]:.2f}")
    return ""


def law_torque(values: F64, state: State) -> F64:
    """Return what the drives' law gives at a state, for the values of a frame [12, 5]: [12], N m.

    See policy_msgs/JointCommand.
    """
    position, velocity, effort, stiffness, damping = values.T
    return np.asarray(stiffness * (position - state.joint_pos)
                      + damping * (velocity - state.joint_vel) + effort)


def drive_values(command: Command, state: State, damping: float) -> F64:
    """Return what the drives are sent for a command [12, 5], columns as wire.COMMAND_FIELDS.

    The wire has no place for `effort_limit`. Where the law would exceed it at the newest measured
    state, stiffness, damping and effort are made smaller in proportion, so that the law just gives
    the limit: nothing is ever added to what the policy wants, however wrong the state is. A joint
    that is left with hardly any stiffness and damping is braked: a limp robot falls.
    """
    values = command.values.copy()
    torque = np.abs(law_torque(values, state))
    limit = np.minimum(command.effort_limit, figures.LARGEST_TORQUE_NM)
    share = np.divide(limit, torque, out=np.ones_like(torque), where=torque > limit)
    values[:, _EFFORT:] *= share[:, np.newaxis]
    limp = values[:, _STIFFNESS] + values[:, _DAMPING] < _LEAST_GAINS
    values[limp] = 0.0
    values[limp, _DAMPING] = damping
    return values
