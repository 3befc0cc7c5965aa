# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Another chunk policy as the shadow of the one that was recorded.

Images are not recorded. A shadow that needs them is given the chunks of the shadow that ran in the
flight; of one that needs none, the model is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.replaying.chunk_policy import RecordedChunkPolicy
from model_tools.prove.replaying.recorded_chunks import error_of
from model_tools.prove.replaying.recorded_ticks import RecordedTick
from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.replayer import Replayer
from model_tools.prove.replaying.stages import OUTPUTS, STAGES
from model_tools.prove.replaying.which_bundle import chunk_settings_of, limits_of
from policy_core.bundle.bundle import Bundle, ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Mode, ShadowMode
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.observation_sync import Snapshot
from policy_inference.backends.opened_models import OpenedModels
from policy_inference.backends.registry import open_models
from policy_inference.flight.ring import InferenceResult, ShadowAnswer
from policy_inference.shadow.chunk_shadow import ChunkShadow, ChunkTick, ShadowObservation

_SAME_RAD = 1e-9
"""As for the targets of a replay on another machine."""


class ShadowedChunks:
    """Replays the recorded policy, and asks a shadow about its ticks."""

    def __init__(
        self,
        recording: FlightRecording,
        active: ChunkContract,
        bundle: ChunkBundle,
        backends: Sequence[str],
        options: Mapping[str, Mapping[str, str]],
        mode: ShadowMode,
        recorded: Mapping[int, ShadowAnswer],
    ) -> None:
        """Prepare; see `shadowing.shadow_flight`.

        Args:
            recording: Of a chunk policy.
            active: Its contract.
            bundle: The shadow.
            backends: What it runs on, if it is run.
            options: Of the back ends.
            mode: What it remembers.
            recorded: Answers of the shadow that ran in the flight, by tick.

        Raises:
            ToolError: The shadow needs images, and is not the one that ran in the flight.
            PolicyError: It cannot be opened, or not be compared with the recorded policy.
        """
        self._recording, self._recorded = recording, recorded
        info, settings, limits = recording.info, chunk_settings_of(recording), limits_of(recording)
        flown = ChunkBundle(
            path=recording.path, contract=active, content=info.contract.encode("utf-8")
        )
        self._replayer = Replayer(
            flown,
            info,
            lambda clock: RecordedChunkPolicy(flown, info, limits, clock, settings),
            [name for name in STAGES if name != OUTPUTS],
            {},
            {},
            seeded=True,
        )
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
            active,
            {name: part.stop - part.start for name, part in info.fields.items()},
            settings,
            mode,
        )
        self._waiting = list[ShadowObservation]()
        self._asked: ChunkTick | None = None

    def close(self) -> None:
        """Close what was opened."""
        if self._models is not None:
            self._models.close()

    def ticks(self) -> Iterator[RecordedTick]:
        """Yield the ticks, each after the recorded policy has been replayed in it.

        Raises:
            ToolError: The recording is broken.
        """
        for tick in self._recording.ticks():
            self._replayer.step(tick)
            self._look_at(tick)
            yield tick

    def _look_at(self, tick: RecordedTick) -> None:
        """Find out what the policy did in a tick, as a node does."""
        policy = self._replayer.policy
        assert isinstance(policy, RecordedChunkPolicy)
        chunks, run = policy.runtime.policy.chunks, policy.controller.latest_tick
        self._waiting += map(ShadowObservation.of, chunks)
        chunks.clear()
        self._asked = None
        if tick.mode not in (Mode.RUN, Mode.HOLD):
            self._waiting.clear()
        if tick.mode is not Mode.RUN or tick.target is None:
            return
        if policy.known and np.allclose(run.target, tick.target, rtol=0.0, atol=_SAME_RAD):
            active = policy.runtime.policy
            self._asked = ChunkTick(active.tick, active.target, tuple(self._waiting))
        self._waiting.clear()

    def answer(self, tick: RecordedTick, begins: bool, lost: int) -> ShadowAnswer | None:
        """Return the answer to the tick that came last; None where its past is not known."""
        asked, seen = self._asked, self._recorded.get(tick.number)
        if asked is None or tick.target is None:
            return None
        inferences = () if seen is None else seen.inferences
        self._inferences = {each.observation_ns: each for each in inferences}
        return self._shadow.answer(
            tick.number,
            tick.state,
            tick.target,
            asked,
            begins=begins,
            lost=lost,
            late=bool(self._recorded) and not inferences,
        )

    def _run(self, sensed: Snapshot) -> F64:
        """Return the chunk that answers an observation: computed, else as recorded.

        Raises:
            BackendError: It failed, now or in the flight.
            RobotError: It failed in the flight because of an image.
            ToolError: It is not in the recording.
        """
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
