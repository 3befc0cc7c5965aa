# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Figures: durations, what processes take, what the machine is."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest

from policy_inference.machine.machine import Machine
from policy_inference.machine.system import describe_system
from policy_inference.self_test.measuring import DeviceLoad, Durations, usage_of

from ..machine_tree import machine


@pytest.mark.parametrize("per_decade", [5, 10])
def test_every_run_is_in_the_bin_between_whose_edges_it_is(per_decade: int) -> None:
    each_ns = (10.0 ** np.random.default_rng(0).uniform(2.5, 9.5, 1000)).astype(int).tolist()
    edges_s, counts = Durations(each_ns).histogram(per_decade)
    each_s = np.array(each_ns) * 1e-9
    for low_s, high_s, count in zip(edges_s[:-1], edges_s[1:], counts, strict=True):
        assert count == ((each_s >= low_s) & (each_s < high_s)).sum()
    assert sum(counts) == 1000
    assert counts[0] > 0
    assert counts[-1] > 0
    for nanoseconds in (0, 1, 10**12):
        assert Durations([nanoseconds]).histogram()[1] == [1]


def test_a_process_that_has_ended_took_nothing_known() -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    assert usage_of(process.pid) is None


def test_a_sensor_that_says_words_at_times_is_reported_in_words() -> None:
    told = iter([{"load": "12"}, {"load": "busy"}, {}, {"load": "12"}])
    load = DeviceLoad(lambda: next(told))
    for second in range(4):
        load.sample(second * 10**9)
    assert load.series() == {}
    assert load.words() == {"load": ["12", "busy"]}


def test_a_board_is_called_what_its_device_tree_calls_it(tmp_path: Path) -> None:
    files = {"/proc/device-tree/model": "ROCK 5B\0", "/proc/cpuinfo": "processor\t: 0\n"}
    system = describe_system(machine(tmp_path, files))
    assert (system["board"], system["cpu"]) == ("ROCK 5B", None)
    assert socket.gethostname() not in describe_system(Machine()).values()
