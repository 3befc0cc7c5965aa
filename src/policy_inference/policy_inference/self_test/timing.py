# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How long runs take: as fast as they get, and at the rate, with an eye on device and processes."""

from __future__ import annotations

import os

from policy_inference.backends.base import BackendBase
from policy_inference.self_test.clock import Clock
from policy_inference.self_test.load import DeviceLoad, Usage, usage_of
from policy_inference.self_test.trial import AtRate, Ran, TimedRuns, Trial


def back_to_back(trial: Trial, limit_s: float, clock: Clock) -> TimedRuns:
    """Run a policy without a pause: `most_runs` times, or until the time is over.

    Args:
        trial: Of the policy.
        limit_s: Time after which it ends, once there are `fewest_runs`.
        clock: What times it.
    """
    run, ran, end_ns = trial.runner(), list[Ran](), clock.now_ns() + round(limit_s * 1e9)
    while len(ran) < trial.most_runs:
        ran.append(run())
        if clock.now_ns() > end_ns and len(ran) >= trial.fewest_runs:
            break
    return TimedRuns.of(ran)


def at_rate(trial: Trial, duration_s: float, clock: Clock) -> AtRate:
    """Run a policy as often as a robot needs it, with an eye on device and processes.

    Args:
        trial: Of the policy.
        duration_s: How long; longer where that is less than `fewest_ticks`.
        clock: What times and paces it.
    """
    load, before = DeviceLoad(trial.model.telemetry), _usage(trial.model)
    tick, ran, missed = trial.ticker(), list[Ran](), 0
    for _ in range(trial.warm_up_ticks):
        tick()
    start_ns = deadline_ns = clock.now_ns()
    end_ns = start_ns + round(duration_s * 1e9)
    while deadline_ns < end_ns or len(ran) < trial.fewest_ticks:
        clock.sleep_until(deadline_ns)
        ran.append(tick())
        load.sample(clock.now_ns())
        late = max(0, (clock.now_ns() - deadline_ns) // trial.interval_ns)
        missed += late
        deadline_ns += (late + 1) * trial.interval_ns
    wall_s = (clock.now_ns() - start_ns) * 1e-9
    after = _usage(trial.model)
    usage = {each: after[each].since(before[each]) for each in before if each in after}
    return AtRate(runs=TimedRuns.of(ran), wall_s=wall_s, missed=missed, load=load, usage=usage)


def _usage(backend: BackendBase) -> dict[str, Usage]:
    """Return what this process and that of the runtime have taken, as far as it can be read."""
    pids = {os.getpid(): "this"}
    pids.setdefault(backend.pid, "runtime")
    return {name: taken for pid, name in pids.items() if (taken := usage_of(pid)) is not None}
