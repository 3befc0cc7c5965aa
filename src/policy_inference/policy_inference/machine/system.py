# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The computer: its system, processor and memory, and their suitability for a control loop."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress

import psutil

from policy_inference.machine.machine import Finding, Machine, installed_version

OLDEST_PYTHON = (3, 10)
_LITTLE_MEMORY = 300 << 20
_CONTAINERS = ("/.dockerenv", "/run/.containerenv")


def examine_system(machine: Machine) -> Iterator[Finding]:
    """Yield a description of the computer, and anything that would slow down a control loop."""
    yield Finding(
        name="system",
        found=f"{release() or 'unknown'}, Linux {platform.release()}, {platform.machine()}",
    )
    yield Finding(name="board", found=board(machine) or "unknown")
    if in_container(machine):
        yield Finding(
            name="container",
            found="yes: it has only the host devices and libraries that it was started with",
        )
    yield _python()
    yield _processor(machine)
    yield _load()
    yield _memory()


def board(machine: Machine) -> str | None:
    """Return the name of the board or computer."""
    # The first exists with a device tree, the second with PC firmware.
    return (
        machine.text("/proc/device-tree/model")
        or machine.text("/sys/class/dmi/id/product_name")
        or None
    )


def release() -> str | None:
    """Return the operating system's name and release."""
    with suppress(OSError):
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    return None


def describe_system(machine: Machine) -> dict[str, str | None]:
    """Return versions and hardware by name, without user names; None if unknown."""
    return {
        "policy_inference": installed_version("policy_inference"),
        "python": platform.python_version(),
        "numpy": installed_version("numpy"),
        "os": release(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "board": board(machine),
        "cpu": machine.cpu_model(),
        "cpus": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total >> 10} kB",
        "ros_distro": os.environ.get("ROS_DISTRO"),
    }


def in_container(machine: Machine) -> bool:
    """Return True in a Docker or Podman container."""
    return any(map(machine.exists, _CONTAINERS))


def _python() -> Finding:
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info >= OLDEST_PYTHON:
        return Finding(name="Python", found=found)
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Finding.error("Python", found, f"install Python {oldest} or newer")


def _processor(machine: Machine) -> Finding:
    files = machine.glob("/sys/devices/system/cpu/cpufreq/policy*/scaling_governor")
    governors = sorted({governor for file in files if (governor := machine.text(file))})
    found = f"{os.cpu_count()} cores, governor {', '.join(governors) or 'not known'}"
    if governors in ([], ["performance"]):
        return Finding(name="processor", found=found)
    return Finding.warning(
        "processor",
        found,
        "the clock may not ramp up in time for ticks; to keep it high, run: echo performance | "
        "sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor",
    )


def _load() -> Finding:
    """Return the finding on the load: runnable threads compared with the number of cores."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    found = f"load {load:.1f} in the last minute, {cores} cores"
    if load <= cores:
        return Finding(name="load", found=found)
    return Finding.warning(
        "load",
        found,
        "the machine is too busy, so ticks start late: end other programs, or set "
        "realtime.priority (docs/performance.md, On a robot)",
    )


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{memory.available / 2**20:.0f} of {memory.total / 2**20:.0f} MiB available"
    if memory.available >= _LITTLE_MEMORY:
        return Finding(name="memory", found=found)
    return Finding.warning("memory", found, "end other programs")
