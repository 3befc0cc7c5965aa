# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from policy_core.errors import BackendError
from policy_core.interfaces import Mode
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.members.chunk.worker import ChunkAnswer, Outcome, Request
from policy_inference.kinds.chunk_worker import ThreadWorker
from testkit.kernel.arms import Arm
from testkit.waiting import until

TIMEOUT_S = 20.0


def numbered_request(number: int, generation: int = 0) -> Request:
    sensed = Snapshot(time_ns=number, frames={}, fields={})
    return Request(sensed=sensed, generation=generation, asked_ns=number)


class Gate:
    def __init__(self) -> None:
        self.began, self.may_end = threading.Semaphore(0), threading.Semaphore(0)
        self.seen: list[int] = []

    def run(self, request: Request) -> ChunkAnswer:
        self.seen.append(request.sensed.time_ns)
        self.began.release()
        assert self.may_end.acquire(timeout=TIMEOUT_S)
        return ChunkAnswer(np.full((2, 1), float(request.sensed.time_ns)))

    def wait_until_it_began(self) -> None:
        assert self.began.acquire(timeout=TIMEOUT_S)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def worker(gate: Gate) -> Iterator[ThreadWorker]:
    worker = ThreadWorker(gate.run, time.monotonic_ns)
    yield worker
    gate.may_end.release(100)
    worker.close()


def outcome_of(worker: ThreadWorker) -> Outcome:
    found: Outcome | None = None

    def is_there() -> bool:
        nonlocal found
        found = worker.take(0)
        return found is not None

    until(is_there, "an outcome")
    assert found is not None
    return found


def test_the_tick_does_not_wait_for_inference(gate: Gate, worker: ThreadWorker) -> None:
    worker.ask(numbered_request(1))
    gate.wait_until_it_began()
    assert worker.busy
    assert worker.take(0) is None
    gate.may_end.release()
    outcome = outcome_of(worker)
    assert outcome.chunk is not None
    assert outcome.chunk.tolist() == [[1.0], [1.0]]
    assert outcome.request.sensed.time_ns == 1
    assert 0 < outcome.began_ns <= outcome.ended_ns
    assert not worker.busy


def test_the_latest_request_takes_the_place_of_one_that_has_not_begun(
    gate: Gate, worker: ThreadWorker
) -> None:
    worker.ask(numbered_request(1))
    gate.wait_until_it_began()
    worker.ask(numbered_request(2))
    worker.ask(numbered_request(3))
    gate.may_end.release(2)
    assert [outcome_of(worker).request.sensed.time_ns for _ in range(2)] == [1, 3]
    assert gate.seen == [1, 3]


def test_forget_drops_what_has_not_begun_and_the_rest_is_known_by_its_generation(
    gate: Gate, worker: ThreadWorker
) -> None:
    worker.ask(numbered_request(1, generation=7))
    gate.wait_until_it_began()
    worker.ask(numbered_request(2, generation=7))
    worker.forget()
    gate.may_end.release()
    assert outcome_of(worker).request.generation == 7
    assert not worker.busy
    assert gate.seen == [1]


@pytest.mark.parametrize(
    "error", [BackendError("the device is gone"), ZeroDivisionError(), SystemExit(1)]
)
def test_errors_are_handed_over_and_the_worker_goes_on(error: BaseException) -> None:
    answers = iter([error, None])

    def run(request: Request) -> ChunkAnswer:
        if (found := next(answers)) is not None:
            raise found
        return ChunkAnswer(np.zeros((1, 1)))

    worker = ThreadWorker(run, time.monotonic_ns)
    worker.ask(numbered_request(1))
    assert outcome_of(worker).error is error
    worker.ask(numbered_request(2))
    assert outcome_of(worker).error is None
    worker.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_whose_thread_has_ended_is_not_busy() -> None:
    def clock() -> int:
        raise SystemExit

    worker = ThreadWorker(lambda request: ChunkAnswer(np.zeros((1, 1))), clock)
    assert worker.alive
    worker.ask(numbered_request(1))
    until(lambda: not worker.alive)
    assert not worker.busy
    worker.close()


@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit])
def test_a_fault_of_ours_in_the_thread_is_raised_in_the_tick_though_steps_are_left(
    kind: type[BaseException],
) -> None:
    # Simulated time passes while the test waits for the thread.
    arm = Arm({"safety.damp_after_s": 3600.0}, inline=False, mode="ensemble", ensemble_coeff=0.01)
    arm.run()
    until(lambda: (arm.tick(), arm.is_in(Mode.RUN))[1])

    def fail(run: int) -> float:
        raise kind

    arm.answer = fail
    with pytest.raises(kind):
        until(lambda: arm.tick() is None)
    assert arm.runtime.worker.alive
    arm.answer = lambda run: 0.25
    arm.controller.damp()
    arm.run()
    until(lambda: arm.tick()[0] == 0.25)
    arm.runtime.close()


def test_close_waits_for_what_runs_and_drops_what_waits(gate: Gate) -> None:
    worker = ThreadWorker(gate.run, time.monotonic_ns, name="closing")
    worker.ask(numbered_request(1))
    gate.wait_until_it_began()
    worker.ask(numbered_request(2))
    worker.close(timeout_s=0.0)
    assert worker.busy
    gate.may_end.release()
    worker.close()
    assert not worker.busy
    assert gate.seen == [1]
    assert "closing" not in {thread.name for thread in threading.enumerate()}
