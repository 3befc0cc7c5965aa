# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The policy with which a shadow is compared: a set member, or a single policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from policy_core.bundle.bundle import AnyBundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.control.tick import Tick
from policy_core.errors import RefusedError
from policy_core.interfaces import F64, Mode
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.members.chunk.policy import ChunkPolicy, InferredChunk
from policy_core.observation.state import StateVector
from policy_core.sets.policy import PolicySet
from policy_inference.kinds.opening import OpenedPolicy

OBSERVATIONS = 4
"""Maximum number of observations that may wait for the shadow."""


class ShadowObservation(NamedTuple):
    """An observation that the active policy answered with a chunk; ticks as in `ChunkTick`.

    `first_tick` is the tick of the first step, `tick` the one in which the chunk arrived.
    """

    first_tick: int
    tick: int
    sensed: Snapshot

    @staticmethod
    def of(chunk: InferredChunk) -> ShadowObservation:
        return ShadowObservation(chunk.first_tick, chunk.tick, chunk.sensed)


class ChunkTick(NamedTuple):
    """Chunk data of a tick of an active chunk policy.

    `number` counts the policy's steps (`ChunkPolicy.tick`); `target` [its actions], rad, is the
    output of its queue, before any limit. `observations` are those whose chunks arrived since the
    previous tick; `missed` is true if some are not included.
    """

    number: int
    target: F64
    observations: Sequence[ShadowObservation] = ()
    missed: bool = False


class ShadowQuestion(NamedTuple):
    """Data for a shadow about a tick in which the compared policy ran.

    Attributes:
        state: State of that policy, after it acted.
        command: The policy's target, limited by the guard but not yet blended [policy joints].
        begins: True if the policy started with empty memory since the previous tick.
        lost: Number of the policy's ticks since then that the shadow did not receive, because it
            was late or other members were in command.
        chunk: The policy's step and observations; None for a joint policy.
    """

    state: F64
    command: F64
    begins: bool
    lost: int = 0
    chunk: ChunkTick | None = None


class ShadowedMember:
    """Selects the ticks in which a policy ran, and the data for its shadow.

    Attributes:
        name: Member name; empty for a single policy.
        bundle: The policy's bundle.
        state: The policy's observations and memory.
        others: Ticks in which other set members were in command instead.
    """

    def __init__(
        self,
        bundle: AnyBundle,
        state: StateVector,
        chunks: ChunkPolicy | None = None,
        policy_set: PolicySet | None = None,
        name: str = "",
    ) -> None:
        """Begin with the next tick.

        Args:
            bundle: The policy's bundle.
            state: The policy's observations and memory.
            chunks: The policy that executes chunks; None for a joint policy.
            policy_set: The policy's set; None for a single policy.
            name: Member name.
        """
        self.name, self.bundle, self.state, self._chunks = name, bundle, state, chunks
        self._set, self.others = policy_set, 0
        self._member = None if policy_set is None else policy_set.members[name]
        self._resets = self._own_ticks = self._answers = 0
        if self._member is not None:
            self._resets, self._answers = self._member.resets, self._member.answers
            self._own_ticks = self._member.own_ticks
        self._waiting: list[ShadowObservation] = []
        """Observations whose chunks have arrived since the policy last ran."""

    @classmethod
    def in_set(cls, bundle: SetBundle, policy_set: PolicySet, name: str) -> ShadowedMember:
        member = policy_set.members[name]
        return cls(bundle.members[name], member.state, member.chunk_policy, policy_set, name)

    @property
    def executes_chunks(self) -> bool:
        return self._chunks is not None

    def question(self, tick: Tick) -> ShadowQuestion | None:
        """Return the data for a tick, or None; call for each tick in order.

        The arrays are the policy's own, not copies.
        """
        if self._chunks is not None:
            self._take_chunks(self._chunks, tick.mode)
        if tick.mode is not Mode.RUN:
            return None
        if self._member is None:
            return ShadowQuestion(self.state.flat, tick.target, tick.begins, 0, self._chunk())
        return self._question_of_member(tick)

    def forget_chunks(self) -> None:
        """Discard the last tick's chunks; for use if nothing else takes them."""
        if self._chunks is not None:
            self._chunks.chunks.clear()

    def _question_of_member(self, tick: Tick) -> ShadowQuestion | None:
        member, policy_set = self._member, self._set
        assert member is not None
        assert policy_set is not None
        if member.answers == self._answers:
            self.others += not policy_set.commands(member)
            return None
        begins = member.resets != self._resets
        lost = member.own_ticks - (0 if begins else self._own_ticks) - 1
        self._resets, self._answers = member.resets, member.answers
        self._own_ticks = member.own_ticks
        command = tick.target[member.member.places]
        return ShadowQuestion(self.state.flat, command, begins, lost, self._chunk())

    def _take_chunks(self, chunks: ChunkPolicy, mode: Mode) -> None:
        left = self._member is not None and self._member.resets != self._resets
        if mode not in (Mode.RUN, Mode.HOLD) or left:
            self._waiting.clear()
        if mode in (Mode.RUN, Mode.HOLD):
            # Observations beyond the shadow's memory are missed anyway.
            arrived = map(ShadowObservation.of, chunks.chunks)
            self._waiting = [*self._waiting, *arrived][: OBSERVATIONS + 1]

    def _chunk(self) -> ChunkTick | None:
        if self._chunks is None:
            return None
        seen, self._waiting = tuple(self._waiting), []
        return ChunkTick(self._chunks.tick, self._chunks.target, seen)


def shadowed_member(policy: OpenedPolicy[Any], name: str) -> ShadowedMember:
    """Return the policy with which a shadow is compared.

    Args:
        policy: The hosted policy.
        name: Member name, for a set; otherwise empty.
    """
    members = policy.bundle.members
    if name not in (members or [""]):
        raise RefusedError(
            "shadow_member: expected a member to compare the shadow with "
            f"({', '.join(members) or 'none in a single policy'}), found {name or 'none'}"
        )
    if policy.switching is not None:
        # A set with a shadow runs in Python, see `OpenRequest.of`.
        policy_set = cast(PolicySet, policy.switching.policy_set)
        return ShadowedMember.in_set(policy.switching.bundle, policy_set, name)
    chunks = policy.chunks[0].policy if policy.chunks else None
    return ShadowedMember(policy.bundle, policy.controller.latest_tick.state, chunks)
