# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Workers, which run inference: their interface, and the worker for simulated time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from policy_core.control_state import Tree
from policy_core.interfaces import F64
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.members.chunk.real_time import PlannedSteps

Clock = Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """Request for a chunk, given an observation."""

    sensed: Snapshot
    generation: int
    """Number of the run that makes the request; results for other runs are ignored."""
    asked_ns: int
    planned: PlannedSteps | None = None
    """Planned steps that the chunk must continue, or None."""

    def saved(self) -> dict[str, Any]:
        """Return a copy without images."""
        planned = self.planned
        return {
            "sensed": self.sensed.saved(),
            "generation": self.generation,
            "asked_ns": self.asked_ns,
            "planned": None if planned is None else (planned.targets.copy(), planned.delay),
        }

    @staticmethod
    def of_saved(saved: Tree) -> Request:
        """Return the request from a saved state; it has no images."""
        planned = saved["planned"]
        return Request(
            sensed=Snapshot.of_saved(saved["sensed"]),
            generation=saved["generation"],
            asked_ns=saved["asked_ns"],
            planned=planned and PlannedSteps(targets=planned[0], delay=planned[1]),
        )


class SuccessReading(NamedTuple):
    """Success classifier's result for one observation.

    Attributes:
        time_ns: Time of the observation, on the tick clock.
        probability: Probability of success; None if the inference or the classifier failed.
    """

    time_ns: int
    probability: float | None


@dataclass(frozen=True, slots=True)
class ChunkAnswer:
    """Response to a request.

    Attributes:
        chunk: Targets [steps, actions], rad.
        success: Probability that the task is done; None if unknown.
    """

    chunk: F64
    success: float | None = None


Run = Callable[[Request], ChunkAnswer]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Result of a request: the fields of `ChunkAnswer`, or an error."""

    request: Request
    began_ns: int
    ended_ns: int
    chunk: F64 | None = None
    success: float | None = None
    error: BaseException | None = None


class Worker(Protocol):
    """Computes chunks; `ask`, `take` and `forget` never wait, and belong to the control thread."""

    @property
    def busy(self) -> bool:
        """True if a request is unanswered, or its outcome has not been collected.

        After `close`: True if an inference is still running, so its back ends must stay open.
        """

    @property
    def alive(self) -> bool:
        """True if the worker can still serve requests."""

    def ask(self, request: Request) -> None:
        """Start a request now or after the current one; drop any other that has not started."""

    def take(self, now_ns: int) -> Outcome | None:
        """Return the next outcome that is due, or None; each outcome is returned only once."""

    def forget(self) -> None:
        """Drop a request that has not started; a request that has started runs to completion."""

    def close(self) -> None:
        """Stop; afterwards, the back ends may be closed unless the worker is still busy."""


class InlineWorker:
    """Worker that computes in `ask`, and delivers results a fixed time later on the caller's clock.

    With simulated time, the behavior is therefore the same on every machine.
    """

    def __init__(self, run: Run, delay_ns: int = 0) -> None:
        """Compute with `run`; `delay_ns` is the simulated inference time."""
        self._run, self._delay_ns = run, delay_ns
        self._outcomes = deque[Outcome]()
        self._pending: Request | None = None

    @property
    def busy(self) -> bool:
        """True if an outcome has not been collected."""
        return bool(self._outcomes)

    @property
    def alive(self) -> bool:
        return True

    def ask(self, request: Request) -> None:
        """Compute now, or after the outcome that is waiting to be delivered."""
        if self._outcomes:
            self._pending = request
        else:
            self._compute(request, request.asked_ns)

    def take(self, now_ns: int) -> Outcome | None:
        """Return the next outcome once it is due."""
        if not self._outcomes or self._outcomes[0].ended_ns > now_ns:
            return None
        outcome = self._outcomes.popleft()
        if self._pending is not None:
            request, self._pending = self._pending, None
            self._compute(request, outcome.ended_ns)
        return outcome

    def forget(self) -> None:
        """Drop all requests and outcomes."""
        self._outcomes.clear()
        self._pending = None

    def close(self) -> None:
        self.forget()

    def _compute(self, request: Request, began_ns: int) -> None:
        done = computed(self._run, request, lambda: began_ns)
        self._outcomes.append(
            Outcome(
                request=request,
                began_ns=began_ns,
                chunk=done.chunk,
                success=done.success,
                error=done.error,
                ended_ns=began_ns + self._delay_ns,
            )
        )


def computed(run: Run, request: Request, clock: Clock) -> Outcome:
    began_ns = clock()
    chunk, success, found = None, None, None
    try:
        answer = run(request)
        chunk, success = answer.chunk, answer.success
    except BaseException as error:  # noqa: BLE001  # the tick's thread raises it, whatever it is
        found = error
    return Outcome(
        request=request,
        began_ns=began_ns,
        ended_ns=clock(),
        chunk=chunk,
        success=success,
        error=found,
    )
