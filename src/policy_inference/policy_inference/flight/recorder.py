# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Flight recorder: a ring that the control thread fills, and a thread that writes files."""

from __future__ import annotations

import dataclasses
import os
import queue
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from policy_core.control.tick import Tick
from policy_core.errors import RefusedError
from policy_core.words import FIRST_AWAITED
from policy_inference.flight.description import Flight
from policy_inference.flight.ring import MAX_WIRE_BYTES, FlightTick, Ring, ShadowAnswer, Wire
from policy_inference.flight.tap import PolicyTap

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

    from policy_inference.flight.recording import Recording


def recording_name(bundle_name: str, cause: str) -> str:
    """Return the name for a recording that begins now: bundle, time (UTC) and cause."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return re.sub(r"[^\w.-]+", "_", f"{bundle_name}-{now}-{cause}").lstrip(".")


class RecordingFolder:
    """Folder for the recordings of one flight; all methods except `place` access the disk."""

    def __init__(
        self, folder: Path, min_free_mb: float, types: Callable[[], Typestore], flight: Flight
    ) -> None:
        """Store the settings; do not access the disk or import modules yet.

        Args:
            folder: Folder for the recordings; created if missing.
            min_free_mb: Minimum free space for a recording, MB.
            types: Returns the result of `message_types`, always the same object.
            flight: Description of the ticks.
        """
        self.folder = folder
        self._min_free_mb, self._types, self._flight = min_free_mb, types, flight
        self._promised: set[Path] = set()

    def load(self) -> None:
        """Import the modules that write recordings (takes 0.1 s); call before the first tick.

        A later import would hold the GIL and delay the control thread.
        """
        import policy_inference.flight.recording  # noqa: F401  for `open`

        self._types()

    def problem(self) -> str:
        """Return the reason why no recording can be written now, or an empty string."""
        folder = self.folder
        try:
            # On a disk that does not accept writes, `mkdir` waits even if the folder exists.
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
            free_mb = shutil.disk_usage(folder).free * 1e-6
        except OSError as error:
            return f"{folder}: cannot be written ({error.strerror}); set flight.folder"
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            return (
                f"{folder}: expected a folder that this user may write to, found "
                "one that belongs to another user; set flight.folder"
            )
        if free_mb < self._min_free_mb:
            return (
                f"{folder}: expected {self._min_free_mb:g} MB of free space, found "
                f"{free_mb:.0f} MB; move recordings elsewhere, or set flight.folder or "
                "flight.min_free_mb"
            )
        return ""

    def place(self, cause: str) -> Path:
        """Return the path for a recording that begins now; `cause` is a word in the name.

        The disk is not accessed: if the path already exists, a number is appended when the
        recording ends.
        """
        name = recording_name(self._flight.bundle.contract.name, cause)
        names = (name if i == 1 else f"{name}-{i}" for i in count(1))
        place = next(place for each in names if (place := self.folder / each) not in self._promised)
        self._promised.add(place)
        return place

    def open(self, place: Path, reason: str) -> Recording:
        """Begin a recording.

        Args:
            place: Final path of the recording.
            reason: Reason for the recording, in words.
        """
        from policy_inference.flight.recording import Recording

        return Recording(place, self._types(), self._flight, reason)


News = deque[tuple[bool, str]]
"""Log lines, each with a flag that is True for warnings."""
_LOOK_S = 0.05
"""Interval at which the writer thread checks the ring while a recording is due."""
_EXAMINE_S = 2.0
"""Interval at which the idle writer thread checks the folder."""
_STILL_S = 2.0
"""Time without a tick, on the steady clock, after which the thread stops waiting for ticks."""
_SILENT_S = 3.0
"""Time after which a disk operation that has not finished is reported."""
_SET_ASIDE = 2
"""Maximum number of copied recordings waiting for the disk; each uses as much memory as a ring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Reason for writing ticks from the ring.

    Attributes:
        word: Short form for the name of the recording.
        text: Description.
        first, end: Range of tick numbers; if `end` is None, the range extends to the newest tick
            when the recording is due.
        at, due: Number of the tick in which the cause occurred, and of the tick in which the
            recording is due.
        place: Promised path, if any.
        latched: True if the cause ended the motion.
    """

    word: str
    text: str
    first: int
    end: int | None = None
    at: int = 0
    due: int = 0
    place: Path | None = None
    latched: bool = False


class Copied(NamedTuple):
    """Ticks that wait for the disk, and the number of ticks overwritten before being copied."""

    cause: Cause
    ticks: list[FlightTick]
    lost: int


class RecordingWriter:
    """Writes recordings of a ring's ticks.

    `work` runs on the writer's own thread, which alone accesses the disk and may hang there. All
    other methods may be called from any thread, and never wait. Each writer thread has its own
    writer, so a hung thread does not affect the next one. A fault's recording has priority over
    a requested one.

    Attributes:
        failed: Reason why the last recording failed; empty if it succeeded.
        obstacle: Obstacle to the next recording, found in the last folder check; may be empty.
        last: The last recording written.
        dropped: Ticks that were overwritten in the ring before they could be copied.
        recording_run: True while a whole run is being recorded.
        requested: Path of the requested recording being written, or None.
        run: Path of the run being recorded, until it is complete, or None.
    """

    def __init__(self, ring: Ring, folder: RecordingFolder, news: News) -> None:
        self._ring, self._folder, self._news = ring, folder, news
        self.last: Path | None = None
        self.failed, self.obstacle, self.dropped, self.recording_run = "", "", 0, False
        self.requested: Path | None = None
        self.run: Path | None = None
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._faults = deque[Cause]()
        self._request: Cause | None = None
        self._pending: Cause | None = None
        self._copied = deque[Copied]()
        self._run: Recording | None = None
        self._run_text, self._run_next, self._run_lost = "", 0, 0
        self._newest, self._came_s = -1, 0.0
        self._busy_since_s: float | None = None

    def put(self, cause: Cause) -> None:
        self._faults.append(cause)
        self._orders.put(_nothing)

    def request(self, cause: Cause, place: Path) -> None:
        self.requested = place

        def take() -> None:
            self._request = dataclasses.replace(cause, place=place)

        self._orders.put(take)

    def begin_run(self, place: Path, text: str, first: int) -> None:
        self.recording_run, self.run = True, place
        self._orders.put(lambda: self._open_run(place, text, first))

    def end_run(self) -> None:
        self.recording_run = False
        self._orders.put(self._close_run)

    def end(self) -> None:
        self._orders.put(None)

    def fail(self, text: str) -> None:
        self.failed = f"flight recorder: {text}"
        self._news.append((True, self.failed))

    @property
    def hangs(self) -> str:
        """Message saying that the disk does not respond; "" if it does."""
        since_s = self._busy_since_s
        if since_s is None or time.monotonic() - since_s < _SILENT_S:
            return ""
        return (
            f"flight recorder: {self._folder.folder}: no answer from the disk for more than "
            f"{_SILENT_S:g} s; nothing can be recorded"
        )

    def work(self) -> None:
        order: Callable[[], None] | None = self._examine
        while order is not None:
            self._safely(order)
            self._safely(self._look)
            order = self._next()
        for _ in range(_SET_ASIDE + 1):
            self._safely(self._copy_pending)
            self._safely(self._write_copied)
        self._safely(self._write_request)
        self._safely(self._close_run)
        self.recording_run, self.run = False, None

    def _next(self) -> Callable[[], None] | None:
        """Return the next task, requested or due; None if there is none."""
        at_work = self._pending or self._copied or self._run
        rest_s = 0.0 if self._request else _LOOK_S if at_work else _EXAMINE_S
        try:
            return self._orders.get(timeout=rest_s)
        except queue.Empty:
            if self._request:
                return self._write_request
            return _nothing if at_work else self._examine

    def _safely(self, act: Callable[[], None]) -> None:
        """Call a function; report its errors and continue, since the next recording may succeed."""
        self._busy_since_s = time.monotonic()
        try:
            act()
        except OSError as error:
            self.fail(f"{self._folder.folder}: {error.strerror}")
        except Exception as error:  # noqa: BLE001  it would go unreported
            self.fail(f"{type(error).__name__}: {error}")
        finally:
            self._busy_since_s = None

    def _examine(self) -> None:
        before, problem = self.obstacle, self._folder.problem()
        self.obstacle = problem and f"flight recorder: {problem}"
        if problem and not before:
            self._news.append((True, self.obstacle))

    def _look(self) -> None:
        self._notice()
        while self._copied:
            self._write_copied()
        self._continue_run()

    def _notice(self) -> None:
        """Copy everything that is due, in memory, so that a slow disk does not stop the ring."""
        while self._faults:
            self._take(self._faults.popleft())
        newest, cause = self._ring.newest(), self._pending
        if cause is None:
            return
        if newest is not None and newest.number != self._newest:
            self._newest, self._came_s = newest.number, time.monotonic()
        stands_still = time.monotonic() - self._came_s > _STILL_S
        if stands_still or (newest is not None and newest.number >= cause.due):
            self._copy_pending()

    def _take(self, cause: Cause) -> None:
        before = self._pending
        # While too many copies wait, one recording covers all causes that follow.
        if before is not None and (before.due >= cause.at or len(self._copied) >= _SET_ASIDE):
            # A fault's consequences are part of its recording, which is named after what ended the
            # motion.
            main = cause if cause.latched and not before.latched else before
            self._pending = dataclasses.replace(main, text=f"{before.text}; {cause.text}")
            return
        self._copy_pending()
        self._pending, self._came_s = cause, time.monotonic()

    def _copy_pending(self) -> None:
        cause = self._pending
        if cause is not None and len(self._copied) < _SET_ASIDE:
            self._pending = None
            self._copied.append(self._copy(cause))

    def _copy(self, cause: Cause) -> Copied:
        end = self._ring.end if cause.end is None else cause.end
        return Copied(cause, *self._ring.copies(cause.first, end))

    def _write_copied(self) -> None:
        if self._copied:
            self._write(self._copied.popleft())

    def _write_request(self) -> None:
        cause, self._request = self._request, None
        if cause is None:
            return
        try:
            self._write(self._copy(cause))
        finally:
            self.requested = None

    def _write(self, copied: Copied) -> None:
        cause, ticks, lost = copied
        if problem := self._folder.problem():
            self.fail(f"{problem}; not recorded: {cause.text}")
            return
        place = cause.place or self._folder.place(cause.word)
        with self._folder.open(place, cause.text) as recording:
            recording.add(self._attended(ticks))
        self._written(recording, lost, cause.text)

    def _attended(self, ticks: Iterable[FlightTick]) -> Iterator[FlightTick]:
        """Write ticks to disk; meanwhile, copy anything that becomes due."""
        for tick in ticks:
            yield tick
            self._busy_since_s = time.monotonic()
            self._notice()

    def _written(self, recording: Recording, lost: int, text: str) -> None:
        self.last, self.failed, self.dropped = recording.place, "", self.dropped + lost
        missing = f", {lost} lost" if lost else ""
        self._news.append(
            (bool(lost), f"{recording.ticks} ticks recorded{missing}: {recording.place} ({text})")
        )

    def _open_run(self, place: Path, text: str, first: int) -> None:
        self._run_text, self._run_next, self._run_lost = text, first, 0
        try:
            if problem := self._folder.problem():
                self.fail(f"{problem}; not recorded: {text}")
                return
            self._run = self._folder.open(place, text)
        finally:
            if self._run is None:
                self.recording_run, self.run = False, None
        self._continue_run()

    def _continue_run(self) -> None:
        if self._run is None:
            return
        end = self._ring.end
        ticks, lost = self._ring.copies(self._run_next, end)
        self._run_next, self._run_lost = end, self._run_lost + lost
        problem = self._folder.problem()
        if problem:
            self._finish_run()
            self.fail(f"{problem}; the recording of a run ends here: {self.last}")
            return
        try:
            self._run.add(self._attended(ticks))
        except BaseException:
            self._run.discard()
            self._run, self.recording_run, self.run = None, False, None
            raise

    def _close_run(self) -> None:
        self._continue_run()
        self._finish_run()

    def _finish_run(self) -> None:
        recording, self._run = self._run, None
        if recording is None:
            return
        self.recording_run = False
        try:
            recording.finish()
        finally:
            self.run = None
        self._written(recording, self._run_lost, self._run_text)


def _nothing() -> None:
    """Do nothing; as a task, this only wakes the thread."""


_SPARE_S = 2.0
"""Spare time in the ring for new ticks while older ones are copied."""
_STATE_EVERY_S = 5.0
"""Interval between saved states; a recording begins at one, so it may be this much longer."""
_NEWS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FlightOptions:
    """Contents and location of recordings.

    Attributes:
        duration_s: Recorded time before the cause.
        after_s: Recorded time after a fault.
        folder: Folder for the recordings.
        min_free_mb: Minimum free space for a recording, MB.
    """

    duration_s: float = 20.0
    after_s: float = 1.0
    folder: Path
    min_free_mb: float = 500.0


class FlightRecorder:
    """Keeps the last ticks; writes them when a guard rule trips, and on request.

    Call `observe` and `watch` on the control thread, and all other methods on a different thread.
    From `start` to `stop`, only the recorder's own thread accesses the disk, so no other thread can
    hang there.

    Attributes:
        ring: The last ticks.
        writer: Writes recordings since the last `start`.
        news: Log lines, each with a flag that is True for warnings; oldest first, to be popped from
            the left.
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
        """Create the ring, and connect it to the policy's tap.

        Args:
            tick: The controller's tick.
            tap: Tap on the policy.
            flight: Description of the ticks.
            types: Returns the result of `message_types`, always the same object; see `load`.
            options: Contents and location of recordings.
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
        """Reason why the last recording failed, or the next one will fail; may be empty."""
        return self.writer.hangs or self.writer.failed or self.writer.obstacle

    def load(self) -> None:
        """Import the modules that write recordings; call before `start` if ticks are running."""
        self._folder.load()

    def start(self) -> None:
        """Start with an empty ring; call on each activation, before the first tick."""
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
        """Store the controller's adopted state, as a start for recordings; call between ticks."""
        self.ring.keep_state()

    def stop(self, timeout_s: float = 3.0) -> None:
        """Write pending recordings within a time limit; call after the last tick."""
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
        """True if the thread is hung in disk access and could not be stopped."""
        return self._ending is not None and self._ending.is_alive()

    def observe(self, wire: Wire, shadow: tuple[ShadowAnswer, ...] = ()) -> None:
        left_out = self.ring.messages_left_out
        self.ring.record(self._tick, wire, shadow)
        if not left_out and self.ring.messages_left_out:
            self.news.append(
                (
                    True,
                    f"flight recorder: expected at most {MAX_WIRE_BYTES} bytes of messages "
                    "per tick, found more; messages that do not fit are dropped",
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
        # Due by tick number rather than by time, since simulated time may restart.
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
        """Request a recording of the ring; return its future path.

        Args:
            who: Words that follow "requested" in the log.
        """
        self._require_work()
        _require_none(self.writer.requested)
        place = self._folder.place("request")
        self.writer.request(
            Cause(word="request", text=f"requested {who}", first=self._first(), end=self.ring.end),
            place,
        )
        return place

    def begin_run(self, who: str = "by hand") -> Path:
        """Record everything from now on, starting with the current ring; return the future path.

        Args:
            who: Words that follow "requested" in the log.
        """
        self._require_work()
        if self.writer.recording_run:
            raise RefusedError(
                f"a run is already being recorded ({self.writer.run}); stop that recording first"
            )
        _require_none(self.writer.run)
        place = self._folder.place("run")
        self.writer.begin_run(place, f"a whole run, requested {who}", self._first())
        return place

    def end_run(self) -> Path:
        place = self.writer.run
        if self._thread is None or not self.writer.recording_run or place is None:
            raise RefusedError("no run is being recorded")
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
    """Raise RefusedError while a requested recording is being written; requests are not queued."""
    if place is not None:
        raise RefusedError(
            f"{place} is being written already; request another recording when it is finished"
        )
