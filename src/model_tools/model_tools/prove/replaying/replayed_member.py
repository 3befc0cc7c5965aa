# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The recorded policy that a shadow is compared with, replayed: alone, or as a member of a set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from model_tools.prove.replaying.chunk_policy import RecordedChunkPolicy
from model_tools.prove.replaying.recorded_ticks import RecordedTick
from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.replay import replayed_set
from model_tools.prove.replaying.replayer import Replayer
from model_tools.prove.replaying.stages import OUTPUTS, STAGES
from model_tools.prove.replaying.which_bundle import chunk_settings_of, limits_of, recorded_bundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_inference.shadow.shadowed_member import ShadowedMember, ShadowQuestion

_SAME_RAD = 1e-9
"""As for the targets of a replay on another machine."""


class ReplayedMember:
    """Replays a recording, and says what a shadow of the policy is to be asked about each tick.

    Attributes:
        name: Of the member; empty where the policy was alone.
        sizes: Fields of its state, with their sizes.
        question: About the tick that came last; None for nothing.
        is_known: Whether the replay of that tick is what was recorded.
    """

    def __init__(
        self,
        recording: FlightRecording,
        replayer: Replayer,
        member: Callable[[Any], ShadowedMember],
        opened: ExitStack,
    ) -> None:
        """Begin before the first tick.

        Args:
            recording: What is replayed.
            replayer: Of it.
            member: Finds the policy in what the replayer runs.
            opened: What the replay needs.
        """
        self._recording, self._replayer, self._find = recording, replayer, member
        self._opened, self._policy = opened, replayer.policy
        self._member = member(self._policy)
        self.name, state = self._member.name, self._member.state
        self.sizes = {name: state[name].size for name in state.slices}
        self.question: ShadowQuestion | None = None
        self.is_known = False

    def ticks(self) -> Iterator[RecordedTick]:
        """Yield the ticks as the policy saw them; a tick without a run has no target."""
        for tick in self._recording.ticks():
            self._replayer.step(tick)
            if self._replayer.policy is not self._policy:
                self._policy = self._replayer.policy
                self._member = self._find(self._policy)
            run = self._policy.controller.latest_tick
            question = self._member.question(run)
            self._member.forget_chunks()
            self.question = question
            if question is None or tick.target is None:
                yield replace(tick, target=None)
                continue
            self.is_known = bool(
                self._policy.known
                and np.allclose(run.target, tick.target, rtol=0.0, atol=_SAME_RAD)
            )
            yield replace(
                tick, begins=question.begins, state=question.state, target=question.command
            )

    def close(self) -> None:
        """Close what was opened."""
        self._opened.close()


def replayed_chunks(recording: FlightRecording, contract: ChunkContract) -> ReplayedMember:
    """Return a recorded chunk policy that was alone."""
    info, settings, limits = recording.info, chunk_settings_of(recording), limits_of(recording)
    flown = ChunkBundle(
        path=recording.path, contract=contract, content=info.contract.encode("utf-8")
    )
    replayer = Replayer(
        flown,
        info,
        lambda clock: RecordedChunkPolicy(flown, info, limits, clock, settings),
        [name for name in STAGES if name != OUTPUTS],
        {},
        {},
        seeded=True,
    )
    return ReplayedMember(
        recording,
        replayer,
        lambda policy: ShadowedMember(flown, policy.state, policy.runtime.policy),
        ExitStack(),
    )


def replayed_member(recording: FlightRecording, name: str) -> ReplayedMember:
    """Return a member of a recorded set; the models of all its joint policies are run."""
    flown: Any = recorded_bundle(recording)
    with ExitStack() as opened:
        replayer = replayed_set(recording, flown, opened)
        kept = opened.pop_all()

    def find(policy: Any) -> ShadowedMember:
        return ShadowedMember.in_set(flown, policy.policy_set, name)

    return ReplayedMember(recording, replayer, find, kept)
