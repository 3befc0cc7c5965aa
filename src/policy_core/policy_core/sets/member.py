# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy in a set, which commands its joints at its own rate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from policy_core.bundle.set_contract import MemberContract, SetContract
from policy_core.control_state import Stateful
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64, Index, Kind
from policy_core.observation.clip_player import ClipPlayer
from policy_core.observation.freshness import Input
from policy_core.observation.state import StateVector

if TYPE_CHECKING:  # a set of joint policies uses no images
    from policy_core.members.chunk.observation_sync import FrameBuffer
    from policy_core.members.chunk.policy import ChunkPolicy


class JoinedTargets:
    """The last targets of all members one after another, then the stand pose, in one array.

    Attributes:
        stand: The stand pose, 0 for joints not commanded by position [joints of the set].
    """

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
        self.stand: F64 = self.flat[self._held :]
        self.stand[:] = np.where(is_posed, contract.stand.position, 0.0)

    def of(self, name: str) -> F64:
        """Return the part of a member [its joints]."""
        return self.flat[self._slices[name]]

    def member_start(self, name: str) -> int:
        """Return the index in `flat` at which a member's part begins."""
        return int(self._slices[name].start)

    def sources(self, contract: SetContract, state: str) -> Index:
        """Return the index in `flat` of the target of each joint of the set in a state."""
        found: Index = self._held + np.arange(len(contract.joints.names))
        for name in contract.states[state].members:
            member = contract.members[name]
            found[member.places[member.commanded]] = self._slices[name].start + member.commanded
        return found


class MemberPolicy(Stateful, ABC):
    """Runs a member on the state of the set. Each kind of policy has one, in `sets.controller`.

    In a tick of the set, a commanding member executes `infer` and `commit`; a watching one executes
    `follow` and `rest`. A result that is not committed leaves the memory unchanged.

    Attributes:
        name: Name in the set.
        member: Its contract and its place in the set.
        command: Its last targets [its joints], in the units of their kinds.
        has_answered: True if it has a response that is not committed.
        watches: True if its memory changes in ticks in which others command.
        phases: Phases of the gait, each with the sines, then the cosines, of all feet.
        phase_names: Their fields in `state`.
        resets: Number of clean starts. From this and the next two, a guest can reconstruct what a
            tick meant for this member.
        own_ticks: Its own ticks since then: those with a response, and those that it watched.
        answers: Number of responses that were used.
        frames: Buffers for new frames, by camera; empty for a member without images.
    """

    STATE: ClassVar[tuple[str, ...]] = ("_wait", "has_answered")
    STATE_IN_PLACE: ClassVar[tuple[str, ...]] = ("command",)
    phases: tuple[F64, ...] = ()
    phase_names: tuple[str, ...] = ()
    frames: Mapping[str, FrameBuffer] = MappingProxyType({})
    motion: ClipPlayer | None = None
    """The motion that it tracks; None for none."""

    def __init__(
        self,
        name: str,
        bundle: Any,
        member: MemberContract,
        runner: Any,
        state: StateVector,
        targets: JoinedTargets,
        inputs: Mapping[str, Input],
        clock: Callable[[], int],
    ) -> None:
        """Begin without memory.

        Args:
            name: Name in the set.
            bundle: Bundle of the policy, of its kind.
            member: Its place in the set.
            runner: Execution resources for its kind of policy; the caller closes them.
            state: State of the set.
            targets: Receives its targets.
            inputs: Inputs of the set.
            clock: Time of inference, the same for all members in a tick.
        """
        self.name, self.member, self.command = name, member, targets.of(name)
        self._every, self._parts = member.every.numerator, member.every.denominator
        self._wait = 0
        """Time until its next tick, in fractions of a set tick; it is due at 0."""
        self._start = targets.member_start(name)
        self.has_answered = self.watches = False
        self.resets = self.own_ticks = self.answers = 0

    @property
    @abstractmethod
    def state(self) -> StateVector:
        """Its inputs, and its memory of its own actions."""

    @property
    def chunk_policy(self) -> ChunkPolicy | None:
        """The chunk policy that it runs; None if it computes each tick separately."""
        return None

    @staticmethod
    @abstractmethod
    def sensed_sizes(contract: Any) -> Mapping[str, int]:
        """Return the state fields that such a policy observes, and their sizes."""

    @staticmethod
    @abstractmethod
    def timeouts_ns(contract: Any, limits: Limits) -> Mapping[str, int | None]:
        """Return the individual time-outs of its inputs; None means no time-out."""

    def plan(self) -> dict[str, Any]:
        """Return its place in the set."""
        return {
            "name": self.name,
            "start": self._start,
            "places": self.member.places,
            "every": self._every,
            "parts": self._parts,
            "is_followed": self.member.is_followed,
        }

    def reset(self) -> None:
        self._wait = 0
        self.has_answered = False
        self.resets, self.own_ticks = self.resets + 1, 0

    @property
    def is_due(self) -> bool:
        """True if it runs in this tick; otherwise its last targets remain in force."""
        return self._wait <= 0

    def run_now(self) -> None:
        """Make it due in this tick, no matter when it last ran."""
        self._wait = 0

    def drop_answer(self) -> None:
        """Drop a response that is not committed."""
        self.has_answered = False

    def enter(self, command: F64) -> None:
        """Begin to command: from a clean start, unless it was followed.

        Args:
            command: Last command of the set [joints of the set].
        """
        if self.member.is_followed:
            self.follow(command)
        else:
            self.reset()

    @abstractmethod
    def pause(self, duration_ns: int) -> None:
        """Exclude an interval in which the whole robot was held."""

    @abstractmethod
    def follow(self, command: F64) -> None:
        """Treat the last command of the set [joints of the set] as its own."""

    @abstractmethod
    def infer(self) -> bool:
        """Compute the response to the current state; return true if it is finite.

        Raises:
            BackendError: The runtime failed.
            NoTargetError: It has had no target for too long.
        """

    @abstractmethod
    def first_target(self) -> F64:
        """Return the command of the response before it is committed [its joints]."""

    @abstractmethod
    def commit(self) -> tuple[str, ...]:
        """Apply the response as this tick's; without one the last targets remain in force.

        Returns:
            The rules that clipped it.
        """

    def rest(self) -> None:
        """Process a tick in which others command."""
        self._pass()

    def _count(self) -> None:
        """Count a response that is used."""
        self.own_ticks += 1
        self.answers += 1

    def _pass(self) -> None:
        """Advance to the next tick of the set."""
        if self._wait <= 0:
            self._wait += self._every
        self._wait -= self._parts
