# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A worker that hands over the recorded results of a chunk policy, and runs no model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from policy_inference.core.chunks.observation_sync import Snapshot
from policy_inference.core.chunks.worker import Outcome, Request
from policy_inference.errors import BackendError, NoTargetError, RobotError
from policy_inference.flight.ring import InferenceResult
from policy_inference.interfaces import F64


class RecordedWorker:
    """Hands over recorded results in the ticks in which they arrived.

    Attributes:
        clock_ns: The clock of the controller.
        late_ns: What the clock says after the policy has run, where that was too late.
        press: Whether the e-stop is pressed while the policy runs.
        results: What arrives in this tick.
        given: What each inference was given that arrived in this tick, in their order; None where
            the policy had not asked for it.
        target: What the policy aims at in this tick [actions], before the first result is known
            whose observation is of this replay; else None.
    """

    busy = False
    alive = True

    def __init__(self) -> None:
        """Have been asked for nothing."""
        self.clock_ns = 0
        self.late_ns: int | None = None
        self.results = list[InferenceResult]()
        self.given = list[Snapshot | None]()
        self.target: F64 | None = None
        self._asked = dict[int, Request]()
        self._newest: Request | None = None

    def ask(self, request: Request) -> None:
        """Note a request; the recording says which one was computed."""
        self._asked[request.asked_ns] = self._newest = request

    def take(self, now_ns: int) -> Outcome | None:
        """Return the next recorded result of this tick."""
        if self.late_ns is not None:
            self.clock_ns = self.late_ns
        if self.target is not None and self._newest is not None:
            target, self.target = self.target, None
            return self._aiming(target, now_ns)
        if not self.results:
            return None
        result = self.results[0]
        request = self._asked.get(result.asked_ns)
        if request is None and result.asked_ns == now_ns:
            return None  # it is asked for in this tick, and answered at once
        del self.results[0]
        self.given.append(request.sensed if request else None)
        request = request or self._newest
        if request is None:
            return None
        self._asked = {at: each for at, each in self._asked.items() if at > result.asked_ns}
        sensed = dataclasses.replace(request.sensed, time_ns=result.observation_ns)
        return Outcome(
            request=dataclasses.replace(request, sensed=sensed, asked_ns=result.asked_ns),
            began_ns=result.began_ns,
            ended_ns=result.ended_ns,
            chunk=result.chunk,
            error=_error(result.error) if result.chunk is None else None,
        )

    def _aiming(self, target: F64, now_ns: int) -> Outcome:
        """Return a chunk of one step, for now."""
        assert self._newest is not None
        sensed = dataclasses.replace(self._newest.sensed, time_ns=now_ns)
        return Outcome(
            request=dataclasses.replace(self._newest, sensed=sensed),
            began_ns=now_ns,
            ended_ns=now_ns,
            chunk=target[np.newaxis].copy(),
        )

    def forget(self) -> None:
        """Do nothing: what had not begun never arrives."""

    def close(self) -> None:
        """Do nothing."""


def _error(text: str) -> BackendError | RobotError | NoTargetError:
    kind, _, reason = text.partition(": ")
    kinds: Mapping[str, type[BackendError | RobotError]] = {
        "BackendError": BackendError,
        "RobotError": RobotError,
    }
    return kinds.get(kind, NoTargetError)(reason)
