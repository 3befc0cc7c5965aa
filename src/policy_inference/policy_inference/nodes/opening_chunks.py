# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From the name of a chunk policy's bundle to a controller over its opened graphs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from rclpy.impl.rcutils_logger import RcutilsLogger

from policy_inference.backends.base import WARM_UP_S, timed_runs
from policy_inference.backends.registry import open_graphs
from policy_inference.bundle.chunk_contract import ChunkContract
from policy_inference.bundle.installed import open_chunk_bundle
from policy_inference.bundle.load import ChunkBundle
from policy_inference.bundle.signature import trusted_keys
from policy_inference.core.chunks.controller import ChunkRuntime, chunk_controller
from policy_inference.core.chunks.settings import ChunkSettings, require_ensemble_speed
from policy_inference.core.chunks.snapshot import Sensed
from policy_inference.core.images import Frame
from policy_inference.core.limits import Limits, limits_in_force
from policy_inference.errors import PolicyError
from policy_inference.nodes.forwarding import forwarded_to
from policy_inference.nodes.opened import OpenedPolicy, Order

_RUNS = 50
"""First chunks, if there is time: the later half of them is as fast as chunks get."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedChunks(OpenedPolicy):
    """A chunk policy that can run.

    Attributes:
        runtime: The controller's parts.
        settings: How chunks are executed.
        inference_s: How long a chunk takes here, from pictures to targets, measured.
    """

    bundle: ChunkBundle
    runtime: ChunkRuntime
    settings: ChunkSettings = field(default_factory=ChunkSettings)
    inference_s: float = 0.0

    @property
    def problem(self) -> str:
        """Why no run can succeed any more; empty where nothing speaks against one."""
        if not self.runtime.worker.alive:
            return "the thread of inference has ended; configure the node anew"
        return super(OpenedChunks, self).problem

    def close(self) -> None:
        """End the worker, then close the graphs; those that a run hangs in are left behind."""
        self.runtime.close()
        if not self.runtime.worker.busy:
            OpenedPolicy.close(self)


def open_chunks(
    order: Order, settings: ChunkSettings, clock: Callable[[], int], logger: RcutilsLogger, *,
    simulated_time: bool,
) -> OpenedChunks:  # fmt: skip
    """Open a bundle.

    Args:
        order: What is wanted.
        settings: How chunks are executed.
        clock: Of the controller.
        logger: Tells the progress.
        simulated_time: Whether inference takes `settings.simulated_latency_s`, whatever it takes.

    Raises:
        PolicyError: It cannot be used, with the reason.
    """
    bundle = open_chunk_bundle(order.bundle, trusted_keys(order.public_key))
    contract = bundle.contract
    limits = limits_in_force(contract, order.tightening)
    logger.info(f"opening {contract.name}: {len(contract.graphs)} graphs, then trial runs for "
                f"{WARM_UP_S:g} s at most, which measure how long a chunk takes")
    with ExitStack() as opened:
        with forwarded_to(logger):
            backends, skipped = open_graphs(bundle, order.backends, order.options)
        for backend in backends.values():
            opened.callback(backend.close)
        runtime = chunk_controller(bundle, backends, limits, clock, settings,
                                   inline=simulated_time)
        opened.callback(runtime.close)
        inference_s = measured_s(runtime, contract)
        takes_s = settings.simulated_latency_s if simulated_time else inference_s
        require_patience(takes_s, limits)
        if settings.mode == "ensemble":
            require_ensemble_speed(takes_s, contract)
        opened.pop_all()
    return OpenedChunks(order=order, bundle=bundle, limits=limits,
                        backends=tuple(backends.values()), skipped=skipped,
                        controller=runtime.controller, runtime=runtime, settings=settings,
                        inference_s=inference_s)  # fmt: skip


def require_patience(inference_s: float, limits: Limits) -> None:
    """Return if the robot may wait for the first chunk without a fault.

    Raises:
        PolicyError: It takes longer than HOLD may last.
    """
    patience_s = limits.damp_after_ns * 1e-9
    if inference_s >= patience_s:
        raise PolicyError(f"safety.damp_after_s: expected longer than the {inference_s:.3f} s that "
                          f"a chunk takes here, found {patience_s:g} s: waiting for the first chunk"
                          " would be a fault; raise it in the contract, or take a faster back end")


def measured_s(runtime: ChunkRuntime, contract: ChunkContract) -> float:
    """Return how long a chunk takes, s, on black pictures, once the graphs have warmed up.

    Raises:
        BackendError: A runtime failed.
    """
    state = runtime.controller.state
    frames = {name: Frame(encoding="rgb8", height=camera.height, width=camera.width,
                          step=3 * camera.width,
                          data=memoryview(bytes(3 * camera.width * camera.height)))
              for name, camera in contract.cameras.items()}  # fmt: skip
    sensed = Sensed(time_ns=0, frames=frames,
                    fields={name: np.zeros(state[name].size) for name in state.slices})
    took_s = timed_runs(lambda: runtime.inference.run(sensed), _RUNS)
    return median(took_s[len(took_s) // 2 :])
