# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy of a set: it commands its joints at its own rate."""

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

if TYPE_CHECKING:  # a set of joint policies sees no images
    from policy_core.members.chunk.observation_sync import FrameBuffer
    from policy_core.members.chunk.policy import ChunkPolicy


class JoinedTargets:
    """The last targets of all members, one after another, then the stand pose, in one array.

    Attributes:
        stand: The stand pose, 0 for joints of other kinds than positions [joints of the set].
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
        """Return where the part of a member begins in `flat`."""
        return int(self._slices[name].start)

    def sources(self, contract: SetContract, state: str) -> Index:
        """Return where in `flat` the target of each joint of the set is in a state."""
        found: Index = self._held + np.arange(len(contract.joints.names))
        for name in contract.states[state].members:
            member = contract.members[name]
            found[member.places[member.commanded]] = self._slices[name].start + member.commanded
        return found


class MemberPolicy(Stateful, ABC):
    """Runs a member on what the set senses. Each kind of policy has one, in `sets.controller`.

    A tick of the set is `infer` and `commit` where the member commands, else `follow` and `rest`
    where it watches. A result that is not committed leaves what the member remembers as it was.

    Attributes:
        name: In the set.
        member: Its contract and its place in the set.
        command: Its last targets [its joints], in the units of their kinds.
        has_answered: Whether it has an answer that is not committed.
        watches: Whether ticks in which others command change what it remembers.
        phases: Phases of the gait, each the sines then the cosines of all feet.
        phase_names: Their fields in `state`.
        resets: How often it has begun clean. A guest sees from this and the two that follow what a
            tick was for this member.
        own_ticks: Its own ticks since then: those with an answer, and those that it watched.
        answers: How often an answer of it was taken.
        frames: By camera: where new frames go; empty for one that sees no images.
    """

    STATE: ClassVar[tuple[str, ...]] = ("_wait", "has_answered")
    STATE_IN_PLACE: ClassVar[tuple[str, ...]] = ("command",)
    phases: tuple[F64, ...] = ()
    phase_names: tuple[str, ...] = ()
    frames: Mapping[str, FrameBuffer] = MappingProxyType({})
    motion: ClipPlayer | None = None
    """What it tracks; None for nothing."""

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
        """Begin with nothing remembered.

        Args:
            name: In the set.
            bundle: Of the policy, of its kind.
            member: Its place in the set.
            runner: What a policy of its kind runs on; stays the caller's to close.
            state: What the set senses.
            targets: Where its targets go.
            inputs: Those of the set.
            clock: When the members are asked, the same for all in a tick.
        """
        self.name, self.member, self.command = name, member, targets.of(name)
        self._every, self._parts = member.every.numerator, member.every.denominator
        self._wait = 0
        """Time until its next tick, in parts of a tick of the set; it is due where none is left."""
        self._start = targets.member_start(name)
        self.has_answered = self.watches = False
        self.resets = self.own_ticks = self.answers = 0

    @property
    @abstractmethod
    def state(self) -> StateVector:
        """What it senses, and what it remembers of its own actions."""

    @property
    def chunk_policy(self) -> ChunkPolicy | None:
        """What executes its chunks; None where it answers each tick by itself."""
        return None

    @staticmethod
    @abstractmethod
    def sensed_sizes(contract: Any) -> Mapping[str, int]:
        """Return the fields of the state that such a policy senses, and their sizes."""

    @staticmethod
    @abstractmethod
    def timeouts_ns(contract: Any, limits: Limits) -> Mapping[str, int | None]:
        """Return the time-outs of its inputs that have one of their own; None is never too old."""

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
        """Start clean, as for a new run."""
        self._wait = 0
        self.has_answered = False
        self.resets, self.own_ticks = self.resets + 1, 0

    @property
    def is_due(self) -> bool:
        """Whether it runs in this tick: else its last targets count on."""
        return self._wait <= 0

    def run_now(self) -> None:
        """Be due in this tick, whenever it ran last."""
        self._wait = 0

    def drop_answer(self) -> None:
        """Forget an answer that is not committed."""
        self.has_answered = False

    def enter(self, command: F64) -> None:
        """Begin to command: from a clean start, unless it was followed.

        Args:
            command: What the set commanded last [joints of the set].
        """
        if self.member.is_followed:
            self.follow(command)
        else:
            self.reset()

    @abstractmethod
    def pause(self, duration_ns: int) -> None:
        """Leave out a time in which the whole robot was held."""

    @abstractmethod
    def follow(self, command: F64) -> None:
        """Take what the set commanded last [joints of the set] for what it commanded itself."""

    @abstractmethod
    def infer(self) -> bool:
        """Answer what the set senses now; return whether the answer is finite.

        Raises:
            BackendError: The runtime failed.
            NoTargetError: It has had no target for too long.
        """

    @abstractmethod
    def first_target(self) -> F64:
        """Return what the answer commands before it is committed [its joints]."""

    @abstractmethod
    def commit(self) -> tuple[str, ...]:
        """Take the answer as that of the tick; without one the last targets count on.

        Returns:
            The rules that clipped it.
        """

    def rest(self) -> None:
        """Take a tick in which others command."""
        self._pass()

    def _count(self) -> None:
        """Count an answer that is taken."""
        self.own_ticks += 1
        self.answers += 1

    def _pass(self) -> None:
        """Go on to the next tick of the set."""
        if self._wait <= 0:
            self._wait += self._every
        self._wait -= self._parts
