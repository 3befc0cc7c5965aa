# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy that is given the recorded results of its inferences; no model is run.

Images are not recorded, so a chunk cannot be computed again. What an inference was given beside
them, when it was asked for, and all that becomes of its chunk are computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.replaying.recorded_inputs import state_names
from model_tools.prove.replaying.recorded_policy import RecordedClock, RecordedState
from model_tools.prove.replaying.recorded_ticks import Info, RecordedTick
from model_tools.prove.replaying.stages import INPUTS, TickStages
from policy_core.bundle.bundle import ChunkBundle
from policy_core.bundle.state_fields import LEADER_POS
from policy_core.errors import BackendError, NoTargetError, RobotError
from policy_core.guard.limits import Limits
from policy_core.members.chunk.controller import (
    camera_input,
    chunk_controller,
    state_sizes,
)
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.takeover import HAND_BACK, TAKE_OVER
from policy_core.members.chunk.worker import Outcome, Request
from policy_core.observation.images import Frame
from policy_inference.flight.ring import InferenceResult


class RecordedWorker:
    """Hands over recorded results in the ticks in which they arrived.

    Attributes:
        results: What arrives in this tick.
        given: What each inference was given that arrived in this tick, in their order; None where
            the policy had not asked for it.
    """

    busy = False
    alive = True

    def __init__(self, clock: RecordedClock) -> None:
        """Have been asked for nothing."""
        self._clock = clock
        self.results = list[InferenceResult]()
        self.given = list[Snapshot | None]()
        self._asked = dict[int, Request]()
        self._newest: Request | None = None

    def ask(self, request: Request) -> None:
        """Note a request; the recording says which one was computed."""
        self._asked[request.asked_ns] = self._newest = request

    def take(self, now_ns: int) -> Outcome | None:
        """Return the next recorded result of this tick."""
        self._clock.run_policy()
        if not self.results:
            return None
        result = self.results[0]
        request = self._asked.get(result.asked_ns)
        if request is None and result.asked_ns == now_ns:
            return None  # it is asked for in this tick, and answered at once
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
            error=error_of(result.error) if result.chunk is None else None,
        )

    def forget(self) -> None:
        """Do nothing: what had not begun never arrives."""

    def close(self) -> None:
        """Do nothing."""


class RecordedChunkPolicy:
    """A chunk policy on a recording."""

    known = True

    def __init__(
        self,
        bundle: ChunkBundle,
        info: Info,
        limits: Limits,
        clock: RecordedClock,
        settings: ChunkSettings,
    ) -> None:
        """Tie the real parts together.

        Args:
            bundle: What is replayed.
            info: What was recorded.
            limits: Those that were in force.
            clock: Of the controller.
            settings: How chunks were executed.

        Raises:
            ToolError: The bundle is for other sensors.
            PolicyError: The settings do not fit the policy.
        """
        contract = bundle.contract
        self.state = RecordedState(state_sizes(contract, leader=settings.handover_s is not None))
        self._worker = RecordedWorker(clock)
        self.runtime = chunk_controller(bundle, self._worker, limits, clock, settings, self.state)
        self.controller, self._frames = self.runtime.controller, self.runtime.frames
        self.outside = {camera_input(name) for name in self._frames}
        for what, needed, found in (
            ("joints", contract.joints.on_robot(), info.joints),
            ("inputs", [*self.controller.inputs], info.inputs),
            ("state", [*self.state.slices], info.fields),
        ):
            if [*needed] != [*found]:
                raise ToolError(
                    f"{bundle.path}: {what}: expected those of the recording "
                    f"({', '.join(found)}), found {', '.join(needed)}"
                )
        self._state_names = state_names(
            info.joints,
            {name: part for name, part in self.state.slices.items() if name != LEADER_POS},
        )
        self.requests: Mapping[str, Callable[[], object]] = {
            TAKE_OVER: self.runtime.requests.take_over,
            HAND_BACK: self.runtime.requests.hand_back,
        }
        self._measured_ns: dict[str, int | None] = {}
        self.actions = ()

    def begin(self) -> None:
        """Do nothing: a run begins clean by itself."""

    def restored(self, *, whole: bool) -> None:
        """Note which frames there are; of another policy no chunk is known before the next run."""
        self._measured_ns = {
            name: self.controller.inputs[camera_input(name)].measured_ns for name in self._frames
        }

    def sense(self, tick: RecordedTick) -> None:
        """Take in times of frames, and let results arrive; aim where they are not known."""
        for name, buffer in self._frames.items():
            measured_ns = tick.measured_ns.get(camera_input(name))
            if measured_ns is not None and measured_ns != self._measured_ns.get(name):
                repeats = tick.repeats.get(camera_input(name), 0)
                buffer.add(_image(buffer.content, repeats=repeats > 0), measured_ns)
                self._measured_ns[name] = measured_ns
        self._worker.given, self._worker.results = [], [*tick.results]

    def end(self, tick: RecordedTick) -> None:
        """Do nothing."""

    def own_fields(self, tick: RecordedTick, sensed: Collection[str]) -> set[str]:
        """Return none: all of the state is measured."""
        return set()

    def judge(self, tick: RecordedTick, stages: TickStages) -> None:
        """Compare what the inferences were given whose results arrived: time and state."""
        if not tick.results:
            return
        given = [*self._worker.given]
        for place, result in enumerate(tick.results):
            sensed = given[place] if place < len(given) else None
            if sensed is None:
                stages.depart(
                    INPUTS,
                    "chunk",
                    f"the result of an inference that was asked for at {result.asked_ns} ns",
                    "no inference that was asked for then",
                )
                return
            found = np.concatenate([*sensed.fields.values()])
            stages.compare(
                INPUTS,
                ["age of the observation, s", *self._state_names],
                np.array([(tick.time_ns - result.observation_ns) * 1e-9, *result.state]),
                np.array([(tick.time_ns - sensed.time_ns) * 1e-9, *found]),
            )


def _image(newest: bytes, *, repeats: bool) -> Frame:
    """Return what stands for an image, the newest one again or another: none is recorded."""
    content = newest if repeats else bytes([newest[:1] == b"\0"])
    return Frame(encoding="none", height=0, width=0, step=0, data=memoryview(content))


def error_of(text: str) -> BackendError | RobotError | NoTargetError:
    """Return the error that an inference ended in, from its recorded text."""
    kind, _, reason = text.partition(": ")
    kinds: Mapping[str, type[BackendError | RobotError]] = {
        "BackendError": BackendError,
        "RobotError": RobotError,
    }
    return kinds.get(kind, NoTargetError)(reason)
