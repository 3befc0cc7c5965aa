# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the robot follows its commands: measured torques acknowledge them, as no answer does."""

import numpy as np

from robot_driver.following import law_torque
from robot_driver.interfaces import F64, NS_PER_S, STIFFNESS, DriveFigures, DriveState

_FIRST_S, _FIRST_FOR_S = 0.5, 0.1
_IGNORED_NS = 300_000_000
_LEAST_SHARE = 0.5
"""Legs that follow give all of it; those that are braked while they sink may give less."""
_JOINTS = 2
"""So many must be ignored: one alone may be a drive that has failed."""


class CommandAcknowledgement:
    """Holds the measured torques against what they should be.

    Attributes:
        known: Whether the robot was found to obey since control was taken.
    """

    def __init__(self, figures: DriveFigures, torque_nm: float, host: str) -> None:
        """Begin with a robot that has got no command.

        Args:
            figures: Of the robot.
            torque_nm: As `DriverSettings.obeyed_torque_nm`.
            host: As `RobotInterface.host`.
        """
        self.known = False
        self._figures, self._torque_nm, self._host = figures, torque_nm, host
        self._taken_ns = self._strained_ns = self._seen_ns = 0
        self._ignored_since_ns: int | None = None
        self._ignored_ns = 0

    def begin(self, now_ns: int) -> None:
        """Note that control is taken, and that the drives should brake."""
        self.known, self._taken_ns = False, now_ns

    def see(self, state: DriveState, sent: F64 | None, now_ns: int) -> None:
        """Take a state into account, and the values [n, 5] that were sent last."""
        self._seen_ns = now_ns
        if np.abs(state.joint_effort).max() >= self._torque_nm:
            self._strained_ns = now_ns
        if sent is None or not self._ignored(state, sent):
            self._ignored_since_ns = None
        elif self._ignored_since_ns is None:
            self._ignored_since_ns = now_ns
        self._ignored_ns = 0 if self._ignored_since_ns is None else now_ns - self._ignored_since_ns

    def problem(self, now_ns: int) -> str:
        """Return why another controller drives the robot, or nothing; sets `known` in time."""
        if self._torque_nm <= 0.0:
            self.known = True
        elif self.known:
            if self._ignored_ns >= _IGNORED_NS:
                return (
                    f"{self._host} does not obey: for {_IGNORED_NS / NS_PER_S} s no joint that "
                    f"should give more than {self._figures.demand_nm} N m gave as much as "
                    f"{_LEAST_SHARE:.0%} of that, or joints that are braked gave more than "
                    f"{self._figures.foreign_nm} N m beyond it (obeyed_torque_nm: 0.0 if "
                    "the torques that it reports cannot be trusted)"
                )
        elif now_ns - self._taken_ns >= _FIRST_S * NS_PER_S:
            if now_ns - self._strained_ns < _FIRST_FOR_S * NS_PER_S:
                return (
                    f"another controller is in charge: {_FIRST_S} s after the drives "
                    "were commanded to brake, a lying robot's torques are still above "
                    f"{self._torque_nm} N m (obeyed_torque_nm)"
                )
            # Without a state nothing is known: one comes, or the host is gone.
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
