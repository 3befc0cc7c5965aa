# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a test ran on: software with versions, and the board. Nothing that names its user."""

from __future__ import annotations

import os
import platform

from policy_inference.machine.machine import Machine, installed_version
from policy_inference.machine.system import board, release


def describe_system(machine: Machine) -> dict[str, str | None]:
    """Return versions and hardware by name; None where something cannot be read."""
    return {
        "policy_inference": installed_version("policy_inference"),
        "python": platform.python_version(),
        "numpy": installed_version("numpy"),
        "os": release(machine),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "board": board(machine),
        "cpu": _after(machine, "/proc/cpuinfo", "model name").lstrip("\t :") or None,
        "cpus": str(os.cpu_count()),
        "memory": _after(machine, "/proc/meminfo", "MemTotal:").strip() or None,
        "ros_distro": os.environ.get("ROS_DISTRO"),
    }


def _after(machine: Machine, path: str, key: str) -> str:
    """Return what follows a key in the first line that begins with it."""
    lines = (machine.text(path) or "").splitlines()
    return next((line.removeprefix(key) for line in lines if line.startswith(key)), "")
