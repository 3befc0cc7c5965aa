# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics for Prometheus, on a thread of their own; `Counts` says where the numbers come from."""

from __future__ import annotations

import errno
import io
import logging
import re
import selectors
import socket
import threading
import time
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

from policy_inference.machine.machine import number_in
from policy_inference.service.connection import source_of
from policy_inference.service.endpoints import listen_tcp
from policy_inference.service.observer import LATENCY_BOUNDS_S, Counts, Histogram
from policy_inference.service.peers import PeerSlots, Waker

_PATH = "/metrics"
_WITHIN_S = 1.0
"""From the connection to the last byte of the answer. One that speaks asks within milliseconds."""
_MOST, _LONGEST_REQUEST = 32, 8192
"""Scrapers at once, and bytes of a request of one."""
_KEPT_S = 0.1
"""The text is made once in that time, which takes about 1 ms of the interpreter."""
_PAUSE_S = 0.001
"""After each scraper that is let in."""
_PREFIX = "policy_inference"
_log = logging.getLogger("policy_inference")


class Metrics:
    """Makes the metrics whenever they are asked for; prometheus_client calls `collect`."""

    def __init__(
        self,
        counts: Counts,
        acted: Mapping[str, int],
        versions: Mapping[str, str],
        telemetry: Callable[[], Mapping[str, str]],
    ) -> None:
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
            f"{_PREFIX}_request_seconds", "From a request to its answer", labels=["protocol"]
        )
        for protocol, histogram in counts.latency_ns.items():
            seconds.add_metric([protocol], *_cumulated(histogram, LATENCY_BOUNDS_S, 1e-9))
        yield seconds
        rows = HistogramMetricFamily(f"{_PREFIX}_inference_rows", "Robots per inference")
        rows.add_metric([], *_cumulated(counts.rows, counts.rows.bounds, 1))
        yield rows
        yield GaugeMetricFamily(f"{_PREFIX}_slow", "1 while inferences are slow", int(counts.slow))
        yield _by(CounterMetricFamily, "errors", "Errors by code", "code", dict(counts.errors))
        yield _by(
            CounterMetricFamily,
            "guard",
            "Robots for which the guard acted, by its rule",
            "rule",
            self._acted,
        )
        yield _by(GaugeMetricFamily, "clients", "Clients connected", "protocol", counts.connected)
        yield _by(
            CounterMetricFamily, "clients_accepted", "Clients so far", "protocol", counts.accepted
        )
        numbers = {
            key: number
            for key, text in self._telemetry().items()
            if (number := number_in(text)) is not None
        }
        yield _by(
            GaugeMetricFamily,
            "telemetry",
            "Machine and device; the unit is in the name",
            "name",
            numbers,
        )


