# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An arm in simulated time around a chunk controller whose graphs return what a test sets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_core.bundle.contract import Graph
from policy_core.guard.bounds import Rule
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, JointTargets, Mode, Tensor
from policy_core.members.chunk.controller import camera_input, chunk_controller
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.worker import ChunkAnswer, Request
from policy_core.observation.images import Image, read_frame
from policy_inference.flight.worker_tap import WorkerTap
from policy_inference.kinds.chunk_worker import make_worker
from testkit.kernel.chunk_contracts import HEIGHT, STEPS, WIDTH, chunk_bundle_of
from testkit.kernel.cores import maker
from testkit.kernel.messages import plain, rgb8

MS = 1_000_000
PERIOD_NS = 100 * MS
CAMERAS = ("laptop", "phone")


class ScriptedGraph:
    """A back end without model: `during_run` reads its inputs and writes its outputs."""

    name = "scripted"

    def __init__(self, graph: Graph) -> None:
        self.inputs: Mapping[str, Tensor] = {
            name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in graph.inputs.items()
        }
        self.outputs: Mapping[str, Tensor] = {
            name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in graph.outputs.items()
        }
        self.details: Mapping[str, str] = {}
        self.runs = 0
        self.during_run: Callable[[], None] = lambda: None

    def run(self) -> None:
        self.runs += 1
        self.during_run()

    def close(self) -> None:
        self.during_run = lambda: None


class Arm:
    """Feeds the controller with joints and images, one tick after the other.

    The encoder's features are the brightness of an image; the policy's chunk is what `answer`
    makes of the number of the run, from 0, or what `infer` makes of a request.
    """

    def __init__(
        self,
        changes: Mapping[str, object] | None = None,
        *,
        inline: bool = True,
        infer: Callable[[Request], F64] | None = None,
        **settings: Any,
    ) -> None:
        self.bundle = chunk_bundle_of(changes)
        self.contract = self.bundle.contract
        self.graphs = {key: ScriptedGraph(graph) for key, graph in self.contract.models.items()}
        self.vision, self.transformer = (
            self.graphs["graphs.vision"],
            self.graphs["graphs.transformer"],
        )
        self.answer: Callable[[int], npt.ArrayLike] = lambda run: 0.0
        self.vision.during_run = self._see
        self.transformer.during_run = self._predict
        self.now_ns = 1_000_000_000
        self.settings = ChunkSettings(**settings)
        self.limits = limits_in_force(self.contract, StricterLimits())
        self.tap = WorkerTap(
            make_worker(
                (lambda request: ChunkAnswer(infer(request)))
                if infer
                else Inference(self.contract, self.graphs, self.settings).answer,
                self.clock,
                self.settings,
                inline=inline,
            )
        )
        self.runtime = chunk_controller(
            self.bundle, self.tap, self.limits, self.clock, self.settings, make=maker({})
        )
        self.controller = self.runtime.controller
        self.joint_pos: Sequence[float] | F64 = (0.0,) * 3
        self.image: Image = plain(10, 20, 30, HEIGHT, WIDTH)

    def clock(self) -> int:
        return self.now_ns

    def _see(self) -> None:
        self.vision.outputs["Vision_Features"][...] = self.vision.inputs["images"].mean()

    def _predict(self) -> None:
        self.transformer.outputs["Actions"][...] = self.answer(self.transformer.runs - 1)

    def sense(self, silent: Collection[str] = ()) -> None:
        """Bring joints and a frame of each camera, except the silent ones."""
        self.controller.state["joint_pos"][:] = self.joint_pos
        if "joint_states" not in silent:
            self.controller.inputs["joint_states"].accept(self.now_ns)
        for name, buffer in self.runtime.frames.items():
            if name not in silent:
                buffer.add(read_frame(rgb8(self.image), buffer.camera), self.now_ns)
                self.controller.inputs[camera_input(name)].accept(self.now_ns)

    def tick(self, silent: Collection[str] = ()) -> F64:
        """Let a period pass, sense and tick; return a copy of the commanded positions."""
        targets = self._tick(silent)
        assert targets is not None
        return targets.position.copy()

    def _tick(self, silent: Collection[str] = ()) -> JointTargets | None:
        self.now_ns += PERIOD_NS
        self.sense(silent)
        return self.controller.tick(self.now_ns, self.now_ns + PERIOD_NS)

    def run(self) -> Arm:
        """Stand up and enter RUN; the next tick is the policy's first."""
        self._tick()
        self.controller.stand()
        for _ in range(3):
            self.tick()
        self.controller.run()
        return self

    def follow(self, ticks: int, silent: Collection[str] = ()) -> F64:
        """Return what is commanded over so many ticks [ticks, joints]."""
        return np.stack([self.tick(silent) for _ in range(ticks)])

    def is_in(self, mode: Mode) -> bool:
        return self.controller.mode is mode

    @property
    def reason(self) -> str:
        return self.controller.snapshot().reason

    def count(self, rule: Rule) -> int:
        return self.controller.snapshot().counters[rule.value]


def ramp(run: int, steps: int = STEPS, per_step: float = 0.01) -> F64:
    """Return a chunk [1, steps, joints] that shows run and step: 0.1 run + 0.01 step."""
    values = 0.1 * run + per_step * np.arange(steps)
    return np.repeat(values[np.newaxis, :, np.newaxis], 3, axis=2)
