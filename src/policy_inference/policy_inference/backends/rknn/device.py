# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the NPU's driver tells, read from the kernel's files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from policy_inference.machine.machine import Machine
from policy_inference.machine.sensors import (
    DeviceClock,
    clock_values,
    device_clock,
    temperature_values,
)

# The driver offers its folder under /proc or under debugfs, as its kernel was configured
# (rknpu_debugger.c); debugfs is root's.
DRIVER_FOLDERS = ("/proc/rknpu", "/sys/kernel/debug/rknpu")


def read_npu(machine: Machine) -> Mapping[str, str]:
    """Return load of the busiest core, clock and temperature; what cannot be read is left out."""
    # Such as "NPU load:  Core0: 12%, Core1:  0%, Core2:  0%,", and "NPU load:  12%" with one core.
    loads = [int(load) for load in re.findall(r"(\d+)%", driver_text(machine, "load"))]
    found = {"npu_load_percent": str(max(loads))} if loads else {}
    return {
        **found,
        **clock_values("npu", npu_clock(machine)),
        **temperature_values(machine, "npu", "npu"),
    }


def driver_text(machine: Machine, name: str) -> str:
    """Return what a file of the driver holds; nothing where none may be read."""
    texts = (machine.text(f"{folder}/{name}") for folder in DRIVER_FOLDERS)
    return next((text for text in texts if text), "")


def clock_folder(machine: Machine) -> Path | None:
    """Return the folder of the NPU's clock: `fdab0000.npu` on RK3588."""
    return next(iter(machine.glob("/sys/class/devfreq/*.npu")), None)


def npu_clock(machine: Machine) -> DeviceClock | None:
    """Return the NPU's clock."""
    return device_clock(machine, clock_folder(machine))
