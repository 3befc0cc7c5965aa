# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How processes start and end: signals, processes that end with their parent, private folders.

    python -m policy_inference.processes LIFELINE MODULE ARGUMENT ...

runs a module that gets SIGIO when the process that started it has ended, for whatever reason.
LIFELINE is the number of the reading end of a pipe, of which that process holds the other end. A
module that does not handle SIGIO ends at once; a node ends as it does after SIGTERM.
"""

from __future__ import annotations

import fcntl
import logging
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import policy_core
import policy_inference
from policy_inference.log_pump import flush_log

INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that interrupt a command: Ctrl-C, `kill`, a terminal that closes, Ctrl-\\."""
HANGS_AFTER_S = 5.0
"""After a signal a process ends although a runtime does not return; after a second one at once."""
SIGNALLED = 128
"""Added to a signal's number in the exit status, as shells do."""
_TIME_TO_LEAVE_S = 15.0
"""Longer than a policy node takes to leave its robot safe."""
_log = logging.getLogger("policy_inference")
_folders: set[tempfile.TemporaryDirectory[str]] = set()


def packages_path() -> str:
    """Return the PYTHONPATH with which another interpreter finds this package and the kernel."""
    folders = (
        Path(package.__path__[0]).resolve().parent for package in (policy_core, policy_inference)
    )
    return os.pathsep.join(dict.fromkeys(map(str, folders)))