class MetricsServer:
    """Answers scrapers over HTTP until `close`; none of them waits for another.

    One thread reads them all and waits for none. Each has a deadline; where all places are taken
    the machine with most of them loses its oldest. So a scraper that asks at once is answered.

    Attributes:
        port: It listens at.
        is_beyond: Whether other machines may reach it.
    """

    def __init__(self, place: tuple[str, int], metrics: Metrics) -> None:
        """Listen, and answer from a thread of its own.

        Args:
            place: Host and port; port 0 takes a free one.
            metrics: What is shown.

        Raises:
            PolicyError: The host is unknown, or the port taken or not permitted.
        """
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(metrics)
        _, self._listening, self.is_beyond = listen_tcp("--metrics", place)
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]
        self._text, self._text_until_s = b"", 0.0
        self._scrapers, self._closing = PeerSlots[_Scraper](_MOST, _WITHIN_S), threading.Event()
        self._waker, self._selector = Waker(), selectors.DefaultSelector()
        for source in (self._waker, self._listening):
            self._selector.register(source, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format, of this moment or a moment ago."""
        now_s = time.monotonic()
        if now_s >= self._text_until_s:
            self._text = bytes(generate_latest(self._registry))
            self._text_until_s = now_s + _KEPT_S
        return self._text

    def close(self) -> None:
        """Listen no more, and end the thread."""
        self._closing.set()
        self._waker.wake()
        self._thread.join()
        for connected in (self._listening, *(scraper.connected for scraper in self._scrapers)):
            connected.close()
        self._selector.close()
        self._waker.close()

    def _run(self) -> None:
        # The loop needs the interpreter as well, and a flood of scrapers must not keep it.
        while not self._closing.wait(_PAUSE_S):
            for key, _ in self._selector.select(self._scrapers.left_s()):
                if key.data is not None:
                    self._go_on(key.data)
            self._accept()
            while (scraper := self._scrapers.superfluous() or self._scrapers.late()) is not None:
                self._end(scraper)

    def _accept(self) -> None:
        """Let one in, if one is there."""
        try:
            connected, (address, *_) = self._listening.accept()
        except OSError:  # none, or gone again, or no descriptor is left: they wait in their queue
            return
        connected.setblocking(False)
        scraper = _Scraper(connected, address)
        self._scrapers.take(scraper, source_of(address))
        self._selector.register(connected, selectors.EVENT_READ, scraper)
        self._go_on(scraper)

    def _go_on(self, scraper: _Scraper) -> None:
        """Read what has come of a request, or send what is left of its answer."""
        try:
            if not scraper.unsent:
                scraper.take()
                if not scraper.has_asked:
                    return
                answer = _Answer(bytes(scraper.said), scraper.address, self.text)
                scraper.unsent = memoryview(answer.wfile.getvalue())
                self._selector.modify(scraper.connected, selectors.EVENT_WRITE, scraper)
            scraper.unsent = scraper.unsent[scraper.connected.send(scraper.unsent) :]
        except BlockingIOError:
            return
        except OSError:  # it goes, which is no event of the service's
            scraper.unsent = memoryview(b"")
        except Exception:  # noqa: BLE001  # a fault of ours: the next one may be answered
            _log.exception("metrics")
            scraper.unsent = memoryview(b"")
        if not scraper.unsent:
            self._end(scraper)

    def _end(self, scraper: _Scraper) -> None:
        self._scrapers.leave(scraper)
        self._selector.unregister(scraper.connected)
        scraper.connected.close()


class _Scraper:
    """One that asks; its socket never waits."""

    __slots__ = ("address", "connected", "said", "unsent")

    def __init__(self, connected: socket.socket, address: str) -> None:
        self.connected, self.address = connected, address
        self.said, self.unsent = bytearray(), memoryview(b"")

    @property
    def has_asked(self) -> bool:
        """Whether its request is whole; its body, if there is one, is of no interest."""
        return b"\r\n\r\n" in self.said or b"\n\n" in self.said

    def take(self) -> None:
        """Take what it says.

        Raises:
            OSError: It is gone, or says too much.
        """
        more = self.connected.recv(_LONGEST_REQUEST)
        self.said += more
        if not more or len(self.said) > _LONGEST_REQUEST:
            raise OSError(errno.EPROTO, "no request")


class _Answer(BaseHTTPRequestHandler):
    """A request and its answer in memory; HTTP 1.0 ends the connection after it."""

    wfile: io.BytesIO

    def __init__(self, request: bytes, address: str, text: Callable[[], bytes]) -> None:
        self._request, self._text = request, text
        super().__init__(request, (address, 0), None)  # type: ignore[arg-type]  # unused

    def setup(self) -> None:
        """Read from memory, write to memory."""
        self.rfile, self.wfile = io.BytesIO(self._request), io.BytesIO()

    def finish(self) -> None:
        """Send nothing: the server's thread sends what was written."""

    def do_GET(self) -> None:  # http.server's name for it
        """Answer with the metrics."""
        if self.path.partition("?")[0] != _PATH:
            self.send_error(404, f"metrics are at {_PATH}")
            return
        text = self._text()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Log nothing per request."""


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
    family: type[CounterMetricFamily] | type[GaugeMetricFamily],
    name: str,
    text: str,
    label: str,
    values: Mapping[str, float],
) -> Metric:
    made = family(f"{_PREFIX}_{name}", text, labels=[label])
    for key, value in values.items():
        made.add_metric([key], value)
    return made
