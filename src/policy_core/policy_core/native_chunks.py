# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Chunk policy in the native core: its camera frames, its worker, and its Python counterpart."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, cast

import numpy as np

from policy_core.control_state import Stateful, Tree
from policy_core.members.chunk.observation_sync import FrameBuffer, Snapshot
from policy_core.members.chunk.policy import INFERENCE_ERRORS, ChunkPolicy, InferredChunk
from policy_core.members.chunk.queue import ChunkQueue
from policy_core.members.chunk.worker import Outcome, Request, SuccessReading
from policy_core.native import Words
from policy_core.observation.images import Frame
from policy_core.words import FROZEN_CAMERA

ExchangeEvent = IntEnum("ExchangeEvent", "ASKED AWAITED FORGOTTEN", start=0)
"""`ChunkExchange::Event` in chunk_exchange.hpp."""


class NativeChunks:
    """Connects a chunk policy in the native core to its worker.

    During a tick, the worker is called at the same points as in `ChunkPolicy`. After each tick, the
    values that observers read are copied to the Python policy.

    Attributes:
        raised: Internal error from an inference, re-raised by the tick, or None.
    """

    def __init__(
        self, name: str, owner: Stateful, policy: ChunkPolicy, native: Any, words: Words
    ) -> None:
        """Connect the parts.

        Args:
            name: Name of the set member; empty for a single policy.
            owner: The member, the takeover around the policy, or the policy itself.
            policy: Python policy, whose worker serves the native core from now on.
            native: The native controller.
            words: Words for the native controller.
        """
        self.raised: BaseException | None = None
        self._name, self._owner, self._policy = name, owner, policy
        self._native, self._words, self._worker = native, words, policy.worker
        self._handed: Outcome | None = None
        policy.worker = _NativeWorker(name, native)
        policy.queue = cast(ChunkQueue, _NativeQueue(name, native))
        self._frames = {
            camera: NativeFrames(buffer, name, place, native)
            for place, (camera, buffer) in enumerate(policy.sync.frames.items())
        }
        policy.sync.frames = self._frames
        self._rest = policy.saved()
        """Saved state of the Python policy; supplies the parts that the native core leaves out."""
        native.on_event(name, self._notice)

    def complete(self, saved: Tree) -> Tree:
        """Return an owner's state from the native core, with the missing parts added."""
        if self._owner is self._policy:
            return {**self._rest, **saved}
        return {**saved, "policy": {**self._rest, **saved["policy"]}}

    def restore(self, saved: Tree, form: Tree) -> None:
        """Restore the owner's saved state in the native core.

        Args:
            saved: The saved state.
            form: The owner's current saved state in the native core, which defines the structure.
        """
        if self._owner is not self._policy:
            saved, form = saved["policy"], form["policy"]
        self._native.restore_chunks(self._name, self._words.numbers(saved, form))

    def show(self) -> None:
        """Copy the last tick's values from the native core to the Python policy."""
        self._note_taken()
        saved = self._words.tree(self._native.saved_chunks(self._name))
        self._owner.restore(self.complete(saved))
        values, count = self._native.swings(self._name)
        joints = self._policy.action.command.size
        self._policy.oscillation.take(values.reshape(-1, 2, joints), count)

    def _notice(self, event: int, now_ns: int) -> None:
        try:
            if event == ExchangeEvent.ASKED:
                self._ask()
            elif event == ExchangeEvent.AWAITED:
                self._answer(now_ns)
            else:
                self._worker.forget()
                self._policy.success = None
                if not self._worker.busy:
                    self._native.give_up(self._name)
        except BaseException as error:  # noqa: BLE001  # none may pass through C++
            self.raised = error

    def _ask(self) -> None:
        found = self._native.fetch(self._name)
        if found is None:
            return
        *earlier, newest = found.pop("frames")
        request = Request.of_saved(found)
        sensed = self._seen(
            request.sensed,
            newest,
            tuple(map(self._seen, request.sensed.earlier, earlier)),
        )
        self._worker.ask(
            Request(
                sensed=sensed,
                generation=request.generation,
                asked_ns=request.asked_ns,
                planned=request.planned,
            )
        )

    def _seen(
        self, sensed: Snapshot, numbers: Sequence[int], earlier: tuple[Snapshot, ...] = ()
    ) -> Snapshot:
        """Return an observation with its images, given each camera's frame number."""
        frames = {
            camera: cast(Frame, buffer.image(number))  # None for a frame of a restored state
            for (camera, buffer), number in zip(self._frames.items(), numbers, strict=True)
        }
        return Snapshot(
            time_ns=sensed.time_ns, frames=frames, fields=sensed.fields, earlier=earlier
        )

    def _answer(self, now_ns: int) -> None:
        self._ask()  # a request that was waiting for the outcome
        self._note_taken()
        outcome = self._worker.take(now_ns)
        if outcome is None:
            return
        error, kind, text = outcome.error, 0, 0
        is_ours = outcome.request.generation == self._native.generation(self._name)
        if error is not None:
            kinds = [isinstance(error, each) for each in INFERENCE_ERRORS]
            text = self._words.number_of(str(error))
            if any(kinds):
                kind = kinds.index(True)
            elif is_ours:
                self.raised = error
        if is_ours:
            self._policy.latency.add(outcome.ended_ns - outcome.began_ns)
            time_ns = outcome.request.sensed.time_ns
            self._policy.success = SuccessReading(time_ns, outcome.success)
        self._handed = outcome
        self._native.hand_over(
            self._name, outcome.began_ns, outcome.ended_ns, outcome.chunk, kind, text
        )

    def _note_taken(self) -> None:
        """Append the last delivered chunk, if it was used, to the policy's finished chunks."""
        while (taken := self._native.pop_chunk(self._name)) is not None:
            sequence, time_ns, first_tick, tick = taken
            assert self._handed is not None
            assert self._handed.chunk is not None
            self._policy.chunks.append(
                InferredChunk(
                    sequence=sequence,
                    time_ns=time_ns,
                    targets=self._handed.chunk,
                    sensed=self._handed.request.sensed,
                    first_tick=first_tick,
                    tick=tick,
                )
            )


