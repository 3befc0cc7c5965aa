# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A state of a policy set, with everything that a switch needs made beforehand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from policy_inference.bundle.set_contract import SetContract, SetState, Transition
from policy_inference.core.action import JointRows
from policy_inference.core.guard import healthy_of
from policy_inference.core.sets.conditions import EntryCheck
from policy_inference.core.sets.member import JoinedTargets, MemberPolicy
from policy_inference.core.state import StateVector
from policy_inference.interfaces import Index


class CommandingState:
    """A state: who commands, with which gains, and what a healthy run does there.

    Attributes:
        name: Of the state.
        stated: What the contract says about it.
        ends_after: Ticks of the set after which it ends by itself, where it does.
        members: Those that command.
        sources: Where in `JoinedTargets.flat` the target of each joint is.
        rows: Gains and healthy values of each joint, as of `Command`.
        checks: Entry conditions, by the state that a transition leads to.
    """

    def __init__(
        self,
        name: str,
        contract: SetContract,
        members: Mapping[str, MemberPolicy],
        targets: JoinedTargets,
        state: StateVector,
    ) -> None:
        """Make what a switch to this state, and from it, needs."""
        self.name, self.stated = name, contract.states[name]
        self.ends_after = (
            round(self.stated.ends.after_s * contract.rate_hz) if self.stated.ends else 0
        )
        self.members = [members[member] for member in self.stated.members]
        self.sources = targets.sources(contract, name)
        stiffness, damping = contract.stand.stiffness.copy(), contract.stand.damping.copy()
        healthy = healthy_of(contract)
        for member in self.members:
            own, commanded = member.member.contract, member.member.commanded
            places = member.member.places[commanded]
            stiffness[places] = own.joints.stiffness[commanded]
            damping[places] = own.joints.damping[commanded]
            healthy[:, places] = healthy_of(own)[:, commanded]
        self.rows = JointRows(contract.kinds, stiffness, damping, healthy)
        self.checks = {
            to: EntryCheck(
                transition.when,
                contract,
                state,
                self.members,
                _commanded_in(contract.states[to], contract),
            )
            for to, transition in self.stated.to.items()
        }

    def transition(self, to: str) -> Transition:
        """Return the transition to another state."""
        return self.stated.to[to]


def _commanded_in(state: SetState, contract: SetContract) -> Index:
    """Return the joints of the set that members command in a state, in their order."""
    members = [contract.members[name] for name in state.members]
    return np.sort(np.concatenate([each.places[each.commanded] for each in members]))
