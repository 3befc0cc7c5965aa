# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a switch may begin now: the entry conditions of a transition, judged in one tick."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from policy_core.bundle.set_contract import (
    FIRST_FRAME,
    FIRST_TARGET,
    STAND,
    EntryConditions,
    SetContract,
)
from policy_core.interfaces import F64, Index
from policy_core.observation.state import StateVector, tilt_rad
from policy_core.sets.member import MemberPolicy


class EntryCheck:
    """Judges the conditions of one transition.

    Attributes:
        needs_target: Whether the entering members' first targets are judged.
    """

    def __init__(
        self,
        when: EntryConditions,
        contract: SetContract,
        state: StateVector,
        leaving: Sequence[MemberPolicy],
        entering: Sequence[MemberPolicy],
    ) -> None:
        """Turn names into arrays, once.

        Args:
            when: The conditions.
            contract: Of the set.
            state: What the set senses.
            leaving: Members that command before the switch.
            entering: Members that command after it, whose joints are judged.
        """
        self._when, self._names = when, contract.joints.names
        self._joints = _commanded_by(entering)
        self._joint_pos, self._joint_vel = state["joint_pos"], state["joint_vel"]
        self._gravity, self._rate = state.get("gravity_body"), state.get("ang_vel_body")
        self._command = state.get("velocity_command")
        # Of the first member that has one: the contract asks for one.
        self._phases = [phase for member in leaving for phase in member.phases]
        self._ticks = round(when.time_in_state_s * contract.rate_hz)
        self.needs_target = when.pose == FIRST_TARGET
        self._pose: F64 | None = None
        self._posed = self._joints
        if when.pose == FIRST_FRAME:
            tracking = [member for member in entering if member.motion is not None]
            self._pose, self._posed = _first_frame(tracking, contract), _commanded_by(tracking)
        elif when.pose is not None and not self.needs_target:
            self._pose = (
                contract.stand.position if when.pose == STAND else contract.poses[when.pose]
            )

    def problems(self, ticks: int) -> list[str]:
        """Return the conditions that do not hold, less that of the first target.

        Args:
            ticks: So many of the set have passed since the state was entered.
        """
        when, found = self._when, list[str]()
        if ticks < self._ticks:
            found.append(f"{ticks} ticks in the state, at least {self._ticks} needed")
        if self._pose is not None:
            found += self._far_off(self._pose, f"the pose {when.pose}")
        if when.joint_speed is not None:
            speed = np.abs(self._joint_vel)
            found += self._beyond(self._joints, speed, when.joint_speed, "moves at", "rad/s")
        if when.tilt_rad is not None and self._gravity is not None:
            found += _above("tilt", tilt_rad(self._gravity), when.tilt_rad, "rad")
        if when.body_rate_rad_s is not None and self._rate is not None:
            rate = math.sqrt(self._rate.dot(self._rate))
            found += _above("angular velocity of the body", rate, when.body_rate_rad_s, "rad/s")
        if when.command is not None and self._command is not None:
            axes = zip(("vx", "vy", "yaw rate"), self._command.tolist(), when.command, strict=True)
            for axis, value, largest in axes:
                found += _above(f"commanded {axis}", abs(value), largest, "")
        if when.gait_phase is not None:
            found += self._out_of_phase(*when.gait_phase)
        return found

    def target_problems(self, target: F64) -> list[str]:
        """Return why the first target [joints of the set] of the entering members is too far."""
        return self._far_off(target, "the first target")

    def _far_off(self, pose: F64, name: str) -> list[str]:
        return self._beyond(
            self._posed,
            np.abs(self._joint_pos - pose),
            self._when.pose_within,
            f"is off {name} by",
            "rad",
        )

    def _beyond(self, joints: Index, values: F64, largest: F64, what: str, unit: str) -> list[str]:
        return [
            f"{self._names[i]} {what} {values[i]:.2f} {unit}, limit {largest[i]:.2f} {unit}"
            for i in joints
            if not values[i] <= largest[i]
        ]

    def _out_of_phase(self, begin: float, end: float) -> list[str]:
        phase = _phase_of(self._phases[0])
        within = begin <= phase <= end if begin <= end else phase >= begin or phase <= end
        return [] if within else [f"gait phase {phase:.2f}, expected {begin:g} to {end:g}"]


def _commanded_by(members: Sequence[MemberPolicy]) -> Index:
    """Return the joints of the set that members command, in their order."""
    places = [each.member.places[each.member.commanded] for each in members]
    return np.sort(np.concatenate(places))


def _first_frame(tracking: Sequence[MemberPolicy], contract: SetContract) -> F64:
    """Return where the clips of members begin [joints of the set], rad; elsewhere stand."""
    pose: F64 = contract.stand.position.copy()
    for each in tracking:
        assert each.motion is not None
        pose[each.member.places] = each.motion.first_pose
    return pose


def _phase_of(sines_and_cosines: F64) -> float:
    """Return the phase of the first foot, 0 to 1 period."""
    sine, cosine = sines_and_cosines[0], sines_and_cosines[sines_and_cosines.size // 2]
    return math.atan2(sine, cosine) / (2.0 * math.pi) % 1.0


def _above(what: str, value: float, largest: float, unit: str) -> list[str]:
    if value <= largest:
        return []
    return [f"{what} {value:.2f} {unit}, limit {largest:g} {unit}".replace(" ,", ",").rstrip()]
