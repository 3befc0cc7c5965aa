# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Log lines written by a thread of their own: who answers waits for nobody who reads the log."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading

_MOST = 1000
"""Lines that wait; with a reader that has stopped, later ones are counted only."""
_FLUSHED_WITHIN_S = 1.0


class LogWriter(logging.Handler):
    """Hands lines to a thread that writes them; never waits, except in `flush`."""

    def __init__(self, fd: int, most: int = _MOST) -> None:
        """Write to a descriptor, which stays open; at most so many lines wait."""
        super().__init__()
        self._fd, self._lost = fd, 0
        self._waiting = queue.Queue[str | threading.Event](most)
        threading.Thread(target=self._write_all, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Let a line be written soon, or count it."""
        try:
            self._waiting.put_nowait(self.format(record))
        except queue.Full:
            self._lost += 1

    def flush(self) -> None:
        """Wait until all is written, for a second or two at most."""
        written = threading.Event()
        try:
            self._waiting.put(written, timeout=_FLUSHED_WITHIN_S)
        except queue.Full:
            return
        written.wait(_FLUSHED_WITHIN_S)

    def _write_all(self) -> None:
        told = 0
        while True:
            line = self._waiting.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            self._write(line)
            if (lost := self._lost) > told:
                self._write(f"{lost - told} lines are lost: the log was not read")
                told = lost

    def _write(self, line: str) -> None:
        # Not through sys.stderr: its lock, held here, would keep the process from ending.
        left = memoryview(f"{line}\n".encode(errors="backslashreplace"))
        try:
            while left:
                left = left[os.write(self._fd, left):]
        except OSError:
            return  # nobody is left to be told


def write_apart() -> None:
    """Let a thread write what is logged to stderr, for the rest of the process."""
    root = logging.getLogger()
    for handler in [*root.handlers]:
        if type(handler) is logging.StreamHandler and handler.stream is sys.stderr:
            writer = LogWriter(sys.stderr.fileno())
            writer.setFormatter(handler.formatter)
            root.removeHandler(handler)
            root.addHandler(writer)
