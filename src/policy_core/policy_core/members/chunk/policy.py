# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy in the control path: each tick executes one step of a chunk and never waits."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_core import words
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.control_state import Stateful, Tree
from policy_core.errors import BackendError, NoTargetError, RobotError
from policy_core.guard.bounds import Rule, healthy_range
from policy_core.interfaces import F64, Command, Kind
from policy_core.latency import LatencyWindow
from policy_core.members.chunk.observation_sync import ObservationSync, Snapshot
from policy_core.members.chunk.oscillation import Oscillation
from policy_core.members.chunk.queue import ChunkQueue, RealTimeQueue, TickCounter
from policy_core.members.chunk.real_time import ExecutedDelay, PlannedSteps
from policy_core.members.chunk.worker import Outcome, Request, SuccessReading, Worker

_CHUNKS = 16
"""Maximum number of finished chunks waiting to be published; far more than arrive in a tick."""

INFERENCE_ERRORS = (BackendError, RobotError, NoTargetError)
"""Errors that an inference may raise; after one, the remaining steps are still executed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InferredChunk:
    """A finished chunk, for observers, which must not modify it.

    `targets` [steps, actions], in rad, were inferred from the observation `sensed`. Step k belongs
    to time `time_ns` + k periods, where `time_ns` is the observation's time on the tick clock, and
    to tick `first_tick` + k as counted by `ChunkPolicy.tick`. The chunk arrived in tick `tick`.
    """

    sequence: int
    time_ns: int
    targets: F64
    sensed: Snapshot
    first_tick: int
    tick: int


class ChunkPolicy(Stateful):
    """Requests chunks from a worker and executes their steps, one per tick."""

    STATE = (
        "action",
        "target",
        "begins",
        "tick",
        "queue",
        "_delay",
        "_ticks",
        "_generation",
        "_sequence",
        "_executed",
        "_now_ns",
        "_took_ns",
        "sync",
    )
    PLAN = ("action", "oscillation", "sync", "queue", "_delay", "_period_ns", "_size")
    change = ""

    def __init__(
        self,
        contract: ChunkContract,
        queue: ChunkQueue,
        worker: Worker,
        sync: ObservationSync,
        joint_pos: F64,
        clock: Callable[[], int],
        expected_s: float = 0.0,
    ) -> None:
        """Connect the parts.

        Args:
            contract: Defines the rate and the actions.
            queue: Selects the step to execute, and when to request a chunk.
            worker: Computes chunks.
            sync: Provides the policy's observations.
            joint_pos: State field with measured positions [joints], rad.
            clock: Clock used for the ticks.
            expected_s: Inference time to assume until it has been measured.
        """
        self.action = ChunkCommand(contract)
        self.begins = True
        self.chunks = deque[InferredChunk](maxlen=_CHUNKS)
        """Finished chunks, oldest first, to be popped from the left."""
        self.latency = LatencyWindow()
        """Durations of the latest inferences, each including decoding and all graphs."""
        self.oscillation = Oscillation(contract.joints.names, contract.period_ns)
        """Detects an arm that oscillates around one position."""
        self.sync = sync
        self.queue, self.worker, self._size = queue, worker, contract.chunk.size
        self._joint_pos, self._clock = joint_pos, clock
        self._is_judged = contract.classifier is not None
        self._delay = ExecutedDelay(math.ceil(expected_s * contract.rate_hz))
        self._period_ns = contract.period_ns
        self._ticks = TickCounter(contract.period_ns)
        self._generation, self._sequence, self._took_ns = 0, 0, 0
        self._executed = deque[tuple[int, int]](maxlen=2 * contract.chunk.size)
        """Times and numbers of the latest executed ticks, oldest first."""
        self.target: F64 = self.action.target
        """Last target from the queue, before any limit [actions], rad."""
        self._start()

    def _start(self) -> None:
        self.queue.reset()
        self._ticks.reset()
        self.tick = 0
        """Number of the last tick that asked for a target; chunk steps use the same count."""
        self._now_ns = 0
        self._executed.clear()
        self.sync.begin()
        self._blind: NoTargetError | None = None
        self._failure: BackendError | RobotError | NoTargetError | None = None
        self._under_way: Request | None = None
        self.success: SuccessReading | None = None
        """Newest reading of the success classifier in this run, or None."""

    def saved(self) -> dict[str, Any]:
        """Return a copy of the state: the planned steps, the observations, the pending request."""
        return {
            **super().saved(),
            "blind": None if self._blind is None else str(self._blind),
            "failure": _error_saved(self._failure),
            "under_way": None if self._under_way is None else self._under_way.saved(),
        }

    def restore(self, saved: Tree) -> None:
        """Restore a saved state; if a chunk was still being computed, request it again."""
        super().restore(saved)
        self._blind = None if saved["blind"] is None else NoTargetError(saved["blind"])
        self._failure = _restore_error(saved["failure"])
        request = saved["under_way"]
        self._under_way = None if request is None else Request.of_saved(request)
        if self._under_way is not None:
            self.worker.ask(self._under_way)

    def reset(self) -> None:
        """Clear all memory: discard all chunks, and later the pending one when it arrives."""
        self._generation += 1
        self.worker.forget()
        self.oscillation.restart()
        self._start()
        self.begins = True
        self.action.restart()

    def pause(self, duration_ns: int) -> None:
        """Do not count an interval during which the arm was held, so that no steps are skipped."""
        self._ticks.pause(duration_ns)

    def stand_by(self) -> int:
        """Observe and collect results in a tick while a person drives; return the tick's time."""
        self._now_ns = self._clock()
        self.sync.record_state(self._now_ns)
        self._collect()
        return self._now_ns

    @property
    def chunk_policy(self) -> ChunkPolicy:
        """The policy itself; named as in `MemberPolicy`, so that callers can use either."""
        return self

    @property
    def problem(self) -> str:
        """Reason why the last inference returned no chunk, or ""; steps may still be left."""
        return str(self._blind or self._failure or "")

    @property
    def left(self) -> int:
        """Number of ticks, from the last tick on, that have targets."""
        return self.queue.left(self.tick)

    def infer(self) -> bool:
        """Select this tick's target; return False if a chunk or the target is not finite.

        Raises:
            NoTargetError: No chunk has a step for this tick, or a camera is frozen; the message
                gives the reason.
            BackendError: No chunk has a step for this tick, because a runtime failed.
        """
        self._now_ns = self._clock()
        self.tick = max(self.tick, self._ticks.number(self._now_ns))
        self.begins = not self._executed
        self.sync.record_state(self._now_ns)
        # No step of a chunk is executed without working cameras, however many remain.
        self.sync.require_sight()
        if not self.begins:
            self.oscillation.add(self._joint_pos, self.action.command)
        finite = self._collect()
        if finite and self.queue.wants_chunk(self.tick) and not self.worker.busy:
            self._ask()
            finite = self._collect()
        if not finite:
            return False
        target = self.queue.target(self.tick)
        if target is None:
            raise self._nothing()
        self.target = target
        return bool(np.isfinite(target).all())

    def commit(self) -> F64:
        """Execute the target; return the command [joints], rad."""
        self.action.set(self.target, self._joint_pos)
        self.queue.advance(self.tick)
        self._executed.append((self._now_ns, self.tick))
        return self.action.command

    def _ask(self) -> None:
        self._blind = None
        try:
            sensed = self.sync.snapshot(self._now_ns)
        except NoTargetError as error:
            self._blind = error
        else:
            self._under_way = Request(
                sensed=sensed,
                generation=self._generation,
                asked_ns=self._now_ns,
                planned=self._planned(sensed),
            )
            self.worker.ask(self._under_way)

    def _planned(self, sensed: Snapshot) -> PlannedSteps | None:
        """Return the planned steps that the next chunk must continue, or None."""
        if not isinstance(self.queue, RealTimeQueue):
            return None
        passed = self._passed(sensed.time_ns)
        targets = self.queue.planned(self.tick - passed)
        if targets is None:
            return None
        return PlannedSteps(targets=targets, delay=max(passed, self._delay.steps))

    def _collect(self) -> bool:
        """Collect the worker's results; return True if all chunks are finite.

        Raises:
            BaseException: Internal error in an inference, re-raised on this thread.
        """
        while (outcome := self.worker.take(self._now_ns)) is not None:
            if outcome.request.generation != self._generation:
                continue
            self._under_way = None
            self._took_ns = outcome.ended_ns - outcome.began_ns
            self.latency.add(self._took_ns)
            if self._is_judged:
                self.success = SuccessReading(outcome.request.sensed.time_ns, outcome.success)
            if outcome.error is not None and not isinstance(outcome.error, INFERENCE_ERRORS):
                raise outcome.error
            self._failure = outcome.error
            if outcome.chunk is None:
                continue
            if not np.isfinite(outcome.chunk).all():
                return False
            self._accept(outcome, outcome.chunk)
        return True

    def _accept(self, outcome: Outcome, chunk: F64) -> None:
        time_ns = outcome.request.sensed.time_ns
        passed = self._passed(time_ns)
        first_tick = self.tick - passed
        if outcome.request.planned is not None:
            self._delay.add(passed)
        self.queue.add(chunk, first_tick, self.tick, self.action.target)
        if self.queue.left(self.tick) == 0:
            self._failure = NoTargetError(words.SLOW.format(a=self._took_ns * 1e-6, count=passed))
        self.chunks.append(
            InferredChunk(
                sequence=self._sequence,
                time_ns=time_ns,
                targets=chunk,
                sensed=outcome.request.sensed,
                first_tick=first_tick,
                tick=self.tick,
            )
        )
        self._sequence += 1

    def _passed(self, time_ns: int) -> int:
        """Return the number of ticks since the executed tick that is nearest to a time."""
        if not self._executed or self._executed[-1][0] < time_ns:
            # Nothing has been executed since then, so the robot is where it was observed.
            return 0
        nearest = self.tick
        for now_ns, tick in reversed(self._executed):
            if now_ns < time_ns - self._period_ns // 2:
                break
            nearest = tick
        return self.tick - nearest

    def _nothing(self) -> BackendError | NoTargetError:
        """Return an error that states why there is no target."""
        if self._blind is not None:
            return NoTargetError(str(self._blind))
        failure = self._failure
        if isinstance(failure, BackendError):
            return BackendError(str(failure))
        if failure is not None:
            return NoTargetError(str(failure))
        if not self._executed:
            return NoTargetError(words.FIRST_AWAITED)
        request = self._under_way
        waited_ns = 0 if request is None else self._now_ns - request.asked_ns
        # the inference under way may already take longer than the last one did
        taken_ns = max(waited_ns, self._took_ns)
        return NoTargetError(words.NO_STEP_LEFT.format(a=taken_ns * 1e-6))


