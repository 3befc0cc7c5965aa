# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a module or a command as a worker: a child process that ends when its parent ends.

    python -m policy_inference.worker_process LIFELINE -m MODULE ARGUMENT ...
    python -m policy_inference.worker_process LIFELINE COMMAND ARGUMENT ...

LIFELINE is the file descriptor of the read end of a pipe whose write end the parent process holds.
When the parent ends, for whatever reason, the worker gets SIGIO, which ends it immediately. A
worker that must finish something first handles SIGIO: a node shuts down as on SIGTERM, and a
driver's link process gives back control of the robot.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import runpy
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, TypeVar

from policy_core.errors import printable
from policy_inference.processes import PrivateFolder, link_packages
from policy_store.signals import INTERRUPTING

LEAVE_TIMEOUT_S = 2.0
"""Time limit for each step of ending a worker: on its own, after SIGTERM, after SIGKILL."""
_STOP_TIMEOUT_S = 15.0
"""Time limit for stopping; longer than a policy node takes to leave its robot safe."""
_SAID_BYTES = 4096
_MODULE = "-m"
_log = logging.getLogger("policy_inference")


class WorkerProcess:
    """A module or command in its own process, which ends together with this process.

    It has its own session, so Ctrl-C or a closing terminal affects only this process. At the end,
    call `end` or `stop`, even if the worker has ended on its own.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        interpreter: str = sys.executable,
        imports: Sequence[str] = (),
        fds: Sequence[int] = (),
        folder: Path = Path(),
        environment: Mapping[str, str] | None = None,
        output: IO[bytes] | None = None,
        own_session: bool = True,
    ) -> None:
        """Start the worker.

        Args:
            words: Command and arguments; or `-m`, a module and its arguments. A module finds the
                packages that this process finds.
            interpreter: The Python that runs a module. If it is not this process's interpreter, it
                finds, in addition to its own packages, only this package, the module's own package
                and those of `imports`, and the packages of the suite that these require.
            imports: Modules whose packages a different `interpreter` also finds.
            fds: File descriptors that the worker inherits, under the same numbers.
            folder: The worker's working folder.
            environment: Variables in addition to this process's.
            output: File for the worker's output; None for this process's streams.
            own_session: False to leave the worker in this process's session.
        """
        if words[0] != _MODULE and shutil.which(words[0]) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), words[0])
        self._own_session = own_session
        # One pipe each: the kernel signals the end of a pipe to one process only.
        held, lifeline = os.pipe()
        with ExitStack() as undo:
            undo.callback(os.close, lifeline)
            try:
                self._process = subprocess.Popen(
                    [interpreter, _MODULE, __name__, str(held), *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=folder,
                    env=_environment(words, interpreter, imports, undo) | dict(environment or {}),
                    start_new_session=own_session,
                    pass_fds=[held, *fds],
                )
            finally:
                os.close(held)
            self._resources = undo.pop_all()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status, or None while the worker runs; negative if a signal ended it."""
        return self._process.poll()

    def ends_within(self, time_s: float | None) -> bool:
        """Return True if the worker ends within this time; None waits without a limit."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(time_s)
        return self.status is not None

    def run_to_end(self) -> int:
        """Wait for the worker to end, without a limit; return its exit status.

        An exception kills the worker, with all processes in its own session.
        """
        try:
            self.ends_within(None)
        finally:
            self.kill()
            self.end()
        return self.status or 0

    def ask_to_end(self) -> None:
        """Send SIGTERM to the worker, but not to its children."""
        # Not SIGINT, which makes a just-started Python print a traceback.
        self._process.terminate()

    def kill(self) -> None:
        """Kill the worker and all processes in its own session; call `end` afterwards."""
        if self._own_session and self.status is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()

    def stop(self, patience_s: float = _STOP_TIMEOUT_S) -> None:
        if self.status is None:
            self.ask_to_end()
        self.end(patience_s)

    def end(self, patience_s: float | None = None) -> None:
        """Wait for the worker to end, then ask it to end, then kill it; a survivor is left behind.

        Args:
            patience_s: Time for the worker to end on its own (default LEAVE_TIMEOUT_S), s.
        """
        if not self.ends_within(LEAVE_TIMEOUT_S if patience_s is None else patience_s):
            for push in (self.ask_to_end, self.kill):
                push()
                if self.ends_within(LEAVE_TIMEOUT_S):
                    break
            else:
                _log.warning(
                    "process %d does not end, even after SIGKILL; it is left running", self.pid
                )
        self._resources.close()


class PrivateWorker(WorkerProcess):
    """A worker that runs a module in a private folder and keeps the end of its output.

    The folder is the worker's working folder, since Python searches the working folder first for
    modules and a world-writable one would be unsafe; it also holds the worker's temporary files.
    Output goes to a file, which `capture_native_output` also reads, and after `talk_through` to a
    pipe; only the end of the pipe's content is kept, since runs may print forever.

    The worker stays in this process's session because, if the kernel shares the processor between
    sessions (autogroup), SCHED_IDLE and `nice` apply only within a session. Its module ignores
    SIGINT.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        interpreter: str = sys.executable,
        imports: Sequence[str] = (),
        fds: Sequence[int] = (),
    ) -> None:
        """Start the worker.

        Args:
            module: The module that the worker runs.
            arguments: Arguments of the module, after the number of a pipe for `talk_through`.
            interpreter: Same as for WorkerProcess.
            imports: Same as for WorkerProcess.
            fds: Same as for WorkerProcess.
        """
        with ExitStack() as undo:
            self._folder = undo.enter_context(PrivateFolder())
            self._printed = undo.enter_context(tempfile.TemporaryFile())
            listening, talking = os.pipe()
            output = undo.enter_context(os.fdopen(listening, "rb", buffering=0))
            try:
                super().__init__(
                    [_MODULE, module, str(talking), *arguments],
                    interpreter=interpreter,
                    imports=imports,
                    fds=[talking, *fds],
                    folder=self.folder,
                    environment={"TMPDIR": str(self.folder)},
                    output=self._printed,
                    own_session=False,
                )
            finally:
                os.close(talking)
            undo.pop_all()
        self._said = bytes(_SAID_BYTES)
        self._reader = threading.Thread(
            target=self._listen, args=(output,), name="last words", daemon=True
        )
        self._reader.start()

    @property
    def folder(self) -> Path:
        return self._folder.path

    def said(self, within_s: float = 0.0) -> str:
        """Return the worker's last output (at most 4 KiB), made safe to print on a terminal.

        For a process that has ended, wait up to the time limit for its complete output.
        """
        if self.status is not None:
            self._reader.join(within_s)
        file = self._printed.fileno()
        first = os.pread(file, _SAID_BYTES, max(0, os.fstat(file).st_size - _SAID_BYTES))
        said = (first + self._said.lstrip(b"\0"))[-_SAID_BYTES:]
        return printable(said.decode("utf-8", "replace").strip())

    def end(self, patience_s: float | None = None) -> None:
        super().end(patience_s)
        self._reader.join(LEAVE_TIMEOUT_S)
        self._printed.close()
        self._folder.remove()

    def _listen(self, output: IO[bytes]) -> None:
        with output:
            while heard := output.read(_SAID_BYTES):
                self._said = (self._said + heard)[-_SAID_BYTES:]


