# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The flight recorder: a ring that the control thread fills, and a thread that writes files."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from policy_core.control.tick import Tick
from policy_core.errors import RefusedError
from policy_core.words import FIRST_AWAITED
from policy_inference.flight.description import Flight
from policy_inference.flight.recording_writer import Cause, News, RecordingFolder, RecordingWriter
from policy_inference.flight.ring import MAX_WIRE_BYTES, Ring, ShadowAnswer, Wire
from policy_inference.flight.tap import PolicyTap

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

_SPARE_S = 2.0
"""Room in the ring for new ticks while older ones are copied."""
_STATE_EVERY_S = 5.0
"""A recording begins at a saved controller state, so it may be this much longer."""
_NEWS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FlightOptions:
    """Contents and place of recordings.

    Attributes:
        duration_s: Recorded time before the cause.
        after_s: Recorded time after a fault.
        folder: Folder of the recordings.
        min_free_mb: Minimum free space for a recording, MB.
    """

    duration_s: float = 20.0
    after_s: float = 1.0
    folder: Path
    min_free_mb: float = 500.0


class FlightRecorder:
    """Keeps the last ticks; writes them when a rule of the guard trips, and on request.

    `observe` and `watch` belong to the control thread, everything else to another one. Only a
    thread of its own accesses the disk, between `start` and `stop`, so others never hang with it.

    Attributes:
        ring: The last ticks.
        writer: Writes recordings since the last `start`.
        news: Log lines, each with a flag for warnings, the oldest first; to be popped from the
            left.
    """

    def __init__(
        self,
        tick: Tick,
        tap: PolicyTap,
        flight: Flight,
        types: Callable[[], Typestore],
        options: FlightOptions,
        news: News | None = None,
    ) -> None:
        """Create the ring, and connect it to the controller's runs.

        Args:
            tick: Tick of the controller.
            tap: Tap of its policy.
            flight: Description of its ticks.
            types: Returns the result of `message_types`, the same each time; see `load`.
            options: Contents and place of recordings.
            news: Receives log lines; None creates a queue.
        """
        rate_hz = flight.bundle.contract.rate_hz
        self._before = max(1, round(options.duration_s * rate_hz))
        self._after = round(options.after_s * rate_hz)
        state_every = max(1, min(round(_STATE_EVERY_S * rate_hz), self._before // 4))
        spare = self._after + round(_SPARE_S * rate_hz) + state_every
        self._tick = tick
        self._folder = RecordingFolder(options.folder, options.min_free_mb, types, flight)
        self.ring = Ring(tick, tap, self._before + spare, state_every)
        tap.show(self.ring)
        self.news = News(maxlen=_NEWS) if news is None else news
        self.writer = RecordingWriter(self.ring, self._folder, self.news)
        self._thread: threading.Thread | None = None
        self._ending: threading.Thread | None = None
        self._seen, self._held_until = tick.trip, 0

    @property
    def problem(self) -> str:
        """Reason why the last recording failed or the next one will; or empty."""
        return self.writer.hangs or self.writer.failed or self.writer.obstacle

    def load(self) -> None:
        """Import the modules that write recordings; if ticks already run, before `start`."""
        self._folder.load()

    def start(self) -> None:
        """Start with an empty ring; for each activation, before the first tick."""
        self.load()
        self.ring.restart()
        self._seen, self._held_until = self._tick.trip, self.ring.begin
        before, self.writer = self.writer, RecordingWriter(self.ring, self._folder, self.news)
        self.writer.last = before.last
        self._thread = threading.Thread(
            target=self.writer.work, name="flight recorder", daemon=True
        )
        self._thread.start()

    def adopt(self) -> None:
        """Start with the state that the controller took over; no tick may be running."""
        self.ring.keep_state()

    def stop(self, timeout_s: float = 3.0) -> None:
        """Write pending recordings within a time limit; call it after the last tick."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._ending = thread
        self.writer.end()
        thread.join(timeout_s)
        if thread.is_alive():
            self.writer.fail(
                f"{self._folder.folder}: not written within {timeout_s:g} s; what "
                "was written is in a hidden folder there"
            )

    def abandon(self) -> None:
        self._thread = None
        self.writer.end()

    @property
    def left_behind(self) -> bool:
        """True if the thread hangs in the disk and could not be stopped."""
        return self._ending is not None and self._ending.is_alive()

    def observe(self, wire: Wire, shadow: tuple[ShadowAnswer, ...] = ()) -> None:
        left_out = self.ring.messages_left_out
        self.ring.record(self._tick, wire, shadow)
        if not left_out and self.ring.messages_left_out:
            self.news.append(
                (
                    True,
                    f"flight recorder: expected messages of {MAX_WIRE_BYTES} bytes "
                    "a tick at most, found more; larger ones are dropped",
                )
            )
        if self._tick.trip is not self._seen:
            self.watch()

    def watch(self) -> None:
        trip = self._tick.trip
        if trip is self._seen or trip is None:
            return
        self._seen = trip
        if trip.reason == FIRST_AWAITED:
            return  # normal at the start of each run of a chunk policy
        if not trip.latched:
            if self.ring.end < self._held_until:
                return
            # A robot with intermittent sensors must not fill its disk.
            self._held_until = self.ring.end + self._before
        # By ticks, since simulated time may restart.
        at = self.ring.end - 1
        self.writer.put(
            Cause(
                word=trip.rule.value,
                text=f"{trip.rule.value}: {trip.reason}",
                first=self._first(),
                at=at,
                due=at + self._after,
                latched=trip.latched,
            )
        )

    def request(self, who: str = "by hand") -> Path:
        """Request a recording of the ring; return its future place.

        Args:
            who: Requester, for a log.
        """
        self._require_work()
        _require_none(self.writer.requested)
        place = self._folder.place("request")
        self.writer.request(
            Cause(word="request", text=f"asked for {who}", first=self._first(), end=self.ring.end),
            place,
        )
        return place

    def begin_run(self, who: str = "by hand") -> Path:
        """Record everything from now on, the present ring first; return the future place.

        Args:
            who: Requester, for a log.
        """
        self._require_work()
        if self.writer.recording_run:
            raise RefusedError(f"a run is recorded already ({self.writer.run}); end it first")
        _require_none(self.writer.run)
        place = self._folder.place("run")
        self.writer.begin_run(place, f"a whole run, asked for {who}", self._first())
        return place

    def end_run(self) -> Path:
        place = self.writer.run
        if self._thread is None or not self.writer.recording_run or place is None:
            raise RefusedError("no run is recorded")
        self.writer.end_run()
        return place

    def _require_work(self) -> None:
        if self._thread is None:
            raise RefusedError("the flight recorder is inactive; activate the node first")
        if problem := self.writer.hangs or self.writer.obstacle:
            raise RefusedError(problem)
        if self.ring.newest() is None:
            raise RefusedError("there is no tick to record yet")

    def _first(self) -> int:
        return self.ring.first_to_go_on(max(self.ring.begin, self.ring.end - self._before))


def _require_none(place: Path | None) -> None:
    """Raise RefusedError while a requested recording is being written: requests do not queue."""
    if place is not None:
        raise RefusedError(f"{place} is being written already; ask again when it is there")