def _error_saved(
    error: BackendError | RobotError | NoTargetError | None,
) -> tuple[str, str] | None:
    if error is None:
        return None
    return next(kind.__name__ for kind in INFERENCE_ERRORS if isinstance(error, kind)), str(error)


def _restore_error(
    saved: tuple[str, str] | None,
) -> BackendError | RobotError | NoTargetError | None:
    if saved is None:
        return None
    name, text = saved
    return next(kind(text) for kind in INFERENCE_ERRORS if kind.__name__ == name)


class ChunkCommand(Command):
    """Position command [joints], rad; joints without an action keep their stand position."""

    STATE = ("clipped",)
    STATE_IN_PLACE = ("command",)
    PLAN = (*Command.PLAN, "_joints", "_stride", "_reach", "_pose")

    def __init__(self, contract: ChunkContract) -> None:
        """Resolve names to indices once."""
        joints, names = contract.joints, contract.joints.names
        kinds = [Kind.POSITION] * len(names)
        super().__init__(kinds, joints.stiffness, joints.damping, healthy_range(contract))
        self._pose: F64 = contract.stand.position
        self.restart()
        action = contract.action
        self._joints = [names.index(name) for name in action.joints]
        speed = joints.velocity_limit[self._joints]
        self._stride: F64 = speed / contract.rate_hz
        self._reach: F64 | None = action.max_relative_target

    @property
    def target(self) -> F64:
        """Copy of the last command [actions], rad, including changes by the guard."""
        return self.command[self._joints]

    def restart(self) -> None:
        """Set the last command to the stand pose, in which RUN begins."""
        self.command[:] = self._pose

    def set(self, target: F64, joint_pos: F64) -> None:
        """Command a target [actions], clipped to the policy's own limits.

        Args:
            target: Finite, rad.
            joint_pos: Measured positions [joints], rad.
        """
        self.clipped = ()
        if self._reach is not None:
            target = self._within(self._reach, joint_pos, target, Rule.RELATIVE_TARGET)
        # Applied last, so that no measurement can make the command jump.
        target = self._within(self._stride, self.command, target, Rule.TARGET_SPEED)
        self.command[self._joints] = target

    def _within(self, distance: F64, centre: F64, target: F64, rule: Rule) -> F64:
        """Clip the target [actions] to `distance` around `centre` [joints]; note clipping."""
        near = centre[self._joints]
        found: F64 = np.clip(target, near - distance, near + distance)
        if (found != target).any():
            self.clipped += (rule.value,)
        return found
