# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy that is given the recorded results of its inferences; no model is run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from model_tools.errors import ToolError
from model_tools.prove.replaying.recorded_chunks import RecordedChunks
from model_tools.prove.replaying.recorded_inputs import state_names
from model_tools.prove.replaying.recorded_policy import RecordedClock, RecordedState
from model_tools.prove.replaying.recorded_ticks import Info, RecordedTick
from model_tools.prove.replaying.stages import TickStages
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.state_fields import LEADER_POS
from policy_core.guard.limits import Limits
from policy_core.members.chunk.controller import (
    camera_input,
    chunk_controller,
    state_sizes,
)
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.takeover import HAND_BACK, TAKE_OVER


class RecordedChunkPolicy:
    """A chunk policy on a recording."""

    known = True

    def __init__(
        self,
        bundle: ChunkBundle,
        info: Info,
        limits: Limits,
        clock: RecordedClock,
        settings: ChunkSettings,
    ) -> None:
        """Tie the real parts together.

        Args:
            bundle: What is replayed.
            info: What was recorded.
            limits: Those that were in force.
            clock: Of the controller.
            settings: How chunks were executed.
        """
        contract = bundle.contract
        self.state = RecordedState(state_sizes(contract, leader=settings.handover_s is not None))
        fields = {name: part for name, part in self.state.slices.items() if name != LEADER_POS}
        self._chunks = RecordedChunks(clock, state_names(info.joints, fields))
        worker = self._chunks.worker
        self.runtime = chunk_controller(bundle, worker, limits, clock, settings, self.state)
        self.controller, self._chunks.frames = self.runtime.controller, self.runtime.frames
        self.outside = {camera_input(name) for name in self.runtime.frames}
        for what, needed, found in (
            ("joints", contract.joints.on_robot(), info.joints),
            ("inputs", [*self.controller.inputs], info.inputs),
            ("state", [*self.state.slices], info.fields),
        ):
            if [*needed] != [*found]:
                raise ToolError(
                    f"{bundle.path}: {what}: expected those of the recording "
                    f"({', '.join(found)}), found {', '.join(needed)}"
                )
        self.requests: Mapping[str, Callable[[], object]] = {
            TAKE_OVER: self.runtime.requests.take_over,
            HAND_BACK: self.runtime.requests.hand_back,
        }
        self.actions = ()

    def begin(self) -> None:
        """Do nothing: a run begins clean by itself."""

    def restored(self, *, whole: bool) -> None:
        """Note which frames there are; of another policy no chunk is known before the next run."""
        self._chunks.restored(self.controller.inputs)

    def sense(self, tick: RecordedTick) -> None:
        """Take in times of frames, and let results arrive."""
        self._chunks.sense(tick)

    def end(self, tick: RecordedTick) -> None:
        """Do nothing."""

    def own_fields(self, tick: RecordedTick, sensed: Collection[str]) -> set[str]:
        """Return none: all of the state is measured."""
        return set()

    def judge(self, tick: RecordedTick, stages: TickStages) -> None:
        """Compare what the inferences were given whose results arrived."""
        self._chunks.judge(tick, stages)
