# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Queues that select the chunk step for each tick; one class per mode.

Ticks are numbered, so each chunk step belongs to one tick, regardless of jitter.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from policy_core.control_state import Stateful
from policy_core.interfaces import F64


class ChunkQueue(Stateful, ABC):
    """Queue of chunk steps, which returns one target [actions] per tick.

    Attributes:
        kind: Mode in `ChunkSettings`.
        memory: Number of ticks after a new chunk during which targets depend on earlier chunks.
    """

    kind: ClassVar[str]
    memory = 0

    @abstractmethod
    def reset(self) -> None:
        """Discard all chunks."""

    @abstractmethod
    def add(self, chunk: F64, first_tick: int, now_tick: int, last_target: F64) -> None:
        """Add a new chunk.

        Args:
            chunk: Targets [steps, actions], finite; the queue takes ownership.
            first_tick: Tick of the chunk's first step, at most `now_tick`.
            now_tick: The next tick to execute.
            last_target: The last command [actions].
        """

    @abstractmethod
    def wants_chunk(self, tick: int) -> bool:
        """Return True if inference should begin in this tick."""

    @abstractmethod
    def target(self, tick: int) -> F64 | None:
        """Return the target for a tick [actions], rad; None if no chunk has a step for it."""

    def advance(self, tick: int) -> None:  # targets are selected by tick
        """Mark this tick's target as executed."""

    @abstractmethod
    def left(self, tick: int) -> int:
        """Return the number of ticks, from this one on, that have targets."""


class SynchronousQueue(ChunkQueue):
    """Executes the first steps of a chunk one by one, then requests the next chunk.

    Equivalent to `select_action` in LeRobot's ACTPolicy with `n_action_steps`. The next chunk is
    requested only when no step is left, so no step is executed while that chunk is computed.
    """

    STATE = ("_queue",)
    PLAN = ("kind", "_steps")
    kind = "synchronous"

    def __init__(self, steps: int) -> None:
        """Prepare an empty queue that executes `steps` steps of each chunk."""
        self._steps = steps
        self._queue = deque[F64]()

    def reset(self) -> None:
        """Discard all chunks."""
        self._queue.clear()

    def add(self, chunk: F64, first_tick: int, now_tick: int, last_target: F64) -> None:
        """Add the chunk's first steps to the queue, no matter when the chunk arrives."""
        self._queue.extend(chunk[: self._steps])

    def wants_chunk(self, tick: int) -> bool:
        """Return True if the queue is empty."""
        return not self._queue

    def target(self, tick: int) -> F64 | None:
        """Return the next step, regardless of the tick; None if the queue is empty."""
        return self._queue[0] if self._queue else None

    def advance(self, tick: int) -> None:
        """Drop the step that was executed."""
        self._queue.popleft()

    def left(self, tick: int) -> int:
        """Return the number of queued steps."""
        return len(self._queue)


class _Plan(ChunkQueue):
    """Plan of targets for consecutive ticks; requests the next chunk before the targets run out."""

    STATE = ("_plan", "_first_tick")
    PLAN: ClassVar[tuple[str, ...]] = ("kind", "_steps", "_refill_below")

    def __init__(self, steps: int, refill_threshold: float) -> None:
        """Prepare an empty queue.

        Args:
            steps: Number of a chunk's steps that may be executed.
            refill_threshold: Share of these steps below which the next chunk is requested.
        """
        self._steps, self._refill_below = steps, float(refill_threshold * steps)
        self.reset()

    def reset(self) -> None:
        """Discard all chunks."""
        self._plan: F64 | None = None
        self._first_tick = 0

    def wants_chunk(self, tick: int) -> bool:
        """Return True if no step is left, or if the share of steps left is below the threshold."""
        left = self.left(tick)
        return left == 0 or left < self._refill_below

    def target(self, tick: int) -> F64 | None:
        """Return the planned step for a tick; None if the plan has ended."""
        if self._plan is None or not self.left(tick):
            return None
        target: F64 = self._plan[max(0, tick - self._first_tick)]
        return target


class AsynchronousQueue(_Plan):
    """Executes the newest chunk, and requests the next one while steps remain.

    When a chunk arrives, the steps whose ticks have passed are dropped. Over the next `fade` ticks,
    the plan changes linearly to the new targets; grippers change immediately, since a half-open
    gripper is useless.
    """

    PLAN = (*_Plan.PLAN, "_shares", "_grippers", "_realign")
    kind = "asynchronous"

    def __init__(
        self,
        steps: int,
        refill_threshold: float,
        fade: int,
        grippers: Sequence[int],
        *,
        realign: bool = False,
    ) -> None:
        """Prepare an empty queue.

        Args:
            steps: Number of a chunk's steps that may be executed.
            refill_threshold: Share of these steps below which the next chunk is requested.
            fade: Length of a fade in ticks.
            grippers: Columns of a chunk that are neither faded nor shifted.
            realign: True to offset a chunk so that its first target equals the last target.
        """
        super().__init__(steps, refill_threshold)
        # Shares of the new chunk during the fade; after it, the share is 1.
        self._shares = np.arange(1, fade + 1, dtype=np.float64)[:, np.newaxis] / (fade + 1)
        self._grippers, self._realign = list(grippers), realign
        self.memory = fade

    def add(self, chunk: F64, first_tick: int, now_tick: int, last_target: F64) -> None:
        """Replace the plan with the chunk's steps from this tick on, if any remain."""
        new = chunk[max(0, now_tick - first_tick) : self._steps].copy()
        if len(new) == 0:
            return
        grippers = new[:, self._grippers]
        if self._realign:
            new += last_target - new[0]
        if self._plan is not None:
            shares = self._shares[: len(new)]
            ticks = now_tick - self._first_tick + np.arange(len(shares))
            # After the end of the old plan, its last target is held.
            old = self._plan.take(ticks, axis=0, mode="clip")
            new[: len(shares)] *= shares
            new[: len(shares)] += (1.0 - shares) * old
        new[:, self._grippers] = grippers
        self._plan, self._first_tick = new, now_tick

    def left(self, tick: int) -> int:
        """Return the number of planned steps from this tick on."""
        end = self._first_tick + len(self._plan) if self._plan is not None else tick
        return max(0, end - tick)


