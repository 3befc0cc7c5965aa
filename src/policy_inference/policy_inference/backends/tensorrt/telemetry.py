# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a Jetson tells of its GPU and its power rails, read from the kernel's files.

Where tegrastats reads it, too (checked against github.com/rbonghi/jetson_stats). The driver of a
graphics card has no such files: on a PC there is nothing to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from policy_inference.machine.machine import Machine
from policy_inference.machine.sensors import (
    DeviceClock,
    clock_values,
    device_clock,
    temperature_values,
)

# JetPack 5 names the device after the GPU, later ones call it gpu: 17000000.ga10b, 17000000.gpu;
# gpu-gpc-0 on Thor.
_GPUS = ("*.gv11b", "*.gp10b", "*.ga10b", "*.gb10b", "*.gpu", "gpu-gpc-0")
_TOTAL = "VDD_IN"
"""Rail that feeds the whole module, where a module measures it."""


def read_gpu(machine: Machine) -> Mapping[str, str]:
    """Return load, clock and temperature of the GPU, and the power that the module takes."""
    return {
        **_load(machine),
        **clock_values("gpu", gpu_clock(machine)),
        **temperature_values(machine, "gpu", "gpu"),
        **_power(machine),
    }


def clock_folder(machine: Machine) -> Path | None:
    """Return the folder of the GPU's clock."""
    return next(
        (folder for name in _GPUS for folder in machine.glob(f"/sys/class/devfreq/{name}")), None
    )


def gpu_clock(machine: Machine) -> DeviceClock | None:
    """Return the GPU's clock."""
    return device_clock(machine, clock_folder(machine))


def _load(machine: Machine) -> dict[str, str]:
    folder = clock_folder(machine)
    load = machine.number(folder / "device/load") if folder else None  # in tenths of a percent
    return {} if load is None else {"gpu_load_percent": f"{load / 10:.0f}"}


def _power(machine: Machine) -> dict[str, str]:
    """Return the power of the module in W; its rails' sum where the module measures no total.

    Units: Linux, Documentation/hwmon/ina3221.rst: mV and mA.
    """
    watts = {}
    for label in machine.glob("/sys/class/hwmon/hwmon*/in[1-3]_label"):
        place = label.name[2]
        rail = machine.text(label) or ""
        if rail in ("", "NC") or machine.text(label.with_name("name")) != "ina3221":
            continue
        millivolts = machine.number(label.with_name(f"in{place}_input"))
        milliamperes = machine.number(label.with_name(f"curr{place}_input"))
        if millivolts is not None and milliamperes is not None:
            watts[rail] = millivolts * milliamperes * 1e-6
    total = watts.get(_TOTAL, sum(watts.values()))
    return {"power_w": f"{total:.2f}"} if watts else {}
