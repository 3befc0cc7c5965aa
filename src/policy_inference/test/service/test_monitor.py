# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a service says and counts of its clients, its model and itself."""

import contextlib
import logging
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from policy_core.errors import BackendError
from policy_core.interfaces import F32
from policy_inference.machine.machine import Machine
from policy_inference.metrics_server import Families, MetricsServer
from policy_inference.service.metrics import ServiceMetrics
from policy_inference.service.monitor import LatencyDrift, Monitor
from policy_inference.service.notify import Notifier
from policy_inference.service.observer import Counts
from policy_inference.service.observing import Watched, watched_with
from policy_inference.service.protocol import Hello, ObservationScaling
from testkit.wording import check_wording, refusal

from .lockstep import (
    MS,
    OBS_DIM,
    Clock,
    Model,
    Service,
    observation_frame,
    random_observation,
    receive_action,
    receive_error,
    receive_frame,
)

MEAN, DIVISOR = np.linspace(-1.0, 1.0, OBS_DIM), np.full(OBS_DIM, 0.05)
EVERY_MS, LOOKS = 32.0, 64


class Watch:
    def __init__(self, folder: Path, watched: list[Watched]) -> None:
        def watched_by(model: Model, clock: Clock) -> Monitor:
            model.watched = watched
            self.monitor = Monitor(model, Notifier({}))
            return self.monitor

        self.service = Service(folder, watched_by=watched_by)

    def close(self) -> None:
        self.service.close()
        self.monitor.close()

    def ask(self, client: socket.socket, values: F32) -> None:
        client.sendall(values.astype(np.float32).tobytes())
        self.service.settle()
        receive_action(client)

    def ask_for_seconds(self, client: socket.socket, value: Callable[[int], F32]) -> None:
        """Ask as often as the watch judges once."""
        for number in range(LOOKS):
            self.service.after(EVERY_MS)
            self.ask(client, value(number))


@pytest.fixture
def watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Watch]:
    caplog.set_level(logging.INFO)
    with closing(Watch(tmp_path, watched_with((MEAN, DIVISOR)))) as opened:
        yield opened


def log_lines(caplog: pytest.LogCaptureFixture, *words: str) -> list[str]:
    return [text for text in caplog.messages if all(word in text for word in words)]


def trained(number: int) -> F32:
    noise = np.random.default_rng(number).standard_normal(OBS_DIM)
    values: F32 = (MEAN + DIVISOR * noise).astype(np.float32)
    return values


