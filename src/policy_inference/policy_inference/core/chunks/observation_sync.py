# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the robot sensed at one time: a frame of each camera, and the state of then."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from policy_inference.bundle.chunk_contract import Camera, ChunkContract
from policy_inference.core.images import Frame
from policy_inference.core.state import StateVector
from policy_inference.errors import NoTargetError
from policy_inference.interfaces import F64

_FRAMES = 3
"""Per camera: enough to find one of the time of another camera's newest."""
_STATES = 32
"""Ticks of which the state is known: a second at 30 Hz, longer than a frame is under way."""
_COMPARED = 1000
"""Bytes of a frame that are compared with those of the one before; all would cost a millisecond.
The noise of a real camera changes most of them from frame to frame."""
_FROZEN_FRAMES, _FROZEN_RAD = 10, 0.1
"""So many equal frames, while a joint moves so far, are not what a camera sees."""


class FrameBuffer:
    """The newest frames of one camera, not decoded, with their times on the tick's clock."""

    def __init__(self, camera: Camera) -> None:
        """Begin without a frame."""
        self.camera = camera
        self._frames = deque[tuple[int, Frame]](maxlen=_FRAMES)
        self._forget_content()

    def _forget_content(self) -> None:
        self._content, self._repeats = b"", 0
        self._seen_from, self._moved_rad = np.zeros(0), 0.0

    def add(self, frame: Frame, time_ns: int) -> None:
        """Take a new frame.

        Args:
            frame: What `frame_of` made of a message for `camera`.
            time_ns: When it was taken, as far as that is known: now less the input's age.
        """
        self._frames.append((time_ns, frame))
        pixels = np.frombuffer(frame.data, np.uint8)
        content = pixels[:: max(1, pixels.size // _COMPARED)].tobytes()
        self._repeats = self._repeats + 1 if content == self._content else 0
        self._content = content

    def note_joints(self, joint_pos: F64) -> None:
        """Note where the joints [joints] are while the policy runs, rad."""
        if self._repeats == 0 or not self._seen_from.size:
            self._seen_from, self._moved_rad = joint_pos.copy(), 0.0
        else:
            moved_rad = float(np.abs(joint_pos - self._seen_from).max())
            self._moved_rad = max(self._moved_rad, moved_rad)

    @property
    def problem(self) -> str:
        """Why its frames are not to be believed, though they come; empty where nothing is wrong.

        A driver or a converter may repeat one image under stamps that rise.
        """
        if self._repeats < _FROZEN_FRAMES or self._moved_rad < _FROZEN_RAD:
            return ""
        return (
            f"expected images that change while the robot moves, found {self._repeats + 1} "
            f"equal ones while a joint moved by {self._moved_rad:.2f} rad; is the camera or "
            "its driver frozen?"
        )

    def clear(self) -> None:
        """Forget all frames, after the clock began anew."""
        self._frames.clear()
        self._forget_content()

    @property
    def newest_ns(self) -> int | None:
        """Time of the newest frame."""
        return max((time_ns for time_ns, _ in self._frames), default=None)

    def nearest(self, time_ns: int) -> tuple[int, Frame]:
        """Return time and frame of the one nearest to a time; there must be one."""
        return min(self._frames, key=lambda entry: abs(entry[0] - time_ns))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """What was sensed at `time_ns`: frames by camera, fields of the state as it was then."""

    time_ns: int
    frames: Mapping[str, Frame]
    fields: Mapping[str, F64]
    """Copies, rad for `joint_pos`."""


class ObservationSync:
    """Brings together what belongs to one time; all methods belong to the tick's thread."""

    def __init__(
        self, contract: ChunkContract, state: StateVector, frame_tolerance_s: float
    ) -> None:
        """Prepare a buffer per camera.

        Args:
            contract: Names the cameras.
            state: Is filled elsewhere, before each `remember`.
            frame_tolerance_s: Longest time between the frames of one observation.
        """
        self.frames: Mapping[str, FrameBuffer] = {
            name: FrameBuffer(camera) for name, camera in contract.cameras.items()
        }
        self._state = state
        self._tolerance_ns = round(frame_tolerance_s * 1e9)
        self._times_ns = np.zeros(_STATES, np.int64)
        self._states = np.zeros((_STATES, state.flat.size))
        self._count = 0

    def remember(self, now_ns: int) -> None:
        """Note the state of this tick."""
        place = self._count % _STATES
        self._times_ns[place], self._states[place] = now_ns, self._state.flat
        self._count += 1
        for buffer in self.frames.values():
            buffer.note_joints(self._state["joint_pos"])

    def sense(self, now_ns: int) -> Snapshot:
        """Return the newest observation: one frame per camera, and the state of their time.

        The time is that of the camera whose newest frame is the oldest.

        Raises:
            NoTargetError: A camera has no frame, or none near enough to the others'.
        """
        time_ns = self._newest_of_all(now_ns)
        chosen = {name: buffer.nearest(time_ns) for name, buffer in self.frames.items()}
        for name, (frame_ns, _) in chosen.items():
            if abs(frame_ns - time_ns) > self._tolerance_ns:
                raise NoTargetError(
                    f"camera {name}: its frame nearest to the other cameras' is "
                    f"{abs(frame_ns - time_ns) * 1e-6:.0f} ms away, expected at most "
                    f"{self._tolerance_ns * 1e-6:.0f} ms (frame_tolerance_s)"
                )
        flat = self._state_of(time_ns)
        return Snapshot(
            time_ns=time_ns,
            frames={name: frame for name, (_, frame) in chosen.items()},
            fields={name: flat[part] for name, part in self._state.slices.items()},
        )

    def _newest_of_all(self, now_ns: int) -> int:
        """Return the latest time of which every camera may have a frame."""
        time_ns = now_ns
        for name, buffer in self.frames.items():
            newest_ns = buffer.newest_ns
            if newest_ns is None:
                raise NoTargetError(f"camera {name}: no frame")
            time_ns = min(time_ns, newest_ns)
        return time_ns

    def _state_of(self, time_ns: int) -> F64:
        """Return a copy of the remembered state nearest to a time, the later one of two."""
        known = min(self._count, _STATES)
        newest_first = (self._count - 1 - np.arange(known)) % _STATES
        nearest = np.argmin(np.abs(self._times_ns[newest_first] - time_ns))
        found: F64 = self._states[newest_first[nearest]].copy()
        return found
