# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which step of which chunk is executed at a tick; one class for each way to do it.

Ticks are numbered, so that each step of a chunk belongs to one tick, whatever a tick's jitter.
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
    """Gives one target [actions] per tick.

    Attributes:
        kind: Its mode in `ChunkSettings`.
        memory: For how many ticks after a chunk came targets depend on chunks before it.
    """

    kind: ClassVar[str]
    memory = 0

    @abstractmethod
    def reset(self) -> None:
        """Forget all chunks."""

    @abstractmethod
    def add(self, chunk: F64, first_tick: int, now_tick: int, last_target: F64) -> None:
        """Take a new chunk.

        Args:
            chunk: Targets [steps, actions], finite, the queue's from now on.
            first_tick: Tick that its first step is meant for, at most `now_tick`.
            now_tick: The next one that is executed.
            last_target: What was commanded last [actions].
        """

    @abstractmethod
    def wants_chunk(self, tick: int) -> bool:
        """Return whether inference should begin at this tick."""

    @abstractmethod
    def target(self, tick: int) -> F64 | None:
        """Return what is meant for a tick, None where there is nothing."""

    def advance(self, tick: int) -> None:  # ticks pass by themselves
        """Note that the target of this tick was executed."""

    @abstractmethod
    def left(self, tick: int) -> int:
        """Return for how many ticks from this one on there are targets."""


class SynchronousQueue(ChunkQueue):
    """Executes the first steps of a chunk one by one, then asks for the next: LeRobot's way.

    As `select_action` of LeRobot's ACTPolicy with `n_action_steps`. The next chunk is asked for
    only when none is left, so nothing can be executed while it is computed.
    """

    STATE = ("_queue",)
    PLAN = ("kind", "_steps")
    kind = "synchronous"

    def __init__(self, steps: int) -> None:
        """Execute so many steps of each chunk."""
        self._steps = steps
        self._queue = deque[F64]()

    def reset(self) -> None:
        """Forget all chunks."""
        self._queue.clear()

    def add(self, chunk: F64, first_tick: int, now_tick: int, last_target: F64) -> None:
        """Take the chunk's first steps, whenever it comes."""
        self._queue.extend(chunk[: self._steps])

    def wants_chunk(self, tick: int) -> bool:
        """Return whether the queue is empty."""
        return not self._queue

    def target(self, tick: int) -> F64 | None:
        """Return the next step, whichever tick it is."""
        return self._queue[0] if self._queue else None

    def advance(self, tick: int) -> None:
        """Drop the step that was executed."""
        self._queue.popleft()

    def left(self, tick: int) -> int:
        """Return how many steps are queued."""
        return len(self._queue)


class _Plan(ChunkQueue):
    """Targets of ticks that follow one another; the next chunk is asked for before they end."""

    STATE = ("_plan", "_first_tick")
    PLAN: ClassVar[tuple[str, ...]] = ("kind", "_steps", "_refill_below")

    def __init__(self, steps: int, refill_threshold: float) -> None:
        """Prepare an empty queue.

        Args:
            steps: How many steps of a chunk may be executed.
            refill_threshold: Share of them below which the next chunk is asked for.
        """
        self._steps, self._refill_below = steps, float(refill_threshold * steps)
        self.reset()

    def reset(self) -> None:
        """Forget all chunks."""
        self._plan: F64 | None = None
        self._first_tick = 0

    def wants_chunk(self, tick: int) -> bool:
        """Return whether the share that is left is below the threshold."""
        left = self.left(tick)
        return left == 0 or left < self._refill_below

    def target(self, tick: int) -> F64 | None:
        """Return the step that is meant for a tick."""
        if self._plan is None or not self.left(tick):
            return None
        target: F64 = self._plan[max(0, tick - self._first_tick)]
        return target


