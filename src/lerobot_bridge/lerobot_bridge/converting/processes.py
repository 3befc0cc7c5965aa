# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs jobs in processes of their own: memory and faults of a job end with its process.

Processes are forked from a server that has imported what the work needs. A process that dies is
reported by the name of its job. A process ends by itself when its command has ended.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from model_tools.errors import ToolError
from policy_core.errors import PolicyError
from policy_inference.processes import environment

Job = TypeVar("Job")
Result = TypeVar("Result")
OnProgress = Callable[[float], None]
"""Called with the share of the work that is done, 0 to 1."""

_ALONE = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TQDM_DISABLE": "1",
}
"""Processes give the parallelism. Nothing is downloaded. This program draws the progress bar."""


class Refused(NamedTuple):
    """A job whose input was refused, with the text of the error."""

    why: str


class _RunningJob(NamedTuple):
    name: str
    process: ForkServerProcess


def run_apart(
    work: Callable[[Job, OnProgress], Result],
    jobs: Mapping[str, Job],
    *,
    at_once: int,
    needs: str,
    log: Path,
    on_progress: Callable[[float], None] = lambda jobs_done: None,
) -> dict[str, Result | Refused]:
    """Do each job in a process of its own.

    Args:
        work: A function of a module. An error that a user can correct refuses the job.
        jobs: First argument of `work`, by the name of the job.
        at_once: The number of processes.
        needs: Module that is imported once for all.
        log: File for the output of the processes.
        on_progress: Called with the number of jobs that are done, fractions included.

    Returns:
        The result of each job, by its name.

    Raises:
        ToolError: A process died.
        OSError: A process could not read or write something.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([needs])
    crew = _Crew(work, jobs, context, log, on_progress)
    with environment(_ALONE):
        try:
            crew.run(at_once)
        finally:
            crew.dismiss()
    return {name: crew.results[name] for name in jobs}


class _Crew(Generic[Job, Result]):
    """The running processes, and the results of those that have finished."""

    def __init__(
        self,
        work: Callable[[Job, OnProgress], Result],
        jobs: Mapping[str, Job],
        context: ForkServerContext,
        log: Path,
        on_progress: Callable[[float], None],
    ) -> None:
        self._work, self._jobs, self._context = work, jobs, context
        self._log, self._on_progress = log, on_progress
        self._running: dict[Connection, _RunningJob] = {}
        self._shares: dict[str, float] = {}
        self.results: dict[str, Result | Refused] = {}

    def run(self, at_once: int) -> None:
        for name in self._jobs:
            while len(self._running) >= at_once:
                self._listen()
            self._start(name)
        while self._running:
            self._listen()

    def dismiss(self) -> None:
        """End the processes that still run."""
        for each in self._running.values():
            each.process.terminate()
        for each in self._running.values():
            each.process.join()

    def _start(self, name: str) -> None:
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_begin, args=(self._work, self._jobs[name], sender, str(self._log))
        )
        process.start()
        sender.close()  # the process has its own: ours would keep the pipe open after its end
        self._running[receiver] = _RunningJob(name, process)

    def _listen(self) -> None:
        """Wait for the next message of any process."""
        for receiver in wait(list(self._running)):
            assert isinstance(receiver, Connection)
            try:
                said = receiver.recv()
            except EOFError:
                self._end(receiver)
                continue
            name = self._running[receiver].name
            if isinstance(said, OSError):
                raise said
            if isinstance(said, float):
                self._shares[name] = said
            else:
                self.results[name], self._shares[name] = said[0], 1.0
            self._on_progress(sum(self._shares.values()))

    def _end(self, receiver: Connection) -> None:
        name, process = self._running.pop(receiver)
        receiver.close()
        process.join()
        if name not in self.results:
            raise ToolError(
                f"{name}: expected a process that finishes it, found one that ended "
                f"with status {process.exitcode}, {_reason(process.exitcode)}; its "
                f"output is in {self._log}"
            )


def _begin(
    work: Callable[[Job, OnProgress], Result], job: Job, sender: Connection, log: str
) -> None:
    """Do a job in a new process, and send its result."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command that waits for it ends it
    _print_to(Path(log))
    try:
        sender.send((work(job, sender.send),))
    except BrokenPipeError:
        sys.exit("the command has ended")
    except PolicyError as error:
        sender.send((Refused(str(error)),))
    except OSError as error:
        sender.send(OSError(error.errno or errno.EIO, error.strerror or str(error), error.filename))


def _print_to(log: Path) -> None:
    """Send everything that is printed, also by C libraries, into a file."""
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def _reason(status: int | None) -> str:
    if status == -signal.SIGKILL:
        return "probably for lack of memory; use a smaller --processes"
    return "an error of the program"
