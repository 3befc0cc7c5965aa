# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Prevents an unread log from stopping the process that writes it.

A write to a full pipe, or to a terminal behind a stalled connection, waits for its reader. rclpy
and native libraries write like this while they hold the GIL, so the control thread would wait as
well. Therefore `pump_log` gives the process a pipe to a small process. It reads this pipe at all
times, so that writes never wait, passes the text on as fast as the reader takes it, and counts the
lines for which there is no room. It is a separate process so that it survives a hang or crash of
this one and delivers its last output.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence

_OUT, _ERR = 1, 2
_CONTROL = 0
_MOST_BYTES = 1 << 20
"""Most bytes that wait for a stopped reader; further lines are only counted."""
_AT_ONCE = 4096
"""A writable pipe takes this much without waiting: PIPE_BUF of pipe(7)."""
_FLUSHED_WITHIN_S = 1.0
_ENDS_WITHIN_MS = 1000

_pumps: list[tuple[subprocess.Popen[bytes], socket.socket]] = []
"""The pump of this process, and its control socket; may be empty."""


def pump_log() -> None:
    """Let no write to stderr wait for its reader, for the rest of the process.

    The same applies to stdout if it is a pipe or a socket; on a terminal it may be a full-screen
    program. Child processes that inherit these write to the same pump. Call it before there are
    threads.
    """
    from policy_store.signals import before_end_now  # which the pump's own process does not have

    streams = [fd for fd in (_ERR, _OUT) if _may_wait(fd)]
    if _pumps or not streams or not sys.executable:
        return
    if os.isatty(_ERR):  # for which ROS colours its lines
        os.environ.setdefault("RCUTILS_COLORIZED_OUTPUT", "1")
    with contextlib.ExitStack() as unneeded:

        def pipe() -> tuple[int, int]:
            read, write = os.pipe()
            unneeded.callback(os.close, read)
            unneeded.callback(os.close, write)
            return read, write

        pipes = {fd: pipe() for fd in streams}
        if len(pipes) == 2 and os.path.samestat(os.fstat(_OUT), os.fstat(_ERR)):
            del pipes[_OUT]  # lines to the same place keep their order
        asking, asked = socket.socketpair()
        unneeded.callback(asked.close)
        _pumps.append(
            (_started(asked.fileno(), {fd: read for fd, (read, _) in pipes.items()}), asking)
        )
        for fd in streams:
            _, write = pipes.get(fd) or pipes[_ERR]
            os.set_blocking(write, False)
            with contextlib.suppress(PermissionError):  # the user's limit may be smaller
                fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _MOST_BYTES)
            os.dup2(write, fd)
    asking.settimeout(_FLUSHED_WITHIN_S)
    atexit.register(flush_log)
    before_end_now(flush_log)


def flush_log() -> None:
    """Wait, for at most a second, until all output is passed on; before the process ends."""
    # Python has no stream if the process was started with the descriptor closed.
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    for _, asking in _pumps:
        with contextlib.suppress(OSError):
            asking.send(b"?")
            asking.recv(1)


def log_problem() -> str:
    """Return why this process's log is lost; empty if it is not.

    The log itself cannot report this.
    """
    for pump, _ in _pumps:
        status = pump.poll()
        if status is not None:
            return (
                f"the log is lost: its process log_pump (pid {pump.pid}) has ended with status "
                f"{status}; restart this process"
            )
    return ""


def _started(asked: int, sources: Mapping[int, int]) -> subprocess.Popen[bytes]:
    pairs = [f"{source}:{sink}" for sink, source in sources.items()]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, *pairs],
        stdin=asked,
        pass_fds=[*sources.values()],
        # A Ctrl-C is for the process that logs; its output on shutdown is passed on, too.
        start_new_session=True,
    )


def _may_wait(fd: int) -> bool:
    """Return true if a write to a descriptor may wait for a reader, and it is not a screen."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (fd == _ERR and os.isatty(fd))


class _PumpedStream:
    """Stream from a pipe to a descriptor."""

    def __init__(self, source: int, sink: int) -> None:
        self.source, self.sink = source, _without_waiting(sink)
        self.ended = False
        self.waiting = bytearray()
        self._lost, self._in_lost_line = 0, False

    def read(self) -> None:
        data = os.read(self.source, _MOST_BYTES)
        self.ended = not data
        if self._in_lost_line:
            _, newline, data = data.partition(b"\n")
            self._in_lost_line = not newline
        room = _MOST_BYTES - len(self.waiting)
        if len(data) > room:
            kept = data[: data.rfind(b"\n", 0, room) + 1]
            lost = data[len(kept) :]
            self._lost += lost.count(b"\n") + (not lost.endswith(b"\n"))
            self._in_lost_line = not lost.endswith(b"\n")
            data = kept
        self.waiting += data

    def write(self) -> None:
        try:
            written = os.write(self.sink, self.waiting[:_AT_ONCE])
        except BlockingIOError:
            return
        except OSError:  # the reader has ended: keep reading from the pipe
            written = len(self.waiting)
        del self.waiting[:written]
        if self._lost and not self.waiting:
            self.waiting += b"%d lines are lost: the log was not read\n" % self._lost
            self._lost = 0


def _without_waiting(fd: int) -> int:
    """Return a non-blocking descriptor of the same file, if possible for this process only.

    The mode belongs to the open file, which other processes may share; a socket cannot be reopened,
    and takes `_AT_ONCE` when it is writable.
    """
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return fd


class _Pump:
    """Passes lines on until no process can write any more; unread lines are then lost soon."""

    def __init__(self, streams: Sequence[_PumpedStream]) -> None:
        self._streams = streams
        self._controlled, self._asked = True, False

    def run(self) -> None:
        while True:
            left = any(stream.waiting for stream in self._streams)
            ended = all(stream.ended for stream in self._streams)
            if ended and not left:
                return
            timeout_ms = 0 if self._asked and not left else _ENDS_WITHIN_MS if ended else None
            ready = {fd for fd, _ in self._poll().poll(timeout_ms)}
            if not ready and ended:
                return
            if not ready and self._asked:
                self._answer()
            for stream in self._streams:
                if stream.source in ready:
                    stream.read()
                if stream.sink in ready:
                    stream.write()
            if _CONTROL in ready:
                self._listen()

    def _poll(self) -> select.poll:
        poll = select.poll()
        for stream in self._streams:
            if not stream.ended:
                poll.register(stream.source, select.POLLIN)
            if stream.waiting:
                poll.register(stream.sink, select.POLLOUT)
        if self._controlled:
            poll.register(_CONTROL, select.POLLIN)
        return poll

    def _listen(self) -> None:
        """Read a request to flush, or detect that the requesting process has ended."""
        self._asked = self._controlled = False
        with contextlib.suppress(OSError):  # the process did not wait for an answer
            self._asked = self._controlled = bool(os.read(_CONTROL, 1))

    def _answer(self) -> None:
        """Report that everything before the request has been passed on."""
        self._asked = False
        with contextlib.suppress(OSError):  # the process that asked may have ended
            os.write(_CONTROL, b"!")


def main(pairs: Sequence[str]) -> None:
    """Run the pump: SOURCE:SINK, two descriptors, for each stream; stdin takes flush requests."""
    # It ends when no process can write to it any more.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    _Pump([_PumpedStream(*map(int, pair.split(":"))) for pair in pairs]).run()


if __name__ == "__main__":
    main(sys.argv[1:])
