# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated run of several hours that reports memory growth and open files."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import psutil

from tools.chaos.scenario import Options, run_seed
from tools.chaos.timeline import NS_PER_S, VirtualTimeline

_LOOK_S = 30.0


def soak(hours: float, seed: int, options: Options, say: Callable[[str], None]) -> int:
    """Run one seed for this many simulated hours; return the exit status.

    The run fails if an invariant breaks or files are left open.
    """
    samples = list[tuple[float, float, int]]()
    process = psutil.Process()

    def look(timeline: VirtualTimeline) -> None:
        gc.collect()  # a node does this after each load, but not in a seed, where it takes too long
        mib, files = process.memory_info().rss / 2**20, process.num_fds()
        samples.append((timeline.now_ns / NS_PER_S, mib, files))
        if len(samples) % 20 == 0:
            say(f"{samples[-1][0]:.0f} s: {samples[-1][1]:.1f} MiB, {files} files")

    outcome = run_seed(seed, replace(options, seconds=3600.0 * hours), look=look, look_s=_LOOK_S)
    times_s, mib, files = np.array(samples).T
    half, checks = len(samples) // 2, sum(outcome.checked.values())
    slope = float(np.polyfit(times_s[half:] / 3600.0, mib[half:], 1)[0]) if half > 1 else 0.0
    say(f"{times_s[-1]:.0f} s simulated, {checks} checks, {outcome.broken or 'all hold'}")
    say(f"memory {mib[half]:.1f} to {mib[-1]:.1f} MiB in the second half: {slope:+.2f} MiB/h")
    say(f"open files {files[0]:.0f} to {files[-1]:.0f}")
    say("modes, s: " + ", ".join(f"{name} {time_s:.0f}" for name, time_s in outcome.modes.items()))
    for event in outcome.events if outcome.broken else ():
        say(f"  {event}")
    return 1 if outcome.broken or files[-1] > files[half] else 0
