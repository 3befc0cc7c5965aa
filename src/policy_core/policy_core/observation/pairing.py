# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Selection of the messages that form one observation, according to the contract's pairing rule.

The content of messages is not used: messages are returned as they were added, so that a node with
encoded frames, a recording reader and a dataset writer can share the code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from policy_core import words
from policy_core.bundle.chunk_contract import Pairing
from policy_core.control_state import Stateful, Tree
from policy_core.errors import NoTargetError
from policy_core.interfaces import Times

_FRAMES = 3
"""Number of frames kept per camera: enough to pair with another camera's newest frame."""
_VALUES = 32
"""Number of messages kept per other input, with at most one added per tick: at 30 Hz, they cover a
second, which is longer than a camera's delay.
"""


class Arrival(NamedTuple):
    """A message of an input, and the time from which it is valid."""

    time_ns: int
    name: str
    """Name of the input."""
    data: Any
    """Message bytes; None if only the time matters."""


class RecentMessages(Stateful):
    """The latest messages of an input, with their times."""

    def __init__(self, kept: int) -> None:
        """Keep the latest `kept` messages."""
        self._entries = deque[tuple[int, Any]](maxlen=kept)

    def add(self, time_ns: int, message: Any) -> None:
        """Add a message.

        Args:
            time_ns: Measurement time, on the tick clock.
            message: Any object; stored unchanged.
        """
        self._entries.append((time_ns, message))

    def clear(self) -> None:
        """Discard all messages; called after a clock reset."""
        self._entries.clear()

    def saved(self) -> dict[str, Any]:
        """Return a copy of the messages with their times; None replaces each image."""
        return {
            "entries": tuple(
                (time_ns, message.copy() if isinstance(message, np.ndarray) else None)
                for time_ns, message in self._entries
            )
        }

    def restore(self, saved: Tree) -> None:
        """Restore saved messages."""
        self._entries.clear()
        self._entries.extend((time_ns, message) for time_ns, message in saved["entries"])

    @property
    def newest_ns(self) -> int | None:
        """Time of the newest message; None if there is none."""
        return max((time_ns for time_ns, _ in self._entries), default=None)

    @property
    def newest(self) -> Any:
        """The message added last; there must be one."""
        return self._entries[-1][1]

    def nearest(self, time_ns: int) -> tuple[int, Any]:
        """Return the time of the message nearest to `time_ns`, and the message; there must be one.

        Of two equally near messages, the one added later is returned.
        """
        found: tuple[int, Any] = min(
            reversed(self._entries), key=lambda entry: abs(entry[0] - time_ns)
        )
        return found


class PairedMessages(NamedTuple):
    """Messages that form one observation.

    Attributes:
        time_ns: Time of the observation, and of the first step of the chunk for it.
        messages: One message per input, by input name.
    """

    time_ns: int
    messages: Mapping[str, Any]


