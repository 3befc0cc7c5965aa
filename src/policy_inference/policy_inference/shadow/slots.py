# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Transfers ticks to a shadow's process, and the shadow's answers back.

Both transfers use slots of memory shared by the two processes. A slot is written by the control
thread, then by the shadow, and is then free again; an eventfd in each direction counts the
transfers. The control thread never waits: not for a slot, since it drops a tick if no slot is free,
and not in the kernel, which holds only a spinlock for an eventfd's counter. For a pipe, the kernel
holds a mutex, and a shadow that owns it may be descheduled for a long time.

The shadow of a chunk policy has a second memory, for observations and chunks; the counters show for
which ticks the observations (given ticks) and the chunks (answered ticks) are available.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.guard.bounds import Rule
from policy_core.interfaces import F64, TensorSpec
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.observation.images import FRAME_ENCODINGS, Frame
from policy_inference.backends.shared_arrays import SharedArrays
from policy_inference.flight.ring import InferenceResult, ShadowAnswer, ShadowOutcome
from policy_inference.shadow.shadowed_member import OBSERVATIONS, ChunkTick, ShadowObservation

SLOTS = 64
"""Maximum number of ticks that may wait for the shadow."""
_RULES = [rule.value for rule in Rule]


class TickSlots:
    """The shared memory and its two counters, at either end.

    Attributes:
        text: The shadow's last error, on opening or in this run, for the other end; empty if none.
    """

    def __init__(self, state_size: int, joints: int, fds: Sequence[int] = ()) -> None:
        """Create memory for the active policy's state and joints, or open the memory in `fds`."""
        specs = [
            # number of the tick, ticks lost before it, 1 if a run began
            TensorSpec(name="ticks", shape=(SLOTS, 3), dtype="int64"),
            TensorSpec(name="states", shape=(SLOTS, state_size), dtype="float64"),
            TensorSpec(name="commands", shape=(SLOTS, joints), dtype="float64"),
            # number of the tick, outcome, duration in ns, rules as bits, 1 if beyond limits
            TensorSpec(name="answers", shape=(SLOTS, 5), dtype="int64"),
            # of the shadow, of the active policy
            TensorSpec(name="targets", shape=(SLOTS, 2, joints), dtype="float64"),
        ]
        memory, *counters = fds or (None, _eventfd(), _eventfd())
        self._arrays = SharedArrays(specs, memory)
        self._given, self._answered = counters
        self.ticks, self.states, self.commands, self.answers, self.targets = map(
            self._arrays.place, specs
        )
        if not fds:
            for array in (self.ticks, self.states, self.commands, self.answers, self.targets):
                array[...] = 0  # a tick must not wait for page faults
        self.fds = (self._arrays.fd, self._given, self._answered)
        """Descriptors that the other process inherits."""

    @property
    def text(self) -> str:
        return self._arrays.text

    @text.setter
    def text(self, text: str) -> None:
        self._arrays.text = text

    def give(self) -> None:
        os.eventfd_write(self._given, 1)

    def given(self, *, wait: bool) -> int:
        """Return the number of ticks given since the last call; wait for one if `wait` is True."""
        return _count(self._given, None if wait else 0.0)

    def answer(self) -> None:
        os.eventfd_write(self._answered, 1)

    def answered(self, timeout_s: float = 0.0) -> int:
        """Return the number of ticks answered since the last call; may wait for one."""
        return _count(self._answered, timeout_s)

    def write(self, slot: int, answer: ShadowAnswer) -> None:
        bits = sum(1 << _RULES.index(rule) for rule in answer.rules)
        self.answers[slot] = (
            answer.tick,
            answer.outcome,
            answer.duration_ns,
            bits,
            answer.beyond_limits,
        )
        if answer.target is not None and answer.active_target is not None:
            self.targets[slot] = answer.target, answer.active_target

    def read(self, slot: int) -> ShadowAnswer:
        tick, outcome, duration_ns, bits, beyond = self.answers[slot].tolist()
        target: F64 | None = None
        active_target: F64 | None = None
        if outcome == ShadowOutcome.COMPARED:
            target, active_target = self.targets[slot].copy()
        return ShadowAnswer(
            tick,
            ShadowOutcome(outcome),
            duration_ns,
            tuple(_rules(bits)) if bits else (),
            bool(beyond),
            target,
            active_target,
        )

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


