# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The control thread: wait for a tick, run it, and never die without a fault command."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from policy_inference.errors import PolicyError, RefusedError
from policy_inference.nodes.pacing import Pacer, Tick

_TICK_WITHIN_S = 0.5
_AFTER_FAILURE_S = 0.02
"""Keeps a failure that comes at once, again and again, from taking a whole core."""


class ControlLoop:
    """Runs `tick` whenever the pacer says so, on a thread of its own."""

    def __init__(
        self, pacer: Pacer, tick: Callable[[Tick], None], failed: Callable[[BaseException], None]
    ) -> None:
        """Prepare.

        Args:
            pacer: Says when to tick.
            tick: What to do.
            failed: Called on the control thread with what `pacer` or `tick` raised; raises
                nothing itself.
        """
        self._pacer, self._tick, self._failed = pacer, tick, failed
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._at_work = threading.Lock()
        self.ticks = 0
        self.missed = 0
        self._ticked_ns = 0

    def start(self) -> None:
        """Start ticking, and counting.

        Raises:
            PolicyError: A tick from before the last `stop` still hangs.
        """
        if self._thread is not None and self._thread.is_alive():
            raise PolicyError("a tick still hangs in the backend; start the process anew")
        self.ticks = self.missed = 0
        self._ticked_ns = time.monotonic_ns()
        self._stop.clear()
        self._pacer.start()
        # What exists now lives as long as the node: the collector need not walk through it.
        gc.collect()
        gc.freeze()
        self._thread = threading.Thread(target=self._loop, name="control", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> bool:
        """Stop ticking; return False where a tick hangs, so that its thread cannot be ended."""
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        gc.unfreeze()
        return not self._thread.is_alive()

    @contextmanager
    def between_ticks(self) -> Iterator[None]:
        """Keep the next tick waiting, for microseconds.

        Raises:
            RefusedError: A tick hangs.
        """
        if not self._at_work.acquire(timeout=_TICK_WITHIN_S):
            raise RefusedError("a tick has not returned; the backend hangs")
        try:
            yield
        finally:
            self._at_work.release()

    def silent_s(self) -> float:
        """Return the time since the last tick on the steady clock, s.

        Long where simulated time stands still, or where a tick hangs.
        """
        return (time.monotonic_ns() - self._ticked_ns) * 1e-9

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self._run_once()
            except BaseException as error:  # noqa: BLE001  whatever it is, the robot must be told
                with self._at_work:
                    self._failed(error)
                self._stop.wait(_AFTER_FAILURE_S)

    def _run_once(self) -> None:
        tick = self._pacer.wait()
        if tick is not None:
            self.ticks += not tick.repeated
            self.missed += tick.missed
            with self._at_work:
                self._tick(tick)
            self._ticked_ns = time.monotonic_ns()
