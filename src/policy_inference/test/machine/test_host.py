# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is read of processor and memory."""

from pathlib import Path

import psutil
import pytest

from policy_inference.machine.telemetry import Host

from ..machine_tree import machine

FILES = {
    "/proc/stat": "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1",
    "/proc/meminfo": "MemTotal:  8192000 kB\nMemFree: 1000 kB\nMemAvailable: 2097152 kB\n"
    "Buffers: 1 kB\nCached: 1 kB\nShmem: 1 kB\nActive: 1 kB\nInactive: 1 kB",
    "/sys/class/thermal/thermal_zone0/type": "CPU-therm",
    "/sys/class/thermal/thermal_zone0/temp": "45500",
}


def test_load_is_that_since_the_last_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_machine = machine(tmp_path, FILES)
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"))
    host = Host(host_machine)
    # 40 ticks more, 10 of them idle or waiting for a disk.
    machine(tmp_path, {"/proc/stat": "cpu  130 0 100 705 105 0 0 0 20 0"})
    assert host.read() == {
        "cpu_load_percent": "75",
        "memory_available_mib": "2048",
        "cpu_temperature_c": "45.5",
    }
    assert "cpu_load_percent" not in host.read()
