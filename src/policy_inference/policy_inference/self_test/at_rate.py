# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A backend at the policy's rate, and what that takes of device and machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from policy_inference.backends.base import BackendBase
from policy_inference.bundle.bundle import JointBundle
from policy_inference.machine.machine import Machine
from policy_inference.self_test.clock import Clock
from policy_inference.self_test.load import DeviceLoad, Usage, usage_of
from policy_inference.self_test.timing import Paced, paced


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AtRate:
    """Ticks at the policy's rate, and what was read meanwhile.

    Attributes:
        paced: The ticks.
        load: What the device told.
        usage: What each process took, by name; its `peak_bytes` since it began.
    """

    paced: Paced
    load: DeviceLoad
    usage: Mapping[str, Usage]


def at_rate(
    bundle: JointBundle, backend: BackendBase, duration_s: float, clock: Clock, machine: Machine
) -> AtRate:
    """Run a policy at its rate, with an eye on device and processes.

    Args:
        bundle: Of the policy.
        backend: Its opened backend.
        duration_s: How long; longer where those are few ticks.
        clock: What times and paces it.
        machine: Where processes are looked up.

    Raises:
        BackendError: The runtime failed.
    """
    return with_load(partial(paced, bundle, backend, duration_s, clock), backend, machine)


def with_load(
    run: Callable[[Callable[[int], object]], Paced], backend: BackendBase, machine: Machine
) -> AtRate:
    """Run ticks, with an eye on device and processes.

    Args:
        run: Runs them, and calls what it is given after each with the time, ns.
        backend: Opened backend, whose device and process are looked at.
        machine: Where processes are looked up.

    Raises:
        BackendError: The runtime failed.
    """
    load, before = DeviceLoad(backend.telemetry), _usage(machine, backend)
    ticks = run(load.sample)
    after = _usage(machine, backend)
    usage = {each: after[each].since(before[each]) for each in before if each in after}
    return AtRate(paced=ticks, load=load, usage=usage)


def _usage(machine: Machine, backend: BackendBase) -> dict[str, Usage]:
    """Return what this process and that of the runtime have taken, as far as it can be read."""
    pids = {os.getpid(): "this"}
    pids.setdefault(backend.pid, "runtime")
    return {
        name: taken for pid, name in pids.items() if (taken := usage_of(machine, pid)) is not None
    }
