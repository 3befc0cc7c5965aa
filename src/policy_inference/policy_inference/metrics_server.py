# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics for Prometheus over HTTP, and the metric families shared by the service and the robot."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app

from policy_core.errors import printable
from policy_inference.machine.machine import number_in
from policy_inference.peers import listen_tcp

PREFIX = "policy_inference"
_WITHIN_S = 1.0
"""Time after which a silent scraper is disconnected; a working one sends within milliseconds."""
_MOST_LABELS, _LONGEST_LABEL = 256, 200
"""Maximum samples per family, and maximum label length, which limit the cost of a scrape."""
TELEMETRY = {
    "_temperature_c": ("temperature_celsius", "Temperature of a device", "device", 1.0),
    "_load_percent": ("load_ratio", "Load of a device (1: fully loaded)", "device", 0.01),
    "_frequency_mhz": ("frequency_hertz", "Clock rate of a device", "device", 1e6),
    "_frequency_highest_mhz": (
        "frequency_highest_hertz",
        "Highest clock rate of a device",
        "device",
        1e6,
    ),
    "_available_mib": ("available_bytes", "Available memory", "device", 2.0**20),
}
"""Metric name, help text, label name and factor to the base unit, by a key's unit suffix."""


class Collector(Protocol):
    """Creates metrics on request."""

    def collect(self) -> Iterable[Metric]:
        """Return all metrics; called on the server's thread, so this must not wait."""


class Families:
    """Collects metrics; samples of a metric from several sources share one bounded family."""

    def __init__(self, **labels: str) -> None:
        """Start with no metrics.

        Args:
            labels: Labels for every sample.
        """
        self._labels, self._made = labels, dict[str, Metric]()

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._made.values())

    def gauge(self, name: str, text: str, value: float, /, **labels: str) -> None:
        """Add a sample of a value that can rise and fall."""
        self._add(GaugeMetricFamily, name, text, value, labels)

    def counter(self, name: str, text: str, value: float, /, **labels: str) -> None:
        """Add a sample of a count; `name` does not include `_total`."""
        self._add(CounterMetricFamily, name, text, value, labels)

    def info(self, name: str, text: str, words: Mapping[str, str], /, **labels: str) -> None:
        """Add a sample with value 1 and words as labels; `_info` is appended to the name."""
        cut = {key: word[:_LONGEST_LABEL] for key, word in words.items()}
        self._add(InfoMetricFamily, name, text, cut, labels)

    def telemetry(self, values: Mapping[str, str], **labels: str) -> None:
        """Add telemetry.

        Values with a known unit are converted to base units; otherwise, the key, unit included,
        becomes the `name` label.

        Args:
            values: Values as reported by a back end, with the unit in each key; non-numbers are
                omitted.
            labels: Labels of these samples.
        """
        for key, text in values.items():
            if (number := number_in(text)) is None:
                continue
            unit = next((unit for unit in TELEMETRY if key.endswith(unit)), None)
            if unit is None:
                about = "Other telemetry; the unit is in the name"
                self.gauge("telemetry", about, number, **labels, name=key)
            else:
                name, about, label, factor = TELEMETRY[unit]
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
        # The client escapes line breaks, but no other control characters.
        labels = {key: printable(text) for key, text in {**self._labels, **labels}.items()}
        if isinstance(value, Mapping):
            value = {key: printable(word) for key, word in value.items()}
        full = f"{PREFIX}_{name}" if name else PREFIX
        if full not in self._made:
            self._made[full] = kind(full, text, labels=[*labels])
        family: Any = self._made[full]
        if len(family.samples) < _MOST_LABELS:
            family.add_metric([word[:_LONGEST_LABEL] for word in labels.values()], value)


class MetricsServer:
    """Answers scrapers over HTTP until `close`, using prometheus_client's server.

    Attributes:
        port: Port on which the server listens.
        is_beyond: True if other machines can reach the port.
    """

    def __init__(self, option: str, place: tuple[str, int], metrics: Collector) -> None:
        """Listen, and answer each scraper on its own thread.

        Args:
            option: Name of the option that enables the server, used in messages.
            place: Host and port; port 0 selects a free one.
            metrics: The metrics.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(metrics)
        _, listening, self.is_beyond = listen_tcp(option, place)
        address = listening.getsockname()
        self.port: int = address[1]
        self._server = ThreadingWSGIServer(address[:2], _Scrape, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listening
        self._server.server_name, self._server.server_port = address[:2]
        self._server.setup_environ()
        self._server.set_app(make_wsgi_app(registry))
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Scrape(WSGIRequestHandler):
    timeout = _WITHIN_S

    def log_message(self, format: str, *args: object) -> None:  # http.server's name
        """Log nothing for individual requests."""
