# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a switch may begin now: the entry conditions of a transition, judged in one tick."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from policy_core.bundle.set_contract import (
    FIRST_FRAME,
    FIRST_TARGET,
    STAND,
    EntryConditions,
    SetContract,
)
from policy_core.interfaces import F64, Index
from policy_core.observation.state import StateVector, length, tilt_rad
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
        self._phased = next((member for member in leaving if member.phases), None)
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

    def plan(self, members: Sequence[str]) -> dict[str, Any]:
        """Return the conditions, joints by their places in the set."""
        when, phased = self._when, self._phased
        plan = {
            "ticks": self._ticks,
            "needs_target": self.needs_target,
            "joints": self._joints,
            "posed": self._posed,
            "pose": self._pose,
            "within": when.pose_within,
            "joint_speed": when.joint_speed,
            "tilt_rad": when.tilt_rad,
            "body_rate_rad_s": when.body_rate_rad_s,
            "command": when.command,
            "gait_phase": when.gait_phase,
        }
        if when.gait_phase is not None and phased is not None:
            plan |= {
                "phase_member": members.index(phased.name),
                "phase_field": phased.phase_names[0],
            }
        return plan

    def problems(self, ticks: int) -> list[str]:
        """Return the conditions that do not hold, less that of the first target.

        Args:
            ticks: So many of the set have passed since the state was entered.
        """
        when = self._when
        found: dict[str, Any] = {"ticks": ticks if ticks < self._ticks else -1}
        if self._pose is not None:
            found["off"] = _beyond(np.abs(self._joint_pos - self._pose), when.pose_within)
        if when.joint_speed is not None:
            found["speed"] = _beyond(np.abs(self._joint_vel), when.joint_speed)
        if when.tilt_rad is not None and self._gravity is not None:
            found["tilt"] = _above(tilt_rad(self._gravity), when.tilt_rad)
        if when.body_rate_rad_s is not None and self._rate is not None:
            found["body_rate"] = _above(length(self._rate), when.body_rate_rad_s)
        if when.command is not None and self._command is not None:
            found["command"] = _beyond(np.abs(self._command), np.array(when.command))
        if when.gait_phase is not None:
            found["phase"] = self._out_of_phase(*when.gait_phase)
        return self.words(found)

    def target_problems(self, target: F64) -> list[str]:
        """Return why the first target [joints of the set] of the entering members is too far."""
        off = _beyond(np.abs(self._joint_pos - target), self._when.pose_within)
        return self.words({"ticks": -1, "off": off}, "the first target")

    def words(self, found: Mapping[str, Any], pose: str = "") -> list[str]:
        """Return what does not hold in words.

        Args:
            found: Values of what does not hold; NaN or absent where it holds, `ticks` -1. Of
                joints: `off` the pose, rad, and `speed`, rad/s [joints of the set].
            pose: What the joints are off; that of the conditions if empty.
        """
        when, problems = self._when, list[str]()
        if found["ticks"] >= 0:
            problems.append(f"{found['ticks']} ticks in the state, at least {self._ticks} needed")
        pose = pose or f"the pose {when.pose}"
        for name, joints, what, unit, largest in (
            ("off", self._posed, f"is off {pose} by", "rad", when.pose_within),
            ("speed", self._joints, "moves at", "rad/s", when.joint_speed),
        ):
            values = found.get(name)
            if values is not None and largest is not None:
                problems += [
                    f"{self._names[i]} {what} {values[i]:.2f} {unit}, limit {largest[i]:.2f} {unit}"
                    for i in joints
                    if not math.isnan(values[i])
                ]
        command = found.get("command", (math.nan,) * 3)
        for what, value, limit, unit in (
            ("tilt", found.get("tilt", math.nan), when.tilt_rad, " rad"),
            (
                "angular velocity of the body",
                found.get("body_rate", math.nan),
                when.body_rate_rad_s,
                " rad/s",
            ),
            *(
                (f"commanded {axis}", value, limit, "")
                for axis, value, limit in zip(
                    ("vx", "vy", "yaw rate"), command, when.command or (None,) * 3, strict=True
                )
            ),
        ):
            if not math.isnan(value):
                problems.append(f"{what} {value:.2f}{unit}, limit {limit:g}{unit}")
        phase = found.get("phase", math.nan)
        if when.gait_phase is not None and not math.isnan(phase):
            begin, end = when.gait_phase
            problems.append(f"gait phase {phase:.2f}, expected {begin:g} to {end:g}")
        return problems

    def _out_of_phase(self, begin: float, end: float) -> float:
        assert self._phased is not None
        phase = _phase_of(self._phased.phases[0])
        within = begin <= phase <= end if begin <= end else phase >= begin or phase <= end
        return math.nan if within else phase


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


def _beyond(values: F64, largest: F64) -> F64:
    """Return the values that are beyond their limits, NaN for all others."""
    return np.where(values <= largest, np.nan, values)


def _above(value: float, largest: float) -> float:
    return math.nan if value <= largest else value
