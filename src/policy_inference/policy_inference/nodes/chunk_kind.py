# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Chunk policies: from a loaded bundle to a controller over its opened graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from policy_inference.backends.base import WARM_UP_S, timed_runs
from policy_inference.backends.registry import Options, open_graphs
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.chunk_contract import ChunkContract
from policy_inference.core.chunks.controller import (
    ChunkRuntime,
    camera_input,
    chunk_controller,
    worker_of,
)
from policy_inference.core.chunks.graphs import Inference
from policy_inference.core.chunks.observation_sync import Snapshot
from policy_inference.core.chunks.settings import (
    ChunkSettings,
    check_settings,
    require_ensemble_speed,
)
from policy_inference.core.distribution import DistributionWatch, watched_state
from policy_inference.core.images import Frame
from policy_inference.core.limits import Limits
from policy_inference.core.state import StateVector
from policy_inference.errors import PolicyError
from policy_inference.flight.description import settings_of
from policy_inference.flight.tap import WorkerTap
from policy_inference.nodes.opening import OpenedPolicy, OpenRequest
from policy_inference.self_test.chunks import require_chunk_parity, require_enough_chunks

_RUNS = 50
"""First chunks, if there is time: the later half of them is as fast as chunks get."""
_log = logging.getLogger("policy_inference")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedChunkPolicy(OpenedPolicy[ChunkBundle]):
    """A chunk policy that can run.

    Attributes:
        runtime: The controller's parts.
        settings: How chunks are executed.
        inference_s: How long a chunk takes here, from images to targets, measured.
    """

    runtime: ChunkRuntime
    settings: ChunkSettings = field(default_factory=ChunkSettings)
    inference_s: float = 0.0

    @property
    def problem(self) -> str:
        """Why no run can succeed any more; empty where one can."""
        if not self.runtime.worker.alive:
            return "the thread of inference has ended; configure the node again"
        return super(OpenedChunkPolicy, self).problem

    @property
    def left_behind(self) -> bool:
        """Whether a run hangs in a graph, so that its thread cannot be ended; after `close`."""
        return self.runtime.worker.busy

    @property
    def recorded_inputs(self) -> Sequence[str]:
        """Inputs whose messages a flight recorder keeps: not images, which take too much memory."""
        images = {camera_input(name) for name in self.runtime.frames}
        return [name for name in self.controller.inputs if name not in images]

    def recorded_settings(self) -> dict[str, str]:
        """Return the settings of the chunks as well."""
        return settings_of(self.limits, self.backend, chunks=self.settings)

    def observed(self) -> DistributionWatch | None:
        """Return what compares the state that the policy is given with its training."""
        contract = self.bundle.contract
        graphs = dict(zip(contract.models, self.backends, strict=True))
        inputs = graphs[f"graphs.{contract.policy_graph}"].inputs
        return DistributionWatch(watched_state(contract, inputs))

    def close(self) -> None:
        """End the worker, then close the graphs; those in which a run hangs stay open."""
        self.runtime.close()
        if not self.runtime.worker.busy:
            OpenedPolicy.close(self)


class ChunkKind:
    """Opens chunk policies."""

    bundle = ChunkBundle

    def __init__(self, settings: ChunkSettings, *, simulated_time: bool) -> None:
        """Keep how chunks are executed.

        Args:
            settings: How chunks are executed.
            simulated_time: Whether inference takes `settings.simulated_latency_s`, whatever it
                takes.
        """
        self._settings, self._simulated_time = settings, simulated_time

    def inputs(self, bundle: ChunkBundle, limits: Limits) -> Iterator[str]:
        """Yield the inputs of a policy, with all that a subscription depends on."""
        contract = bundle.contract
        yield "joint_states"
        if outside := contract.environment_state:
            yield f"{outside.topic} ({outside.size} values)"
        yield from (f"the camera {name}" for name in contract.cameras)

    def require_provable(self, bundle: ChunkBundle) -> None:
        """Raise BundleError unless the golden rows can prove the graphs."""
        require_enough_chunks(bundle)

    def open(
        self,
        request: OpenRequest,
        options: Options,
        bundle: ChunkBundle,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedChunkPolicy:
        """Open the graphs of a bundle that was loaded.

        Raises:
            PolicyError: They cannot be used, with the reason; nothing is open then.
        """
        contract, settings = bundle.contract, self._settings
        _log.info(
            "opening %s: %d graphs, then trial runs for %g s at most, which measure how long a "
            "chunk takes",
            contract.name,
            len(contract.graphs),
            WARM_UP_S,
        )
        with ExitStack() as opened:
            backends, skipped = open_graphs(bundle, request.backends, options)
            for backend in backends.values():
                opened.callback(backend.close)
            check_settings(settings, contract)
            inference = Inference(contract, backends)
            tap = WorkerTap(worker_of(inference.run, clock, settings, inline=self._simulated_time))
            opened.callback(tap.close)
            runtime = chunk_controller(bundle, tap, limits, clock, settings)
            inference_s = measured_s(inference, runtime.controller.state, contract)
            takes_s = settings.simulated_latency_s if self._simulated_time else inference_s
            require_patience(takes_s, limits)
            if settings.mode == "ensemble":
                require_ensemble_speed(takes_s, contract)
            opened.pop_all()
        return OpenedChunkPolicy(
            request=request,
            bundle=bundle,
            limits=limits,
            backends=tuple(backends.values()),
            skipped=skipped,
            controller=runtime.controller,
            tap=tap,
            runtime=runtime,
            settings=settings,
            inference_s=inference_s,
        )

    def prove(self, opened: OpenedChunkPolicy) -> None:
        """Raise PolicyError unless the graphs compute here what the golden rows say."""
        backends = dict(zip(opened.bundle.contract.models, opened.backends, strict=True))
        require_chunk_parity(opened.bundle, backends)


def require_patience(inference_s: float, limits: Limits) -> None:
    """Return if the robot may wait for the first chunk without a fault.

    Raises:
        PolicyError: It takes longer than HOLD may last.
    """
    patience_s = limits.damp_after_ns * 1e-9
    if inference_s >= patience_s:
        raise PolicyError(
            f"safety.damp_after_s: expected longer than the {inference_s:.3f} s that "
            f"a chunk takes here, found {patience_s:g} s: waiting for the first chunk"
            " would be a fault; raise it in the contract, or take a faster back end"
        )


def measured_s(inference: Inference, state: StateVector, contract: ChunkContract) -> float:
    """Return how long a chunk takes, s, on black images, once the graphs have warmed up.

    Raises:
        BackendError: A runtime failed.
    """
    frames = {
        name: Frame(
            encoding="rgb8",
            height=camera.height,
            width=camera.width,
            step=3 * camera.width,
            data=memoryview(bytes(3 * camera.width * camera.height)),
        )
        for name, camera in contract.cameras.items()
    }
    sensed = Snapshot(
        time_ns=0, frames=frames, fields={name: np.zeros(state[name].size) for name in state.slices}
    )
    took_s = timed_runs(lambda: inference.run(sensed), _RUNS)
    return median(took_s[len(took_s) // 2 :])
