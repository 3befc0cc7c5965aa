# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Pool of processes on this machine. A process that dies affects only its own task.

concurrent.futures has no such pool: there, a worker that dies breaks all tasks, and a task that
takes too long cannot be ended.
"""

from __future__ import annotations

import functools
import math
import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from policy_core.errors import PolicyError
from policy_inference.processes import environment
from policy_inference.worker_process import end_with_parent

ATTEMPTS = 3
"""Number of attempts at a task whose process dies."""
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LP_NUM_THREADS"), "1"
)
"""Environment of a worker: the tasks share the cores, so each uses one thread."""
_LOOK_EACH_S = 1.0
_LEAVE_S = 5.0
T = TypeVar("T")
R = TypeVar("R")
Out = TypeVar("Out", covariant=True)


@dataclass(frozen=True, slots=True)
class NotDone:
    """Reason for a missing result."""

    reason: str


Tell = Callable[[float], None]
"""Reports the completed fraction of a task, 0 to 1."""
Results = Generator[tuple[T, R | NotDone], None, None]


class TaskPool(Protocol[T, Out]):
    """Interface of pools, which run tasks in any order."""

    def run(self, tasks: Iterable[T]) -> Results[T, Out]:
        """Yield each task with its result, as available; closing the iterator cancels the rest."""


class LocalPool(Generic[T, R]):
    """Processes on this machine, each with one task at a time; they end with this process."""

    def __init__(
        self,
        work: Callable[[T], R] | Callable[[T, Tell], R],
        workers: int,
        *,
        time_limit_s: float = math.inf,
        attempts: int = ATTEMPTS,
        preload: str = "",
        log: Path | None = None,
        on_progress: Callable[[T, float], None] | None = None,
    ) -> None:
        """Store the options; start nothing yet.

        Args:
            work: Importable function that is called with a task.
            workers: Maximum number of processes.
            time_limit_s: Time limit of a task.
            attempts: Number of attempts at a task whose process dies.
            preload: Module that a server imports once; each task then runs in its own process,
                forked from the server, so its memory is freed at the end. If empty, a process runs
                several tasks in sequence.
            log: File for the processes' output; None for the streams of this process.
            on_progress: Called with a task and its completed fraction, 0 to 1. If given, `work`
                receives a second argument, a `Tell`.
        """
        self._work, self._workers, self._time_limit_s = work, workers, time_limit_s
        self._attempts, self._on_progress = attempts, on_progress
        self._preload, self._log = preload, log

    def run(self, tasks: Iterable[T]) -> Results[T, R]:
        waiting, again = iter(tasks), deque[_Attempt[T]]()
        workers = list[_Worker[T, R]]()
        try:
            while True:
                self._give(workers, waiting, again)
                if not workers:
                    return
                yield from self._collect(workers, again)
        finally:
            for worker in workers:
                worker.end()

    def _give(
        self, workers: list[_Worker[T, R]], waiting: Iterator[T], again: deque[_Attempt[T]]
    ) -> None:
        """Give each free worker a task; start workers while there are tasks, end idle ones."""

        def following() -> _Attempt[T] | None:
            if again:
                return again.popleft()
            return next((_Attempt(task) for task in waiting), None)

        for worker in [worker for worker in workers if worker.attempt is None]:
            attempt = following()
            if attempt is None:
                workers.remove(worker)
                worker.leave()
            else:
                worker.begin(attempt)
        while len(workers) < self._workers and (attempt := following()) is not None:
            worker = self._started()
            workers.append(worker)
            worker.begin(attempt)

    def _started(self) -> _Worker[T, R]:
        context: SpawnContext | ForkServerContext = multiprocessing.get_context("spawn")
        if self._preload:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([self._preload])
        return _Worker(context, self._work, self._log, reports=self._on_progress is not None)

    def _collect(
        self, workers: list[_Worker[T, R]], again: deque[_Attempt[T]]
    ) -> Iterator[tuple[T, R | NotDone]]:
        wait([end for worker in workers for end in worker.ends], _LOOK_EACH_S)
        for worker in list(workers):
            attempt = worker.attempt
            assert attempt is not None
            if worker.has_answered(self._on_progress):
                yield attempt.task, worker.answer()
                if self._preload:
                    workers.remove(worker)
                    worker.leave()
            elif not worker.is_alive():
                workers.remove(worker)
                worker.end()
                attempt.deaths.append(worker.how_it_ended())
                if len(attempt.deaths) < self._attempts:
                    again.append(attempt)
                else:
                    yield attempt.task, NotDone(_died(attempt.deaths))
            elif worker.seconds > self._time_limit_s:
                workers.remove(worker)
                worker.end()
                yield attempt.task, NotDone(f"took longer than {self._time_limit_s:g} s")


class _Attempt(Generic[T]):
    """A task, and how each process that died while running it ended."""

    def __init__(self, task: T) -> None:
        self.task, self.deaths = task, list[str]()


class _Worker(Generic[T, R]):
    """A process, and its current task."""

    def __init__(
        self,
        context: SpawnContext | ForkServerContext,
        work: Callable[..., R],
        log: Path | None,
        *,
        reports: bool,
    ) -> None:
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, work, log, reports), daemon=True
        )
        with environment(ONE_THREAD):
            self._process.start()
        theirs.close()
        self.attempt: _Attempt[T] | None = None
        self._began_s, self._answer = 0.0, list[R | NotDone]()

    @property
    def ends(self) -> Sequence[Any]:
        """Handles that become ready when the worker answers or dies."""
        return self._connection, self._process.sentinel

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began_s

    def begin(self, attempt: _Attempt[T]) -> None:
        self.attempt, self._began_s = attempt, time.monotonic()
        try:
            self._connection.send(attempt.task)
        except OSError:
            self._process.join(_LEAVE_S)  # it died; updates `is_alive`

    def has_answered(self, on_progress: Callable[[T, float], None] | None) -> bool:
        """Return whether `answer` has a result; false for a process that ended before answering."""
        try:
            while not self._answer and self._connection.poll():
                share, self._answer = self._connection.recv()
                if on_progress is not None and self.attempt is not None:
                    on_progress(self.attempt.task, share)
        except (EOFError, OSError):
            self._process.join(_LEAVE_S)
        return bool(self._answer)

    def answer(self) -> R | NotDone:
        """Return the task's result, which can be taken once; after that, the worker is free."""
        self.attempt = None
        return self._answer.pop()

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def how_it_ended(self) -> str:
        code = self._process.exitcode or 0
        if code >= 0:
            return f"exit status {code}"
        name = signal.Signals(-code).name
        return f"{name}, as happens when memory runs out" if -code == signal.SIGKILL else name

    def leave(self) -> None:
        self._connection.close()
        self._process.join(_LEAVE_S)
        self.end()

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()


