# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Monitor for the loop: counts, event logs, the watchdog, faults and slow inference."""

from __future__ import annotations

import logging
import resource
import threading
from collections.abc import Mapping

import numpy as np

from policy_core.errors import BackendError
from policy_core.latency import MedianDrift
from policy_inference.machine.clocks import cpu_clock
from policy_inference.machine.machine import Machine
from policy_inference.machine.telemetry import Host, TelemetryReader, likely_causes
from policy_inference.service.connection import Connection
from policy_inference.service.notify import Notifier
from policy_inference.service.observer import Counts, Observer
from policy_inference.service.observing import ObservationWatch
from policy_inference.service.protocol import Code, ServiceError
from policy_inference.service.serving import ServedModel

_SMALL_S, _SMALL_SHARE = 500e-6, 0.05
"""Inferences up to the larger of this time and this share of the policy's period are never slow."""
_LEAST = 20
"""Minimum number of inferences in a window."""


class LatencyDrift:
    """Detects when inference slows down; use it on the thread that runs the inferences."""

    def __init__(self, rate_hz: float = 0.0, machine: Machine | None = None) -> None:
        """Start watching.

        Args:
            rate_hz: Ticks per second of the policy; 0 if unknown.
            machine: Machine with the clocks to read.
        """
        self._machine, self._durations_ns = machine or Machine(), list[int]()
        self._drift = MedianDrift(max(_SMALL_S, _SMALL_SHARE / rate_hz if rate_hz else 0.0))
        self._preempted, self._slow = _preemptions(), False
        self.add = self._durations_ns.append
        """Adds the duration of an inference, ns."""

    def judge(self, telemetry: Mapping[str, str]) -> str | None:
        """Evaluate the inferences since the last call; call once per second.

        Args:
            telemetry: The latest telemetry from the computer and the inference device.

        Returns:
            A message with likely causes when a slowdown begins; "" when it ends; otherwise None.
        """
        if (count := len(self._durations_ns)) < _LEAST:
            return None
        median_s = float(np.median(self._durations_ns)) * 1e-9
        self._durations_ns.clear()
        before, self._preempted = self._preempted, _preemptions()
        preemptions = self._preempted - before
        self._drift.add(median_s)
        if self._drift.slow == self._slow:
            return None
        self._slow = self._drift.slow
        if not self._slow:
            return ""
        clock = cpu_clock(self._machine, threading.get_native_id())
        known = {**clock, **telemetry, "service_preemptions": str(preemptions)}
        frequency = (
            f"CPU at {clock['cpu_frequency_mhz']} of {clock['cpu_frequency_highest_mhz']} MHz"
            if clock
            else "the CPU's frequency cannot be read"
        )
        return (
            f"inferences take {median_s * 1e3:.3f} ms (median of {count}), "
            f"initially {self._drift.first_s * 1e3:.3f} ms; {frequency}, {preemptions} "
            f"preemptions of the service's thread meanwhile; {likely_causes(known)}"
        )


