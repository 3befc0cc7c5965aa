# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Latency drift: inferences that have become slow, and what speaks for why."""

from __future__ import annotations

import resource
import threading
from collections.abc import Mapping

import numpy as np

from policy_core.latency import MedianDrift
from policy_inference.machine.machine import Machine
from policy_inference.machine.telemetry import cpu_clock, likely_causes

_SMALL_S, _SMALL_SHARE = 500e-6, 0.05
"""Inferences up to the larger of this time and share of the policy's period are not slow."""
_LEAST = 20
"""Inferences in a window."""


class LatencyDrift:
    """Judges windows of inferences; it belongs to the thread that runs them."""

    def __init__(self, rate_hz: float = 0.0, machine: Machine | None = None) -> None:
        """Watch from now on.

        Args:
            rate_hz: Ticks per second of the policy; 0 where it is not known.
            machine: Whose clocks are read.
        """
        self._machine, self._durations_ns = machine or Machine(), list[int]()
        self._drift = MedianDrift(max(_SMALL_S, _SMALL_SHARE / rate_hz if rate_hz else 0.0))
        self._preempted, self._slow = _preemptions(), False
        self.add = self._durations_ns.append
        """Takes how long an inference took, ns."""

    def judge(self, telemetry: Mapping[str, str]) -> str | None:
        """Judge the inferences since the last judgement; call it once per second.

        Args:
            telemetry: The latest, of machine and device.

        Returns:
            What is slow and likely why where that begins, "" where it ends, else None.
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
            f"{self._drift.first_s * 1e3:.3f} ms at first; {frequency}, {preemptions} "
            f"preemptions of the service's thread meanwhile; {likely_causes(known)}"
        )


def _preemptions() -> int:
    """Return how often the kernel took the processor from this thread for another (getrusage)."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
