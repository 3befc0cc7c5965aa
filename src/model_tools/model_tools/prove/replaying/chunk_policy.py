# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy that is given the recorded results of its inferences; no model is run.

Images are not recorded, so a chunk cannot be computed again. What an inference was given beside
them, when it was asked for, and all that becomes of its chunk are computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.replaying.recorded_inputs import state_names
from model_tools.prove.replaying.recorded_policy import RecordedClock, RecordedState
from model_tools.prove.replaying.recorded_ticks import Info, RecordedTick
from model_tools.prove.replaying.stages import INPUTS, TickStages
from policy_core.bundle.bundle import ChunkBundle
from policy_core.bundle.state_fields import LEADER_POS
from policy_core.errors import BackendError, NoTargetError, RefusedError, RobotError
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64
from policy_core.members.chunk.controller import (
    camera_input,
    chunk_controller,
    queue_of,
    state_sizes,
)
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.takeover import HAND_BACK, TAKE_OVER
from policy_core.members.chunk.worker import Outcome, Request
from policy_core.observation.images import Frame
from policy_inference.flight.ring import InferenceResult

_NO_IMAGES = tuple(
    Frame(encoding="none", height=0, width=0, step=0, data=memoryview(each))
    for each in (b"0", b"1")
)
"""Two that differ: images are not recorded, and nothing here looks at one."""


class RecordedWorker:
    """Hands over recorded results in the ticks in which they arrived.

    Attributes:
        results: What arrives in this tick.
        given: What each inference was given that arrived in this tick, in their order; None where
            the policy had not asked for it.
        target: What the policy aims at in this tick [actions], before the first result is known
            whose observation is of this replay; else None.
    """

    busy = False
    alive = True

    def __init__(self, clock: RecordedClock) -> None:
        """Have been asked for nothing."""
        self._clock = clock
        self.results = list[InferenceResult]()
        self.given = list[Snapshot | None]()
        self.target: F64 | None = None
        self._asked = dict[int, Request]()
        self._newest: Request | None = None

    def ask(self, request: Request) -> None:
        """Note a request; the recording says which one was computed."""
        self._asked[request.asked_ns] = self._newest = request

    def take(self, now_ns: int) -> Outcome | None:
        """Return the next recorded result of this tick."""
        self._clock.run_policy()
        if self.target is not None and self._newest is not None:
            target, self.target = self.target, None
            return self._aiming(target, now_ns)
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

    def _aiming(self, target: F64, now_ns: int) -> Outcome:
        """Return a chunk of one step, for now."""
        assert self._newest is not None
        sensed = dataclasses.replace(self._newest.sensed, time_ns=now_ns)
        return Outcome(
            request=dataclasses.replace(self._newest, sensed=sensed),
            began_ns=now_ns,
            ended_ns=now_ns,
            chunk=target[np.newaxis].copy(),
        )

    def forget(self) -> None:
        """Do nothing: what had not begun never arrives."""

    def close(self) -> None:
        """Do nothing."""


class RecordedChunkPolicy:
    """A chunk policy on a recording.

    In the middle of a run its targets are known once a chunk has arrived whose observation is in
    the recording, and all older ones are over; until then it aims at the recorded targets.
    """

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
        self._contract, self._settings = contract, settings
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
        self._memory = queue_of(settings, contract).memory
        self._state_names = state_names(
            info.joints,
            {name: part for name, part in self.state.slices.items() if name != LEADER_POS},
        )
        self.requests: Mapping[str, Callable[[], object]] = {
            TAKE_OVER: self.runtime.take_over,
            HAND_BACK: self._hand_back,
        }
        action, names = contract.action, contract.joints.names
        self._actions = [names.index(name) for name in action.joints]
        self._grippers = [action.joints.index(name) for name in action.grippers]
        self._measured_ns: dict[str, int] = {}
        self._shown = dict.fromkeys(self._frames, 0)
        """Of the newest frame of each camera: its time, and which of `_NO_IMAGES`."""
        self.actions = ()
        self.known = True
        self._joined_ns = self._unknown_until_ns = 0
        self._aimed: F64 | None = None

    def _hand_back(self) -> None:
        """Hand back; a person may have taken over before the recording begins."""
        if not self.known and self.runtime.takeover is not None:
            with suppress(RefusedError):
                self.runtime.take_over()
        self.runtime.hand_back()

    def begin(self, tick: RecordedTick) -> None:
        """Begin clean."""
        self.known = True

    def join(self, tick: RecordedTick) -> bool:
        """Begin in the middle of a run; not where chunks are moved to what was commanded."""
        if tick.target is None or (
            self._settings.mode == "asynchronous" and self._settings.realign
        ):
            return False
        self.known, self._joined_ns = False, tick.time_ns
        for buffer in self._frames.values():
            # Of one time, so that there is an observation in the first tick.
            buffer.add(_NO_IMAGES[0], tick.time_ns - self._contract.period_ns)
        return True

    def sense(self, tick: RecordedTick) -> None:
        """Take in times of frames, and let results arrive; aim where they are not known."""
        for name, buffer in self._frames.items():
            measured_ns = tick.measured_ns.get(camera_input(name))
            if measured_ns is not None and measured_ns != self._measured_ns.get(name):
                self._shown[name] ^= not tick.repeats.get(camera_input(name))
                buffer.add(_NO_IMAGES[self._shown[name]], measured_ns)
                self._measured_ns[name] = measured_ns
        worker = self._worker
        worker.given, worker.results, worker.target = [], [*tick.results], None
        if self.known:
            return
        known = [each for each in tick.results if each.observation_ns > self._joined_ns]
        mode, period_ns = self._settings.mode, self._contract.period_ns
        if not self._unknown_until_ns:
            worker.results = known
            if not any(each.chunk is not None for each in known):
                if tick.target is not None:
                    worker.target = self._aim(tick.target[self._actions])
                return
        elif mode != "asynchronous" or not any(each.chunk is not None for each in known):
            self.known = tick.time_ns > self._unknown_until_ns
            return
        # A chunk fades in from a plan of which not all is known, so it is known after its fade.
        self._unknown_until_ns = tick.time_ns + (self._memory + 1) * period_ns

    def _aim(self, target: F64) -> F64:
        """Return the step of a chunk that becomes this target, whatever was planned before."""
        if self._settings.mode != "asynchronous" or self._aimed is None:
            return target
        found = self._aimed + (target - self._aimed) * (self._memory + 1)
        found[self._grippers] = target[self._grippers]
        return found

    def end(self, tick: RecordedTick) -> None:
        """Note what was aimed at."""
        if not self.known and tick.target is not None:
            self._aimed = tick.target[self._actions]

    def own_fields(self, tick: RecordedTick, sensed: Collection[str]) -> set[str]:
        """Return none: all of the state is measured."""
        return set()

    def judge(self, tick: RecordedTick, stages: TickStages) -> None:
        """Compare what the inferences were given whose results arrived: time and state."""
        if not tick.results:
            return
        if not self.known:
            stages.skip(INPUTS)
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


def error_of(text: str) -> BackendError | RobotError | NoTargetError:
    """Return the error that an inference ended in, from its recorded text."""
    kind, _, reason = text.partition(": ")
    kinds: Mapping[str, type[BackendError | RobotError]] = {
        "BackendError": BackendError,
        "RobotError": RobotError,
    }
    return kinds.get(kind, NoTargetError)(reason)
