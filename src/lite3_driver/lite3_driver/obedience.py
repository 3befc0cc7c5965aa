# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the host does what it is told: nothing is ever answered, but torques tell."""

import numpy as np

from lite3_driver.following import law_torque
from lite3_driver.meters import NS_PER_S
from lite3_driver.wire import COMMAND_FIELDS, F64, State

_FIRST_S, _FIRST_FOR_S = 0.5, 0.1
_IGNORED_NS = 300_000_000
_STIFFNESS = COMMAND_FIELDS.index("stiffness")
_DEMAND_NM, _LEAST_SHARE = 10.0, 0.5
"""Legs that follow give all of it; those that are braked while they sink may give less."""
_JOINTS = 2
"""So many must be ignored: one alone may be a drive that has failed."""
_FOREIGN_NM = 10.0
"""What legs that are braked give beyond what brakes them is somebody else's."""


class Obedience:
    """Holds the measured torques against what they should be.

    Attributes:
        known: Whether the host was found to obey since control was taken.
    """

    def __init__(self, torque_nm: float) -> None:
        """Begin with a host that has been told nothing.

        Args:
            torque_nm: As `Settings.obeyed_torque_nm`.
        """
        self.known = False
        self._torque_nm = torque_nm
        self._taken_ns = self._strained_ns = self._seen_ns = 0
        self._ignored_since_ns: int | None = None
        self._ignored_ns = 0

    def begin(self, now_ns: int) -> None:
        """Note that control is taken, and the drives are told to brake."""
        self.known, self._taken_ns = False, now_ns

    def see(self, state: State, sent: F64 | None, now_ns: int) -> None:
        """Take a state into account, and the frame [12, 5] that was sent last."""
        self._seen_ns = now_ns
        if np.abs(state.joint_effort).max() >= self._torque_nm:
            self._strained_ns = now_ns
        if sent is None or not _ignored(state, sent):
            self._ignored_since_ns = None
        elif self._ignored_since_ns is None:
            self._ignored_since_ns = now_ns
        self._ignored_ns = 0 if self._ignored_since_ns is None else now_ns - self._ignored_since_ns

    def problem(self, now_ns: int) -> str:
        """Return why somebody else drives the robot, or nothing; sets `known` in time."""
        if self._torque_nm <= 0.0:
            self.known = True
        elif self.known:
            if self._ignored_ns >= _IGNORED_NS:
                return (f"the host does not obey: for {_IGNORED_NS / NS_PER_S} s no joint that "
                        f"should give more than {_DEMAND_NM} N m gave as much as "
                        f"{_LEAST_SHARE:.0%} of that, or joints that are braked gave more than "
                        f"{_FOREIGN_NM} N m beyond it (obeyed_torque_nm: 0.0 if the torques that "
                        "it tells cannot be trusted)")
        elif now_ns - self._taken_ns >= _FIRST_S * NS_PER_S:
            if now_ns - self._strained_ns < _FIRST_FOR_S * NS_PER_S:
                return (f"another controller is in charge: {_FIRST_S} s after the drives were told "
                        "to brake, a lying robot's torques are still above "
                        f"{self._torque_nm} N m (obeyed_torque_nm)")
            # Without a state nothing is known: one comes, or the host is gone.
            self.known = now_ns - self._seen_ns < _FIRST_FOR_S * NS_PER_S
        return ""


def _ignored(state: State, sent: F64) -> bool:
    demand, given = np.abs(law_torque(sent, state)), np.abs(state.joint_effort)
    braked = sent[:, _STIFFNESS] == 0.0
    asked = (demand > _DEMAND_NM) & ~braked
    if asked.sum() >= _JOINTS and (given < _LEAST_SHARE * demand)[asked].all():
        return True
    return bool((braked & (given > demand + _FOREIGN_NM)).sum() >= _JOINTS)
