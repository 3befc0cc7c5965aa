# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Thread scheduling: cores, real-time priority, locked memory.

If the kernel refuses a setting, the function returns a warning with the reason and the remedy, and
the caller continues. Each warning begins with `option`, the name of the user's setting.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import resource
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy_core.errors import PolicyError

_MCL_CURRENT, _MCL_FUTURE = 1, 2
"""Flags of mlockall(2), the same on x86 and ARM."""
_HIGHEST_CORE = 1023
"""Highest core number accepted; the kernel checks whether this machine has the core."""
THIS_THREAD = (0,)
"""The calling thread, as an argument for kernel calls."""


def parse_cpus(text: str) -> tuple[int, ...]:
    """Parse a list of cores, written as for taskset and systemd: `4-7`, `0,2`."""
    chosen = set[int]()
    for part in text.split(","):
        ends = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", part)
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (0, -1)
        if not first <= last <= _HIGHEST_CORE:
            raise PolicyError(
                f"expected cores from 0 to {_HIGHEST_CORE} (such as 4-7 or 0,2), found "
                f"{text[:20]!r}"
            )
        chosen.update(range(first, last + 1))
    return tuple(sorted(chosen))


def list_threads(process: int) -> tuple[int, ...]:
    """Return a process's current threads; empty if the process has ended."""
    with suppress(OSError):
        return tuple(int(thread.name) for thread in Path(f"/proc/{process}/task").iterdir())
    return ()


def set_cpu_affinity(cores: Sequence[int], option: str, thread: int = 0) -> list[str]:
    """Bind a thread, and all threads that it starts later, to the given cores.

    Args:
        cores: Core numbers.
        option: Name of the user's setting.
        thread: Kernel ID of the thread; 0 for the calling thread. A thread that has ended is
            ignored.

    Returns:
        Warnings, with remedies.
    """
    named = ",".join(map(str, cores))
    try:
        os.sched_setaffinity(thread, cores)
        left_out = set(cores) - os.sched_getaffinity(thread)
    except ProcessLookupError:  # it has ended
        return []
    except OSError as error:
        return [
            f"{option} {named}: {_reason(error)}: runs on "
            f"{','.join(map(str, sorted(os.sched_getaffinity(thread))))}; "
            "this machine has no such cores, or the cgroup or container forbids them: allow more "
            "(systemd: AllowedCPUs=, docker: --cpuset-cpus)"
        ]
    if left_out:
        return [
            f"{option} {named}: the kernel excludes "
            f"{','.join(map(str, sorted(left_out)))}: "
            "they do not exist, are offline, or are not in this process's cgroup (systemd: "
            "AllowedCPUs=)"
        ]
    return []


def set_realtime_priority(
    priority: int, option: str, threads: Iterable[int] = THIS_THREAD
) -> list[str]:
    """Give threads real-time priority (SCHED_FIFO); threads they start do not inherit it.

    Args:
        priority: 1 to 99; 0 for normal scheduling.
        option: Name of the user's setting.
        threads: Kernel IDs of the threads; threads that have ended are ignored.

    Returns:
        Warnings, with remedies.
    """
    policy = os.SCHED_FIFO if priority else os.SCHED_OTHER
    try:
        for thread in threads:
            # With RESET_ON_FORK, threads and processes that this one starts do not inherit it.
            with suppress(ProcessLookupError):
                os.sched_setscheduler(
                    thread, policy | os.SCHED_RESET_ON_FORK, os.sched_param(priority)
                )
    except OSError as error:
        allowed = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
        return [
            f"{option} {priority}: {_reason(error)}: running without real-time priority; "
            f"RLIMIT_RTPRIO is {allowed}: allow {priority} (systemd: LimitRTPRIO={priority}; "
            f"login: 'rtprio {priority}' in /etc/security/limits.d; docker: "
            "--cap-add SYS_NICE)"
        ]
    return []


def lock_memory(option: str) -> list[str]:
    """Lock all present and future pages of this process in memory: mlockall(2).

    Args:
        option: Name of the user's setting.

    Returns:
        Warnings, with remedies.
    """
    if ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0:
        return []
    number = ctypes.get_errno()
    allowed = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return [
        f"{option}: {_reason(OSError(number, os.strerror(number)))}: pages may be swapped "
        f"out; RLIMIT_MEMLOCK is {allowed} bytes: allow all (systemd: LimitMEMLOCK=infinity; "
        "login: 'memlock unlimited' in /etc/security/limits.d; docker: --ulimit memlock=-1)"
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RealTime:
    """Scheduling that a node requests for its control thread; by default, none.

    Attributes:
        priority: Priority of the control thread, 1 to 99; 0 for none. All other threads of this
            process and of its models' processes run at a priority one lower, because the control
            thread may wait for any of them (GIL, middleware lock, model), so they must not wait for
            the rest of the machine.
        cpus: Cores for the control thread; empty for all.
        lock_memory: True to lock pages in memory.
    """

    priority: int = 0
    cpus: tuple[int, ...] = ()
    lock_memory: bool = False

    @staticmethod
    def of(values: Mapping[str, Any]) -> RealTime:
        """Return the settings that the `realtime.*` parameters request."""
        text = values["realtime.cpus"]
        try:
            cpus = parse_cpus(text) if text else ()
        except PolicyError as error:
            raise PolicyError(f"parameter realtime.cpus: {error}") from error
        return RealTime(
            priority=values["realtime.priority"],
            cpus=cpus,
            lock_memory=values["realtime.lock_memory"],
        )

    def apply(self, control: int, processes: Iterable[int]) -> list[str]:
        """Apply the settings; return the refusals, with remedies.

        Args:
            control: Kernel ID of the control thread.
            processes: Processes that the control thread depends on, including its own.
        """
        refused = lock_memory("realtime.lock_memory") if self.lock_memory else []
        if self.cpus:
            refused += set_cpu_affinity(self.cpus, "realtime.cpus", control)
        if self.priority:
            others = [
                thread
                for process in processes
                for thread in list_threads(process)
                if thread != control
            ]
            refused += set_realtime_priority(
                self.priority, "realtime.priority", [control]
            ) or set_realtime_priority(max(1, self.priority - 1), "realtime.priority", others)
        return refused

    def granted(self, refused: Sequence[str]) -> list[str]:
        """Return the requested settings with their values, except those refused in `apply`."""
        asked = {
            "realtime.priority": str(self.priority or ""),
            "realtime.cpus": ",".join(map(str, self.cpus)),
            "realtime.lock_memory": "true" if self.lock_memory else "",
        }
        return [
            f"{option} {value}"
            for option, value in asked.items()
            if value and not any(warning.startswith(option) for warning in refused)
        ]

    def release(self, processes: Iterable[int]) -> None:
        """Drop the priority, since no work is urgent without a control thread."""
        if self.priority:
            threads = [thread for process in processes for thread in list_threads(process)]
            set_realtime_priority(0, "realtime.priority", threads)


def _reason(error: OSError) -> str:
    return f"{error.strerror} ({errno.errorcode.get(error.errno or 0, error.errno)})"