class RealTimeQueue(_Plan):
    """Executes the newest chunk without a fade, since it continues the previous chunk.

    The plan keeps executed steps, from the chunk's first step on, because the observation for the
    next chunk may be older than the tick that requests that chunk.
    """

    kind = "rtc"

    def add(self, chunk: F64, first_tick: int, now_tick: int, last_target: F64) -> None:
        """Replace the plan with the chunk from this tick on, unless all steps have passed."""
        passed = max(0, now_tick - first_tick)
        if passed >= self._steps:
            return
        executed = self.planned(first_tick)
        plan = chunk.copy()
        if executed is not None:
            executed = executed[:passed]
            plan[: len(executed)] = executed
        self._plan, self._first_tick = plan, first_tick

    def left(self, tick: int) -> int:
        """Return the number of planned steps that may be executed from this tick on."""
        return 0 if self._plan is None else max(0, self._first_tick + self._steps - tick)

    def planned(self, first_tick: int) -> F64 | None:
        """Return the planned targets from a tick to the end of the chunk [steps, actions], or None.

        For ticks before the chunk, its first target is used; the result is never longer than a
        chunk. Returns None if there is no chunk or the chunk ends before the tick.
        """
        if self._plan is None:
            return None
        size, start = len(self._plan), first_tick - self._first_tick
        ticks = np.arange(start, min(size, start + size))
        return self._plan.take(ticks, axis=0, mode="clip") if len(ticks) else None


class EnsembleQueue(ChunkQueue):
    """Executes the weighted mean of all chunks' targets for each tick; requests a chunk every tick.

    The weights are exp(-coefficient i), with i = 0 for the oldest chunk: temporal ensembling,
    section IV of the ACT paper (Zhao et al. 2023, arXiv 2304.13705).
    """

    STATE = ("_chunks",)
    PLAN = ("kind", "_weights", "_oldest_first")
    kind = "ensemble"

    def __init__(self, size: int, coefficient: float) -> None:
        """Prepare an empty ensemble for chunks with `size` steps."""
        self.memory = size
        # Sorted from the largest weight, which is 1: none overflows, and their sum is never 0.
        self._weights: F64 = np.exp(-abs(coefficient) * np.arange(size, dtype=np.float64))
        self._oldest_first = coefficient >= 0.0
        self._chunks = deque[tuple[int, F64]](maxlen=size)

    def reset(self) -> None:
        """Discard all chunks."""
        self._chunks.clear()

    def add(self, chunk: F64, first_tick: int, now_tick: int, last_target: F64) -> None:
        """Add the chunk to the ensemble."""
        self._chunks.append((first_tick, chunk))

    def wants_chunk(self, tick: int) -> bool:
        return True

    def target(self, tick: int) -> F64 | None:
        """Return the weighted mean of all chunks' targets for a tick, or None."""
        said = [chunk[tick - first] for first, chunk in self._chunks if tick - first < len(chunk)]
        if not said:
            return None
        weights = self._weights[: len(said)]
        weights = weights if self._oldest_first else weights[::-1]
        # Sums in the order of the chunks, as in the native core.
        sums = np.cumsum(weights[:, np.newaxis] * said, axis=0)[-1]
        mean: F64 = sums / np.cumsum(weights)[-1]
        return mean

    def left(self, tick: int) -> int:
        """Return the number of ticks, from this one on, for which a chunk has a target."""
        return max((0, *(first + len(chunk) - tick for first, chunk in self._chunks)))


_EARLY = 0.25
"""Share of a period by which a tick may be early; the rest is the time by which it may be late."""


class TickCounter(Stateful):
    """Numbers the ticks by their times, even with jitter and skipped ticks.

    Ticks are often late but rarely early, so the earliest phase seen counts as the true phase.
    """

    STATE = ("_start_ns",)

    def __init__(self, period_ns: int) -> None:
        """Start counting at the next call to `number`."""
        self._period_ns = period_ns
        self.reset()

    def reset(self) -> None:
        """Restart at 0 with the next call to `number`."""
        self._start_ns: int | None = None

    def pause(self, duration_ns: int) -> None:
        """Keep an interval without ticks from advancing the count."""
        if self._start_ns is not None:
            self._start_ns += duration_ns

    def number(self, now_ns: int) -> int:
        """Return the number of the tick at this time."""
        if self._start_ns is None:
            self._start_ns = now_ns
        elapsed_ns = now_ns - self._start_ns
        number = math.floor(elapsed_ns / self._period_ns + _EARLY)
        self._start_ns = min(self._start_ns, now_ns - number * self._period_ns)
        return number
