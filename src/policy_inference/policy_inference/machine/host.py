# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How busy the computer itself is: processor and memory."""

from __future__ import annotations

from collections.abc import Mapping

from policy_inference.machine.machine import Machine
from policy_inference.machine.numbers import number_in
from policy_inference.machine.sensors import temperature_values

_IDLE = 3, 4
"""Places of idle and iowait in the numbers of /proc/stat (proc_stat(5))."""


class Host:
    """Reads what the kernel tells of processor and memory."""

    def __init__(self, machine: Machine) -> None:
        """Count the processor's load from now on."""
        self._machine = machine
        self._counted = self._count()

    def read(self) -> Mapping[str, str]:
        """Return load since the last call, memory and temperature, with the unit in the key."""
        return {
            **self._load(),
            **self._memory(),
            **temperature_values(self._machine, "cpu", "cpu", "soc", "x86_pkg"),
        }

    def _load(self) -> dict[str, str]:
        before, self._counted = self._counted, self._count()
        total, idle = (now - then for now, then in zip(self._counted, before, strict=True))
        return {"cpu_load_percent": f"{100 * (1 - idle / total):.0f}"} if total > 0 else {}

    def _count(self) -> tuple[float, float]:
        """Return the time of all processors and the part of it that was idle, both in ticks."""
        first, _, _ = (self._machine.text("/proc/stat") or "").partition("\n")
        ticks = [number_in(text) or 0.0 for text in first.split()[1:9]]
        return sum(ticks), sum(ticks[place] for place in _IDLE if place < len(ticks))

    def _memory(self) -> dict[str, str]:
        memory = memory_mib(self._machine)
        return {"memory_available_mib": f"{memory['MemAvailable']:.0f}"} if memory else {}


def memory_mib(machine: Machine) -> dict[str, float]:
    """Return MemTotal and MemAvailable in MiB; nothing where the kernel tells neither."""
    found = {}
    for line in (machine.text("/proc/meminfo") or "").splitlines()[:3]:
        name, _, value = line.partition(":")
        kib = number_in(value.removesuffix("kB"))
        if name in ("MemTotal", "MemAvailable") and kib is not None:
            found[name] = kib / 1024
    return found if len(found) == 2 else {}