def _preemptions() -> int:
    """Return the number of involuntary context switches of this thread (getrusage)."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


PROTOCOLS = ("raw", "framed")
_LOOK_NS = 1_000_000_000
_log = logging.getLogger("policy_inference")


class Monitor(Observer):
    """Observer on the loop's thread; takes less than a microsecond per request.

    Attributes:
        counts: Counts for metrics.
        telemetry: The latest telemetry of the machine and device, with the unit in the key.
    """

    def __init__(
        self,
        model: ServedModel,
        notifier: Notifier,
    ) -> None:
        """Start watching.

        Args:
            model: Model with statistics of healthy observations, a rate, and device telemetry.
            notifier: Reports once per second that the loop is making progress.
        """
        self.counts, self.telemetry = Counts(PROTOCOLS), dict[str, str]()
        self._latency_ns, self._rows = self.counts.latency_ns, self.counts.rows
        self._model, self._notifier = model, notifier
        self._watches_any = bool(model.watched)
        self._drift = LatencyDrift(model.rate_hz)
        self._reader = TelemetryReader(
            {"machine": Host(Machine()).read, model.backend.name: model.backend.telemetry}
        )
        self._watches = dict[Connection, ObservationWatch]()
        self._to_judge = dict[Connection, ObservationWatch]()
        self._failing = dict[Connection, Code]()
        self._due_ns = self._now_ns = 0

    def close(self) -> None:
        self._reader.close()

    def connected(self, connection: Connection) -> None:
        self.counts.opened(connection.protocol)
        _log.info("%s: connected, %s protocol", connection.name, connection.protocol)

    def disconnected(self, connection: Connection, reason: str) -> None:
        self.counts.closed(connection.protocol)
        self._watches.pop(connection, None)
        self._to_judge.pop(connection, None)
        self._failing.pop(connection, None)
        _log.info("%s: disconnected: %s", connection.name, reason)

    def refused(self, name: str, reason: str) -> None:
        self.counts.failed("REFUSED")
        _log.warning("%s: refused: %s", name, reason)

    def failed(self, connection: Connection, error: ServiceError) -> None:
        """Count an error; of consecutive errors, log only the first."""
        self.counts.failed(error.code.name)
        if not error.code.closes and self._failing.get(connection) is not error.code:
            self._failing[connection] = error.code
            _log.warning("%s: no answer: %s: %s", connection.name, error.code.name, str(error))

    def cannot_accept(self, where: str, reason: str) -> None:
        _log.error("%s: cannot accept clients: %s; retrying", where, reason)

    def inferred(self, rows: int, duration_ns: int) -> None:
        self._rows.add(rows)
        self._drift.add(duration_ns)

    def answered(self, connection: Connection, duration_ns: int) -> None:
        """Count an answer, and occasionally sample the observation."""
        self._latency_ns[connection.protocol].add(duration_ns)
        if self._failing and self._failing.pop(connection, None) is not None:
            _log.info("%s: receives answers again", connection.name)
        if self._watches_any:
            watch = self._watches.get(connection)
            if watch is None or self._now_ns >= watch.due_ns:
                self._look(connection, watch)

    def passed(self, now_ns: int) -> None:
        """Judge the observations of at most one client, since all clients wait meanwhile.

        Once per second: check that the model works, notify the watchdog, judge latency, read
        telemetry.
        """
        self._now_ns = now_ns
        if self._to_judge:
            self._judge(next(iter(self._to_judge)))
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + _LOOK_NS
        if problem := self._model.problem:
            raise BackendError(problem)
        self._notifier.alive()
        found, problems = self._reader.look()
        self.telemetry = dict(found)
        for text in problems:
            _log.warning("%s", text)
        self._report_drift(found)

    def _report_drift(self, telemetry: Mapping[str, str]) -> None:
        text = self._drift.judge(telemetry)
        if text is None:
            return
        self.counts.slow = bool(text)
        if text:
            _log.warning("latency drift: %s", text)
        else:
            _log.info("latency drift: inferences are no longer slow")
        self._notifier.status(f"slow: {text}" if text else "serves clients")

    def _look(self, connection: Connection, watch: ObservationWatch | None) -> None:
        session = connection.session
        if session is None:
            return
        if watch is None:
            watch = self._watches[connection] = ObservationWatch(
                self._model.watched, session.scaling
            )
        if watch.look(session.observation, session.rows, self._now_ns):
            self._to_judge[connection] = watch

    def _judge(self, connection: Connection) -> None:
        text = self._to_judge.pop(connection).judge()
        if text is None:
            return
        if text:
            self.counts.failed("NORMALISATION_MISMATCH")
            _log.warning(
                "%s: normalization mismatch: observations are not what the policy was trained on: "
                "%s",
                connection.name,
                text,
            )
        else:
            _log.info("%s: observations are as in training again", connection.name)
