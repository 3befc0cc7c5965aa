# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The service's metrics for Prometheus; `Counts` documents the sources of the numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import HistogramMetricFamily, Metric

from policy_inference.metrics_server import PREFIX, Families
from policy_inference.service.observer import LATENCY_BOUNDS_S, Counts, Histogram


class ServiceMetrics:
    """Creates the metrics when the metrics server requests them."""

    def __init__(
        self,
        counts: Counts,
        acted: Mapping[str, int],
        versions: Mapping[str, str],
        telemetry: Callable[[], Mapping[str, str]],
    ) -> None:
        """Store the sources of the metrics.

        Args:
            counts: The loop's counts.
            acted: Number of times each guard rule acted, by name.
            versions: Versions of the service, policy, back end and runtime.
            telemetry: Returns the latest telemetry, with the unit in the key; never waits.
        """
        self._counts, self._acted = counts, acted
        # Label names must be words, but a vendor's back end may use any name for its details.
        self._versions = {re.sub(r"\W", "_", name): text for name, text in versions.items()}
        self._telemetry = telemetry

    def collect(self) -> Iterator[Metric]:
        counts, made = self._counts, Families()
        made.info("service", "Versions of service, policy, back end and runtime", self._versions)
        yield from self._histograms()
        made.gauge("slow", "1 while inferences are slow", int(counts.slow))
        for code, count in dict(counts.errors).items():
            made.counter("errors", "Errors by code", count, code=code)
        for rule, count in self._acted.items():
            text = "How often the guard acted, by rule"
            made.counter("guard", text, count, rule=rule)
        for protocol, count in counts.connected.items():
            made.gauge("clients", "Connected clients", count, protocol=protocol)
        for protocol, count in counts.accepted.items():
            made.counter("clients_accepted", "Clients accepted so far", count, protocol=protocol)
        made.telemetry(self._telemetry())
        yield from made

    def _histograms(self) -> Iterator[Metric]:
        counts = self._counts
        seconds = HistogramMetricFamily(
            f"{PREFIX}_request_seconds", "Time from a request to its answer", labels=["protocol"]
        )
        for protocol, histogram in counts.latency_ns.items():
            seconds.add_metric([protocol], *_cumulated(histogram, LATENCY_BOUNDS_S, 1e-9))
        yield seconds
        rows = HistogramMetricFamily(f"{PREFIX}_inference_rows", "Robots per inference")
        rows.add_metric([], *_cumulated(counts.rows, counts.rows.bounds, 1))
        yield rows


def _cumulated(
    histogram: Histogram, bounds: Sequence[float], unit: float
) -> tuple[list[tuple[str, float]], float]:
    """Return the buckets in Prometheus form (each including all lower ones), and the sum."""
    buckets, below = list[tuple[str, float]](), 0
    for bound, count in zip([*map(str, bounds), "+Inf"], [*histogram.counts], strict=True):
        below += count
        buckets.append((bound, below))
    return buckets, histogram.total * unit
