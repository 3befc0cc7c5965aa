# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np

from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.members.chunk.worker import ChunkAnswer, InlineWorker, Request


def numbered_request(number: int, generation: int = 0) -> Request:
    sensed = Snapshot(time_ns=number, frames={}, fields={})
    return Request(sensed=sensed, generation=generation, asked_ns=number)


def test_inline_hands_over_when_the_callers_clock_says_so() -> None:
    worker = InlineWorker(
        lambda request: ChunkAnswer(np.full((1, 1), float(request.sensed.time_ns))), delay_ns=100
    )
    worker.ask(numbered_request(1000))
    assert worker.busy
    assert worker.take(1099) is None
    outcome = worker.take(1100)
    assert outcome is not None
    assert (outcome.began_ns, outcome.ended_ns) == (1000, 1100)
    assert not worker.busy
    assert worker.take(5000) is None


def test_inline_lets_the_latest_request_wait_for_the_one_before() -> None:
    worker = InlineWorker(
        lambda request: ChunkAnswer(np.full((1, 1), float(request.sensed.time_ns))), delay_ns=100
    )
    for number in (0, 10, 20):
        worker.ask(numbered_request(number))
    ended = []
    for now_ns in range(0, 400, 5):
        if (outcome := worker.take(now_ns)) is not None:
            ended.append((outcome.request.sensed.time_ns, outcome.began_ns, outcome.ended_ns))
    assert ended == [(0, 0, 100), (20, 100, 200)]