def _eventfd() -> int:
    return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)


def _count(fd: int, timeout_s: float | None) -> int:
    """Return a counter's increase since the last call; wait up to a time limit if there is none."""
    if timeout_s != 0.0:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll(None if timeout_s is None else timeout_s * 1000.0)
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


def _rules(bits: int) -> Iterator[str]:
    return (rule for number, rule in enumerate(_RULES) if bits >> number & 1)


IMAGE_BYTES = 1 << 25
"""Room for the frames of one observation. Only written pages use memory."""
_STEPS = 10_000
"""Maximum number of steps in a chunk; see `bundle.chunk_contract.Chunk`."""
_ERROR_BYTES = 256
_MISSED = -1


class ObservationSlots:
    """Observation memory at either end: the node calls `give` and `answered`, the shadow the rest.

    Each method is called once per tick, in tick order.
    """

    def __init__(
        self, active: ChunkContract, state_sizes: Mapping[str, int], fd: int | None = None
    ) -> None:
        """Create memory for an active policy's observations and commands, or open memory `fd`.

        Args:
            active: The active policy's contract.
            state_sizes: Fields of its state in order, with their sizes.
            fd: Descriptor from the other end; None to create the memory.
        """
        self._sizes, self._cameras = dict(state_sizes), [*active.cameras]
        actions, count = len(active.action.joints), OBSERVATIONS
        specs = [
            # number that counts its steps, number of observations: _MISSED if not included
            TensorSpec(name="ticks", shape=(SLOTS, 2), dtype="int64"),
            TensorSpec(name="targets", shape=(SLOTS, actions), dtype="float64"),
            # first tick, tick, time
            TensorSpec(name="times", shape=(count, 3), dtype="int64"),
            TensorSpec(name="fields", shape=(count, sum(state_sizes.values())), dtype="float64"),
            # per camera: encoding by its index, height, width, step, size
            TensorSpec(name="frames", shape=(count, len(self._cameras) or 1, 5), dtype="int64"),
            TensorSpec(name="images", shape=(count, IMAGE_BYTES), dtype="uint8"),
            # of the answer: number of steps, 0 without a chunk; size of the error
            TensorSpec(name="answers", shape=(count, 2), dtype="int64"),
            TensorSpec(name="chunks", shape=(count, _STEPS, actions), dtype="float64"),
            TensorSpec(name="errors", shape=(count, _ERROR_BYTES), dtype="uint8"),
        ]
        self._arrays = SharedArrays(specs, fd)
        self.fd = self._arrays.fd
        """Descriptor that the other process inherits."""
        (
            self._ticks,
            self._targets,
            self._times,
            self._fields,
            self._frames,
            self._images,
            self._answers,
            self._chunks,
            self._errors,
        ) = map(self._arrays.place, specs)
        if fd is None:
            for array in (self._ticks, self._targets, self._times, self._fields, self._frames):
                array[...] = 0  # a tick must not wait for page faults
            pixels = sum(camera.width * camera.height for camera in active.cameras.values())
            self._images[:, : 3 * pixels] = 0
        self._begun = self._ended = 0
        """Numbers of observations given (to or by this end) and answered."""
        self._counts = [0] * SLOTS
        """Observations in each given tick; kept here since the shadow can change shared memory."""

    def give(self, slot: int, asked: ChunkTick) -> None:
        """Write a tick to its slot; its observations are omitted if there is no room."""
        seen = asked.observations
        free = OBSERVATIONS - (self._begun - self._ended)
        fits = len(seen) <= free and all(_size(each.sensed) <= IMAGE_BYTES for each in seen)
        missed = asked.missed or not fits
        self._ticks[slot] = asked.number, _MISSED if missed else len(seen)
        self._counts[slot] = 0 if missed else len(seen)
        self._targets[slot] = asked.target
        for each in () if missed else seen:
            self._write(self._begun % OBSERVATIONS, each)
            self._begun += 1

    def given(self, slot: int) -> ChunkTick:
        """Return the tick in a slot; its images stay in the memory until it is answered."""
        number, count = self._ticks[slot].tolist()
        first, self._begun = self._begun, self._begun + max(0, count)
        seen = [self._read(each % OBSERVATIONS) for each in range(first, self._begun)]
        return ChunkTick(number, self._targets[slot], seen, missed=count == _MISSED)

    def answer(self, inferences: Sequence[InferenceResult]) -> None:
        """Write the results of the last given tick; no given tick may be skipped."""
        for number, found in enumerate(inferences, self._ended):
            place, error = number % OBSERVATIONS, found.error.encode()[:_ERROR_BYTES]
            steps = 0 if found.chunk is None else len(found.chunk)
            if found.chunk is not None:
                self._chunks[place, :steps] = found.chunk
            self._errors[place, : len(error)] = np.frombuffer(error, np.uint8)
            self._answers[place] = steps, len(error)
        self._ended = self._begun

    def answered(self, slot: int) -> tuple[InferenceResult, ...]:
        """Return copies of the results for the answered tick in a slot."""
        first = self._ended
        self._ended += self._counts[slot]
        found = [self._result(number % OBSERVATIONS) for number in range(first, self._ended)]
        return tuple(each for each in found if each is not None)

    def close(self) -> None:
        os.close(self.fd)

    def _write(self, place: int, seen: ShadowObservation) -> None:
        sensed = seen.sensed
        self._answers[place] = 0
        self._times[place] = seen.first_tick, seen.tick, sensed.time_ns
        self._fields[place] = np.concatenate([sensed.fields[name] for name in self._sizes])
        start = 0
        for row, name in zip(self._frames[place], self._cameras, strict=False):
            frame = sensed.frames[name]
            size = frame.data.nbytes
            encoding = FRAME_ENCODINGS.index(frame.encoding)
            row[:] = encoding, frame.height, frame.width, frame.step, size
            self._images[place, start : start + size] = np.frombuffer(frame.data, np.uint8)
            start += size

    def _read(self, place: int) -> ShadowObservation:
        first_tick, tick, time_ns = self._times[place].tolist()
        ends = np.cumsum([*self._sizes.values()])[:-1]
        parts = np.split(self._fields[place].copy(), ends)
        frames, start = dict[str, Frame](), 0
        for row, name in zip(self._frames[place].tolist(), self._cameras, strict=False):
            encoding, height, width, step, size = row
            frames[name] = Frame(
                encoding=FRAME_ENCODINGS[encoding],
                height=height,
                width=width,
                step=step,
                data=self._images[place, start : start + size].data,
            )
            start += size
        fields = dict(zip(self._sizes, parts, strict=True))
        return ShadowObservation(
            first_tick, tick, Snapshot(time_ns=time_ns, frames=frames, fields=fields)
        )

    def _result(self, place: int) -> InferenceResult | None:
        """Return the result of an observation; None if it was skipped."""
        steps, size = self._answers[place].tolist()
        if not steps and not size:
            return None
        return shadow_inference(
            int(self._times[place, 2]),
            np.array(self._chunks[place, :steps], np.float64) if steps else None,
            self._errors[place, :size].tobytes().decode("utf-8", "replace"),
        )


def _size(sensed: Snapshot) -> int:
    return sum(frame.data.nbytes for frame in sensed.frames.values())


def shadow_inference(observation_ns: int, chunk: F64 | None, error: str) -> InferenceResult:
    """Return the result of a shadow's inference, as in `ShadowAnswer`."""
    return InferenceResult(
        observation_ns=observation_ns,
        asked_ns=0,
        began_ns=0,
        ended_ns=0,
        state=np.empty(0),
        chunk=chunk,
        error=error,
    )
