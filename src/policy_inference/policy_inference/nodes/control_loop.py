# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The control thread, which never ends without a fault command, and work between its ticks."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from policy_core.control.controller import RESTART, TICK_HANGS
from policy_core.errors import PolicyError, RefusedError
from policy_inference.kinds.cores import PYTHON
from policy_inference.nodes.pacing import DueTick, Pacer

_TICK_WITHIN_S = 0.5
_AFTER_FAILURE_S = 0.02
"""Prevents an immediate, repeated failure from using a whole core."""
_LATENESS_KEPT_NS = 2_000_000_000
_FULL_COLLECTION_CALLS = 300
_uncollected = set["ControlLoop"]()
"""Running loops: while there is one, the interpreter does not collect garbage by itself."""


class Loop:
    """Common parts of the loops in Python and C++: lateness, waiting for a tick."""

    def __init__(self) -> None:
        self._stop, self._ticked = threading.Event(), threading.Event()
        self._ended_ns = self._worst_late_ns = self._worst_ns = 0

    @property
    def late_s(self) -> float:
        """Return the largest recent delay of a tick's start, s, minus the previous tick's duration.

        This is the time for which the machine kept the control thread waiting.
        """
        return self._worst_late_ns * 1e-9

    def await_tick(self, timeout_s: float) -> bool:
        """Wait for the end of the next tick, or of the loop; return true if a tick ended."""
        self._ticked.clear()
        return self._stop.is_set() or self._ticked.wait(timeout_s)

    def _begin(self) -> None:
        self._stop.clear()
        self._worst_late_ns = self._worst_ns = 0
        self._ended_ns = time.monotonic_ns()

    def _note_lateness(self, now_ns: int, late_ns: int) -> None:
        late_ns = min(late_ns, max(0, now_ns - self._ended_ns))
        if late_ns >= self._worst_late_ns or now_ns - self._worst_ns > _LATENESS_KEPT_NS:
            self._worst_late_ns, self._worst_ns = late_ns, now_ns


class ControlLoop(Loop):
    """Runs `tick` whenever the pacer requires it, on its own thread."""

    name = PYTHON
    """Name in `realtime.loop`."""

    def __init__(
        self, pacer: Pacer, tick: Callable[[DueTick], None], failed: Callable[[BaseException], None]
    ) -> None:
        """Create a stopped loop.

        Args:
            pacer: Decides when to tick.
            tick: Function of a tick.
            failed: Called on the control thread with an error of `pacer` or `tick`; must not raise.
        """
        super().__init__()
        self._pacer, self._tick, self._failed = pacer, tick, failed
        self._thread: threading.Thread | None = None
        # The outermost of three locks, see "Locks" in docs/architecture.md.
        self._at_work = threading.RLock()
        self.ticks = self.missed = 0

    def start(self) -> None:
        """Start ticking, and counting: ticks, and deadlines at which no tick could start."""
        if self._thread is not None and self._thread.is_alive():
            raise PolicyError(RESTART)
        self.ticks = self.missed = 0
        self._begin()
        self._pacer.start()
        # Present objects live as long as the node, so the collector need not scan them. Later ones
        # are collected between ticks.
        gc.collect()
        gc.freeze()
        gc.disable()
        _uncollected.add(self)
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> bool:
        """Stop ticking; return False if a tick hangs, so that its thread cannot be stopped."""
        self._stop.set()
        self._ticked.set()  # for a waiter on a tick that will not come
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        _uncollected.discard(self)
        if not _uncollected:
            gc.enable()
            gc.unfreeze()
        return not self._thread.is_alive()

    @contextmanager
    def between_ticks(self) -> Iterator[None]:
        """Delay the next tick, for microseconds."""
        if not self._at_work.acquire(timeout=_TICK_WITHIN_S):
            raise RefusedError(TICK_HANGS)
        try:
            yield
        finally:
            self._at_work.release()

    exchanging = between_ticks
    """Delay the next tick while another policy takes over."""

    def silent_s(self) -> float:
        """Return the time since the last tick on the steady clock, s.

        It grows when simulated time stands still, or when a tick hangs.
        """
        return (time.monotonic_ns() - self._ended_ns) * 1e-9

    @property
    def thread_id(self) -> int:
        """Kernel id of the control thread, once it was started."""
        return (self._thread and self._thread.native_id) or 0

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._run_once()
            except BaseException as error:  # noqa: BLE001  # after any error the robot must be safe
                with self._at_work:
                    self._failed(error)
                self._stop.wait(_AFTER_FAILURE_S)

    def _run_once(self) -> None:
        tick = self._pacer.wait()
        if tick is not None:
            self.ticks += not tick.repeated
            self.missed += tick.missed
            self._note_lateness(tick.now_ns, tick.late_ns)
            with self._at_work:
                self._tick(tick)
            self._ended_ns = time.monotonic_ns()
            self._ticked.set()


class BetweenTicks:
    """Works and collects garbage at a rate, each time right after a tick, on its own thread.

    A working Python thread holds the GIL against the control thread. A timer with a period of
    several ticks that fires just before a tick would do so repeatedly.
    """

    def __init__(
        self, loop: Loop, tick_s: float, period_s: float, work: Callable[[], None]
    ) -> None:
        """Create it, stopped.

        Args:
            loop: The loop with the ticks.
            tick_s: Time between two ticks.
            period_s: Time between two calls of `work`, on the steady clock. If no tick ends for
                this long, `work` is called anyway.
            work: Function to call; must not raise.
        """
        self._loop, self._work = loop, work
        self._tick_s, self._period_s = tick_s, period_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._serve, name="between ticks", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> bool:
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        # Half-way between two ticks: even waking up takes the GIL.
        wait_s, calls = self._period_s - self._tick_s / 2.0, count(1)
        while not self._stop.wait(max(0.0, wait_s)):
            ticked = self._loop.await_tick(self._period_s)
            ended_s = time.monotonic()
            if self._stop.is_set():
                return
            self._work()
            # All generations now and then: that takes 1 ms, during which no other thread runs.
            gc.collect(2 if next(calls) % _FULL_COLLECTION_CALLS == 0 else 1)
            wait_s = ended_s - time.monotonic()
            if ticked:
                wait_s += self._period_s - self._tick_s / 2.0
