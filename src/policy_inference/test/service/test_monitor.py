# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a service says and counts of its clients, its model and itself."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from policy_core.errors import BackendError
from policy_core.interfaces import F32
from policy_inference.service.monitor import Monitor
from policy_inference.service.notify import Notifier
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
    """A service and what watches it."""

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
    """Return an observation as in training."""
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
    assert not log_lines(caplog, "normalisation mismatch")
    for _ in range(3):
        watch.ask_for_seconds(client, lambda n: ((trained(n) - MEAN) / DIVISOR).astype(np.float32))
    check_wording(*log_lines(caplog, "normalisation mismatch"))
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
