# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What Prometheus scrapes, read by its own parser over HTTP."""

from __future__ import annotations

import contextlib
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from policy_core.errors import PolicyError
from policy_inference.metrics_server import MetricsServer
from policy_inference.service.metrics import ServiceMetrics
from policy_inference.service.observer import Counts
from testkit.wording import refusal

HOST = "127.0.0.1"
TELEMETRY = {
    "npu_frequency_mhz": "1000",
    "npu_governor": "rknpu_ondemand",
    "npu_load_percent": "nan",
    "cpu_temperature_c": "51.5",
    "memory_available_mib": "2",
    "power_w": "7.25",
}


@pytest.fixture
def counts() -> Counts:
    return Counts(("raw", "framed"))


@pytest.fixture
def metrics_endpoint(counts: Counts) -> Iterator[MetricsServer]:
    versions = {"policy": "lite3_walk", "policy_sha256": "ab" * 32, "a vendor's": 'own "words"'}
    metrics_endpoint = ServiceMetrics(counts, {"action_clip": 7}, versions, lambda: TELEMETRY)
    with closing(MetricsServer("--metrics", (HOST, 0), metrics_endpoint)) as opened:
        yield opened


def metrics_server(place: tuple[str, int], counts: Counts) -> MetricsServer:
    return MetricsServer("--metrics", place, ServiceMetrics(counts, {}, {}, dict))


def scraped_text(metrics_endpoint: MetricsServer) -> str:
    place = f"http://{HOST}:{metrics_endpoint.port}/metrics"
    with urllib.request.urlopen(place, timeout=10) as answer:
        return str(answer.read().decode())


def scraped_samples(metrics_endpoint: MetricsServer) -> dict[tuple[str, ...], float]:
    """Return the value of each sample by its name and the values of its labels."""
    text = scraped_text(metrics_endpoint)
    return {
        (sample.name.removeprefix("policy_inference_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def connect_scraper(metrics_endpoint: MetricsServer) -> socket.socket:
    return socket.create_connection((HOST, metrics_endpoint.port), timeout=30)


def test_latencies_are_counted_in_cumulated_buckets_of_seconds(
    counts: Counts, metrics_endpoint: MetricsServer
) -> None:
    for microseconds in (40, 50, 51, 900, 200_000):
        counts.latency_ns["raw"].add(microseconds * 1000)
    found = scraped_samples(metrics_endpoint)
    below = {
        labels[1]: value
        for labels, value in found.items()
        if labels[0] == "request_seconds_bucket" and labels[2:] == ("raw",)
    }
    below |= {
        labels[2]: value
        for labels, value in found.items()
        if labels[0] == "request_seconds_bucket" and labels[1] == "raw"
    }
    assert (below["5e-05"], below["0.0001"], below["0.001"], below["0.1"], below["+Inf"]) == (
        2,
        3,
        4,
        4,
        5,
    )
    assert found["request_seconds_count", "raw"] == 5
    assert found["request_seconds_count", "framed"] == 0
    assert found["request_seconds_sum", "raw"] == pytest.approx(0.201041)


def test_clients_errors_and_rows_are_counted(
    counts: Counts, metrics_endpoint: MetricsServer
) -> None:
    counts.opened("raw")
    counts.opened("framed")
    counts.closed("raw")
    counts.failed("OTHER_POLICY")
    counts.failed("OTHER_POLICY")
    counts.rows.add(3)
    found = scraped_samples(metrics_endpoint)
    assert (found["clients", "raw"], found["clients", "framed"]) == (0, 1)
    assert found["clients_accepted_total", "raw"] == 1
    assert found["errors_total", "OTHER_POLICY"] == 2
    assert found["guard_total", "action_clip"] == 7
    assert (found["inference_rows_bucket", "2"], found["inference_rows_bucket", "4"]) == (0, 1)
    assert found["inference_rows_sum",] == 3


def test_telemetry_that_is_a_number_is_shown_in_base_units(metrics_endpoint: MetricsServer) -> None:
    found = scraped_samples(metrics_endpoint)
    assert found["frequency_hertz", "npu"] == 1e9
    assert found["temperature_celsius", "cpu"] == 51.5
    assert found["available_bytes", "memory"] == 2 * 2**20
    assert found["telemetry", "power_w"] == 7.25
    assert {key for key in found if key[0] in ("load_ratio", "telemetry")} == {
        ("telemetry", "power_w")
    }


def test_a_port_that_is_taken_is_a_clear_error(counts: Counts) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with refusal(PolicyError):
            metrics_server((HOST, port), counts)


def test_a_scraper_that_says_nothing_is_cut_off(metrics_endpoint: MetricsServer) -> None:
    with connect_scraper(metrics_endpoint) as silent:
        silent.sendall(b"GET /met")
        assert silent.recv(1) == b""
        assert ("slow",) in scraped_samples(metrics_endpoint)


def test_half_a_request_keeps_no_other_from_its_answer(metrics_endpoint: MetricsServer) -> None:
    with contextlib.ExitStack() as opened:
        halves = [opened.enter_context(connect_scraper(metrics_endpoint)) for _ in range(33)]
        for half in halves:
            half.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert ("slow",) in scraped_samples(metrics_endpoint)
        halves[-1].sendall(b"\r\n")
        assert halves[-1].recv(15) == b"HTTP/1.0 200 OK"
