# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics for Prometheus, on a thread of their own; `Counts` says where the numbers come from."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from policy_inference.errors import PolicyError
from policy_inference.machine.numbers import number_in
from policy_inference.service.counts import LATENCY_BOUNDS_S, Counts, Histogram
from policy_inference.service.endpoints import is_loopback

_PATH = "/metrics"
_WITHIN_S = 0.5
"""A scraper that takes longer is cut off; the others wait for it as long. One that speaks has asked
within milliseconds, and its answer of some kilobytes fits into the system's buffer."""
_PAUSE_S = 0.1
"""After each scrape: it takes about 1 ms of the interpreter, which the loop needs as well."""
_PREFIX = "policy_inference"


class Metrics:
    """Makes the metrics whenever they are asked for; prometheus_client calls `collect`."""

    def __init__(
        self, counts: Counts, acted: Mapping[str, int], versions: Mapping[str, str],
        telemetry: Callable[[], Mapping[str, str]],
    ) -> None:  # fmt: skip
        """Tie to what is shown.

        Args:
            counts: Of the loop.
            acted: How often each rule of the guard acted, by its name.
            versions: Of service, policy, back end and runtime.
            telemetry: Returns the latest telemetry, the unit in the key; never waits.
        """
        self._counts, self._acted = counts, acted
        # Labels are words; a vendor's back end may call its details anything.
        self._versions = {re.sub(r"\W", "_", name): text for name, text in versions.items()}
        self._telemetry = telemetry

    def describe(self) -> Sequence[Metric]:
        """Return nothing: registering must not read the counts."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        counts = self._counts
        yield InfoMetricFamily(f"{_PREFIX}_service", "What is served, by what", self._versions)
        seconds = HistogramMetricFamily(
            f"{_PREFIX}_request_seconds", "From a request to its answer", labels=["protocol"])
        for protocol, histogram in counts.latency_ns.items():
            seconds.add_metric([protocol], *_cumulated(histogram, LATENCY_BOUNDS_S, 1e-9))
        yield seconds
        rows = HistogramMetricFamily(f"{_PREFIX}_inference_rows", "Robots per inference")
        rows.add_metric([], *_cumulated(counts.rows, counts.rows.bounds, 1))
        yield rows
        yield GaugeMetricFamily(f"{_PREFIX}_slow", "1 while inferences are slow", int(counts.slow))
        yield _by(CounterMetricFamily, "errors", "Errors by code", "code", dict(counts.errors))
        yield _by(CounterMetricFamily, "guard", "Robots for which the guard acted, by its rule",
                  "rule", self._acted)
        yield _by(GaugeMetricFamily, "clients", "Clients connected", "protocol", counts.connected)
        yield _by(CounterMetricFamily, "clients_accepted", "Clients so far", "protocol",
                  counts.accepted)
        numbers = {key: number for key, text in self._telemetry().items()
                   if (number := number_in(text)) is not None}
        yield _by(GaugeMetricFamily, "telemetry", "Machine and device; the unit is in the name",
                  "name", numbers)


class MetricsServer(socketserver.TCPServer):
    """Answers one scraper at a time over HTTP, until `close`.

    Attributes:
        port: It listens at.
        is_beyond: Whether other machines may reach it.
    """

    allow_reuse_address = True

    def __init__(self, place: tuple[str, int], metrics: Metrics) -> None:
        """Listen, and answer from a thread of its own.

        Args:
            place: Host and port; port 0 takes a free one.
            metrics: What is shown.

        Raises:
            PolicyError: The host is unknown, or the port taken or not permitted.
        """
        self._registry, self._closing = CollectorRegistry(auto_describe=False), threading.Event()
        self._registry.register(metrics)
        try:
            found = socket.getaddrinfo(*place, type=socket.SOCK_STREAM)
            self.address_family = found[0][0]
            super().__init__(place, _Handler)
        except OSError as error:
            remedy = ("another program has it; choose another port" if error.errno ==
                      errno.EADDRINUSE else "choose another host or port")
            raise PolicyError(f"--metrics {place[0]}:{place[1]}: expected an address to listen at, "
                              f"found: {error.strerror}; {remedy}") from error
        host, self.port = self.server_address[:2]
        self.is_beyond = not is_loopback(str(host))
        self._thread = threading.Thread(target=self.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return bytes(generate_latest(self._registry))

    def process_request(self, request: object, client_address: object) -> None:
        """Answer a scraper; cut it off where it is slow."""
        assert isinstance(request, socket.socket)
        limit = threading.Timer(_WITHIN_S, _cut_off, [request])
        limit.daemon = True
        limit.start()
        try:
            super().process_request(request, client_address)
        finally:
            limit.cancel()
        self._closing.wait(_PAUSE_S)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a scraper that goes away is no event of the service's."""

    def close(self) -> None:
        """Listen no more, and end the thread."""
        self._closing.set()
        self.shutdown()
        self.server_close()
        self._thread.join(_WITHIN_S)


class _Handler(BaseHTTPRequestHandler):
    """One request and its answer; HTTP 1.0 closes the connection after it."""

    server: MetricsServer

    def do_GET(self) -> None:  # http.server's name for it
        """Answer with the metrics."""
        if self.path.partition("?")[0] != _PATH:
            self.send_error(404, f"metrics are at {_PATH}")
            return
        text = self.server.text()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Log nothing per request."""


def _cut_off(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


def _cumulated(
    histogram: Histogram, bounds: Sequence[float], unit: float
) -> tuple[list[tuple[str, float]], float]:
    """Return the buckets as Prometheus wants them, each with all below it, and the sum."""
    buckets, below = list[tuple[str, float]](), 0
    for bound, count in zip([*map(str, bounds), "+Inf"], [*histogram.counts], strict=True):
        below += count
        buckets.append((bound, below))
    return buckets, histogram.total * unit


def _by(
    family: type[CounterMetricFamily] | type[GaugeMetricFamily], name: str, text: str, label: str,
    values: Mapping[str, float],
) -> Metric:  # fmt: skip
    made = family(f"{_PREFIX}_{name}", text, labels=[label])
    for key, value in values.items():
        made.add_metric([key], value)
    return made
