# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What Linux reports about this process and those that it started."""

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
    """Return the id of the process that the runtime of a `ChildBackend` runs in."""
    return int(backend.details["process"].removeprefix("child "))


def private_memory_bytes(process: int) -> int:
    """Return the size of what a process has in memory and shares with no other."""
    return int(psutil.Process(process).memory_full_info().uss)


def threads() -> int:
    """Return the number of this process's threads, those of native libraries among them."""
    return int(psutil.Process().num_threads())


def more_threads_than(before: int) -> int:
    """Return how many threads have been added, once those that ended are gone.

    Linux counts a thread for a moment after it was joined.
    """
    given_up = time.monotonic() + _SETTLED_WITHIN_S
    while threads() > before and time.monotonic() < given_up:
        os.sched_yield()
    return max(0, threads() - before)


def more_descriptors_than(before: Counter[str]) -> Counter[str]:
    """Return what is open beyond `before`, once a library's own threads have closed theirs."""
    given_up = time.monotonic() + _SETTLED_WITHIN_S
    while (more := open_descriptors() - before) and time.monotonic() < given_up:
        os.sched_yield()
    return more


def children() -> set[int]:
    """Return the processes that this one started and that it has not seen end."""
    return {child.pid for child in psutil.Process().children()}


def has_ended(process: int) -> None:
    """Wait until a child has ended; its status can still be read by the code that started it."""
    with suppress(ChildProcessError):  # that code has read it already
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)


def open_descriptors() -> Counter[str]:
    """Return what this process has open, and how often, without what garbage still holds."""
    gc.collect()
    kinds = Counter[str]()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the folder itself
            kinds[re.sub(r"\d+", "", str(link.readlink()))] += 1
    return kinds
