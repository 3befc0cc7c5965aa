# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a request costs, counted in calls of Python functions, on which no other work has a say."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType

import pytest

import policy_inference
from policy_inference.service.monitor import Monitor
from policy_inference.service.notify import Notifier

from .lockstep import Clock, Model, Service, observation_frame, random_observation

_OURS = str(Path(policy_inference.__file__).parent)


@pytest.fixture
def watched_service(tmp_path: Path) -> Iterator[Service]:
    """A service with what watches it in operation, too."""
    monitors = list[Monitor]()

    def watched_by(model: Model, clock: Clock) -> Monitor:
        monitors.append(Monitor(model, Notifier({})))
        return monitors[-1]

    with closing(Service(tmp_path, watched_by=watched_by)) as service:
        yield service
        monitors[0].close()


def calls_of_a_request(service: Service, client: socket.socket, data: bytes) -> Counter[str]:
    """Return how often each function of the package is called for the latest of some requests."""
    calls = Counter[str]()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_OURS):
            calls[f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"] += 1

    for _ in range(3):
        calls.clear()
        client.sendall(data)
        sys.setprofile(note)
        service.loop.step(0)
        sys.setprofile(None)
        assert client.recv(len(data))
    return calls


@pytest.mark.parametrize(("protocol", "most"), [("raw", 19), ("framed", 25)])
def test_a_request_takes_few_calls(watched_service: Service, protocol: str, most: int) -> None:
    if protocol == "raw":
        client, data = watched_service.connect(), random_observation().tobytes()
        watched_service.settle()
    else:
        client, data = watched_service.welcomed(), observation_frame(random_observation())

    calls = calls_of_a_request(watched_service, client, data)

    assert calls.total() <= most, calls
