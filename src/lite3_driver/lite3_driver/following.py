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
        self._stiff = False

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
            return
        if before is not None and command.sequence <= before.sequence:
            self.hold(f"another sender of joint_command: its sequence fell from {before.sequence} "
                      f"to {command.sequence}")
        if command.mode == MODE_DAMP:
            self.latch = None
        if self.latch is not None:
            return
        stiff = bool(command.values[:, _STIFFNESS].any())
        problem = self._start_problem(command, state) if stiff and not self._stiff else ""
        if problem:
            self.hold(problem)
            self._refuse(problem)
        else:
            self._stiff = stiff

    def hold(self, reason: str) -> None:
        """Follow nothing until a command in MODE_DAMP has come."""
        self.latch, self._stiff = reason, False

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
        if state is None:
            return "a command with stiffness came before any state of the robot"
        stiff = command.values[:, _STIFFNESS] > 0.0
        error = np.where(stiff, np.abs(command.values[:, _POSITION] - state.joint_pos), 0.0)
        worst = int(error.argmax())
        if error[worst] <= self._settings.max_start_error_rad:
            return ""
        return (f"the first command with stiffness wants {JOINT_NAMES[worst]} {error[worst]:.2f} "
                f"rad from where it is, expected at most {self._settings.max_start_error_rad} "
                "(max_start_error_rad)")


def command_problem(command: Command) -> str:
    """Return why a command is refused whole; nothing where it is in order."""
    values, limit = command.values, command.effort_limit
    if not (np.isfinite(values).all() and np.isfinite(limit).all()):
        return "a number of it is not finite"
    if command.valid_for_ns <= 0:
        return "valid_for is not positive"
    if values[:, _STIFFNESS].min() < 0.0 or values[:, _DAMPING].min() < 0.0 or limit.min() < 0.0:
        return "a stiffness, a damping or an effort_limit is negative"
    position, margin = values[:, _POSITION], figures.POSITION_MARGIN_RAD
    outside = ((position < figures.LOWEST_RAD - margin)
               | (position > figures.HIGHEST_RAD + margin)) & (values[:, _STIFFNESS] > 0.0)
    if outside.any():
        joint = int(outside.argmax())
        return (f"{JOINT_NAMES[joint]} is sent to {position[joint]:.2f} rad, outside its range "
                f"{figures.LOWEST_RAD[joint]:.2f}..{figures.HIGHEST_RAD[joint]:.2f}")
    return ""


def drive_values(command: Command, state: State, damping: float) -> F64:
    """Return what the drives are sent for a command [12, 5], columns as wire.COMMAND_FIELDS.

    The wire has no place for `effort_limit`, so that what the law would exceed it by at the newest
    measured state is taken out of the feed-forward torque. A joint with neither stiffness nor
    damping is braked: a limp robot falls.
    """
    values = command.values.copy()
    limp = (values[:, _STIFFNESS] == 0.0) & (values[:, _DAMPING] == 0.0)
    if limp.any():
        values[limp] = 0.0
        values[limp, _DAMPING] = damping
    torque = (values[:, _STIFFNESS] * (values[:, _POSITION] - state.joint_pos)
              + values[:, _DAMPING] * (values[:, _VELOCITY] - state.joint_vel)
              + values[:, _EFFORT])
    limit = np.minimum(command.effort_limit, figures.LARGEST_TORQUE_NM)
    limit = np.where(limp, figures.LARGEST_TORQUE_NM, limit)
    values[:, _EFFORT] += np.clip(torque, -limit, limit) - torque
    return values