class AsynchronousQueue(_Plan):
    """Executes the newest chunk, and asks for the next one while there are steps left.

    Of a chunk that comes, the steps whose ticks have passed are dropped. Over the next `fade`
    ticks its targets take the place of those that were planned until then, linearly; grippers
    change at once, since halfway between open and closed is nowhere.
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
            steps: How many steps of a chunk may be executed.
            refill_threshold: Share of them below which the next chunk is asked for.
            fade: Ticks of a fade.
            grippers: Columns of a chunk that neither fade nor are shifted.
            realign: Whether a chunk is shifted to begin at the last target.
        """
        super().__init__(steps, refill_threshold)
        # Of the new chunk; the one after these would be 1.
        self._shares = np.arange(1, fade + 1, dtype=np.float64)[:, np.newaxis] / (fade + 1)
        self._grippers, self._realign = list(grippers), realign
        self.memory = fade

    def add(self, chunk: F64, first_tick: int, now_tick: int, last_target: F64) -> None:
        """Plan the chunk's steps from this tick on; nothing changes where all have passed."""
        new = chunk[max(0, now_tick - first_tick) : self._steps].copy()
        if len(new) == 0:
            return
        grippers = new[:, self._grippers]
        if self._realign:
            new += last_target - new[0]
        if self._plan is not None:
            shares = self._shares[: len(new)]
            ticks = now_tick - self._first_tick + np.arange(len(shares))
            # Where the old plan has ended, its last target is held.
            old = self._plan.take(ticks, axis=0, mode="clip")
            new[: len(shares)] *= shares
            new[: len(shares)] += (1.0 - shares) * old
        new[:, self._grippers] = grippers
        self._plan, self._first_tick = new, now_tick

    def left(self, tick: int) -> int:
        """Return how many steps from this tick on are planned."""
        end = self._first_tick + len(self._plan) if self._plan is not None else tick
        return max(0, end - tick)


class RealTimeQueue(_Plan):
    """Executes the newest chunk, which was made to continue the one before, without a fade.

    It keeps what was executed since a chunk's first step too, since the observation of the next
    one may be older than the tick that asks for it.
    """

    kind = "rtc"

    def add(self, chunk: F64, first_tick: int, now_tick: int, last_target: F64) -> None:
        """Execute the chunk from this tick on; nothing changes where its steps have passed."""
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
        """Return how many steps from this tick on are executed unless a chunk comes."""
        return 0 if self._plan is None else max(0, self._first_tick + self._steps - tick)

    def planned(self, first_tick: int) -> F64 | None:
        """Return the targets from a tick on [steps, actions], to the chunk's end; None for none.

        Where the tick lies before the chunk, its first target stands for what was before; there
        are never more than a chunk has.
        """
        if self._plan is None:
            return None
        size, start = len(self._plan), first_tick - self._first_tick
        ticks = np.arange(start, min(size, start + size))
        return self._plan.take(ticks, axis=0, mode="clip") if len(ticks) else None


class EnsembleQueue(ChunkQueue):
    """Executes the weighted mean of what all chunks say of a tick, and asks for one at each tick.

    The weights are exp(-coefficient i), i = 0 for the oldest chunk: temporal ensembling, section
    IV of the ACT paper (Zhao et al. 2023, arXiv 2304.13705).
    """

    STATE = ("_chunks",)
    PLAN = ("kind", "_weights", "_oldest_first")
    kind = "ensemble"

    def __init__(self, size: int, coefficient: float) -> None:
        """Prepare for chunks of this size."""
        self.memory = size
        # From the heaviest on, which is 1: none overflows, and they are never all 0.
        self._weights: F64 = np.exp(-abs(coefficient) * np.arange(size, dtype=np.float64))
        self._oldest_first = coefficient >= 0.0
        self._chunks = deque[tuple[int, F64]](maxlen=size)

    def reset(self) -> None:
        """Forget all chunks."""
        self._chunks.clear()

    def add(self, chunk: F64, first_tick: int, now_tick: int, last_target: F64) -> None:
        """Let the chunk take part."""
        self._chunks.append((first_tick, chunk))

    def wants_chunk(self, tick: int) -> bool:
        """Return that it does."""
        return True

    def target(self, tick: int) -> F64 | None:
        """Return the mean."""
        said = [chunk[tick - first] for first, chunk in self._chunks if tick - first < len(chunk)]
        if not said:
            return None
        weights = self._weights[: len(said)]
        weights = weights if self._oldest_first else weights[::-1]
        # Sums in the order of the chunks, as the native core adds them.
        sums = np.cumsum(weights[:, np.newaxis] * said, axis=0)[-1]
        mean: F64 = sums / np.cumsum(weights)[-1]
        return mean

    def left(self, tick: int) -> int:
        """Return how many steps from this tick on a chunk says something of."""
        return max((0, *(first + len(chunk) - tick for first, chunk in self._chunks)))


_EARLY = 0.25
"""Share of a period by which a tick may come early; it may come late by the rest."""


class TickCounter(Stateful):
    """Finds the tick of a time, with jitter and after ticks that were left out.

    Late ticks are common and early ones are not, so the earliest phase seen is the true one.
    """

    STATE = ("_start_ns",)

    def __init__(self, period_ns: int) -> None:
        """Begin with the next time that is asked for."""
        self._period_ns = period_ns
        self.reset()

    def reset(self) -> None:
        """Count the next time that is asked for as 0."""
        self._start_ns: int | None = None

    def pause(self, duration_ns: int) -> None:
        """Leave out a time in which no tick passes."""
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
