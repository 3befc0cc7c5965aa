# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cores, priority and locked memory: what is applied, and what the kernel's refusal sounds like.

The kernel's part runs in processes of their own: limits that were lowered do not rise again.
"""

import os
import subprocess
import sys

import pytest

from policy_core.errors import PolicyError
from policy_inference.machine.scheduling import parse_cpus, set_cpu_affinity
from testkit.wording import check_wording, refusal

CORES = os.cpu_count() or 1
NOBODY = 65534


def printed_by(code: str, *, unprivileged: bool = False) -> list[str]:
    before = (
        "import os, resource\n"
        # However these tests were started.
        "os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))\n"
        "resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))\n"
        "from policy_inference.machine.scheduling import *\n"
    )
    # Not before the import: that user may not be able to read the checkout.
    drop = f"if os.geteuid() == 0: os.setuid({NOBODY})\n" if unprivileged else ""
    done = subprocess.run(
        [sys.executable, "-c", before + drop + code],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        timeout=60,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("0", (0,)),
        ("0,0", (0,)),
        (f"0-{CORES - 1}", tuple(range(CORES))),
        (f"{CORES - 1}", (CORES - 1,)),
    ],
)
def test_cores_are_read_as_taskset_writes_them(text: str, chosen: tuple[int, ...]) -> None:
    assert parse_cpus(text) == chosen


@pytest.mark.parametrize(
    "text",
    # The last are of cores that no machine has.
    ["", "a", "0-1-2", "²", "0x1", "1-0", "1024", "9" * 5000],
    ids=lambda text: text[:30],
)
def test_what_is_no_list_of_cores_is_refused(text: str) -> None:
    with refusal(PolicyError):
        parse_cpus(text)


def test_cores_that_this_machine_lacks_are_a_warning() -> None:
    before = os.sched_getaffinity(0)
    [warning] = set_cpu_affinity([CORES, CORES + 1], "--cpus")
    assert f"{CORES},{CORES + 1}" in warning
    assert os.sched_getaffinity(0) == before


def test_process_and_its_later_threads_stay_on_the_core() -> None:
    last = max(os.sched_getaffinity(0))
    lines = printed_by(
        f"print(set_cpu_affinity([{last}], '--cpus'))\nimport threading\n"
        "thread = threading.Thread(target=lambda: print(os.sched_getaffinity(0)))\n"
        "thread.start(); thread.join()"
    )
    assert lines == ["[]", f"{{{last}}}"]


def test_refused_priority_and_lock_of_memory_name_the_limit_and_the_remedy() -> None:
    check_wording(
        *printed_by("print(*set_realtime_priority(50, '--priority'))", unprivileged=True),
        *printed_by("print(*lock_memory('--lock-memory'))", unprivileged=True),
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may without further ado")
def test_only_the_calling_thread_gets_the_priority() -> None:
    lines = printed_by(
        "refused = [*set_realtime_priority(20, '--priority')]\nimport threading\n"
        "print(refused or (os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, "
        "os.sched_getparam(0).sched_priority))\n"
        "thread = threading.Thread(target=lambda: print(os.sched_getscheduler(0)))\n"
        "thread.start(); thread.join()"
    )
    if "EPERM" in lines[0]:
        pytest.skip("this container has no CAP_SYS_NICE")
    assert lines == [str((os.SCHED_FIFO, 20)), str(os.SCHED_OTHER)]
