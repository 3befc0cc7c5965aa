# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics for Prometheus over HTTP, and the families that a service and a robot share."""

from __future__ import annotations

import errno
import io
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from policy_inference.machine.machine import number_in
from policy_inference.peers import PeerSlots, Waker, listen_tcp, source_of

PREFIX = "policy_inference"
_PATH = "/metrics"
_WITHIN_S = 1.0
"""From the connection to the last byte of the answer. One that speaks asks within milliseconds."""
_MOST, _LONGEST_REQUEST = 32, 8192
"""Scrapers at once, and bytes of a request of one."""
_KEPT_S = 0.1
"""The text is made once in that time, which takes about 1 ms of the interpreter."""
_PAUSE_S = 0.001
"""After each scraper that is let in."""
_MOST_LABELS, _LONGEST_LABEL = 256, 200
"""Samples of one family, and characters of a label: what a scrape may cost is bounded."""
_TELEMETRY = {
    "_temperature_c": ("temperature_celsius", "Temperature of a device", "device", 1.0),
    "_load_percent": ("load_ratio", "Load of a device, 1 is all of it", "device", 0.01),
    "_frequency_mhz": ("frequency_hertz", "Clock of a device", "device", 1e6),
    "_frequency_highest_mhz": ("frequency_highest_hertz", "Its highest clock", "device", 1e6),
    "_available_mib": ("available_bytes", "Free for use", "device", 2.0**20),
}
"""By the unit at the end of a key: metric, help, label, and what makes the base unit of it."""
_log = logging.getLogger("policy_inference")


class Collector(Protocol):
    """Makes metrics whenever they are asked for."""

    def collect(self) -> Iterable[Metric]:
        """Return all of them; called on the server's thread, never waits."""


class Families:
    """Metrics under construction: samples of several sources in one family each, bounded."""

    def __init__(self, **labels: str) -> None:
        """Begin.

        Args:
            labels: That every sample has.
        """
        self._labels, self._made = labels, dict[str, Metric]()

    def __iter__(self) -> Iterator[Metric]:
        """Iterate over what was made."""
        return iter(self._made.values())

    def gauge(self, name: str, text: str, value: float, /, **labels: str) -> None:
        """Add a sample of a value that rises and falls."""
        self._add(GaugeMetricFamily, name, text, value, labels)

    def counter(self, name: str, text: str, value: float, /, **labels: str) -> None:
        """Add a sample of a count; the name is without `_total`."""
        self._add(CounterMetricFamily, name, text, value, labels)

    def info(self, name: str, text: str, words: Mapping[str, str], /, **labels: str) -> None:
        """Add a sample of value 1 with words as labels; `_info` is added to the name."""
        cut = {key: word[:_LONGEST_LABEL] for key, word in words.items()}
        self._add(InfoMetricFamily, name, text, cut, labels)

    def telemetry(self, values: Mapping[str, str], **labels: str) -> None:
        """Add telemetry in base units; a value of another unit keeps it in its name.

        Args:
            values: As a back end reports them, the unit in the key; what is no number is left out.
            labels: Of these samples.
        """
        for key, text in values.items():
            if (number := number_in(text)) is None:
                continue
            unit = next((unit for unit in _TELEMETRY if key.endswith(unit)), None)
            if unit is None:
                about = "Other telemetry; the unit is in the name"
                self.gauge("telemetry", about, number, **labels, name=key)
            else:
                name, about, label, factor = _TELEMETRY[unit]
                about = f"{about}, as the back end or the system reports it"
                self.gauge(name, about, number * factor, **labels, **{label: key[: -len(unit)]})

    def _add(
        self,
        kind: type[CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily],
        name: str,
        text: str,
        value: object,
        labels: Mapping[str, str],
    ) -> None:
        labels = {**self._labels, **labels}
        full = f"{PREFIX}_{name}" if name else PREFIX
        if full not in self._made:
            self._made[full] = kind(full, text, labels=[*labels])
        family: Any = self._made[full]
        if len(family.samples) < _MOST_LABELS:
            family.add_metric([word[:_LONGEST_LABEL] for word in labels.values()], value)


class MetricsServer:
    """Answers scrapers over HTTP until `close`; none of them waits for another.

    One thread reads them all and waits for none. Each has a deadline; where all places are taken
    the machine with most of them loses its oldest. So a scraper that asks at once is answered.

    Attributes:
        port: It listens at.
        is_beyond: Whether other machines may reach it.
    """

    def __init__(self, option: str, place: tuple[str, int], metrics: Collector) -> None:
        """Listen, and answer from a thread of its own.

        Args:
            option: Asks for it, in messages.
            place: Host and port; port 0 takes a free one.
            metrics: What is shown; its `collect` is called on that thread.

        Raises:
            PolicyError: The host is unknown, or the port taken or not permitted.
        """
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(metrics)
        _, self._listening, self.is_beyond = listen_tcp(option, place)
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
