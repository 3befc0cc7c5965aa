# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Entry conditions of transitions, evaluated within a tick."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from policy_core import words
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
from policy_core.words import filled


class EntryCheck:
    """Checks the entry conditions of a transition.

    Attributes:
        needs_target: True if the first targets of the entering members must be checked.
        texts: Lists of messages for conditions that do not hold, by condition; conditions on joints
            have one message per joint [set joints].
    """

    def __init__(
        self,
        when: EntryConditions,
        contract: SetContract,
        state: StateVector,
        leaving: Sequence[MemberPolicy],
        entering: Sequence[MemberPolicy],
    ) -> None:
        """Resolve the conditions to arrays.

        Args:
            when: The conditions.
            contract: The set's contract.
            state: The set's state.
            leaving: Members in command before the switch.
            entering: Members in command after the switch, whose joints are checked.
        """
        self._when, self._names = when, contract.joints.names
        self._joints = _commanded_by(entering)
        self._joint_pos, self._joint_vel = state["joint_pos"], state["joint_vel"]
        self._gravity, self._rate = state.get("gravity_body"), state.get("ang_vel_body")
        self._command = state.get("velocity_command")
        # The first member with a phase; the contract requires one.
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
        self.texts = self._texts(when)

    def plan(self, members: Sequence[str]) -> dict[str, Any]:
        """Return the configuration for the native core: the conditions, with joints as indices."""
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
        """Describe the conditions that do not hold, except the condition on the first target.

        Args:
            ticks: Set ticks since the state was entered.
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
        """Describe the joints whose first target [set joints] is too far away."""
        off = _beyond(np.abs(self._joint_pos - target), self._when.pose_within)
        return self.words({"ticks": -1, "off": off}, is_target=True)

    def words(self, found: Mapping[str, Any], *, is_target: bool = False) -> list[str]:
        """Describe the conditions that do not hold.

        Args:
            found: The value that violates each condition; -1 (for `ticks`), NaN or missing if the
                condition holds. `off` (distance from the pose, rad) and `speed` (rad/s) have one
                value per joint [set joints].
            is_target: True if the pose is the first target.
        """
        texts, problems = self.texts, list[str]()
        if found["ticks"] >= 0:
            problems.append(texts["ticks"][0].format(ticks=found["ticks"]))
        for said, name in (
            ("target" if is_target else "off", "off"),
            *((name, name) for name in ("speed", "tilt", "body_rate", "command", "phase")),
        ):
            # Without a limit, the list is empty; a joint that is not checked has an empty text.
            values = np.atleast_1d(found.get(name, math.nan))
            problems += [
                text.format(a=value)
                for text, value in zip(texts[said], values, strict=False)
                if text and not math.isnan(value)
            ]
        return problems

    def _texts(self, when: EntryConditions) -> dict[str, list[str]]:
        """Return the messages by condition; see the attribute `texts`."""

        def of_joints(text: str, joints: Index, limit: F64 | None, pose: str = "") -> list[str]:
            if limit is None:
                return []
            judged = set(joints.tolist())
            return [
                filled(text, joint=name, limit=limit[i], pose=pose) if i in judged else ""
                for i, name in enumerate(self._names)
            ]

        def of_numbers(text: str, *limits: float | None) -> list[str]:
            return [filled(text, limit=limit) for limit in limits if limit is not None]

        off, within = f"the {when.pose} pose", when.pose_within
        posed = within if self._pose is not None else None
        phase = when.gait_phase
        return {
            "ticks": [filled(words.TOO_SOON, needed=self._ticks)],
            "off": of_joints(words.OFF_POSE, self._posed, posed, off),
            "target": of_joints(words.OFF_POSE, self._posed, within, words.FIRST_TARGET),
            "speed": of_joints(words.TOO_FAST, self._joints, when.joint_speed),
            "tilt": of_numbers(words.TOO_TILTED, when.tilt_rad),
            "body_rate": of_numbers(words.TURNS_TOO_FAST, when.body_rate_rad_s),
            "command": [
                filled(words.COMMANDED, axis=axis, limit=limit)
                for axis, limit in zip(words.AXES, when.command or (), strict=False)
            ],
            "phase": [filled(words.OUT_OF_PHASE, begin=phase[0], end=phase[1])] if phase else [],
        }

    def _out_of_phase(self, begin: float, end: float) -> float:
        assert self._phased is not None
        phase = _read_phase(self._phased.phases[0])
        within = begin <= phase <= end if begin <= end else phase >= begin or phase <= end
        return math.nan if within else math.inf if math.isnan(phase) else phase


def _commanded_by(members: Sequence[MemberPolicy]) -> Index:
    """Return the indices of the set joints that members command, in increasing order."""
    places = [each.member.places[each.member.commanded] for each in members]
    return np.sort(np.concatenate(places))


def _first_frame(tracking: Sequence[MemberPolicy], contract: SetContract) -> F64:
    """Return the joint positions in the first frames of the clips [set joints], rad.

    Joints without a clip have their stand position.
    """
    pose: F64 = contract.stand.position.copy()
    for each in tracking:
        assert each.motion is not None
        pose[each.member.places] = each.motion.first_pose
    return pose


def _read_phase(sines_and_cosines: F64) -> float:
    """Return the phase of the first foot, in periods, from 0 to 1."""
    sine, cosine = sines_and_cosines[0], sines_and_cosines[sines_and_cosines.size // 2]
    return math.atan2(sine, cosine) / (2.0 * math.pi) % 1.0


def _beyond(values: F64, largest: F64) -> F64:
    """Return the values that exceed their limits, inf for NaN values, and NaN for all others."""
    return np.where(values <= largest, np.nan, np.where(np.isnan(values), np.inf, values))


def _above(value: float, largest: float) -> float:
    return math.nan if value <= largest else math.inf if math.isnan(value) else value
