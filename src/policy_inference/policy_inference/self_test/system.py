# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a test ran on: software with versions, and the board. Nothing that names its user."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from policy_inference.machine.machine import Machine

_BOARDS = ("/proc/device-tree/model", "/sys/class/dmi/id/product_name")


def describe_system(machine: Machine) -> dict[str, str | None]:
    """Return versions and hardware by name; None where something cannot be read."""
    return {
        "policy_inference": _version("policy_inference"),
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "os": _after(machine, "/etc/os-release", "PRETTY_NAME=").strip('"') or None,
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "board": next(filter(None, map(machine.text, _BOARDS)), None),
        "cpu": _after(machine, "/proc/cpuinfo", "model name").lstrip("\t :") or None,
        "cpus": str(os.cpu_count()),
        "memory": _after(machine, "/proc/meminfo", "MemTotal:").strip() or None,
        "ros_distro": os.environ.get("ROS_DISTRO"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _after(machine: Machine, path: str, key: str) -> str:
    """Return what follows a key in the first line that begins with it."""
    lines = (machine.text(path) or "").splitlines()
    return next((line.removeprefix(key) for line in lines if line.startswith(key)), "")
