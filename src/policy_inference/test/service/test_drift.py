# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Latency drift: when it is said, when it is over, and what is said of the machine."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from policy_inference.machine.machine import Machine
from policy_inference.service.monitor import LatencyDrift
from testkit.wording import check_wording

FAST_NS, SLOW_NS = 800_000, 2_000_000


class Watched:
    """A drift and seconds of inferences of one duration."""

    def __init__(self, machine: Machine | None = None, rate_hz: float = 50.0) -> None:
        self.drift = LatencyDrift(rate_hz, machine)

    def second(self, duration_ns: int, count: int = 50) -> str | None:
        for _ in range(count):
            self.drift.add(duration_ns)
        return self.drift.judge({})


def slowed(machine: Machine | None = None) -> str:
    watched = Watched(machine)
    assert watched.second(FAST_NS) is None
    return watched.second(SLOW_NS) or ""


def clocked(folder: Path, now_khz: int, highest_khz: int) -> Machine:
    """Return a machine whose core 3 runs this thread at some clock."""
    stat = folder / f"proc/self/task/{threading.get_native_id()}/stat"
    stat.parent.mkdir(parents=True)
    stat.write_text(" ".join(["7", "(a ) name)", "R", *["0"] * 35, "3", *["0"] * 13]))
    clock = folder / "sys/devices/system/cpu/cpu3/cpufreq"
    clock.mkdir(parents=True)
    for name, text in (
        ("scaling_cur_freq", now_khz),
        ("cpuinfo_max_freq", highest_khz),
        ("scaling_governor", "powersave"),
    ):
        (clock / name).write_text(f"{text}\n")
    return Machine(folder)


def test_slow_inferences_are_said_once_with_both_times_and_their_end_too() -> None:
    watched = Watched()
    assert watched.second(FAST_NS) is None
    check_wording(watched.second(SLOW_NS))
    assert watched.second(SLOW_NS) is None
    assert watched.second(FAST_NS) == ""
    assert watched.second(FAST_NS) is None


def test_a_core_on_a_low_clock_is_named_as_the_likely_cause_where_it_can_be_read(
    tmp_path: Path,
) -> None:
    check_wording(slowed(Machine(tmp_path)))
    check_wording(slowed(clocked(tmp_path, 600_000, 2_400_000)))


@pytest.mark.parametrize(("rate_hz", "small_ns"), [(0.0, 450_000), (50.0, 900_000)])
def test_what_is_small_beside_the_period_is_not_slow(rate_hz: float, small_ns: int) -> None:
    watched = Watched(rate_hz=rate_hz)
    watched.second(100_000)
    assert watched.second(small_ns) is None
    assert watched.second(2 * small_ns)


def test_a_few_inferences_are_not_judged() -> None:
    watched = Watched()
    watched.second(FAST_NS)
    assert watched.second(SLOW_NS, count=19) is None
    assert watched.second(SLOW_NS, count=1)
