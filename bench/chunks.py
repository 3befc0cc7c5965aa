# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Steadiness and age of the commands of a chunk policy whose inference takes 300 ms.

The baseline for steadiness is a loop as in the boards' documentation: if the queue is empty, it
computes the next chunk before it continues, and sleeps for the rest of each period. The baseline
for age is the same preprocessing and inference, called alone.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import yaml

from bench.effort import Effort
from bench.figures import Figure, Summary, summarise
from bench.preprocessing import HEIGHT, SCALING, WIDTH, frames, plain
from bench.processes import ROOT, BenchError
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.load import parse_contract
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Mode, Tensor
from policy_core.members.chunk.controller import camera_input, chunk_controller
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.observation_sync import ObservationSync
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.worker import Request
from policy_core.observation.freshness import Input
from policy_core.observation.images import read_frame
from policy_core.observation.state import StateVector
from policy_inference.kinds.chunk_worker import ThreadWorker, make_worker

_PERIOD_NS, _PERIOD_S = 33_333_333, 1 / 30
_SIZE, _STEPS, _INFERENCE_S, _COMMANDS = 100, 50, 0.3, 600
_CAMERAS = ("laptop", "phone")
_REPETITIONS, _CHUNKS = 5, 5


class Sleeping:
    """A back end that sleeps as if an accelerator computed; each chunk is a piece of a sine.

    Each chunk begins at the sine's value at the observation's time, with an error of its own, as in
    the chunks of a trained policy.
    """

    name = "sleeping"

    def __init__(self, contract: ChunkContract) -> None:
        graph = contract.graphs[contract.policy_graph]
        self.inputs: Mapping[str, Tensor] = {
            name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in graph.inputs.items()
        }
        self.outputs: Mapping[str, Tensor] = {
            name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in graph.outputs.items()
        }
        self.details: Mapping[str, str] = {}
        self._errors = np.random.default_rng(0)

    def run(self) -> None:
        """Sleep, then return a chunk."""
        self.outputs["Actions"][0, :, 0] = piece(self._errors)
        time.sleep(_INFERENCE_S)

    def close(self) -> None:
        """Do nothing."""


def piece(errors: np.random.Generator) -> F64:
    """Return the sine's next values, from now on [steps]."""
    times_s = time.monotonic() + _PERIOD_S * np.arange(_SIZE)
    found: F64 = 0.6 * np.sin(2 * np.pi * 0.25 * times_s) + errors.normal(0.0, 0.03)
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CommandTimes:
    """Times at which commands were given."""

    times_s: list[float]
    held: int = 0
    """Ticks without a new target."""

    def late_percent(self) -> Summary:
        """Return the share of commands that were more than a period late, or missing."""
        late = int((np.diff(self.times_s) > 2 * _PERIOD_S).sum()) + self.held
        return Summary(value=100.0 * late / len(self.times_s))

    def intervals_ms(self) -> Summary:
        return summarise(np.diff(self.times_s) * 1e3)


def measure(effort: Effort) -> list[Figure]:
    """Measure the steadiness and age of the commands."""
    commands = effort.count(_COMMANDS)
    ours, baseline = asynchronous(commands), synchronous(commands)
    return [
        Figure(
            name="chunk_late_percent",
            unit="%",
            ours=[ours.late_percent()],
            baseline=[baseline.late_percent()],
            wanted=0.1,
        ),
        Figure(
            name="chunk_interval_ms",
            unit="ms",
            ours=[ours.intervals_ms()],
            baseline=[baseline.intervals_ms()],
        ),
        age(effort.count(_REPETITIONS)),
    ]


def asynchronous(commands: int) -> CommandTimes:
    """Tick the controller in RUN at absolute deadlines, with two new frames in each period."""
    contract = make_contract()
    images = [message(image) for image in frames()]
    inference = Inference(contract, {"graphs.act": Sleeping(contract)})
    settings = ChunkSettings(mode="asynchronous")
    runtime = chunk_controller(
        make_bundle(contract),
        make_worker(inference.answer, time.monotonic_ns, settings, inline=False),
        limits_in_force(contract, StricterLimits()),
        time.monotonic_ns,
        settings,
    )
    controller, state = runtime.controller, runtime.controller.state["joint_pos"]
    state[:] = 0.0
    times_s, held = list[float](), 0

    def tick(deadline_ns: int) -> bool:
        """Tick; return whether the command follows the policy."""
        time.sleep(max(0, deadline_ns - time.monotonic_ns()) * 1e-9)
        now_ns = time.monotonic_ns()
        controller.inputs["joint_states"].accept(now_ns)
        for (name, buffer), image in zip(runtime.frames.items(), images, strict=True):
            buffer.add(read_frame(image, buffer.camera), now_ns)
            controller.inputs[camera_input(name)].accept(now_ns)
        targets = controller.tick(now_ns, deadline_ns + _PERIOD_NS)
        if targets is not None:  # nothing is commanded before `stand`
            state[:] = targets.position
        return controller.mode is Mode.RUN

    deadline_ns = time.monotonic_ns()
    tick(deadline_ns)
    controller.stand()
    began = False
    while len(times_s) < commands:
        deadline_ns += _PERIOD_NS
        follows = tick(deadline_ns)
        if controller.mode is Mode.READY:
            controller.run()
        elif controller.mode is Mode.DAMP:
            raise BenchError(f"the controller damps: {controller.snapshot().reason}")
        began = began or follows
        if began:
            times_s.append(time.monotonic())
            held += not follows
    runtime.close()
    return CommandTimes(times_s=times_s, held=held)


