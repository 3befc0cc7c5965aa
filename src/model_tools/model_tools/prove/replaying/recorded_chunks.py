# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy on a recording: replays frame times and inference results.

Images are not recorded, so chunks cannot be computed again. Everything else is computed: the other
inputs of each inference, its time, and all effects of its chunk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.replaying.recorded_inputs import state_names
from model_tools.prove.replaying.recording import Info, RecordedTick
from model_tools.prove.replaying.robot import (
    RecordedClock,
    RecordedState,
    ReplayedPolicy,
)
from model_tools.prove.replaying.stages import INPUTS, TickStages
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.state_fields import LEADER_POS
from policy_core.errors import BackendError, NoTargetError, RobotError
from policy_core.guard.limits import Limits
from policy_core.members.chunk.controller import (
    camera_input,
    chunk_controller,
    state_sizes,
)
from policy_core.members.chunk.observation_sync import FrameBuffer, Snapshot
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.takeover import HAND_BACK, TAKE_OVER
from policy_core.members.chunk.worker import Outcome, Request
from policy_core.observation.freshness import Input
from policy_core.observation.images import Frame
from policy_inference.flight.ring import InferenceResult


class RecordedWorker:
    """Delivers recorded results in the ticks in which they arrived.

    Attributes:
        results: Results that arrive in this tick.
        given: Inputs of each inference whose result arrived in this tick, in order; None if the
            policy had not requested the inference.
    """

    busy = False
    alive = True

    def __init__(self, clock: RecordedClock, is_late: Callable[[], bool]) -> None:
        self._clock, self._is_late = clock, is_late
        self.results = list[InferenceResult]()
        self.given = list[Snapshot | None]()
        self._asked = dict[int, Request]()
        self._newest: Request | None = None

    def ask(self, request: Request) -> None:
        self._asked[request.asked_ns] = self._newest = request

    def take(self, now_ns: int) -> Outcome | None:
        """Return the next recorded result of this tick; None if there is none."""
        self._clock.run_policy(is_late=self._is_late())
        if not self.results:
            return None
        result = self.results[0]
        request = self._asked.get(result.asked_ns)
        if request is None and result.asked_ns == now_ns:
            return None  # requested and answered in this same tick
        del self.results[0]
        self.given.append(request.sensed if request else None)
        request = request or self._newest
        if request is None:
            return None
        self._asked = {at: each for at, each in self._asked.items() if at > result.asked_ns}
        sensed = dataclasses.replace(request.sensed, time_ns=result.observation_ns)
        return Outcome(
            request=dataclasses.replace(request, sensed=sensed, asked_ns=result.asked_ns),
            began_ns=result.began_ns,
            ended_ns=result.ended_ns,
            chunk=result.chunk,
            success=result.success,
            error=read_error(result.error) if result.chunk is None else None,
        )

    def forget(self) -> None:
        """Do nothing: the recording has no results of inferences that had not started."""

    def close(self) -> None:
        """Do nothing."""


class RecordedChunks:
    """Recorded frames and results of one chunk policy.

    Attributes:
        worker: Delivers the policy's results.
        frames: Frame buffer by camera; empty until the policy is created.
    """

    def __init__(
        self,
        clock: RecordedClock,
        names: Sequence[str],
        member: str = "",
        is_late: Callable[[], bool] = lambda: True,
    ) -> None:
        """Start without results.

        Args:
            clock: Clock of the controller.
            names: Names of the values of the policy's state.
            member: Name of the policy in a set; empty for a single policy.
            is_late: Returns whether this policy caused the delay if the tick is late.
        """
        self.worker = RecordedWorker(clock, is_late)
        self.frames: Mapping[str, FrameBuffer] = {}
        self._member, self._names = member, names
        self._results = list[InferenceResult]()
        self._measured_ns: dict[str, int | None] = {}

    def restored(self, inputs: Mapping[str, Input]) -> None:
        self._measured_ns = {name: inputs[camera_input(name)].measured_ns for name in self.frames}

    def sense(self, tick: RecordedTick) -> None:
        for name, buffer in self.frames.items():
            measured_ns = tick.measured_ns.get(camera_input(name))
            if measured_ns is not None and measured_ns != self._measured_ns.get(name):
                repeats = tick.repeats.get(camera_input(name), 0)
                # No image is recorded; it only matters whether the frame repeats the newest one.
                newest = buffer.content
                content = newest if repeats else bytes([newest[:1] == b"\0"])
                data = memoryview(content)
                frame = Frame(encoding="none", height=0, width=0, step=0, data=data)
                buffer.add(frame, measured_ns)
                self._measured_ns[name] = measured_ns
        self._results = [each for each in tick.results if each.member == self._member]
        self.worker.given, self.worker.results = [], [*self._results]

    def judge(self, tick: RecordedTick, stages: TickStages) -> None:
        """Compare the inputs (time and state) of the inferences whose results arrived."""
        for result, sensed in zip_longest(self._results, self.worker.given):
            if sensed is None:
                stages.depart(
                    INPUTS,
                    f"{self._member}.chunk" if self._member else "chunk",
                    f"the result of an inference requested at {result.asked_ns} ns",
                    "no inference requested at that time",
                )
                return
            found = np.concatenate([*sensed.fields.values()])
            stages.compare(
                INPUTS,
                ["age of the observation, s", *self._names],
                np.array([(tick.time_ns - result.observation_ns) * 1e-9, *result.state]),
                np.array([(tick.time_ns - sensed.time_ns) * 1e-9, *found]),
            )


class RecordedChunkPolicy(ReplayedPolicy):
    """A single chunk policy; its model is not run."""

    def __init__(
        self,
        bundle: ChunkBundle,
        info: Info,
        limits: Limits,
        clock: RecordedClock,
        settings: ChunkSettings,
    ) -> None:
        """Connect the policy to a real controller.

        Args:
            bundle: Bundle to replay.
            info: Description of the recording.
            limits: Limits that were in force.
            clock: Clock of the controller.
            settings: Execution settings of the chunks.
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
                    f"{bundle.path}: {what}: expected the same as in the recording "
                    f"({', '.join(found)}), found {', '.join(needed)}"
                )
        self.requests = {
            TAKE_OVER: self.runtime.requests.take_over,
            HAND_BACK: self.runtime.requests.hand_back,
        }

    def restored(self, *, whole: bool) -> None:
        self._chunks.restored(self.controller.inputs)

    def sense(self, tick: RecordedTick) -> None:
        self._chunks.sense(tick)

    def judge(self, tick: RecordedTick, stages: TickStages) -> None:
        self._chunks.judge(tick, stages)


def read_error(text: str) -> BackendError | RobotError | NoTargetError:
    """Return the error of a failed inference, from its recorded text."""
    kind, _, reason = text.partition(": ")
    known = (each for each in (BackendError, RobotError) if each.__name__ == kind)
    return next(known, NoTargetError)(reason)
