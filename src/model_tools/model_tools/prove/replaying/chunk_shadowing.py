# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Another chunk policy as the shadow of the one that was recorded.

Images are not recorded. A shadow that needs them is given the chunks of the shadow that ran in the
flight; of one that needs none, the model is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from model_tools.errors import ToolError
from model_tools.prove.replaying.recorded_chunks import error_of
from model_tools.prove.replaying.recorded_ticks import RecordedTick
from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.replayed_member import ReplayedMember
from model_tools.prove.replaying.which_bundle import chunk_settings_of
from policy_core.bundle.bundle import Bundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, ShadowMode
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.observation_sync import Snapshot
from policy_inference.backends.registry import OpenedModels, open_models
from policy_inference.flight.ring import InferenceResult, ShadowAnswer
from policy_inference.shadow.chunk_shadow import ChunkShadow


class ShadowedChunks:
    """Replays the recorded policy, and asks a shadow about its ticks."""

    def __init__(
        self,
        recording: FlightRecording,
        active: ReplayedMember,
        contract: ChunkContract,
        bundle: ChunkBundle,
        backends: Sequence[str],
        options: Mapping[str, Mapping[str, str]],
        mode: ShadowMode,
        recorded: Mapping[int, ShadowAnswer],
    ) -> None:
        """Prepare; see `shadowing.shadow_flight`.

        Args:
            recording: With a chunk policy.
            active: That policy, which is replayed.
            contract: Of it.
            bundle: The shadow.
            backends: What it runs on, if it is run.
            options: Of the back ends.
            mode: What it remembers.
            recorded: Answers of the shadow that ran in the flight, by tick.
        """
        self._recording, self._recorded, self._active = recording, recorded, active
        self.ticks, settings = active.ticks, chunk_settings_of(recording)
        self._models: OpenedModels | None = None
        self.backend = recording.info.settings.get("shadow.backend", "")
        self._inferences: Mapping[int, InferenceResult] = {}
        self._compute: Callable[[Snapshot], F64] | None = None
        if problem := missing_images(recording, bundle):
            raise ToolError(problem)
        if not bundle.contract.cameras:
            self._models = open_models(bundle.models, backends, options)
            self.backend = self._models.name
            self._compute = Inference(bundle.contract, self._models).run
        self._shadow = ChunkShadow(
            bundle.contract,
            self._run,
            limits_in_force(bundle.contract, StricterLimits()),
            contract,
            active.sizes,
            settings,
            mode,
        )

    def close(self) -> None:
        """Close what was opened."""
        if self._models is not None:
            self._models.close()

    def systematic(self, answers: Mapping[int, ShadowAnswer]) -> dict[str, F64]:
        """Return nothing: what a chunk policy observed is not recorded."""
        return {}

    def answer(self, tick: RecordedTick, begins: bool, lost: int) -> ShadowAnswer | None:
        """Return the answer to the tick that came last; None where its past is not known."""
        question, seen = self._active.question, self._recorded.get(tick.number)
        if question is None or question.chunk is None or not self._active.is_known:
            return None
        inferences = () if seen is None else seen.inferences
        self._inferences = {each.observation_ns: each for each in inferences}
        return self._shadow.answer(
            tick.number,
            question._replace(begins=begins, lost=lost + question.lost),
            late=bool(self._recorded) and not inferences,
        )

    def _run(self, sensed: Snapshot) -> F64:
        """Return the chunk that answers an observation: computed, else as recorded."""
        found = self._inferences.get(sensed.time_ns)
        if found is not None and found.chunk is None:
            raise error_of(found.error)
        if self._compute is not None:
            return self._compute(sensed)
        if found is None or found.chunk is None:
            raise ToolError(
                f"{self._recording.path}: shadow_inference: expected one of the observation at "
                f"{sensed.time_ns} ns, found none; the recording was changed"
            )
        return found.chunk


def missing_images(recording: FlightRecording, bundle: Bundle) -> str:
    """Return why a bundle's chunks can neither be computed nor read; empty where they can."""
    settings = recording.info.settings
    if not bundle.contract.cameras or settings.get("shadow.bundle_sha256") == bundle.sha256:
        return ""
    ran = " ".join(settings.get(f"shadow.{key}", "") for key in ("bundle_name", "bundle_version"))
    return (
        f"{recording.path}: expected the chunks of {bundle.path} as a shadow, since images are not "
        f"recorded, found {f'those of {ran}' if ran.strip() else 'no shadow'}; run it as the "
        "shadow of a flight (shadow_bundle), or compare it on a dataset (`model_tools compare`)"
    )