class ObservationAssembler:
    """Combines timed messages into observations; see `Pairing` for the rule.

    Attributes:
        by_frame_time: True for the frame_time rule.
        tolerance_ns: Maximum time between the frames in one observation.
        inputs: Recent messages by input name.
    """

    def __init__(
        self,
        pairing: Pairing,
        cameras: Collection[str],
        others: Collection[str],
        held: Collection[str] = (),
    ) -> None:
        """Begin without messages.

        Args:
            pairing: The rule.
            cameras: Names of the inputs that carry images.
            others: Names of the continuously measured inputs.
            held: Names of the inputs whose newest message is used under every rule.
        """
        self.by_frame_time = pairing.rule == "frame_time"
        self.tolerance_ns = round(pairing.tolerance_s * 1e9)
        self._cameras = {name: RecentMessages(_FRAMES) for name in cameras}
        self._others = {
            **{name: RecentMessages(_VALUES) for name in others},
            **{name: RecentMessages(1) for name in held},
        }
        self.inputs: Mapping[str, RecentMessages] = {**self._cameras, **self._others}

    def observe(self, now_ns: int) -> PairedMessages:
        """Return the newest set of messages that form one observation.

        Args:
            now_ns: Time of the tick; no message is later.

        Raises:
            NoTargetError: An input has no message, or, with frame_time, a camera has no frame close
                enough to the other cameras' frames; the error names the input or camera.
        """
        frames_ns = self._frames_ns(now_ns)
        for name, recent in self._others.items():
            if recent.newest_ns is None:
                raise NoTargetError(f"{name}: no message")
        if not self.by_frame_time:
            return PairedMessages(now_ns, {name: each.newest for name, each in self.inputs.items()})
        frames = {
            name: self._frame(name, recent, frames_ns) for name, recent in self._cameras.items()
        }
        others = {name: recent.nearest(frames_ns)[1] for name, recent in self._others.items()}
        return PairedMessages(frames_ns, frames | others)

    def _frames_ns(self, now_ns: int) -> int:
        """Return the latest time at which every camera may have a frame."""
        time_ns = now_ns
        for name, recent in self._cameras.items():
            newest_ns = recent.newest_ns
            if newest_ns is None:
                raise NoTargetError(words.NO_FRAME.format(camera=name))
            time_ns = min(time_ns, newest_ns)
        return time_ns

    def _frame(self, name: str, recent: RecentMessages, time_ns: int) -> Any:
        """Return a camera's frame nearest to a time; raise NoTargetError if it is too far away."""
        frame_ns, frame = recent.nearest(time_ns)
        apart_ns = abs(frame_ns - time_ns)
        if apart_ns > self.tolerance_ns:
            why = words.FRAMES_APART.format(
                camera=name, a=apart_ns * 1e-6, limit=self.tolerance_ns * 1e-6
            )
            raise NoTargetError(why)
        return frame


def observations(
    assembler: ObservationAssembler, arrivals: Iterable[Arrival], ends_ns: Iterable[int]
) -> Iterator[PairedMessages | None]:
    """Yield the observation for each tick of a recording; None for a tick without one.

    Args:
        assembler: An empty assembler, which receives the arrivals and stores the messages.
        arrivals: Messages in time order; for each input, only messages that are the newest at some
            tick.
        ends_ns: For each tick, in increasing order, the time up to which messages belong to it.
    """
    rest = iter(arrivals)
    arrival = next(rest, None)
    for end_ns in ends_ns:
        while arrival is not None and arrival.time_ns <= end_ns:
            assembler.inputs[arrival.name].add(arrival.time_ns, arrival)
            arrival = next(rest, None)
        try:
            yield assembler.observe(end_ns)
        except NoTargetError:
            yield None


def belong_together(
    pairing: Pairing, times_ns: Mapping[str, Times], ends_ns: Times, period_ns: int
) -> npt.NDArray[np.bool_]:
    """Return a mask [ticks] that is True where the cameras' frames can form one observation.

    Args:
        pairing: The rule.
        times_ns: By camera, the increasing times of its frames.
        ends_ns: Tick ends [ticks] as in `observations`, multiples of the period apart.
        period_ns: Time between two ticks.
    """
    if len(times_ns) < 2 or not len(ends_ns) or pairing.rule == "newest":
        return np.ones(len(ends_ns), bool)  # one camera agrees with itself
    phase_ns = int(ends_ns[0]) % period_ns
    arrivals = sorted(
        Arrival(time_ns, name, None)
        for name, times in times_ns.items()
        for time_ns in times[newest_at_ticks(times, period_ns, phase_ns)].tolist()
    )
    found = observations(
        ObservationAssembler(pairing, tuple(times_ns), ()), arrivals, ends_ns.tolist()
    )
    return np.array([each is not None for each in found])


def newest_at_ticks(times_ns: Times, period_ns: int, phase_ns: int = 0) -> npt.NDArray[np.intp]:
    """Return the indices of the messages that are the newest at some tick, as sampled on a robot.

    Args:
        times_ns: Message times [messages], increasing.
        period_ns: Time between two ticks.
        phase_ns: Time of any tick; all other ticks are multiples of the period away.
    """
    ticks = -((phase_ns - times_ns) // period_ns)
    return np.flatnonzero(np.diff(ticks, append=ticks[-1:] + 1))