def talk_through(pipe: int) -> None:
    """Redirect the output of this process, a private worker, to a pipe from now on."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(pipe, stream.fileno())
    os.close(pipe)


W = TypeVar("W", bound=WorkerProcess)
G = TypeVar("G", bound="ProcessGroup[Any]")


class ProcessGroup(Generic[W]):
    """Workers in a `with` block that stops all of them, last one first.

    Attributes:
        running: Workers that were added and not yet stopped.
    """

    def __init__(self) -> None:
        self.running = list[W]()

    def __enter__(self: G) -> G:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop all workers; a second Ctrl-C does not interrupt this."""
        before = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTING}
        try:
            self.stop()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def add(self, worker: W) -> W:
        self.running.append(worker)
        return worker

    def wait(self) -> int:
        """Wait for the first worker to end; return its exit status."""
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        statuses = [
            worker.status for worker in self.running if ended is None or worker.pid == ended.si_pid
        ]
        return next((status for status in statuses if status is not None), 1)

    def stop(self) -> None:
        while self.running:
            self.running.pop().stop()


def end_with_parent(lifeline: int) -> None:
    """Have the kernel send SIGIO to this process once the other end of a pipe is closed.

    By default, SIGIO ends a process without running Python code, so it works while a runtime holds
    the GIL. (The parent-death signal of prctl(2) arrives when the *thread* that started the child
    ends.)

    Args:
        lifeline: Descriptor of the read end.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])  # the mask is inherited
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        sys.exit("the process that started this one has ended")


def _environment(
    words: Sequence[str], interpreter: str, imports: Sequence[str], until_end: ExitStack
) -> dict[str, str]:
    """Return the worker's variables; a folder that they name is removed by `until_end`."""
    if words[0] != _MODULE:
        return dict(os.environ)
    if interpreter == sys.executable:
        path = [str(Path(folder).absolute()) for folder in sys.path if folder]
        return os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(path))}
    links = until_end.enter_context(PrivateFolder()).path
    link_packages([__name__, words[1], *imports], links)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | {"PYTHONPATH": str(links)}


def main() -> None:
    """Run a module or a command in this process, which ends with its parent process."""
    _, lifeline, *words = sys.argv
    end_with_parent(int(lifeline))
    if words[0] != _MODULE:
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # commands would inherit Python's SIG_IGN
            signal.signal(ignored, signal.SIG_DFL)
        os.execvp(words[0], words)
    sys.argv = words[1:]
    runpy.run_module(words[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
