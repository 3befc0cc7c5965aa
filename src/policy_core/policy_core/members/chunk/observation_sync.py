# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Synchronized observations: a frame from each camera, and the state from the same time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from policy_core import words
from policy_core.bundle.chunk_contract import Camera, ChunkContract
from policy_core.bundle.state_fields import LEADER_POS
from policy_core.control_state import Stateful, Tree
from policy_core.errors import NoTargetError
from policy_core.interfaces import F64, U8
from policy_core.observation.freshness import Input
from policy_core.observation.images import Frame
from policy_core.observation.pairing import ObservationAssembler, RecentMessages
from policy_core.observation.state import StateVector

JOINTS = "joint_states"
"""Input with the measured joint positions."""
_COMPARED = 1000
"""Number of bytes per frame that are compared with the previous frame; comparing all bytes would
take a millisecond. With a real camera, noise changes most of these bytes in every frame.
"""
_FROZEN_FRAMES, _FROZEN_RAD = 10, 0.1
"""Number of identical frames, and joint motion: a working camera never sends this many identical
frames while a joint moves this far.
"""


class FrameBuffer(Stateful):
    """The recent encoded frames of a camera; detects frames that no longer change."""

    STATE = (
        "_recent",
        "_content",
        "repeats",
        "_changed_ns",
        "_repeated_s",
        "_seen_from",
        "_moved_rad",
    )

    def __init__(self, camera: Camera, recent: RecentMessages) -> None:
        """Store the frames in `recent`."""
        self.camera = camera
        self._recent = recent
        self._forget_content()

    def _forget_content(self) -> None:
        self._content: U8 = np.zeros(0, np.uint8)
        """Sampled bytes of the newest frame."""
        self.repeats = 0
        """Number of consecutive earlier frames with the same sampled bytes as the newest frame."""
        self._changed_ns: int | None = None
        self._repeated_s = 0.0
        self.forget_motion()

    def add(self, frame: Frame, time_ns: int) -> None:
        """Add a new frame.

        Args:
            frame: Result of `frame_of` for a message from `camera`.
            time_ns: Capture time (the input's `measured_ns`), if known.
        """
        self._recent.add(time_ns, frame)
        pixels = np.frombuffer(frame.data, np.uint8)
        content = pixels[:: max(1, pixels.size // _COMPARED)].copy()
        self.repeats = self.repeats + 1 if np.array_equal(content, self._content) else 0
        self._content = content
        if self._changed_ns is None or not self.problem:
            self._changed_ns = time_ns
        self._repeated_s = 1e-9 * (time_ns - self._changed_ns)

    @property
    def content(self) -> bytes:
        """Sampled bytes of the newest frame; a frame with equal bytes counts as a repetition."""
        return self._content.tobytes()

    def forget_motion(self) -> None:
        """Restart the motion count.

        Between runs, the robot may move without `note_joints` being called.
        """
        self._seen_from, self._moved_rad = np.zeros(0), 0.0

    def note_joints(self, joint_pos: F64) -> None:
        """Record the joint positions [joints], in rad, in a tick of a running policy."""
        if self.repeats == 0 or not self._seen_from.size:
            self._seen_from, self._moved_rad = joint_pos.copy(), 0.0
        else:
            moved_rad = float(np.abs(joint_pos - self._seen_from).max())
            self._moved_rad = max(self._moved_rad, moved_rad)

    @property
    def problem(self) -> str:
        """Reason not to trust the frames even though they arrive; "" if there is none.

        A driver or converter may repeat one image with increasing stamps.
        """
        if self.repeats < _FROZEN_FRAMES or self._moved_rad < _FROZEN_RAD:
            return ""
        return words.FROZEN_CAMERA.format(count=self.repeats + 1, a=self._moved_rad)

    @property
    def is_frozen(self) -> bool:
        """True if the frames have repeated for longer than the contract allows."""
        limit_s = self.camera.camera_frozen_s
        return limit_s is not None and self._repeated_s > limit_s and bool(self.problem)

    def clear(self) -> None:
        """Discard all frames; called after a clock reset."""
        self._recent.clear()
        self._forget_content()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """Observation at `time_ns`: frames by camera, and state fields by name."""

    time_ns: int
    frames: Mapping[str, Frame]
    fields: Mapping[str, F64]
    """Copies of state fields; `joint_pos` is in rad."""
    earlier: tuple[Snapshot, ...] = ()
    """Observations from previous steps, oldest first, if the policy observes several."""

    def saved(self) -> dict[str, Any]:
        """Return a copy for a saved state, with camera names instead of images."""
        return {
            "time_ns": self.time_ns,
            "cameras": (*self.frames,),
            "fields": {name: values.copy() for name, values in self.fields.items()},
            "earlier": tuple(each.saved() for each in self.earlier),
        }

    @staticmethod
    def of_saved(saved: Tree) -> Snapshot:
        """Return the snapshot from a saved state; its frames are None."""
        return Snapshot(
            time_ns=saved["time_ns"],
            frames=dict.fromkeys(saved["cameras"], cast(Frame, None)),
            fields=dict(saved["fields"]),
            earlier=tuple(map(Snapshot.of_saved, saved["earlier"])),
        )


class ObservationSync(Stateful):
    """Pairs images and measurements from the same time; for use on the control thread only."""

    def __init__(
        self, contract: ChunkContract, state: StateVector, inputs: Mapping[str, Input]
    ) -> None:
        """Prepare one buffer per camera.

        Args:
            contract: Cameras and pairing rule.
            state: State fields; the caller fills them before each `record_state`.
            inputs: Inputs of the state, with the age of their data.
        """
        self._fields = {
            name: name.partition("external:")[2] or JOINTS
            for name in state.slices
            if name != LEADER_POS  # policies do not observe the leader arm
        }
        self._inputs = [*inputs]
        self._cameras = {name: f"camera {name}" for name in contract.cameras}
        self._assembler = ObservationAssembler(
            contract.pairing, list(self._cameras.values()), list(self._fields.values())
        )
        recent = self._assembler.inputs
        self.frames: Mapping[str, FrameBuffer] = {
            name: FrameBuffer(contract.cameras[name], recent[entry])
            for name, entry in self._cameras.items()
        }
        self._joint_pos = state["joint_pos"]
        self._period_ns = contract.period_ns
        self._earlier = contract.observation_steps - 1
        self._steps = deque[tuple[int, Snapshot]](maxlen=self._earlier)
        """Tick time and observation for each previous step."""
        self._newest: tuple[int, Snapshot] | None = None
        self._recent = {name: recent[name] for name in self._fields.values()}
        self._measured = [
            (state[field], inputs[name], recent[name]) for field, name in self._fields.items()
        ]

    @property
    def cameras(self) -> list[str]:
        """Camera names as used in messages, in contract order."""
        return [*self._cameras.values()]

    @property
    def tolerance_ns(self) -> int:
        """Maximum time between the frames in one observation."""
        return self._assembler.tolerance_ns

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core: fields, inputs, cameras, pairing rule."""
        frozen_s = [buffer.camera.camera_frozen_s for buffer in self.frames.values()]
        return {
            "fields": [*self._fields],
            "inputs": [self._inputs.index(name) for name in self._fields.values()],
            "cameras": [*self._cameras],
            "frozen_s": [math.inf if limit_s is None else limit_s for limit_s in frozen_s],
            "by_frame_time": self._assembler.by_frame_time,
            "tolerance_ns": self.tolerance_ns,
            "earlier": self._earlier,
            "period_ns": self._period_ns,
        }

    def saved(self) -> dict[str, Any]:
        """Return a copy of the recent observations, without images."""
        steps = (*self._steps, *filter(None, [self._newest]))
        return {
            "frames": {name: buffer.saved() for name, buffer in self.frames.items()},
            "fields": {name: recent.saved() for name, recent in self._recent.items()},
            "steps": tuple((tick_ns, sensed.saved()) for tick_ns, sensed in steps),
            "has_newest": self._newest is not None,
        }

    def restore(self, saved: Tree) -> None:
        """Restore saved observations."""
        for name, buffer in self.frames.items():
            buffer.restore(saved["frames"][name])
        for name, recent in self._recent.items():
            recent.restore(saved["fields"][name])
        steps = [(tick_ns, Snapshot.of_saved(each)) for tick_ns, each in saved["steps"]]
        self._newest = steps.pop() if saved["has_newest"] else None
        self._steps.clear()
        self._steps.extend(steps)

    def record_state(self, now_ns: int) -> None:
        """Record this tick's state, with the time of each measurement."""
        for values, entry, recent in self._measured:
            measured_ns = entry.measured_ns
            recent.add(now_ns if measured_ns is None else measured_ns, values.copy())
        for buffer in self.frames.values():
            buffer.note_joints(self._joint_pos)
        if self._earlier:
            self._record_step(now_ns)

    def require_sight(self) -> None:
        """Raise an error if a camera is frozen.

        Raises:
            NoTargetError: A camera has repeated an image for too long while the robot moved.
        """
        for name, buffer in self.frames.items():
            if buffer.is_frozen:
                raise NoTargetError(f"{self._cameras[name]}: {buffer.problem}")

    def snapshot(self, now_ns: int) -> Snapshot:
        """Return the newest observation, with those from previous steps if the policy needs them.

        Missing steps are filled with the first known observation, as in LeRobot.

        Raises:
            NoTargetError: A camera has no frame, or no frame close enough in time to those of the
                other cameras.
        """
        if not self._earlier:
            return self._observe(now_ns)
        if self._newest is None or self._newest[0] != now_ns:
            # The step could not be recorded; observing again raises the reason.
            return self._with_earlier(self._observe(now_ns))
        return self._with_earlier(self._newest[1])

    def begin(self) -> None:
        """Begin a run, without the observations and motion of the previous run."""
        self.forget_steps()
        for buffer in self.frames.values():
            buffer.forget_motion()

    def forget_steps(self) -> None:
        """Discard the observations of previous steps."""
        self._steps.clear()
        self._newest = None

    def _record_step(self, now_ns: int) -> None:
        """Record this tick's observation; if there is none, discard all previous steps."""
        if self._newest is not None:
            if now_ns - self._newest[0] > 1.5 * self._period_ns:
                # Ticks were skipped, as in HOLD without measurements, so the steps are not
                # adjacent.
                self._steps.clear()
            elif now_ns != self._newest[0]:
                self._steps.append(self._newest)
        try:
            self._newest = now_ns, self._observe(now_ns)
        except NoTargetError:
            self.forget_steps()

    def _with_earlier(self, newest: Snapshot) -> Snapshot:
        known = [step for _, step in self._steps]
        missing = self._earlier - len(known)
        first = known[0] if known else newest
        return replace(newest, earlier=(*[first] * missing, *known))

    def _observe(self, now_ns: int) -> Snapshot:
        time_ns, messages = self._assembler.observe(now_ns)
        return Snapshot(
            time_ns=time_ns,
            frames={name: messages[entry] for name, entry in self._cameras.items()},
            fields={name: messages[entry] for name, entry in self._fields.items()},
        )
