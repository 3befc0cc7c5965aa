# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Thread that runs a chunk policy's graphs in parallel with the ticks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.worker import (
    Clock,
    InlineWorker,
    Outcome,
    Request,
    Run,
    Worker,
    computed,
)

_OUTCOMES = 100
"""Maximum number of waiting outcomes, far more than arrive between two ticks."""


def make_worker(
    run: Run, clock: Callable[[], int], settings: ChunkSettings, *, inline: bool
) -> Worker:
    """Return a worker that computes a policy's chunks.

    Args:
        run: Computes the chunk of a request, e.g. `Inference.answer`.
        clock: Clock used for the ticks.
        settings: Settings for chunk execution.
        inline: True to run inference within the tick, for simulated time, and deliver the outcome
            after `settings.simulated_latency_s`; False to run inference on a thread.
    """
    if inline:
        return InlineWorker(run, round(settings.simulated_latency_s * 1e9))
    return ThreadWorker(run, clock)


class ThreadWorker:
    """Worker that computes on its own thread."""

    def __init__(self, run: Run, clock: Clock, name: str = "inference") -> None:
        """Start the thread.

        Args:
            run: Computes the chunk of a request; errors become outcomes.
            clock: Clock for outcome times.
            name: Thread name.
        """
        self._run, self._clock = run, clock
        self._changed = threading.Condition()
        self._pending: Request | None = None
        self._running = self._closed = False
        self._outcomes = deque[Outcome](maxlen=_OUTCOMES)
        # A runtime that never returns must not prevent the process from ending.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """True if a request is unanswered, or its answer has not been collected."""
        with self._changed:
            waits = self.alive and (self._running or self._pending is not None)
            return waits or bool(self._outcomes)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def ask(self, request: Request) -> None:
        with self._changed:
            self._pending = request
            self._changed.notify()

    def take(self, now_ns: int) -> Outcome | None:
        return self._outcomes.popleft() if self._outcomes else None

    def forget(self) -> None:
        with self._changed:
            self._pending = None

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop once the current run has returned, or after the time-out."""
        with self._changed:
            self._closed, self._pending = True, None
            self._outcomes.clear()
            self._changed.notify()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (request := self._next()) is not None:
            outcome = computed(self._run, request, self._clock)
            with self._changed:
                if not self._closed:
                    self._outcomes.append(outcome)
                self._running = False

    def _next(self) -> Request | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._pending is not None)
            request, self._pending = self._pending, None
            self._running = request is not None
        return request