def _serve(
    connection: Connection, work: Callable[..., Any], log: Path | None, reports: bool
) -> None:
    """Run tasks in a worker process until the other end of the connection closes."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    end_with_parent(parent.sentinel)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends this one
    if log is not None:
        _print_to(log)
    if reports:
        work = functools.partial(_told, work, lambda share: connection.send((share, [])))
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send((1.0, [done_or_not(work, task)]))


def _told(work: Callable[[Any, Tell], Any], tell: Tell, task: Any) -> Any:
    return work(task, tell)


def _print_to(log: Path) -> None:
    """Redirect all output, including that of C libraries, to a file."""
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def done_or_not(work: Callable[[T], R], task: T) -> R | NotDone:
    """Run a task; return its result, or a failure as `NotDone`; print unexpected errors."""
    try:
        return work(task)
    except (PolicyError, OSError) as error:
        return NotDone(str(error))
    except Exception as error:  # noqa: BLE001  # one of thousands of tasks must not end the others
        traceback.print_exc()
        return NotDone(f"{type(error).__name__}: {error}")


def _died(deaths: Sequence[str]) -> str:
    each = ", ".join(dict.fromkeys(deaths))
    times = "once" if len(deaths) == 1 else f"{len(deaths)} times"
    return f"its process died {times} without producing a result ({each})"
