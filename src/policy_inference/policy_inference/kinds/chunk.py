# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Chunk policies: graphs that run every few ticks and turn images into the next targets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from policy_core.bundle.bundle import CONTRACT_FILE
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import GOLDEN_CHUNK, GOLDEN_SUCCESS, ChunkContract
from policy_core.bundle.contract import Artifact
from policy_core.bundle.state_fields import LEADER
from policy_core.control.controller import Controller
from policy_core.errors import BundleError, PolicyError, Problem
from policy_core.guard.limits import Limits, limits_in_force
from policy_core.interfaces import Backend, Tensor
from policy_core.members.chunk.controller import (
    chunk_controller,
    state_sizes,
)
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.normalise import watched_state
from policy_core.members.chunk.observation_sync import FrameBuffer, Snapshot
from policy_core.members.chunk.policy import ChunkPolicy
from policy_core.members.chunk.settings import (
    ChunkSettings,
    check_settings,
    executed_steps,
    require_ensemble_speed,
    require_real_time_speed,
)
from policy_core.members.chunk.worker import Request
from policy_core.observation.distribution import DistributionWatch
from policy_core.observation.images import Frame
from policy_inference.backends.base import WARM_UP_S, timed_runs
from policy_inference.backends.registry import OpenedModels, Options, open_models
from policy_inference.comparison.chunks import (
    chunk_checks,
    chunk_differences,
    chunk_limits,
    coarsest,
    features_checks,
    play_chunks,
)
from policy_inference.comparison.limits import Check
from policy_inference.comparison.open_loop import Difference
from policy_inference.comparison.rows import Rows
from policy_inference.flight.worker_tap import WorkerTap
from policy_inference.kinds.chunk_worker import make_worker
from policy_inference.kinds.opening import (
    MemberKind,
    OpenedMember,
    OpenedPolicy,
    OpenRequest,
    native_controller,
)

if TYPE_CHECKING:  # not needed without a set
    from policy_core.sets.chunk_member import ChunkMember

FEWEST_ROWS = 2
ENDED_WORKER = "the inference thread has ended; configure the node again"
_RUNS = 50
"""Number of test chunks, time permitting; only the second half, after warm-up, is measured."""
_log = logging.getLogger("policy_inference")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedInference:
    """Opened graphs, and the worker that computes chunks with them.

    Attributes:
        models: The graphs.
        worker: Computes chunks.
        takes_s: Time per chunk as measured on this machine, from images to targets.
        expected_s: Assumed time per chunk; with simulated time, it comes from the settings.
        denoising_steps: Denoising steps per chunk; 0 if a single run of the graph returns the
            chunk.
    """

    models: OpenedModels
    worker: WorkerTap
    takes_s: float
    expected_s: float
    denoising_steps: int

    def close(self) -> None:
        """Stop the worker, then close the graphs, unless a run hangs."""
        self.worker.close()
        if not self.worker.busy:
            self.models.close()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedChunks:
    """A chunk policy that is ready to run, alone or as a member of a set.

    Attributes:
        name: Member name in a set.
        contract: The policy's contract.
        inference: Computes the chunks.
        policy: Executes the chunks.
        settings: Settings for chunk execution.
        member: The policy as a set member; None for a single policy.
    """

    name: str
    contract: ChunkContract
    inference: OpenedInference
    policy: ChunkPolicy
    settings: ChunkSettings
    member: ChunkMember | None = None

    @property
    def worker(self) -> WorkerTap:
        return self.inference.worker

    @property
    def frames(self) -> Mapping[str, FrameBuffer]:
        """Buffers for new frames, by camera."""
        return self.policy.sync.frames

    @property
    def problem(self) -> str:
        """Reason why chunks can no longer be computed; empty if they can."""
        return "" if self.worker.alive else ENDED_WORKER

    @property
    def held(self) -> str:
        """Reason why the policy's joints are held while other joints continue; "" if not held."""
        return "" if self.member is None else self.member.held

    def __str__(self) -> str:
        contract, settings, inference = self.contract, self.settings, self.inference
        steps = settings.steps or contract.chunk.steps
        denoising = contract.denoising
        of_steps = (
            f" in {inference.denoising_steps} denoising steps (contract: {denoising.steps})"
            if denoising
            else ""
        )
        return (
            f"{settings.mode}: {steps} of {contract.chunk.size} steps of a chunk, "
            f"{steps / contract.rate_hz:.2f} s; a chunk takes {inference.takes_s * 1e3:.1f} ms"
            + of_steps
        )


