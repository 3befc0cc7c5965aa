# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy as a member of a set; each member commands its own joints at its own rate."""

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
    """A single array with each member's last targets in turn, followed by the stand pose.

    Attributes:
        stand: The stand pose; 0 for joints not commanded by position [set joints].
    """

    def __init__(self, contract: SetContract) -> None:
        """Lay out the members in the contract's order."""
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
        """Return a writable view of a member's targets [member joints]."""
        return self.flat[self._slices[name]]

    def member_start(self, name: str) -> int:
        """Return the index in `flat` at which a member's targets begin."""
        return int(self._slices[name].start)

    def sources(self, contract: SetContract, state: str) -> Index:
        """Return the index in `flat` of each set joint's target in a state [set joints]."""
        found: Index = self._held + np.arange(len(contract.joints.names))
        for name in contract.states[state].members:
            member = contract.members[name]
            found[member.places[member.commanded]] = self._slices[name].start + member.commanded
        return found


class MemberPolicy(Stateful, ABC):
    """Runs a member of a set; `sets.controller.MEMBERS` lists the subclass for each policy kind.

    On each tick of the set, `infer` and `commit` are called for a member in command, and `follow`
    and `rest` for a member that only watches. A result that is not committed leaves the memory
    unchanged.

    Attributes:
        name: Name in the set.
        member: The member's contract and its place in the set.
        command: Last targets [member joints], in the units of their kinds.
        has_answered: True if there is an inference result that has not been committed.
        watches: True if the member's memory changes in ticks in which only other members are in
            command.
        phases: Gait phases, each with the sines of all feet, followed by the cosines.
        phase_names: Names of the phase fields in `state`.
        resets: Number of fresh starts. From this and the next two counts, an observer can
            reconstruct the effect of a tick on this member.
        own_ticks: Number of the member's own ticks since the last fresh start, in command or
            watching.
        answers: Number of inference results that were used.
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
            bundle: Bundle of the policy.
            member: The member's contract and its place in the set.
            runner: Runs this kind of policy, such as an opened model; the caller closes it.
            state: State of the set.
            targets: Receives the member's targets.
            inputs: Inputs of the set, by topic.
            clock: Returns the time of inference, the same for all members in a tick.
        """
        self.name, self.member, self.command = name, member, targets.of(name)
        self._every, self._parts = member.every.numerator, member.every.denominator
        self._wait = 0
        """Time until the member's next tick, in fractions of a set tick; the member is due at 0."""
        self._start = targets.member_start(name)
        self.has_answered = self.watches = False
        self.resets = self.own_ticks = self.answers = 0

    @property
    @abstractmethod
    def state(self) -> StateVector:
        """The member's state: measurements, and fields that the member computes itself."""

    @property
    def chunk_policy(self) -> ChunkPolicy | None:
        """The chunk policy that the member runs; None for other kinds of policy."""
        return None

    @staticmethod
    @abstractmethod
    def sensed_sizes(contract: Any) -> Mapping[str, int]:
        """Return the sizes of the measured fields that a policy observes, by field name."""

    @staticmethod
    @abstractmethod
    def timeouts_ns(contract: Any, limits: Limits) -> Mapping[str, int | None]:
        """Return, by topic, the time-outs of inputs that have their own; None for no time-out."""

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core: the member's place in the set."""
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
        """True if the member runs in this tick; otherwise, its last targets stay in force."""
        return self._wait <= 0

    def run_now(self) -> None:
        """Make the member due in this tick, no matter when it last ran."""
        self._wait = 0

    def drop_answer(self) -> None:
        """Drop an inference result that has not been committed."""
        self.has_answered = False

    def enter(self, command: F64) -> None:
        """Prepare to take command, with a fresh start unless the contract says `followed`.

        Args:
            command: The set's last command [set joints].
        """
        if self.member.is_followed:
            self.follow(command)
        else:
            self.reset()

    @abstractmethod
    def pause(self, duration_ns: int) -> None:
        """Do not count an interval during which the whole robot was held."""

    @abstractmethod
    def follow(self, command: F64) -> None:
        """Treat the set's last command [set joints] as the member's own."""

    @abstractmethod
    def infer(self) -> bool:
        """Run inference on the current state; return True if the result is finite.

        Raises:
            BackendError: The runtime failed.
            NoTargetError: The member has had no target for too long, or an input is too old.
        """

    @abstractmethod
    def first_target(self) -> F64:
        """Return the command that `commit` would apply [member joints]."""

    @abstractmethod
    def commit(self) -> tuple[str, ...]:
        """Use the inference result in this tick; without one, the last targets stay in force.

        Returns:
            The guard rules that clipped the result.
        """

    def rest(self) -> None:
        """Process a tick in which only other members are in command."""
        self._pass()

    def _count(self) -> None:
        self.own_ticks += 1
        self.answers += 1

    def _pass(self) -> None:
        """Advance to the next tick of the set."""
        if self._wait <= 0:
            self._wait += self._every
        self._wait -= self._parts