class NativeFrames(FrameBuffer):
    """A camera's frames for a policy in the native core, which refers to them by number."""

    def __init__(self, buffer: FrameBuffer, member: str, place: int, native: Any) -> None:
        """Replace a camera's buffer.

        Args:
            buffer: The buffer to replace.
            member: Set member that owns the camera; empty for a single policy.
            place: Index of the camera in the policy.
            native: The native controller.
        """
        self.camera, self._native, self._place = buffer.camera, native, (member, place)
        self._images = dict[int, Frame]()

    def add(self, frame: Frame, time_ns: int) -> None:
        """Add a new frame; see `FrameBuffer.add`."""
        pixels = np.frombuffer(frame.data, np.uint8)
        number, oldest = self._native.add_frame(*self._place, pixels, time_ns)
        self._images[number] = frame
        for each in [each for each in self._images if each < oldest]:
            del self._images[each]

    def image(self, number: int) -> Frame | None:
        """Return the frame with this number; None if it is unknown or no longer kept."""
        return self._images.get(number)

    @property
    def repeats(self) -> int:  # type: ignore[override]
        """Number of consecutive earlier frames with the same sampled bytes as the newest frame."""
        return int(self._native.frame_report(*self._place)[0]) - 1

    @property
    def content(self) -> bytes:
        """Sampled bytes of the newest frame; a frame with equal bytes counts as a repetition."""
        return bytes(self._native.frame_content(*self._place))

    @property
    def problem(self) -> str:
        """Reason not to trust the frames; see `FrameBuffer.problem`."""
        equal, moved_rad, is_repeating, _ = self._native.frame_report(*self._place)
        return FROZEN_CAMERA.format(count=equal, a=moved_rad) if is_repeating else ""

    @property
    def is_frozen(self) -> bool:
        """True if the frames have repeated for longer than the contract allows."""
        return bool(self._native.frame_report(*self._place)[-1])

    def clear(self) -> None:
        """Discard all frames, even if a pending request uses them; called after a clock reset."""
        self._native.clear_frames(*self._place)

    def saved(self) -> dict[str, Any]:
        """Return an empty state, since the native core saves the frames."""
        return {}

    def restore(self, saved: Tree) -> None:
        """Do nothing, since the native core restores the frames."""


class _NativeWorker:
    """Stand-in for the Python policy's worker; the real worker serves the native core."""

    busy, alive = False, True

    def __init__(self, name: str, native: Any) -> None:
        self._name, self._native = name, native

    def ask(self, request: Request) -> None:
        """Do nothing, since the native core makes the requests."""

    def take(self, now_ns: int) -> Outcome | None:
        return None

    def forget(self) -> None:
        """Reset the native core as well."""
        self._native.reset_chunks(self._name)

    def close(self) -> None:
        """Do nothing, since the host closes the real worker."""


class _NativeQueue(Stateful):
    def __init__(self, name: str, native: Any) -> None:
        self._name, self._native = name, native

    def reset(self) -> None:
        """Do nothing, since the native core resets itself."""

    def left(self, tick: int) -> int:
        return int(self._native.chunks_left(self._name))
