# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy whose inference takes 300 ms: steadiness and age of its commands.

The baseline for steadiness is a loop as in the boards' documentation: if the queue is empty, it
computes the next chunk before it continues, and it sleeps for the rest of a period. The baseline
for age is the same preprocessing and inference, called alone.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import yaml
from matplotlib.figure import Figure as Drawing

from bench.figures import Figure, Summary
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
_SIZE, _STEPS, _INFERENCE_S, _FAST_S = 100, 50, 0.3, 0.02
_DURATION_S, _SHOWN_S = 20.0, 8.0
_CAMERAS = ("laptop", "phone")
_REPETITIONS, _CHUNKS = 5, 5
_OUT = ROOT / "out" / "bench"


class Sleeping:
    """Sleeps for a given time, like an accelerator; each chunk is a piece of a sine.

    The chunk of an observation begins at the sine's value at that time, with an error of its own,
    like the chunks of a trained policy.
    """

    name = "sleeping"

    def __init__(self, contract: ChunkContract, duration_s: float) -> None:
        graph = contract.graphs[contract.policy_graph]
        self.inputs: Mapping[str, Tensor] = {
            name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in graph.inputs.items()
        }
        self.outputs: Mapping[str, Tensor] = {
            name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in graph.outputs.items()
        }
        self.details: Mapping[str, str] = {}
        self._duration_s = duration_s
        self._errors = np.random.default_rng(0)

    def run(self) -> None:
        """Sleep, then return a chunk."""
        self.outputs["Actions"][0, :, 0] = piece(self._errors)
        time.sleep(self._duration_s)

    def close(self) -> None:
        """Do nothing."""


def piece(errors: np.random.Generator) -> F64:
    """Return the next steps of the sine, from now on [steps]."""
    times_s = time.monotonic() + _PERIOD_S * np.arange(_SIZE)
    found: F64 = 0.6 * np.sin(2 * np.pi * 0.25 * times_s) + errors.normal(0.0, 0.03)
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArmMotion:
    """Commands [ticks]: time of each (s, from the first), and its position (rad)."""

    time_s: F64
    position: F64
    held: int
    """Ticks without a new target."""

    @property
    def late(self) -> int:
        """Number of commands that were more than a period late, or missing."""
        return int((np.diff(self.time_s) > 2 * _PERIOD_S).sum()) + self.held

    def summary(self) -> dict[str, float]:
        """Return count, share of late ones and percentiles of the interval."""
        p50, p99, p999 = np.percentile(np.diff(self.time_s) * 1e3, (50, 99, 99.9)).tolist()
        return {
            "ticks": len(self.time_s),
            "late": self.late,
            "late_percent": 100.0 * self.late / len(self.time_s),
            "p50_ms": p50,
            "p99_ms": p99,
            "p99_9_ms": p999,
        }


def measure() -> list[Figure]:
    """Measure steadiness and age; the traces go to out/bench/chunks.svg and chunks.json."""
    ours, baseline = asynchronous(), synchronous()
    _write(ours, baseline)
    mine, theirs = ours.summary(), baseline.summary()
    return [
        Figure(
            name="chunk_late_percent",
            unit="%",
            ours=[Summary(value=mine["late_percent"])],
            baseline=[Summary(value=theirs["late_percent"])],
            wanted=0.1,
        ),
        Figure(
            name="chunk_interval_ms",
            unit="ms",
            ours=[Summary(value=mine["p50_ms"], p99=mine["p99_ms"])],
            baseline=[Summary(value=theirs["p50_ms"], p99=theirs["p99_ms"])],
        ),
        age("chunk_age_ratio", _INFERENCE_S),
        age("chunk_age_fast_ratio", _FAST_S),
    ]


def asynchronous() -> ArmMotion:
    """Tick the controller in RUN at absolute deadlines, with two new frames in each period."""
    contract = make_contract()
    images = [message(image) for image in frames()]
    inference = Inference(contract, {"graphs.act": Sleeping(contract, _INFERENCE_S)})
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
    times_s, positions, held = list[float](), list[float](), 0

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
    while len(times_s) * _PERIOD_S < _DURATION_S:
        deadline_ns += _PERIOD_NS
        follows = tick(deadline_ns)
        if controller.mode is Mode.READY:
            controller.run()
        elif controller.mode is Mode.DAMP:
            raise BenchError(f"the controller damps: {controller.snapshot().reason}")
        began = began or follows
        if began:
            times_s.append(time.monotonic())
            positions.append(float(state[0]))
            held += not follows
    runtime.close()
    return ArmMotion(time_s=np.array(times_s) - times_s[0], position=np.array(positions), held=held)


def synchronous() -> ArmMotion:
    """Run the documentation's loop."""
    images = frames()
    buffers = [np.zeros((1, 3, HEIGHT, WIDTH), np.float32) for _ in images]
    errors, queue = np.random.default_rng(0), deque[float]()
    times_s, positions = list[float](), list[float]()
    while len(times_s) * _PERIOD_S < _DURATION_S:
        began_s = time.monotonic()
        if not queue:
            for image, buffer in zip(images, buffers, strict=True):
                plain(image, buffer)
            chunk = piece(errors)
            time.sleep(_INFERENCE_S)
            queue.extend(chunk[:_STEPS].tolist())
        positions.append(queue.popleft())
        times_s.append(time.monotonic())
        time.sleep(max(0.0, began_s + _PERIOD_S - time.monotonic()))
    return ArmMotion(time_s=np.array(times_s) - times_s[0], position=np.array(positions), held=0)


def age(name: str, inference_s: float) -> Figure:
    """Time from the arrival of the newest frame to the chunk, against the same work done alone."""
    contract = make_contract()
    inference = Inference(contract, {"graphs.act": Sleeping(contract, inference_s)})
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
    for _ in range(_REPETITIONS):
        for side, call in zip(sides, calls, strict=True):
            took_s.clear()
            for _ in range(_CHUNKS):
                call()
            side.append(Summary(value=1e3 * float(np.median(took_s)), p99=1e3 * max(took_s)))
    worker.close()
    return Figure(name=name, unit="ms", ours=sides[0], baseline=sides[1], wanted=1.1)


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


def _write(ours: ArmMotion, baseline: ArmMotion) -> None:
    """Write percentiles, and both traces as one drawing."""
    _OUT.mkdir(parents=True, exist_ok=True)
    summary = {"asynchronous": ours.summary(), "synchronous": baseline.summary()}
    (_OUT / "chunks.json").write_text(json.dumps(summary, indent=2) + "\n")
    with mpl.rc_context({"axes.grid": True, "legend.frameon": False, "font.size": 9.0}):
        drawing = Drawing(figsize=(10.0, 4.6), layout="constrained")
        position, interval = drawing.subplots(2, 1, sharex=True)
        for trace, name, colour in (
            (baseline, "queue that computes when empty", "C1"),
            (ours, "asynchronous", "C0"),
        ):
            shown = trace.time_s < _SHOWN_S
            position.step(
                trace.time_s[shown], trace.position[shown], where="post", label=name, color=colour
            )
            interval.step(
                trace.time_s[1:][shown[1:]],
                np.diff(trace.time_s)[shown[1:]] * 1e3,
                where="pre",
                color=colour,
            )
        position.set(
            title="Commands with an inference of 300 ms, chunks of 50 steps at 30 Hz",
            ylabel="position [rad]",
        )
        interval.set(xlabel="time [s]", ylabel="time between\ncommands [ms]")
        drawing.legend(loc="outside upper right", ncols=2)
        drawing.savefig(_OUT / "chunks.svg")
