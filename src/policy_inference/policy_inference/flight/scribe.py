# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The thread of the flight recorder: it waits for causes and writes recordings."""

from __future__ import annotations

import dataclasses
import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from policy_inference.flight.recording import Recording
from policy_inference.flight.ring import Ring
from policy_inference.flight.shelf import Shelf

News = deque[tuple[bool, str]]
"""Lines for a log, and whether they are errors."""
_LOOK_S = 0.05
"""How often the thread looks at the ring while something is due; at rest it sleeps."""
_STILL_S = 2.0
"""So long without a tick, on the steady clock, none is waited for any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why ticks of the ring are to be written.

    Attributes:
        word: For the name of the recording.
        text: For a person.
        first, end: Numbers of its ticks; `end` None: up to the newest when it is due.
        at, due: Numbers of the tick at which it came, and of that at which it is due; `due` None:
            at once.
        place: Where it will be, if that was promised.
    """

    word: str
    text: str
    first: int
    end: int | None = None
    at: int = 0
    due: int | None = None
    place: Path | None = None


class Scribe:
    """Writes recordings of a ring's ticks.

    `work` is the thread's; the others may be called from any thread and wait for nothing. Each
    thread has a scribe of its own: one that hangs in the disk must not meet the next.

    Attributes:
        problem: Why the last recording was not written; empty where it was.
        last: The last recording that was written.
        dropped: Ticks that were overwritten in the ring before they could be copied.
        recording_run: Whether a whole run is being recorded.
    """

    def __init__(self, ring: Ring, shelf: Shelf, news: News) -> None:
        """Tie the parts together; `news` takes what is worth a line in a log."""
        self._ring, self._shelf, self._news = ring, shelf, news
        self.last: Path | None = None
        self.problem, self.dropped, self.recording_run = "", 0, False
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._pending: Cause | None = None
        self._run: Recording | None = None
        self._run_text, self._run_next, self._run_lost = "", 0, 0
        self._newest, self._came_s = -1, 0.0

    def put(self, cause: Cause) -> None:
        """Have ticks written."""
        self._orders.put(lambda: self._take(cause))

    def begin_run(self, place: Path, text: str, first: int) -> None:
        """Have all ticks from `first` on written, as they come."""
        self.recording_run = True
        self._orders.put(lambda: self._open_run(place, text, first))

    def end_run(self) -> None:
        """End that."""
        self.recording_run = False
        self._orders.put(self._close_run)

    def end(self) -> None:
        """Have what is due written, and the thread end."""
        self._orders.put(None)

    def fail(self, text: str) -> None:
        """Note what went wrong."""
        self.problem = f"flight recorder: {text}"
        self._news.append((True, self.problem))

    def examine(self) -> None:
        """Find out whether a recording could be written now."""
        problem = self._shelf.problem()
        self.problem = problem and f"flight recorder: {problem}"

    def work(self) -> None:
        """Do what is ordered until the end is."""
        self.examine()
        while (order := self._next()) is not None:
            self._safely(order)
        self._safely(self._write_pending)
        self._safely(self._close_run)
        self.recording_run = False

    def _next(self) -> Callable[[], None] | None:
        """Return the next order; do meanwhile what time brings."""
        while True:
            at_work = self._pending is not None or self._run is not None
            try:
                return self._orders.get(timeout=_LOOK_S if at_work else None)
            except queue.Empty:
                self._safely(self._look)

    def _safely(self, act: Callable[[], None]) -> None:
        """Say what goes wrong: the next recording may succeed."""
        try:
            act()
        except OSError as error:
            self.fail(f"{self._shelf.folder}: {error.strerror}")
        except Exception as error:  # noqa: BLE001  nobody else would hear of it
            self.fail(f"{type(error).__name__}: {error}")

    def _take(self, cause: Cause) -> None:
        if cause.due is None:
            self._write(cause)
            return
        before = self._pending
        if before is not None and before.due is not None and before.due >= cause.at:
            # What follows from a fault is part of its recording.
            self._pending = dataclasses.replace(before, text=f"{before.text}; {cause.text}")
            return
        self._write_pending()
        self._pending, self._came_s = cause, time.monotonic()

    def _look(self) -> None:
        if self._run is not None:
            self._continue_run()
        newest, cause = self._ring.newest(), self._pending
        if cause is None:
            return
        if newest is not None and newest.number != self._newest:
            self._newest, self._came_s = newest.number, time.monotonic()
        stands_still = time.monotonic() - self._came_s > _STILL_S
        came = newest is not None and cause.due is not None and newest.number >= cause.due
        if stands_still or came:
            self._write_pending()

    def _write_pending(self) -> None:
        cause, self._pending = self._pending, None
        if cause is not None:
            self._write(cause)

    def _write(self, cause: Cause) -> None:
        end = self._ring.end if cause.end is None else cause.end
        ticks, lost = self._ring.copies(cause.first, end)
        if problem := self._shelf.problem():
            self.fail(f"{problem}; not recorded: {cause.text}")
            return
        place = cause.place or self._shelf.place(cause.word)
        with self._shelf.open(place, cause.text) as recording:
            recording.add(ticks)
        self._written(recording, lost, cause.text)

    def _written(self, recording: Recording, lost: int, text: str) -> None:
        self.last, self.problem, self.dropped = recording.place, "", self.dropped + lost
        missing = f", {lost} were lost" if lost else ""
        self._news.append((bool(lost), f"{recording.ticks} ticks recorded{missing}: "
                           f"{recording.place} ({text})"))

    def _open_run(self, place: Path, text: str, first: int) -> None:
        self._run_text, self._run_next, self._run_lost = text, first, 0
        if problem := self._shelf.problem():
            self.recording_run = False
            self.fail(f"{problem}; not recorded: {text}")
            return
        self._run = self._shelf.open(place, text)
        self._continue_run()

    def _continue_run(self) -> None:
        """Write what has come since the last time."""
        if self._run is None:
            return
        end = self._ring.end
        ticks, lost = self._ring.copies(self._run_next, end)
        self._run_next, self._run_lost = end, self._run_lost + lost
        problem = self._shelf.problem()
        if problem:
            self._finish_run()
            self.fail(f"{problem}; the recording of a run ends here: {self.last}")
            return
        try:
            self._run.add(ticks)
        except BaseException:
            self._run.discard()
            self._run, self.recording_run = None, False
            raise

    def _close_run(self) -> None:
        self._continue_run()
        self._finish_run()

    def _finish_run(self) -> None:
        recording, self._run, self.recording_run = self._run, None, False
        if recording is not None:
            recording.finish()
            self._written(recording, self._run_lost, self._run_text)
