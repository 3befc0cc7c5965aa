# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy in a set; it commands its own joints at its own rate."""

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
    """Last targets of all members one after another, then the stand pose, in one array.

    Attributes:
        stand: The stand pose; 0 for joints not commanded by position [set joints].
    """

    def __init__(self, contract: SetContract) -> None:
        """Lay out the members in the set's order."""
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
        """Return a member's part [member joints]."""
        return self.flat[self._slices[name]]

    def member_start(self, name: str) -> int:
        """Return the index in `flat` at which a member's part begins."""
        return int(self._slices[name].start)

    def sources(self, contract: SetContract, state: str) -> Index:
        """Return each set joint's target in a given state, as an index in `flat`."""
        found: Index = self._held + np.arange(len(contract.joints.names))
        for name in contract.states[state].members:
            member = contract.members[name]
            found[member.places[member.commanded]] = self._slices[name].start + member.commanded
        return found


class MemberPolicy(Stateful, ABC):
    """Runs a member on the set's state. Each policy kind has its own class, in `sets.controller`.

    On each tick of the set, a member in command executes `infer` and `commit`; one that only
    watches executes `follow` and `rest`. A result that is not committed leaves the memory
    unchanged.

    Attributes:
        name: Name in the set.
        member: The member's contract and its place in the set.
        command: Last targets [member joints], in the units of their kinds.
        has_answered: True if there is a response that has not been committed.
        watches: True if the member's memory changes in ticks in which others are in command.
        phases: Gait phases, each with the sines, then the cosines, for all feet.
        phase_names: Names of the phase fields in `state`.
        resets: Number of fresh starts. From this and the next two counts, an observer can
            reconstruct the effect of a tick on this member.
        own_ticks: The member's own ticks since then: with a response, or only watched.
        answers: Number of responses that were used.
        frames: Buffers for new frames, by camera; empty for a member without images.
    """

    STATE: ClassVar[tuple[str, ...]] = ("_wait", "has_answered")
    STATE_IN_PLACE: ClassVar[tuple[str, ...]] = ("command",)
    phases: tuple[F64, ...] = ()
    phase_names: tuple[str, ...] = ()
    frames: Mapping[str, FrameBuffer] = MappingProxyType({})
    motion: ClipPlayer | None = None
    """Reference motion that the member tracks, or None."""

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
        """Start with empty memory.

        Args:
            name: Name in the set.
            bundle: Bundle of the policy, of its kind.
            member: The member's contract and its place in the set.
            runner: Execution resources for its kind of policy; the caller closes them.
            state: State of the set.
            targets: Receives the member's targets.
            inputs: Inputs of the set.
            clock: Time of inference, the same for all members in a tick.
        """
        self.name, self.member, self.command = name, member, targets.of(name)
        self._every, self._parts = member.every.numerator, member.every.denominator
        self._wait = 0
        """Time until the member's next tick, in fractions of a set tick; it is due at 0."""
        self._start = targets.member_start(name)
        self.has_answered = self.watches = False
        self.resets = self.own_ticks = self.answers = 0

    @property
    @abstractmethod
    def state(self) -> StateVector:
        """The member's inputs, and its memory of its own actions."""

    @property
    def chunk_policy(self) -> ChunkPolicy | None:
        """The chunk policy that the member runs; None if it computes each tick separately."""
        return None

    @staticmethod
    @abstractmethod
    def sensed_sizes(contract: Any) -> Mapping[str, int]:
        """Return the state fields that such a policy observes, with their sizes."""

    @staticmethod
    @abstractmethod
    def timeouts_ns(contract: Any, limits: Limits) -> Mapping[str, int | None]:
        """Return the input time-outs specific to this policy; None means no time-out."""

    def plan(self) -> dict[str, Any]:
        """Return the member's place in the set."""
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
        """True if the member runs in this tick; if not, its last targets remain in force."""
        return self._wait <= 0

    def run_now(self) -> None:
        """Make the member due in this tick, regardless of when it last ran."""
        self._wait = 0

    def drop_answer(self) -> None:
        """Drop a response that has not been committed."""
        self.has_answered = False

    def enter(self, command: F64) -> None:
        """Take command: from a fresh start, unless the member was followed.

        Args:
            command: The set's last command [set joints].
        """
        if self.member.is_followed:
            self.follow(command)
        else:
            self.reset()

    @abstractmethod
    def pause(self, duration_ns: int) -> None:
        """Exclude an interval during which the whole robot was held."""

    @abstractmethod
    def follow(self, command: F64) -> None:
        """Treat the set's last command [set joints] as the member's own."""

    @abstractmethod
    def infer(self) -> bool:
        """Compute the response to the current state; return True if it is finite.

        Raises:
            BackendError: The runtime failed.
            NoTargetError: It has had no target for too long.
        """

    @abstractmethod
    def first_target(self) -> F64:
        """Return the command in the response before it is committed [member joints]."""

    @abstractmethod
    def commit(self) -> tuple[str, ...]:
        """Make the response take effect in this tick; without one, the last targets remain.

        Returns:
            The rules that clipped it.
        """

    def rest(self) -> None:
        """Process a tick in which other members are in command."""
        self._pass()

    def _count(self) -> None:
        self.own_ticks += 1
        self.answers += 1

    def _pass(self) -> None:
        """Advance to the next tick of the set."""
        if self._wait <= 0:
            self._wait += self._every
        self._wait -= self._parts
