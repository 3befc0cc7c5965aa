# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Control path of a chunk policy."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.state_fields import LEADER, LEADER_POS
from policy_core.control.controller import Controller
from policy_core.guard.command import CommandFader
from policy_core.guard.limits import Limits
from policy_core.members.chunk.observation_sync import JOINTS, FrameBuffer, ObservationSync
from policy_core.members.chunk.policy import ChunkPolicy, InferredChunk
from policy_core.members.chunk.queue import (
    AsynchronousQueue,
    ChunkQueue,
    EnsembleQueue,
    RealTimeQueue,
    SynchronousQueue,
)
from policy_core.members.chunk.settings import (
    ChunkSettings,
    check_settings,
    ensemble_coefficient,
    executed_steps,
)
from policy_core.members.chunk.takeover import PersonTakeover, TakeoverRequests
from policy_core.members.chunk.worker import Worker
from policy_core.observation.freshness import Input
from policy_core.observation.state import StateVector


def camera_input(name: str) -> str:
    """Return the name of a camera's input (its topic), given the camera's contract name."""
    return f"{name}/image_raw"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkRuntime:
    """The controller of a chunk policy, with the other parts that a node needs."""

    controller: Controller
    policy: ChunkPolicy
    worker: Worker
    requests: TakeoverRequests
    """A person's requests to take over and to hand control back."""

    @property
    def frames(self) -> Mapping[str, FrameBuffer]:
        """Buffers for new frames, by camera."""
        return self.policy.sync.frames

    @property
    def chunks(self) -> deque[InferredChunk]:
        """Finished chunks, oldest first, to be popped from the left and published."""
        return self.policy.chunks

    def close(self) -> None:
        """Stop the worker; the back ends may then be closed, unless the worker is still busy."""
        self.worker.close()


def chunk_controller(
    bundle: ChunkBundle,
    worker: Worker,
    limits: Limits,
    clock: Callable[[], int],
    settings: ChunkSettings,
    state: StateVector | None = None,
    expected_s: float = 0.0,
    make: Callable[..., Controller] = Controller,
) -> ChunkRuntime:
    """Return the controller of a chunk policy, with its parts.

    The controller's inputs are `joint_states`, the topic of an environment state, and the
    `camera_input` of each camera. The caller accepts or rejects messages through them, and adds the
    result of `observation.images.frame_of` for each image to `frames`.

    Args:
        bundle: Bundle with a valid contract.
        worker: Computes chunks; `ChunkRuntime.close` stops it.
        limits: Limits in force.
        clock: Same as for `Controller`; also the clock for frame times.
        settings: Settings for chunk execution.
        state: Receives the measurements, with sizes from `state_sizes`; None creates one.
        expected_s: Inference time to assume until it has been measured.
        make: Creates the controller; takes the arguments of `Controller`.

    Raises:
        PolicyError: The settings do not match the policy.
    """
    contract = bundle.contract
    check_settings(settings, contract)
    handover_s, tolerance_rad = settings.handover_s, settings.leader_tolerance_rad
    state = state or StateVector(state_sizes(contract, leader=handover_s is not None))
    inputs = {
        name: Input(name, timeout_ns)
        for name, timeout_ns in chunk_timeouts_ns(contract, limits).items()
    }
    policy = make_chunk_policy(contract, worker, state, inputs, clock, settings, expected_s)
    takeover = None
    if handover_s is not None and tolerance_rad is not None:
        # The policy runs without a leader arm: its age matters only to a person taking over.
        leader = inputs[LEADER.name] = Input(LEADER.name, None)
        takeover = PersonTakeover(
            contract,
            policy,
            state,
            leader,
            limits,
            clock,
            handover_s=handover_s,
            tolerance_rad=tolerance_rad,
        )
    controller = make(
        contract,
        takeover or policy,
        state,
        inputs,
        CommandFader(None, None, limits),
        limits,
        clock,
    )
    return ChunkRuntime(
        controller=controller,
        policy=policy,
        worker=worker,
        requests=TakeoverRequests(controller, takeover),
    )


def make_chunk_policy(
    contract: ChunkContract,
    worker: Worker,
    state: StateVector,
    inputs: Mapping[str, Input],
    clock: Callable[[], int],
    settings: ChunkSettings,
    expected_s: float,
) -> ChunkPolicy:
    """Return the policy of a chunk contract; arguments as for `chunk_controller`."""
    return ChunkPolicy(
        contract,
        make_queue(settings, contract),
        worker,
        ObservationSync(contract, state, inputs),
        state["joint_pos"],
        clock,
        expected_s,
    )


def make_queue(settings: ChunkSettings, contract: ChunkContract) -> ChunkQueue:
    """Return an empty queue for the mode in the settings, which must match the contract."""
    steps = executed_steps(settings, contract)
    if settings.mode == "synchronous":
        return SynchronousQueue(steps)
    if settings.mode == "rtc":
        return RealTimeQueue(steps, settings.refill_threshold)
    if settings.mode == "ensemble":
        return EnsembleQueue(contract.chunk.size, ensemble_coefficient(settings, contract))
    action = contract.action
    return AsynchronousQueue(
        steps,
        settings.refill_threshold,
        round(settings.fade_s * contract.rate_hz),
        [action.joints.index(name) for name in action.grippers],
        realign=settings.realign,
    )


def state_sizes(contract: ChunkContract, *, leader: bool = False) -> dict[str, int]:
    """Return the size of each state field that a chunk policy needs, by field name.

    Args:
        contract: Contract of the policy.
        leader: True if a person may take over with a leader arm.
    """
    sizes = {"joint_pos": len(contract.joints.names)}
    if outside := contract.environment_state:
        sizes[f"external:{outside.topic}"] = outside.size
    if leader:
        sizes[LEADER_POS] = sizes["joint_pos"]
    return sizes


def chunk_timeouts_ns(contract: ChunkContract, limits: Limits) -> dict[str, int]:
    """Return, by input, the maximum age of the newest message, in ns."""
    timeouts_ns = {JOINTS: limits.state_timeout_ns}
    if outside := contract.environment_state:
        timeouts_ns[outside.topic] = round(outside.timeout_s * 1e9)
    for name, camera in contract.cameras.items():
        timeouts_ns[camera_input(name)] = round(camera.timeout_s * 1e9)
    return timeouts_ns
