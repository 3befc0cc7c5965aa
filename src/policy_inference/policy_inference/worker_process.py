# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How the suite starts processes, and how they end: with the process that started them.

    python -m policy_inference.worker_process LIFELINE -m MODULE ARGUMENT ...
    python -m policy_inference.worker_process LIFELINE COMMAND ARGUMENT ...

runs a module, or a command in its place. LIFELINE is the number of the reading end of a pipe whose
other end is held by the parent process. When the parent has ended, for whatever reason, the worker
gets SIGIO, which ends it at once. A worker that has something to finish handles SIGIO: a node ends
as it does after SIGTERM, the link process of a driver gives control of the robot back.
"""

from __future__ import annotations

import errno
import fcntl
import importlib
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
from policy_inference.processes import PrivateFolder
from policy_store.signals import INTERRUPTING

LEAVE_TIMEOUT_S = 2.0
"""How long a worker may take for each step of its end: by itself, after SIGTERM, after SIGKILL."""
_STOP_TIMEOUT_S = 15.0
"""Longer than a policy node takes to leave its robot safe."""
_SAID_BYTES = 4096
_MODULE = "-m"
_SUITE = ("policy_core", "policy_inference")
_log = logging.getLogger("policy_inference")


class WorkerProcess:
    """A module or a command in a process of its own, which ends with this process.

    It has a session of its own, so that a Ctrl-C, or a terminal that closes, reaches only this
    process. Call `end` or `stop` in the end, also where it has ended by itself.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        interpreter: str = sys.executable,
        packages: Sequence[str] = (),
        fds: Sequence[int] = (),
        folder: Path = Path(),
        environment: Mapping[str, str] | None = None,
        output: IO[bytes] | None = None,
        own_session: bool = True,
    ) -> None:
        """Start it.

        Args:
            words: Command and arguments; or `-m`, a module and its arguments. A module finds the
                packages that this process finds.
            interpreter: The Python that runs a module. Another one than that of this process finds
                the kernel, this package, the module's own package and `packages`, nothing else of
                ours.
            packages: See `interpreter`; imported here already.
            fds: File descriptors that it inherits, under the same numbers.
            folder: Its working folder.
            environment: Variables beside those of this process.
            output: File for what it prints; None for the streams of this process.
            own_session: False leaves it in the session of this process.
        """
        if words[0] != _MODULE and shutil.which(words[0]) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), words[0])
        self._own_session = own_session
        # One pipe for each: the kernel signals the end of a pipe to one process only.
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
                    env=_environment(words, interpreter, packages) | dict(environment or {}),
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
        """Exit status, None while it runs; negative: ended by that signal."""
        return self._process.poll()

    def ends_within(self, time_s: float | None) -> bool:
        """Return whether it has ended after this time at most; None waits without a limit."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(time_s)
        return self.status is not None

    def run_to_end(self) -> int:
        """Wait for its end without a limit; return its exit status.

        An interruption kills it, with all processes of its own session.
        """
        try:
            self.ends_within(None)
        finally:
            self.kill()
            self.end()
        return self.status or 0

    def ask_to_end(self) -> None:
        """Send SIGTERM to it, not to processes that it has started."""
        # Not SIGINT, which makes a Python that has only begun print a traceback.
        self._process.terminate()

    def kill(self) -> None:
        """End it by force, with all processes of its own session; `end` comes after that."""
        if self._own_session and self.status is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()

    def stop(self, patience_s: float = _STOP_TIMEOUT_S) -> None:
        if self.status is None:
            self.ask_to_end()
        self.end(patience_s)

    def end(self, patience_s: float | None = None) -> None:
        """Wait for its end, ask for it, force it; a process that runs even then is left behind.

        Args:
            patience_s: Time that it has to end by itself (default LEAVE_TIMEOUT_S), s.
        """
        if not self.ends_within(LEAVE_TIMEOUT_S if patience_s is None else patience_s):
            for push in (self.ask_to_end, self.kill):
                push()
                if self.ends_within(LEAVE_TIMEOUT_S):
                    break
            else:
                _log.warning(
                    "process %d does not end, not even by force; it is left behind", self.pid
                )
        self._resources.close()


class PrivateWorker(WorkerProcess):
    """A module with a private folder, whose last words are kept.

    The folder is its working folder, since a world-writable one would be the first place where
    Python looks for modules, and the place of its temporary files. What it prints goes into a
    file, where `capture_native_output` reads along, and after `talk_through` into a pipe, of which
    only the end is kept, since runs may print for ever.

    It stays in the session of this process: where the kernel shares the processor between sessions
    (autogroup), SCHED_IDLE and `nice` count only within one. Its module ignores SIGINT.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        interpreter: str = sys.executable,
        fds: Sequence[int] = (),
    ) -> None:
        """Start it.

        Args:
            module: The module that it runs.
            arguments: Of the module; before them it gets the number of a pipe for `talk_through`.
            interpreter: As for WorkerProcess.
            fds: As for WorkerProcess.
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
        """Return what it printed last, as a terminal may show it: at most 4 KiB.

        Of one that has ended, wait so long for all of it.
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
    """Let this process, a private worker, print into a pipe from now on."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(pipe, stream.fileno())
    os.close(pipe)


W = TypeVar("W", bound=WorkerProcess)
G = TypeVar("G", bound="ProcessGroup[Any]")


class ProcessGroup(Generic[W]):
    """Workers in a `with` block that stops all of them, the last one first.

    Attributes:
        running: Those that were added and not yet stopped.
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
        """Stop all; a second Ctrl-C does not cut that short."""
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
        """Wait for the first of them to end; return its exit status."""
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        statuses = [
            worker.status for worker in self.running if ended is None or worker.pid == ended.si_pid
        ]
        return next((status for status in statuses if status is not None), 1)

    def stop(self) -> None:
        while self.running:
            self.running.pop().stop()


def end_with_parent(lifeline: int) -> None:
    """Let the kernel send SIGIO to this process when no process holds a pipe's other end any more.

    By default SIGIO ends a process, and needs nothing of Python for that, so that it works while a
    runtime keeps Python's lock. (The signal at a parent's death of prctl(2) comes when the *thread*
    ends that started the child.)

    Args:
        lifeline: Descriptor of the reading end.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])  # which is inherited
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        sys.exit("the process that started this one has ended")


def _environment(words: Sequence[str], interpreter: str, packages: Sequence[str]) -> dict[str, str]:
    if words[0] != _MODULE:
        return dict(os.environ)
    if interpreter == sys.executable:
        path = [str(Path(folder).absolute()) for folder in sys.path if folder]
        return os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(path))}
    names = [*_SUITE, words[1].partition(".")[0], *packages]
    folders = (Path(importlib.import_module(name).__path__[0]).resolve().parent for name in names)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(map(str, folders)))}


def main() -> None:
    """Run a module or a command in this process, which ends with the one that started it."""
    _, lifeline, *words = sys.argv
    end_with_parent(int(lifeline))
    if words[0] != _MODULE:
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, and a command inherits that
            signal.signal(ignored, signal.SIG_DFL)
        os.execvp(words[0], words)
    sys.argv = words[1:]
    runpy.run_module(words[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
