# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Where and how the service's thread runs: its cores, real-time priority, memory that stays.

What the kernel refuses is a warning that says why and what to do; the service runs all the same.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import resource
from collections.abc import Iterator, Sequence

_MCL_CURRENT, _MCL_FUTURE = 1, 2
"""Of mlockall(2), the same on x86 and ARM."""
_HIGHEST_CORE = 1023
"""No board or PC has more; whether this machine has them is the kernel's to say."""


def cpus(text: str) -> tuple[int, ...]:
    """Read cores as taskset and systemd write them: `4-7`, `0,2`.

    Raises:
        argparse.ArgumentTypeError: It is no such list.
    """
    chosen = set[int]()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise argparse.ArgumentTypeError(f"expected cores as in 4-7 or 0,2, found {text!r}")
        ends = int(first), int(last or first)
        if not ends[0] <= ends[1] <= _HIGHEST_CORE:
            raise argparse.ArgumentTypeError(
                f"expected cores from 0 to {_HIGHEST_CORE}, lower ones first, found {part!r}")
        chosen.update(range(ends[0], ends[1] + 1))
    return tuple(sorted(chosen))


def priority(text: str) -> int:
    """Read a priority of SCHED_FIFO: 1 to 99.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    lowest, highest = (limit(os.SCHED_FIFO) for limit in
                       (os.sched_get_priority_min, os.sched_get_priority_max))
    if not text.isdecimal() or not lowest <= int(text) <= highest:
        raise argparse.ArgumentTypeError(
            f"expected a priority from {lowest} to {highest}, found {text!r}")
    return int(text)


def pin(chosen: Sequence[int]) -> Iterator[str]:
    """Keep this process on some cores: call it before its threads start, which inherit that.

    Args:
        chosen: Numbers of the cores.

    Yields:
        What went wrong, with the remedy.
    """
    named = ",".join(map(str, chosen))
    try:
        os.sched_setaffinity(0, chosen)
    except OSError as error:
        yield (f"--cpus {named}: {_reason(error)}: runs on "
               f"{','.join(map(str, sorted(os.sched_getaffinity(0))))}; "
               "this machine has no such cores, or cgroup or container forbid them: give more "
               "(systemd: AllowedCPUs=, docker: --cpuset-cpus)")
        return
    if left_out := set(chosen) - os.sched_getaffinity(0):
        yield (f"--cpus {named}: the kernel leaves out {','.join(map(str, sorted(left_out)))}: "
               "not there, offline, or not in this process's cgroup (systemd: AllowedCPUs=)")


def hurry(wanted: int) -> Iterator[str]:
    """Run the calling thread, and no other one, before all that are not real-time (SCHED_FIFO).

    Args:
        wanted: Priority, 1 to 99.

    Yields:
        What went wrong, with the remedy.
    """
    try:
        # With RESET_ON_FORK no thread or process that this one starts competes with it.
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(wanted))
    except OSError as error:
        allowed = resource.getrlimit(resource.RLIMIT_RTPRIO)[1]
        yield (f"--priority {wanted}: {_reason(error)}: runs without real-time priority; "
               f"RLIMIT_RTPRIO is {allowed}: allow {wanted} (systemd: LimitRTPRIO={wanted}; "
               f"login: 'rtprio {wanted}' in /etc/security/limits.d; docker: --cap-add SYS_NICE)")


def lock_memory() -> Iterator[str]:
    """Keep all pages of this process in memory, the later ones as well: mlockall(2).

    Yields:
        What went wrong, with the remedy.
    """
    if ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0:
        return
    number = ctypes.get_errno()
    allowed = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    yield (f"--lock-memory: {_reason(OSError(number, os.strerror(number)))}: pages may be swapped "
           f"out; RLIMIT_MEMLOCK is {allowed} bytes: allow all (systemd: LimitMEMLOCK=infinity; "
           "docker: --ulimit memlock=-1)")


def _reason(error: OSError) -> str:
    return f"{error.strerror} ({errno.errorcode.get(error.errno or 0, error.errno)})"
