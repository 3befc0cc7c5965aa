# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A state of a policy set; everything needed for a switch is prepared in advance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from policy_core.bundle.set_contract import SetContract, ends_by_itself
from policy_core.guard.bounds import healthy_range
from policy_core.interfaces import Command, Index, Kind
from policy_core.observation.state import StateVector
from policy_core.sets.conditions import EntryCheck
from policy_core.sets.member import JoinedTargets, MemberPolicy

_FALLBACK_BLEND_S = 0.2
"""Blend time to a fallback to which the state has no transition."""


class CommandingState:
    """A state of a set: its members, gains, healthy values and transitions.

    Attributes:
        name: Name of the state.
        stated: The state's contract section.
        members: Members in command.
        sources: For each joint, the index of its target in `JoinedTargets.flat`.
        rows: Gains and healthy values of each joint, as in `Command`.
        held: Indices, in the set, of the joints held in the stand pose.
        held_bounds: Lowest and highest target step of each held joint per tick, rad.
        checks: Entry conditions of the transitions, by target state.
        blend_ticks: Duration of the blend, in set ticks, by target state.
        waiting_ticks: Maximum wait for the entry conditions, in set ticks, by target state.
        fallback_blend_ticks: Duration of the blend to the fallback, in set ticks.
    """

    def __init__(
        self,
        name: str,
        contract: SetContract,
        members: Mapping[str, MemberPolicy],
        targets: JoinedTargets,
        state: StateVector,
    ) -> None:
        """Prepare the state and the switches that leave it.

        Args:
            name: Name of the state.
            contract: Contract of the set.
            members: All members of the set, by name.
            targets: Last targets of all members.
            state: The set's measured state.
        """
        self.name, self.stated = name, contract.states[name]
        self.members = [members[member] for member in self.stated.members]
        after_s = self.stated.ends.after_s if self.stated.ends else None
        self._ends_after = None if after_s is None else round(after_s * contract.rate_hz)
        self._ending = [
            (member, member.motion)
            for member in self.members
            if member.motion is not None and ends_by_itself(member.member.contract)
        ]
        self.sources = targets.sources(contract, name)
        stiffness, damping = contract.stand.stiffness.copy(), contract.stand.damping.copy()
        healthy = healthy_range(contract)
        for member in self.members:
            own, commanded = member.member.contract, member.member.commanded
            places = member.member.places[commanded]
            stiffness[places] = own.joints.stiffness[commanded]
            damping[places] = own.joints.damping[commanded]
            healthy[:, places] = healthy_range(own)[:, commanded]
        self.rows = Command(contract.kinds, stiffness, damping, healthy)
        names = contract.joints.on_robot()
        held = [names.index(name) for name in self.stated.held]
        self.held: Index = np.array(
            [place for place in held if contract.kinds[place] is Kind.POSITION], np.intp
        )
        step = contract.joints.velocity_limit[self.held] / contract.rate_hz
        step = np.minimum(step, healthy[1, self.held])
        self.held_bounds = -step, step
        self.checks = {
            to: EntryCheck(
                transition.when,
                contract,
                state,
                self.members,
                [members[member] for member in contract.states[to].members],
            )
            for to, transition in self.stated.to.items()
        }

        self.blend_ticks = {
            to: _ticks(transition.blend_s, contract) for to, transition in self.stated.to.items()
        }
        self.waiting_ticks = {
            to: _ticks(transition.timeout_s, contract) for to, transition in self.stated.to.items()
        }
        self.fallback_blend_ticks = self.blend_ticks.get(
            self.stated.fallback or "", _ticks(_FALLBACK_BLEND_S, contract)
        )

    def plan(self, members: Sequence[str], states: Sequence[str]) -> dict[str, Any]:
        """Return the configuration for the native core, with members and states as numbers."""
        stated, ends = self.stated, self.stated.ends
        number: dict[str | None, int] = {name: i for i, name in enumerate(states)}
        number[None] = -1
        return {
            "name": self.name,
            "members": [members.index(each.name) for each in self.members],
            "ending": [members.index(member.name) for member, _ in self._ending],
            "may_stand": stated.stand,
            "way_back": number[stated.way_back],
            "fallback": number[stated.fallback],
            "fallback_blend_ticks": self.fallback_blend_ticks,
            "ends_to": number[ends.to if ends else None],
            "ends_after": -1 if self._ends_after is None else self._ends_after,
            "sources": self.sources,
            "rows": self.rows.plan(),
            "held": self.held,
            "held_low": self.held_bounds[0],
            "held_high": self.held_bounds[1],
            "transitions": [
                {
                    "to": number[to],
                    "blend_ticks": self.blend_ticks[to],
                    "waits": transition.otherwise == "wait",
                    "ticks": self.waiting_ticks[to],
                    "timeout_state": number[transition.timeout_state],
                    "check": self.checks[to].plan(members),
                }
                for to, transition in stated.to.items()
            ],
        }

    def ends_now(self, ticks: int) -> bool:
        """Return True if the state ends on its own in this tick.

        Args:
            ticks: Set ticks since the state was entered.
        """
        if self.stated.ends is None:
            return False
        if self._ends_after is not None:
            return ticks >= self._ends_after
        # A slower member tracks its last frame until its next tick would begin.
        return all(member.is_due and motion.has_ended for member, motion in self._ending)


def _ticks(duration_s: float, contract: SetContract) -> int:
    return max(1, round(duration_s * contract.rate_hz))