def test_requests_without_an_answer_are_one_event_until_there_are_answers(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    client = watch.service.welcomed(Hello(scaling=ObservationScaling.SCALED))
    broken = np.full((1, OBS_DIM), np.nan, np.float32)
    for values in [broken] * 20:
        client.sendall(observation_frame(values))
        watch.service.settle()
        receive_error(client)
    for number in range(3):
        client.sendall(observation_frame(trained(number)[None]))
        watch.service.settle()
        receive_frame(client)
    check_wording(*log_lines(caplog, "OBSERVATION_NOT_FINITE"), *log_lines(caplog, "again"))
    assert watch.monitor.counts.errors["OBSERVATION_NOT_FINITE"] == 20


def test_normalisation_mismatch_is_one_line_within_seconds_and_its_end_another(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    client = watch.service.connect()
    watch.ask_for_seconds(client, trained)
    assert not log_lines(caplog, "normalization mismatch")
    for _ in range(3):
        watch.ask_for_seconds(client, lambda n: ((trained(n) - MEAN) / DIVISOR).astype(np.float32))
    check_wording(*log_lines(caplog, "normalization mismatch"))
    assert watch.monitor.counts.errors["NORMALISATION_MISMATCH"] == 1
    for _ in range(2):
        watch.ask_for_seconds(client, trained)
    check_wording(*log_lines(caplog, "again"))


def test_a_model_that_can_run_no_more_ends_the_service_without_a_request(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.service.after(1000)
    monkeypatch.setattr(watch.service.model.backend, "problem", lambda: "the runtime has ended")
    watch.service.after(500)
    with refusal(BackendError):
        watch.service.after(500)


def test_latency_drift_is_said_and_shown_until_it_is_over(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    client, clock = watch.service.connect(), watch.service.clock
    for duration_ms in (1, 8, 8, 1):
        watch.service.model.meanwhile = lambda ms=duration_ms: setattr(
            clock, "ns", clock.ns + ms * MS
        )
        for _ in range(30):
            watch.ask(client, random_observation())
        watch.service.after(1000)
        if duration_ms == 8:
            assert watch.monitor.counts.slow
    check_wording(*log_lines(caplog, "latency drift"))
    assert not watch.monitor.counts.slow


def test_only_a_loop_that_passes_feeds_the_watchdog(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "5000000"})

        def watched_by(model: Model, clock: Clock) -> Monitor:
            return Monitor(model, notifier)

        with closing(Service(tmp_path, watched_by=watched_by)) as service, closing(notifier):
            service.after(1000)
            assert manager.recv(100) == b"WATCHDOG=1"
            service.after(500)
            service.clock.ns += 60_000 * MS  # an inference that hangs
            with pytest.raises(BlockingIOError):
                manager.recv(100)
            service.after(0)
            assert manager.recv(100) == b"WATCHDOG=1"


FAST_NS, SLOW_NS = 800_000, 2_000_000


class WatchedDrift:
    def __init__(self, machine: Machine | None = None, rate_hz: float = 50.0) -> None:
        self.drift = LatencyDrift(rate_hz, machine)

    def second(self, duration_ns: int, count: int = 50) -> str | None:
        for _ in range(count):
            self.drift.add(duration_ns)
        return self.drift.judge({})


def slowed(machine: Machine | None = None) -> str:
    watched = WatchedDrift(machine)
    assert watched.second(FAST_NS) is None
    return watched.second(SLOW_NS) or ""


def clocked(folder: Path, now_khz: int, highest_khz: int) -> Machine:
    """Return a machine whose core 3 runs this thread at some clock."""
    stat = folder / f"proc/self/task/{threading.get_native_id()}/stat"
    stat.parent.mkdir(parents=True)
    stat.write_text(" ".join(["7", "(a ) name)", "R", *["0"] * 35, "3", *["0"] * 13]))
    clock = folder / "sys/devices/system/cpu/cpu3/cpufreq"
    clock.mkdir(parents=True)
    for name, text in (
        ("scaling_cur_freq", now_khz),
        ("cpuinfo_max_freq", highest_khz),
        ("scaling_governor", "powersave"),
    ):
        (clock / name).write_text(f"{text}\n")
    return Machine(folder)


def test_a_core_on_a_low_clock_is_named_as_the_likely_cause_where_it_can_be_read(
    tmp_path: Path,
) -> None:
    check_wording(slowed(Machine(tmp_path)))
    check_wording(slowed(clocked(tmp_path, 600_000, 2_400_000)))


@pytest.mark.parametrize(("rate_hz", "small_ns"), [(0.0, 450_000), (50.0, 900_000)])
def test_what_is_small_beside_the_period_is_not_slow(rate_hz: float, small_ns: int) -> None:
    watched = WatchedDrift(rate_hz=rate_hz)
    watched.second(100_000)
    assert watched.second(small_ns) is None
    assert watched.second(2 * small_ns)


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Yield a listening socket and what NOTIFY_SOCKET says of it."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(5.0)
        listening.bind(name if request.param == "file" else "\0" + name)
        yield listening, name if request.param == "file" else "@" + name


def test_ready_alive_status_and_stopping_reach_systemd(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    with closing(Notifier({"NOTIFY_SOCKET": address})) as notifier:
        notifier.ready("serves lite3_walk")
        notifier.alive()
        notifier.status("slow")
        notifier.stopping()
        heard = [listening.recv(4096).decode() for _ in range(4)]
    assert heard == ["READY=1\nSTATUS=serves lite3_walk", "WATCHDOG=1", "STATUS=slow", "STOPPING=1"]


def test_a_manager_that_does_not_read_delays_nothing(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    with closing(Notifier({"NOTIFY_SOCKET": address})) as notifier:
        for _ in range(5000):  # more than any queue of datagrams holds
            notifier.alive()
        listening.recv(4096)
        notifier.stopping()
        listening.setblocking(False)
        heard = [*iter(lambda: _received(listening), "")]
    assert heard[-1] == "STOPPING=1"
    assert len(heard) < 5000


@pytest.mark.parametrize(
    ("variables", "period_s"),
    [
        ({"USEC": "5000000", "PID": str(os.getpid())}, 5.0),
        ({"USEC": "5000000", "PID": "1"}, None),
        *(({"USEC": text}, None) for text in ("", "0")),
    ],
)
def test_watchdog_is_this_process_s_or_none(
    variables: dict[str, str], period_s: float | None
) -> None:
    environment = {f"WATCHDOG_{name}": value for name, value in variables.items()}
    assert Notifier(environment).watchdog_s == period_s


def _received(listening: socket.socket) -> str:
    try:
        return listening.recv(4096).decode()
    except BlockingIOError:
        return ""


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


def test_names_in_metrics_make_no_line_of_their_own() -> None:
    name = "arm\nfake_metric 1\r\x1b[2J"

    class Named:
        def collect(self) -> Families:
            made = Families(robot=name)
            made.gauge("age", "Age", 1.0, node=name)
            made.info("version", "Version", {"bundle": name})
            return made

    registry = CollectorRegistry()
    registry.register(Named())
    lines = generate_latest(registry).decode("utf-8").split("\n")
    assert all(line.isprintable() for line in lines)
    assert not [line for line in lines if line.startswith("fake_metric")]
