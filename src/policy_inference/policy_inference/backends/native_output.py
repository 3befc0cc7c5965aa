# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a vendor's library writes past Python: the only place where some reasons are said."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

_STDOUT_STDERR = 1, 2
_one_at_a_time = threading.Lock()
_log = logging.getLogger("policy_inference")


@contextmanager
def held_back(name: str) -> Iterator[Callable[[], str]]:
    """Hold stdout and stderr of the process back; give what was written so far, log it at the end.

    What other threads write meanwhile is in it too; one thread at a time may do this, the others
    wait. To be used while a model is opened, not while a robot moves.

    Args:
        name: Of the back end, which each line of the log begins with.
    """
    with _one_at_a_time, tempfile.TemporaryFile() as file:
        _flush()
        kept = [os.dup(fd) for fd in _STDOUT_STDERR]
        try:
            for fd in _STDOUT_STDERR:
                os.dup2(file.fileno(), fd)
            yield lambda: _text(file)
        finally:
            said = _text(file)
            for fd, copy in zip(_STDOUT_STDERR, kept, strict=True):
                os.dup2(copy, fd)
                os.close(copy)
        for line in said.splitlines():
            _log.info("%s: %s", name, line)


def _text(file: IO[bytes]) -> str:
    _flush()
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode("utf-8", "replace")


def _flush() -> None:
    """Empty the buffers of Python and of the C library."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    ctypes.CDLL(None).fflush(None)
