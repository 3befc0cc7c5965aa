# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Clocks of accelerators and processor cores, as telemetry and as findings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from policy_inference.machine.machine import Finding, Machine, number_in


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceClock:
    """A device clock managed by the kernel's devfreq.

    Attributes:
        frequency_mhz: Current frequency.
        highest_mhz: Highest frequency of the device.
        lowest_allowed_mhz, highest_allowed_mhz: Range allowed by the governor.
        governor: Governor name.
    """

    frequency_mhz: float
    highest_mhz: float
    lowest_allowed_mhz: float
    highest_allowed_mhz: float
    governor: str

    @property
    def is_held_high(self) -> bool:
        """True if only overheating can lower the frequency."""
        fixed = self.governor == "performance" or self.lowest_allowed_mhz >= self.highest_mhz
        return fixed and self.highest_allowed_mhz >= self.highest_mhz


def device_clock(machine: Machine, folder: Path | None) -> DeviceClock | None:
    """Return the clock described by a devfreq folder, or None.

    Files and units: Linux, Documentation/ABI/testing/sysfs-class-devfreq, Hz.
    """
    now = machine.number(folder / "cur_freq") if folder else None
    if folder is None or now is None:
        return None
    allowed = machine.number(folder / "max_freq") or now
    steps = (machine.text(folder / "available_frequencies") or "").split()
    highest = max(filter(None, map(number_in, steps)), default=allowed)
    return DeviceClock(
        frequency_mhz=now * 1e-6,
        highest_mhz=highest * 1e-6,
        lowest_allowed_mhz=(machine.number(folder / "min_freq") or 0.0) * 1e-6,
        highest_allowed_mhz=allowed * 1e-6,
        governor=machine.text(folder / "governor") or "",
    )


def clock_values(device: str, clock: DeviceClock | None) -> dict[str, str]:
    """Return a clock as telemetry for a device."""
    if clock is None:
        return {}
    return {
        f"{device}_frequency_mhz": f"{clock.frequency_mhz:.0f}",
        f"{device}_frequency_highest_mhz": f"{clock.highest_mhz:.0f}",
        f"{device}_governor": clock.governor,
    }


def cpu_clock(machine: Machine, thread: int) -> dict[str, str]:
    """Return the clock of the core on which a thread of this process last ran, as telemetry.

    Empty if it is unreadable, as in many virtual machines. Files and units: Linux,
    Documentation/admin-guide/pm/cpufreq.rst, kHz; the core is field 39 of proc_pid_stat(5).

    Args:
        machine: File system that holds the kernel's files.
        thread: Kernel ID of the thread.
    """
    _, _, fields = (machine.text(f"/proc/self/task/{thread}/stat") or "").rpartition(")")
    core = next(iter(fields.split()[36:37]), "")  # the first one after the name is field 3
    folder = machine.path(f"/sys/devices/system/cpu/cpu{core}/cpufreq")
    now, highest = (
        machine.number(folder / file) for file in ("scaling_cur_freq", "cpuinfo_max_freq")
    )
    if not core or now is None or highest is None:
        return {}
    return {
        "cpu_frequency_mhz": f"{now * 1e-3:.0f}",
        "cpu_frequency_highest_mhz": f"{highest * 1e-3:.0f}",
        "cpu_governor": machine.text(folder / "scaling_governor") or "",
    }


def clock_finding(device: str, clock: DeviceClock | None, remedy: str) -> list[Finding]:
    """Return the finding about a device's clock; empty if the clock is unknown.

    Args:
        device: Device name used in the finding, such as `NPU`.
        clock: The clock.
        remedy: How to keep the clock at its highest frequency.
    """
    if clock is None:
        return []
    found = (
        f"{clock.frequency_mhz:.0f} of {clock.highest_mhz:.0f} MHz, governor "
        f"{clock.governor or 'not known'}"
    )
    if clock.highest_allowed_mhz < clock.highest_mhz:
        found += f", capped at {clock.highest_allowed_mhz:.0f} MHz"
    if clock.is_held_high:
        return [Finding(name=f"{device} clock", found=found)]
    return [
        Finding.warning(
            f"{device} clock",
            found,
            "the clock may not ramp up in time for short inferences; to keep it high, run: "
            f"{remedy}",
        )
    ]
