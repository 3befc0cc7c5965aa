# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Capture vendor library output that bypasses Python; some errors appear nowhere else."""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_STDOUT, _STDERR = 1, 2
_one_at_a_time = threading.Lock()
_log = logging.getLogger("policy_inference")


@contextmanager
def capture_native_output(name: str) -> Iterator[Callable[[], str]]:
    """Capture the process's stdout and stderr; yield a function that returns the text so far.

    The text is logged at the end. It includes the output of other threads. Only one thread at a
    time can capture; others wait. Use this while opening a model, not while a robot moves. A child
    process whose output already goes to a file keeps writing to that file, so its last output is
    preserved.

    Args:
        name: The back end's name, used as the prefix of each log line.
    """
    with _one_at_a_time, _read_along() if _kept_already() else _taken(name) as said:
        yield said


def _kept_already() -> bool:
    """Return True if stdout and stderr go to one readable file, as in our child processes."""
    out, err = os.fstat(_STDOUT), os.fstat(_STDERR)
    access = fcntl.fcntl(_STDERR, fcntl.F_GETFL) & os.O_ACCMODE
    return stat.S_ISREG(err.st_mode) and os.path.samestat(out, err) and access == os.O_RDWR


@contextmanager
def _read_along() -> Iterator[Callable[[], str]]:
    _flush()
    start = os.fstat(_STDERR).st_size
    yield lambda: _text(_STDERR, start)


@contextmanager
def _taken(name: str) -> Iterator[Callable[[], str]]:
    with tempfile.TemporaryFile() as file:
        _flush()
        kept = [os.dup(fd) for fd in (_STDOUT, _STDERR)]
        try:
            for fd in (_STDOUT, _STDERR):
                os.dup2(file.fileno(), fd)
            yield lambda: _text(file.fileno())
        finally:
            said = _text(file.fileno())
            for fd, copy in zip((_STDOUT, _STDERR), kept, strict=True):
                os.dup2(copy, fd)
                os.close(copy)
        for line in said.splitlines():
            _log.info("%s: %s", name, line)


def _text(fd: int, start: int = 0) -> str:
    _flush()
    return os.pread(fd, os.fstat(fd).st_size - start, start).decode("utf-8", "replace")


def _flush() -> None:
    """Flush the buffers of Python and of the C library."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None without a stream
        stream.flush()
    ctypes.CDLL(None).fflush(None)
