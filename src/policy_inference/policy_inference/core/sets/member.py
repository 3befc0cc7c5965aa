# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy of a set: it sees the set's state, and commands its joints at its own rate."""

from __future__ import annotations

import numpy as np

from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.set_contract import MemberContract, SetContract
from policy_inference.core.policy import JointPolicy
from policy_inference.core.state import RobotState, SensedCopy, StateVector
from policy_inference.interfaces import F64, Backend, Index, Kind


class JoinedTargets:
    """The last targets of all members, one after another, then the stand pose, in one array."""

    def __init__(self, contract: SetContract) -> None:
        """Lay out the members in their order."""
        sizes = [member.places.size for member in contract.members.values()]
        ends = np.cumsum(sizes).tolist()
        joints = len(contract.joints.names)
        self.flat: F64 = np.zeros(ends[-1] + joints)
        self._slices = {
            name: slice(end - size, end)
            for name, size, end in zip(contract.members, sizes, ends, strict=True)
        }
        is_posed = [kind is Kind.POSITION for kind in contract.kinds]
        self._held = ends[-1]
        self.flat[self._held :] = np.where(is_posed, contract.stand.position, 0.0)

    def of(self, name: str) -> F64:
        """Return the part of a member [its joints]."""
        return self.flat[self._slices[name]]

    def sources(self, contract: SetContract, state: str) -> Index:
        """Return where in `flat` the target of each joint of the set is in a state."""
        found: Index = self._held + np.arange(len(contract.joints.names))
        for name in contract.states[state].members:
            member = contract.members[name]
            found[member.places[member.commanded]] = self._slices[name].start + member.commanded
        return found


class MemberPolicy:
    """Runs a member on what the set senses.

    A tick of the set is `begin_tick`, then `infer` where the member commands, then `commit` or
    `rest`. A result that is not committed leaves what the member remembers as it was.

    Attributes:
        name: In the set.
        member: Its contract and its place in the set.
        policy: Itself.
        command: Its last targets [its joints], in the units of their kinds.
        is_due: Whether it runs in this tick: else its last targets count on.
        has_answered: Whether it ran in this tick.
    """

    def __init__(
        self,
        name: str,
        bundle: JointBundle,
        member: MemberContract,
        backend: Backend,
        state: StateVector,
        targets: JoinedTargets,
    ) -> None:
        """Tie the parts together.

        Args:
            name: In the set.
            bundle: Of the policy.
            member: Its place in the set.
            backend: Its opened model; stays the caller's to close.
            state: What the set senses.
            targets: Where its targets go.
        """
        self.name, self.member, self.command = name, member, targets.of(name)
        self._state = RobotState(member.contract)
        self.policy = JointPolicy(bundle, backend, self._state)
        self._sensed = SensedCopy(state, self._state, member.places)
        self._last_action = self._state["last_action"]
        self._commanded: F64 = np.zeros(member.places.size)
        trained = member.contract.velocity_command
        self._velocity = self._state.get("velocity_command") if trained else None
        self._lowest: F64 = np.array(trained.min if trained else (0.0,) * 3)
        self._highest: F64 = np.array(trained.max if trained else (0.0,) * 3)
        self.phases = tuple(self._state[name] for name in self._state.phases)
        """Phases of the gait, each the sines then the cosines of all feet."""
        self.reset()

    def reset(self) -> None:
        """Start clean, as for a new run."""
        self.policy.reset()
        self._wait = 0
        self.has_answered = False

    @property
    def is_due(self) -> bool:
        """Whether it runs in this tick."""
        return self._wait == 0

    def run_now(self) -> None:
        """Be due in this tick, whenever it ran last."""
        self._wait = 0

    def begin_tick(self) -> None:
        """Forget the answer of the tick before, if it was not committed."""
        self.has_answered = False

    def follow(self, command: F64) -> None:
        """Take what the set commanded last [joints of the set] for its own last action."""
        command.take(self.member.places, None, self._commanded, "clip")
        self.policy.action.raw_of(self._commanded, self._last_action)

    def infer(self) -> bool:
        """Answer what the set senses now; return whether the answer is finite.

        Raises:
            BackendError: The runtime failed.
        """
        self._look()
        finite = self.policy.infer()
        self.has_answered = True
        return finite

    def commit(self) -> None:
        """Take the answer as that of the tick; without one the last targets count on."""
        if self.has_answered:
            self.command[:] = self.policy.commit()
            self.has_answered = False
        self._pass()

    def rest(self) -> None:
        """Take a tick in which others command: remember what is observed, where it is followed."""
        if self.member.is_followed:
            if self.is_due:
                self._look()
                self.policy.watch()
            self._pass()

    def _pass(self) -> None:
        self._wait = self.member.every - 1 if self._wait == 0 else self._wait - 1

    def _look(self) -> None:
        """Bring what the set senses into its own state, and the velocity into its own range."""
        self._sensed.take()
        if self._velocity is not None:
            np.maximum(self._velocity, self._lowest, out=self._velocity)
            np.minimum(self._velocity, self._highest, out=self._velocity)
        self._state.derive()
