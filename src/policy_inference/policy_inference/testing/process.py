# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Information from Linux about this process and its children."""

import gc
import os
import re
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from policy_inference.backends.base import BackendBase

_SETTLED_WITHIN_S = 5.0


def child_pid(backend: BackendBase) -> int:
    """Return the ID of the process in which a `ChildBackend`'s runtime runs."""
    return int(backend.details["process"].removeprefix("child "))


def anonymous_memory_bytes(process: int) -> int:
    """Return the size of the process's memory that no file backs.

    Its private memory would grow whenever another process that maps the same libraries ends.
    """
    return sum(int(each.anonymous) for each in psutil.Process(process).memory_maps())


def threads() -> int:
    """Return the number of this process's threads, including those of native libraries."""
    return int(psutil.Process().num_threads())


def more_threads_than(before: int) -> int:
    """Return the number of additional threads, once those that have ended are gone.

    Linux still counts a thread for a moment after it was joined.
    """
    given_up = time.monotonic() + _SETTLED_WITHIN_S
    while threads() > before and time.monotonic() < given_up:
        os.sched_yield()
    return max(0, threads() - before)


def more_descriptors_than(before: Counter[str]) -> Counter[str]:
    """Return descriptors opened beyond `before`, once a library's threads have closed theirs."""
    given_up = time.monotonic() + _SETTLED_WITHIN_S
    while (more := open_descriptors() - before) and time.monotonic() < given_up:
        os.sched_yield()
    return more


def children() -> set[int]:
    """Return the child processes that have not been reaped."""
    return {child.pid for child in psutil.Process().children()}


def has_ended(process: int) -> None:
    """Wait for a child process to exit, without reaping it."""
    with suppress(ChildProcessError):  # it has already been reaped
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)


def open_descriptors() -> Counter[str]:
    """Return the open descriptors of this process with their counts, after garbage collection.

    Compare with `not after - before`: others of the process may close theirs meanwhile.
    """
    gc.collect()
    kinds = Counter[str]()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the folder itself
            kinds[re.sub(r"\d+", "", str(link.readlink()))] += 1
    return kinds
