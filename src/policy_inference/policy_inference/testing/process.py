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

from policy_inference.backends.base import BackendBase

_PROC = Path("/proc")
_SETTLED_WITHIN_S = 5.0


def child_of(backend: BackendBase) -> int:
    """Return the id of the process that the runtime of a `ChildBackend` runs in."""
    return int(backend.details["process"].removeprefix("child "))


def private_memory_bytes(process: int) -> int:
    """Return the size of what a process has in memory and shares with no file and no other."""
    return 1024 * int(_status(process, "RssAnon").removesuffix("kB"))


def threads() -> int:
    """Return the number of this process's threads, those of native libraries among them."""
    return int(_status(os.getpid(), "Threads"))


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
    found = set[int]()
    for folder in _PROC.glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # ended since the folder was listed
            process = int(folder.name)
            if int(_status(process, "PPid")) == os.getpid():
                found.add(process)
    return found


def has_ended(process: int) -> None:
    """Wait until a child has ended; its status can still be read by the code that started it."""
    with suppress(ChildProcessError):  # that code has read it already
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)


def open_descriptors() -> Counter[str]:
    """Return what this process has open, and how often, without what garbage still holds."""
    gc.collect()
    kinds = Counter[str]()
    for link in (_PROC / "self" / "fd").iterdir():
        with suppress(FileNotFoundError):  # that of the folder itself
            kinds[re.sub(r"\d+", "", str(link.readlink()))] += 1
    return kinds


def _status(process: int, field: str) -> str:
    """Return a value of /proc/<process>/status (man 5 proc_pid_status)."""
    text = (_PROC / str(process) / "status").read_text("utf-8", "replace")
    found = re.search(rf"^{field}:\s*(.*)$", text, re.MULTILINE)
    assert found is not None, f"no {field} in {text}"
    return found[1].strip()