def unblock_signals() -> None:
    """Let this thread get the signals INTERRUPTING, even if the parent process blocked them.

    A process inherits what is blocked, and would never end.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTING)


def end_now(status: int) -> NoReturn:
    """End the process although some of its threads hang: remove private folders, flush the log."""
    remove_folders()
    flush_log()
    os._exit(status)


@contextmanager
def signals_interrupt() -> Iterator[list[int]]:
    """Let each of INTERRUPTING raise a KeyboardInterrupt; yield the list of those that came.

    A process that does not handle one within HANGS_AFTER_S ends, and so it does at a second one.
    A signal that was ignored before stays ignored.
    """
    came = list[int]()

    def interrupt(number: int, _: object) -> NoReturn:
        came.append(number)
        raise _Interrupted

    before = {
        number: signal.signal(number, interrupt)
        for number in INTERRUPTING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        with _signals_watched(partial(_end_what_hangs, came)):
            yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stopped_by_signals(stop: Callable[[], None], within_s: float = HANGS_AFTER_S) -> Iterator[None]:
    """Call `stop` on one of INTERRUPTING, in another thread; the block should end soon after.

    The process ends with status 1 where the block takes longer, or a second signal comes.

    Args:
        stop: Asks the block to end.
        within_s: Time that the block has after that, s.
    """
    for number in INTERRUPTING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    with _signals_watched(partial(_stop_in_time, stop, within_s)):
        yield


@contextmanager
def _signals_watched(watch: Callable[[socket.socket], None]) -> Iterator[None]:
    """Let a thread see each signal as it comes, also those that the parent process blocked.

    A handler of Python runs in the main thread, and waits there for a call into a runtime to
    return, which may never happen. What the interpreter writes to a descriptor does not wait.

    Args:
        watch: Runs on the thread; from the socket it reads one byte for each signal, its number,
            and the end of the stream when the block ends.
    """
    received, sent = socket.socketpair()
    sent.setblocking(False)
    thread = threading.Thread(target=watch, args=(received,), name="signals", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(sent.fileno(), warn_on_full_buffer=False)
    unblock_signals()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        sent.close()
        thread.join()
        received.close()


def _end_what_hangs(came: Sequence[int], signals: socket.socket) -> None:
    """End the process where a signal is not handled in time, or a second one comes before."""
    first = 0
    while not came:
        try:
            byte = signals.recv(1)
        except TimeoutError:
            byte = bytes([first])
        if not byte:
            return  # the block has ended
        if byte[0] not in INTERRUPTING:
            continue
        if first and not came:
            _log.error("ends without tidying up: the runtime does not return")
            end_now(SIGNALLED + first)
        first = byte[0]
        signals.settimeout(HANGS_AFTER_S)


def _stop_in_time(stop: Callable[[], None], within_s: float, signals: socket.socket) -> None:
    if not signals.recv(1):
        return
    stop()
    signals.settimeout(within_s)
    try:
        if not signals.recv(1):
            return  # the block has ended
        why = "asked twice"
    except TimeoutError:
        why = f"{within_s:g} s after it was asked to end, the model still computes"
    _log.error("ends without answering its clients: %s", why)
    end_now(1)


class _Interrupted(KeyboardInterrupt):
    """An interruption that leaves the exit status alone.

    Where the plain one passes through `exec` of a text, as of dataclasses in an import, CPython
    remembers it, and ends the process by SIGINT in the end, although it was caught.
    """


class ProcessGroup:
    """Modules that run as processes, in a `with` block that ends all of them.

    They are in sessions of their own: a Ctrl-C, or a terminal that closes, reaches only this
    process, which ends them in order. Where it is killed itself, they end as well: they run under
    `python -m policy_inference.processes`.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._running = list[subprocess.Popen[bytes]]()
        self._lifelines = list[int]()

    def __enter__(self) -> ProcessGroup:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all, in reverse order of their start; a second Ctrl-C does not cut that short."""
        before = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTING}
        try:
            while self._running:
                _end(self._running.pop())
            while self._lifelines:
                os.close(self._lifelines.pop())
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self, module: str, arguments: Sequence[str]) -> None:
        """Start one more.

        Raises:
            OSError: It does not start.
        """
        # One pipe for each: the kernel signals the end of a pipe to one process only.
        held, lifeline = os.pipe()
        self._lifelines.append(lifeline)
        try:
            self._running.append(
                subprocess.Popen(
                    [sys.executable, "-m", __name__, str(held), module, *arguments],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    pass_fds=[held],
                )
            )
        finally:
            os.close(held)

    def wait(self) -> int:
        """Wait for the first of them to end; return its exit status."""
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        statuses = [
            process.poll()
            for process in self._running
            if ended is None or process.pid == ended.si_pid
        ]
        return next((status for status in statuses if status is not None), 1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and end it by force after a while."""
    if process.poll() is None:
        # Not SIGINT, which makes a Python that has only begun print a traceback.
        process.terminate()
        try:
            process.wait(_TIME_TO_LEAVE_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def end_with_parent(lifeline: int) -> None:
    """Let the kernel send SIGIO to this process when no process holds a pipe's other end any more.

    By default SIGIO ends a process, and needs nothing of Python for that, so that it works while a
    runtime keeps Python's lock. (The signal at a parent's death of prctl(2) comes when the *thread*
    ends that started the child.)

    Args:
        lifeline: Descriptor of the reading end.

    Raises:
        SystemExit: The other end was closed before.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])  # which is inherited
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        sys.exit("the process that started this one has ended")


class PrivateFolder:
    """A temporary folder that only this user may enter, and that its process removes.

    It goes with `remove`, at the end of a `with` block, or at the end of the process.
    """

    def __init__(self) -> None:
        """Make the folder.

        Raises:
            OSError: There is no place for it.
        """
        self._folder = tempfile.TemporaryDirectory(
            prefix="policy_inference_", ignore_cleanup_errors=True
        )
        _folders.add(self._folder)

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self._folder.name)

    def remove(self) -> None:
        """Remove it with all that it holds."""
        self._folder.cleanup()
        _folders.discard(self._folder)

    def __enter__(self) -> PrivateFolder:
        """Return this folder."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self.remove()


def remove_folders() -> None:
    """Remove all private folders, in a process that ends without closing them."""
    for folder in _folders.copy():
        folder.cleanup()


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def main() -> None:
    """Run a module in this process, which ends with the one that holds its lifeline."""
    _, lifeline, module, *arguments = sys.argv
    end_with_parent(int(lifeline))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