def synchronous(commands: int) -> CommandTimes:
    """Run the documentation's loop."""
    images = frames()
    buffers = [np.zeros((1, 3, HEIGHT, WIDTH), np.float32) for _ in images]
    errors, queue, times_s = np.random.default_rng(0), deque[float](), list[float]()
    while len(times_s) < commands:
        began_s = time.monotonic()
        if not queue:
            for image, buffer in zip(images, buffers, strict=True):
                plain(image, buffer)
            chunk = piece(errors)
            time.sleep(_INFERENCE_S)
            queue.extend(chunk[:_STEPS].tolist())
        queue.popleft()
        times_s.append(time.monotonic())
        time.sleep(max(0.0, began_s + _PERIOD_S - time.monotonic()))
    return CommandTimes(times_s=times_s)


def age(repetitions: int) -> Figure:
    """Time from the arrival of the newest frame to the chunk, against the same work done alone."""
    contract = make_contract()
    inference = Inference(contract, {"graphs.act": Sleeping(contract)})
    worker = ThreadWorker(inference.answer, time.monotonic_ns)
    state = StateVector({"joint_pos": 1})
    state["joint_pos"][:] = 0.0
    joints = Input("joint_states", None)
    sync = ObservationSync(contract, state, {"joint_states": joints})
    images = [message(image) for image in frames()]

    def arrive() -> Request:
        now_ns = time.monotonic_ns()
        joints.accept(now_ns)
        sync.record_state(now_ns)
        for buffer, image in zip(sync.frames.values(), images, strict=True):
            buffer.add(read_frame(image, buffer.camera), now_ns)
        return Request(sensed=sync.snapshot(now_ns), generation=0, asked_ns=now_ns)

    def through_worker() -> None:
        worker.ask(arrive())
        while (outcome := worker.take(0)) is None:
            time.sleep(0.0002)
        took_s.append((outcome.ended_ns - outcome.request.asked_ns) * 1e-9)

    def alone() -> None:
        sensed = arrive().sensed
        began_s = time.monotonic()
        inference.run(sensed)
        took_s.append(time.monotonic() - began_s)

    took_s = list[float]()
    sides = list[Summary](), list[Summary]()
    calls: tuple[Callable[[], None], ...] = (through_worker, alone)
    for _ in range(repetitions):
        for side, call in zip(sides, calls, strict=True):
            took_s.clear()
            for _ in range(_CHUNKS):
                call()
            side.append(Summary(value=1e3 * float(np.median(took_s)), p99=1e3 * max(took_s)))
    worker.close()
    return Figure(name="chunk_age_ratio", unit="ms", ours=sides[0], baseline=sides[1], wanted=1.1)


def message(image: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> SimpleNamespace:
    """Return an image as a message in rgb8."""
    return SimpleNamespace(
        encoding="rgb8",
        height=HEIGHT,
        width=WIDTH,
        step=3 * WIDTH,
        is_bigendian=0,
        data=image.tobytes(),
    )


def make_contract() -> ChunkContract:
    """Return the contract of an arm with one joint, two cameras of 640 x 480 and no encoder."""
    statistics = {
        "mode": "mean_std",
        "mean": list(SCALING.mean or ()),
        "std": list(SCALING.std or ()),
    }
    return parse_contract(
        yaml.safe_dump(
            {
                "schema_version": 1,
                "kind": "chunk",
                "name": "sleeping",
                "version": "1.0.0",
                "rate_hz": 30,
                "joints": {
                    "names": ["pan"],
                    "default_position": 0.0,
                    "position_min": -2.0,
                    "position_max": 2.0,
                    "velocity_limit": 10.0,
                    "effort_limit": 3.0,
                    "stiffness": 20.0,
                    "damping": 1.0,
                },
                "units": {"pan": {"unit": "radians"}},
                "stand": {"position": 0.0, "stiffness": 20.0, "damping": 1.0, "duration_s": 0.2},
                "damp": {"damping": 1.0},
                "cameras": {
                    name: {
                        "feature": f"observation.images.{name}",
                        "height": HEIGHT,
                        "width": WIDTH,
                        "normalisation": statistics,
                        "tensor": name,
                    }
                    for name in _CAMERAS
                },
                "action": {
                    "feature": "action",
                    "tensor": "Actions",
                    "joints": ["pan"],
                    "normalisation": {"mode": "identity"},
                },
                "chunk": {"size": _SIZE, "steps": _STEPS},
                "graphs": {
                    "act": {
                        "inputs": {name: {"shape": [1, 3, HEIGHT, WIDTH]} for name in _CAMERAS},
                        "outputs": {"Actions": {"shape": [1, _SIZE, 1]}},
                        "artifacts": {
                            "onnx": {"file": "none", "sha256": "0" * 64, "precision": "fp32"}
                        },
                    }
                },
                "safety": {"on_fault": "hold_measured", "damp_after_s": 2.0},
                "provenance": {"source": "the bench", "licence": "Apache-2.0"},
            }
        ).encode(),
        "bench",
        kind=ChunkContract,
    )


def make_bundle(contract: ChunkContract) -> ChunkBundle:
    """Return a bundle without files."""
    return ChunkBundle(path=ROOT, contract=contract, content=b"")
