# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Read a bundle in a resource-limited process before a process that controls a robot does.

The limited process always ends, whatever the files contain. Reading the same bytes again takes no
more time or memory than that process used.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from policy_core.bundle.bundle import Bundle, list_policies
from policy_core.bundle.load import load_bundle, trusted_keys
from policy_core.errors import PolicyError, RefusedError
from policy_inference.worker_process import PrivateWorker

CPU_S, LARGEST_BYTES, LIMIT_S = 10, 4 << 30, 60.0
"""Limits for the reading process: processor time (s), address space (bytes), maximum wait (s)."""
_NICE = 10
_REFUSED = 3
_TOO_LONG = (-signal.SIGXCPU, -signal.SIGKILL)


def rehearse(bundle: str, public_key: str, *, cpu_s: int = CPU_S) -> str:
    """Read a bundle and its golden rows in a process with limits.

    Args:
        bundle: Bundle folder, or the name of an installed bundle.
        public_key: Same as for `trusted_keys`.
        cpu_s: Limit on the processor time of the process, s.

    Returns:
        SHA-256 of the contract that was read, as 64 hex digits; pass it on when reading the bundle.
    """
    status, said = run_reader(__name__, [str(cpu_s), str(Path.cwd()), bundle, public_key])
    if status == 0:
        return said.split()[-1]
    if status == _REFUSED:
        raise RefusedError(*said.split("\n"))
    found = (
        f"one that was not read within {LIMIT_S:g} s"
        if status is None
        else f"one that takes more than {cpu_s} s of CPU time"
        if status in _TOO_LONG
        else f"a process that exited with status {status}: {said[-300:]}"
    )
    raise RefusedError(
        f"{bundle}: expected a bundle that can be read within {cpu_s} s and "
        f"{LARGEST_BYTES >> 30} GiB, found {found}; the running policy is kept"
    )


def run_reader(module: str, arguments: Sequence[str]) -> tuple[int | None, str]:
    """Run a module that reads a bundle, after `limit_process`, in a process of its own.

    Args:
        module: Name of the module.
        arguments: Its arguments, after the number of a pipe.

    Returns:
        The exit status, None if the process did not end within `LIMIT_S`, and the end of its
        output.

    Raises:
        OSError, ValueError: The process cannot be started with these arguments.
    """
    child = PrivateWorker(module, arguments)
    try:
        child.ends_within(LIMIT_S)
        return child.status, child.said(1.0)
    finally:
        child.end()


def limit_process(cpu_s: int) -> None:
    """Limit this process, which is about to read a bundle, to `cpu_s` and `LARGEST_BYTES`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (LARGEST_BYTES, LARGEST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _main(_: str, cpu_s: str, folder: str, bundle: str, public_key: str) -> int:
    limit_process(int(cpu_s))
    os.chdir(folder)
    try:
        found = load_bundle(bundle, trusted_keys(public_key), kind=Bundle)
    except PolicyError as error:
        sys.stdout.write(str(error))
        return _REFUSED
    with suppress(PolicyError):  # reported again when the rows are needed
        for policy in list_policies(found):
            policy.golden()
    sys.stdout.write(found.sha256)
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
