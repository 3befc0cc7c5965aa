# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Load and state of the BPU, read from the driver's kernel files.

Source for the files: D-Robotics' manuals, "BPU driver sysfs debugging interface" (rdk_doc) and
"Thermal and CPU frequency management" (rdk_doc, rdk_s_doc).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from policy_inference.machine.clocks import DeviceClock, clock_values, device_clock
from policy_inference.machine.machine import Machine
from policy_inference.machine.telemetry import hottest, temperature_values

CORES = "/sys/devices/system/bpu/bpu[0-9]*"
# Board names in the device tree or in the vendor's own file; S100P before S100.
_MARCHES = {
    "s100p": "nash-m",
    "s100": "nash-e",
    "s600": "nash-p",
    "x5": "bayes-e",
    "ultra": "bayes",
}
_X5_SENSOR = "/sys/class/hwmon/hwmon0/temp2_input"
"""Sensor for the RDK X5, which has no BPU thermal zone; works only while the BPU is powered."""


def read_bpu(machine: Machine) -> Mapping[str, str]:
    """Return the peak core load, the clock and the temperature; unreadable values are omitted."""
    loads = [machine.number(core / "ratio") for core in machine.glob(CORES)]
    known = [load for load in loads if load is not None]
    found = {"bpu_load_percent": f"{max(known):.0f}"} if known else {}
    return {**found, **clock_values("bpu", bpu_clock(machine)), **_temperature(machine)}


def clock_folder(machine: Machine) -> Path | None:
    """Return the first core's clock folder, such as `28108000.bpu` on S100."""
    return next(
        (
            folder
            for folder in machine.glob(f"{CORES}/devfreq/*")
            if machine.number(folder / "cur_freq") is not None
        ),
        None,
    )


def bpu_clock(machine: Machine) -> DeviceClock | None:
    return device_clock(machine, clock_folder(machine))


def board_march(machine: Machine) -> str | None:
    """Return the board's BPU architecture as compilers name it; None on other machines."""
    names = " ".join(
        machine.text(file) or ""
        for file in ("/proc/device-tree/model", "/sys/class/boardinfo/soc_name")
    ).lower()
    if "rdk" not in names:
        return None
    return next((march for board, march in _MARCHES.items() if board in names), None)


def _temperature(machine: Machine) -> dict[str, str]:
    if found := temperature_values(machine, "bpu", "bpu"):  # pvt_bpu_pvtc1_t1 on S100
        return found
    # Labels on S600: BPU0-TS00.
    labelled = [
        machine.number(label.with_name(label.name.replace("label", "input")))
        for label in machine.glob("/sys/class/hwmon/hwmon*/temp*_label")
        if (machine.text(label) or "").startswith("BPU")
    ]
    if not labelled and board_march(machine) == "bayes-e":
        labelled = [machine.number(_X5_SENSOR)]
    return hottest("bpu", labelled)
