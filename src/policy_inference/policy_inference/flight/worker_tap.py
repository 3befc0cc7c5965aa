# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Record the results of a chunk policy's worker as they arrive."""

from __future__ import annotations

import numpy as np

from policy_core.members.chunk.worker import Outcome, Request, Worker
from policy_inference.flight.ring import InferenceResult
from policy_inference.flight.tap import PolicyTap


class WorkerTap(PolicyTap):
    """A chunk policy's worker that forwards everything and records results in a ring.

    It has no arrays, because an inference's inputs are images, which are not stored, and the state,
    which is part of the result.
    """

    def __init__(self, worker: Worker, member: str = "") -> None:
        """Wrap a worker; closing the tap closes the worker.

        Args:
            worker: Computes the chunks.
            member: Name of the policy in a set; empty for a single policy. In a set, the set's tap
                records the times.
        """
        super().__init__({}, {})
        self._worker, self._member = worker, member

    @property
    def busy(self) -> bool:
        return self._worker.busy

    @property
    def alive(self) -> bool:
        return self._worker.alive

    def ask(self, request: Request) -> None:
        self._worker.ask(request)

    def take(self, now_ns: int) -> Outcome | None:
        ring = self._ring
        if ring is not None and not self._member:
            ring.take_time(now_ns)
        outcome = self._worker.take(now_ns)
        if ring is not None and outcome is not None:
            ring.take_result(_result(outcome, self._member))
        return outcome

    def forget(self) -> None:
        self._worker.forget()

    def close(self) -> None:
        self._worker.close()


def _result(outcome: Outcome, member: str) -> InferenceResult:
    sensed = outcome.request.sensed
    return InferenceResult(
        observation_ns=sensed.time_ns,
        asked_ns=outcome.request.asked_ns,
        began_ns=outcome.began_ns,
        ended_ns=outcome.ended_ns,
        state=np.concatenate([*sensed.fields.values()]),
        chunk=outcome.chunk,
        error="" if outcome.error is None else f"{type(outcome.error).__name__}: {outcome.error}",
        member=member,
        success=outcome.success,
    )