class ChunkKind(MemberKind[ChunkBundle]):
    """Opens chunk policies, runs them on rows, and judges their outputs."""

    bundle = ChunkBundle
    runs = "chunks"

    def __init__(
        self, settings: ChunkSettings | None = None, *, simulated_time: bool = False
    ) -> None:
        """Store the settings.

        Args:
            settings: Settings for chunk execution; None for the defaults.
            simulated_time: True to make inference appear to take `settings.simulated_latency_s`,
                regardless of its real duration.
        """
        self._settings, self._simulated_time = settings or ChunkSettings(), simulated_time

    def inputs(self, bundle: ChunkBundle, limits: Limits) -> Iterator[str]:
        contract = bundle.contract
        yield "joint_states"
        if outside := contract.environment_state:
            yield f"{outside.topic} ({outside.size} values)"
        yield from (f"the camera {name}" for name in contract.cameras)
        if self._settings.handover_s is not None:
            yield LEADER.name

    def open(
        self,
        request: OpenRequest,
        options: Options,
        bundle: ChunkBundle,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedPolicy[ChunkBundle]:
        inference = self.open_inference(request, options, bundle, limits, clock)
        with ExitStack() as opened:
            opened.callback(inference.close)
            native = native_controller(request.loop, {}, bundle.sha256)
            runtime = chunk_controller(
                bundle,
                inference.worker,
                limits,
                clock,
                self._settings,
                expected_s=inference.expected_s,
                make=lambda *arguments: native(*arguments) or Controller(*arguments),
            )
            opened.pop_all()
        # The state as the policy sees it: observers see the state at the end of the tick.
        inference.worker.state = runtime.controller.state.flat
        contract = bundle.contract
        observing = inference.models[f"graphs.{contract.observing_graph}"]
        return OpenedPolicy(
            request=request,
            bundle=bundle,
            limits=limits,
            models=inference.models,
            controller=runtime.controller,
            tap=inference.worker,
            watch=DistributionWatch(watched_state(contract, observing.inputs)),
            chunks=[
                OpenedChunks(
                    name=contract.name,
                    contract=contract,
                    inference=inference,
                    policy=runtime.policy,
                    settings=self._settings,
                )
            ],
            takeover=runtime.requests,
        )

    def open_member(
        self,
        request: OpenRequest,
        options: Options,
        name: str,
        bundle: ChunkBundle,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedMember:
        """Open a member's graphs; see `MemberKind.open_member`.

        While the member has no target, only its joints are held, for as long as its own limits
        allow.
        """
        from policy_core.sets.chunk_member import ChunkRunner
        from policy_inference.kinds.parity import require_parity

        own = limits_in_force(bundle.contract, request.limits)
        inference = self.open_inference(request, options, bundle, own, clock, name)
        with ExitStack() as opened:
            opened.callback(inference.close)
            require_parity(self, bundle, inference.models, self.golden_rows(bundle))
            opened.pop_all()

        def chunks(member: ChunkMember) -> OpenedChunks:
            return OpenedChunks(
                name=name,
                contract=bundle.contract,
                inference=inference,
                policy=member.policy,
                settings=self._settings,
                member=member,
            )

        return OpenedMember(
            runner=ChunkRunner(
                worker=inference.worker,
                settings=self._settings,
                expected_s=inference.expected_s,
                longest_hold_ns=own.damp_after_ns,
            ),
            models=inference.models,
            close=inference.close,
            chunks=chunks,
        )

    def open_inference(
        self,
        request: OpenRequest,
        options: Options,
        bundle: ChunkBundle,
        limits: Limits,
        clock: Callable[[], int],
        member: str = "",
    ) -> OpenedInference:
        """Open a bundle's graphs, and measure how long a chunk takes.

        Arguments are the same as for `open`; `member` is the policy's name in a set.
        """
        contract, settings = bundle.contract, self._settings
        _log.info(
            "opening %s: %d graphs, then up to %g s of trial runs to measure how long a chunk "
            "takes",
            contract.name,
            len(contract.graphs),
            WARM_UP_S,
        )
        with ExitStack() as opened:
            check_settings(settings, contract)
            # A chunk that arrives later has no step left.
            horizon_s = executed_steps(settings, contract) / contract.rate_hz
            models = opened.enter_context(
                open_models(bundle.models, request.backends, options, deadline_s=horizon_s)
            )
            inference, takes_s = within_budget(contract, models, settings)
            expected_s = settings.simulated_latency_s if self._simulated_time else takes_s
            require_patience(expected_s, limits)
            if settings.mode == "ensemble":
                require_ensemble_speed(expected_s, contract)
            if settings.mode == "rtc":
                require_real_time_speed(expected_s, executed_steps(settings, contract), contract)
            worker = make_worker(inference.answer, clock, settings, inline=self._simulated_time)
            opened.pop_all()
        return OpenedInference(
            models=models,
            worker=WorkerTap(worker, member),
            takes_s=takes_s,
            expected_s=expected_s,
            denoising_steps=inference.denoising_steps,
        )

    def golden_rows(self, bundle: ChunkBundle) -> Rows:
        """Read the golden rows: observations, and the reference model's chunks for them."""
        golden = bundle.golden()
        chunks = golden.pop(GOLDEN_CHUNK).astype(np.float64)
        outputs: dict[str, Tensor] = {GOLDEN_CHUNK: chunks}
        if GOLDEN_SUCCESS in golden:
            outputs[GOLDEN_SUCCESS] = golden.pop(GOLDEN_SUCCESS)
        return Rows(source="golden rows", inputs=golden, outputs=outputs)

    def require_enough(self, bundle: ChunkBundle, rows: Rows) -> None:
        """Raise BundleError unless every input has enough different values in the golden rows."""
        flat = [array.reshape(len(rows), -1) for array in rows.inputs.values()]
        different = min(len(rows), *(len(np.unique(array, axis=0)) for array in flat))
        if different < FEWEST_ROWS:
            raise BundleError(
                Problem(
                    file=str(bundle.path / CONTRACT_FILE),
                    key="golden",
                    found=str(different),
                    expected=f"at least {FEWEST_ROWS} golden rows in which every input differs",
                    remedy="`model_tools export lerobot` writes them",
                )
            )

    def play(
        self, bundle: ChunkBundle, models: Mapping[str, Backend], rows: Rows
    ) -> dict[str, Tensor]:
        return play_chunks(bundle.contract, models, rows)

    def differences(
        self,
        bundle: ChunkBundle,
        found: Mapping[str, Tensor],
        expected: Mapping[str, Tensor],
        numbers: npt.NDArray[np.int64] | None = None,
    ) -> tuple[Difference, ...]:
        """Measure differences of normalized chunks, then of any encoder outputs in `expected`."""
        return chunk_differences(bundle.contract, found, expected, numbers)

    def checks(
        self,
        bundle: ChunkBundle,
        backend: str,
        entries: Mapping[str, Artifact],
        differences: tuple[Difference, ...],
        source: str,
    ) -> tuple[Check, ...]:
        """Check chunks and features against the artifacts' limits."""
        chunk, *features = differences
        limits = chunk_limits(bundle.contract, backend, coarsest(entries))
        return (*chunk_checks(chunk, source, limits), *features_checks(features, source, limits))


def require_patience(inference_s: float, limits: Limits) -> None:
    """Raise PolicyError unless the robot can wait for the first chunk without a fault."""
    patience_s = limits.damp_after_ns * 1e-9
    if inference_s >= patience_s:
        raise PolicyError(
            f"safety.damp_after_s: expected more than the {inference_s:.3f} s that a chunk takes "
            f"on this machine, found {patience_s:g} s: waiting for the first chunk would be a "
            "fault; raise this time in the contract, or use a faster back end"
        )


def within_budget(
    contract: ChunkContract, models: Mapping[str, Backend], settings: ChunkSettings
) -> tuple[Inference, float]:
    """Return an `Inference` that meets the time budget, and its time per chunk in s.

    If the contract's number of denoising steps takes too long, fewer steps are used; a log message
    says so.
    """
    inference = Inference(contract, models, settings)
    takes_s, budget_s = measured_s(inference, contract), settings.time_budget_s
    if budget_s is None or takes_s <= budget_s:
        return inference, takes_s
    most = inference.denoising_steps
    one_s = measured_s(Inference(contract, models, settings, 1), contract)
    step_s = (takes_s - one_s) / max(1, most - 1)
    # Noise may make a step seem to take no time, so that any number of steps would fit.
    steps = min(most, 1 + int((budget_s - one_s) / max(step_s, 1e-9)))
    if budget_s < one_s:
        raise PolicyError(
            f"time_budget_s: expected at least {one_s:.3f} s (the time that a chunk with "
            f"one denoising step takes on this machine), found {budget_s:g} s; allow "
            "more, or use a faster back end"
        )
    _log.warning(
        "%s: %d of %d denoising steps fit the time budget of %.3f s: a step takes %.1f ms, "
        "everything else %.1f ms",
        contract.name,
        steps,
        most,
        budget_s,
        step_s * 1e3,
        (one_s - step_s) * 1e3,
    )
    inference = Inference(contract, models, settings, steps)
    return inference, measured_s(inference, contract)


def measured_s(inference: Inference, contract: ChunkContract) -> float:
    """Return the time per chunk (in s) for black images, after warming up the graphs."""
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
        time_ns=0,
        frames=frames,
        fields={name: np.zeros(size) for name, size in state_sizes(contract).items()},
    )
    sensed = replace(sensed, earlier=(sensed,) * (contract.observation_steps - 1))
    request = Request(sensed=sensed, generation=0, asked_ns=0)
    took_s = timed_runs(lambda: inference.answer(request), _RUNS)
    return median(took_s[len(took_s) // 2 :])
