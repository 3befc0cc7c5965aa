# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Data for the shadow of a chunk policy besides `tick_slots`: observations and answers.

They are in memory shared by the two processes. The counters of `tick_slots` show for which ticks
the observations (given ticks) and the chunks (answered ticks) are available.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.interfaces import TensorSpec
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.observation.images import FRAME_ENCODINGS, Frame
from policy_inference.backends.shared_arrays import SharedArrays
from policy_inference.flight.ring import InferenceResult
from policy_inference.shadow.chunk_shadow import ChunkTick, ShadowObservation, shadow_inference
from policy_inference.shadow.tick_slots import SLOTS

OBSERVATIONS = 4
"""Most observations that may wait for the shadow."""
IMAGE_BYTES = 1 << 25
"""Room for the frames of one observation. Only written pages use memory."""
_STEPS = 10_000
"""Most steps of a chunk: see `bundle.chunk_contract.Chunk`."""
_ERROR_BYTES = 256
_MISSED = -1


class ObservationSlots:
    """The memory, at either end: `give` and `answered` for one, `given` and `answer` for the other.

    Each is called once for a tick, in the order of the ticks.
    """

    def __init__(
        self, active: ChunkContract, state_sizes: Mapping[str, int], fd: int | None = None
    ) -> None:
        """Create memory for an active policy's observations and commands, or open that of `fd`.

        Args:
            active: Its contract.
            state_sizes: Fields of its state in their order, with their sizes.
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
        """Number of observations given to or by this end, and number answered."""
        self._counts = [0] * SLOTS
        """Counts of each given tick, kept here since the shadow may change its memory."""

    def give(self, slot: int, asked: ChunkTick) -> None:
        """Write a tick into its slot; without its observations if there is no room."""
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
        """Write the results of the last given tick; none may be skipped."""
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
