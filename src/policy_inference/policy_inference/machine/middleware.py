# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 environment of this shell, looked at without starting ROS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from policy_inference.machine.finding import Finding
from policy_inference.machine.machine import Machine
from policy_inference.machine.packages import module_found

_LAST_DOMAIN = 101
"""Beyond it, DDS's ports meet those that Linux hands out to others (ROS 2: About-Domain-ID)."""
_RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")
_DEFAULT_RMW = "rmw_fastrtps_cpp"


def examine_ros(machine: Machine, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what nodes that are started from this shell will find."""
    distribution = environment.get("ROS_DISTRO")
    if not distribution or not module_found("rclpy"):
        rclpy = "there" if module_found("rclpy") else "not found"
        yield Finding.warning("distribution", f"{distribution or 'none'}, rclpy {rclpy}", "source "
                              "ROS 2's setup.bash; without it only what needs no ROS runs")
        return
    yield Finding(name="distribution", found=distribution)
    yield _workspace()
    yield _middleware(environment)
    yield _domain(environment)
    yield _reach(environment)
    if size := machine.number("/proc/sys/net/core/rmem_max"):
        yield Finding(name="receive buffer", found=f"net.core.rmem_max {size / 1024:.0f} KiB "
                      "(large camera images may want more)")


def _workspace() -> Finding:
    if module_found("policy_msgs"):
        return Finding(name="workspace", found="policy_msgs found")
    return Finding.error("workspace", "policy_msgs not found", "build the workspace, and source "
                         "its install/setup.bash in this shell")


def _middleware(environment: Mapping[str, str]) -> Finding:
    named = environment.get("RMW_IMPLEMENTATION")
    name, said = named or _DEFAULT_RMW, "" if named else " (default)"
    folders = [Path(p) for p in environment.get("AMENT_PREFIX_PATH", "").split(":") if p]
    # ROS distributions mark each package in this index.
    if any((folder / "share/ament_index/resource_index/packages" / name).exists()
           for folder in folders) or not named:
        return Finding(name="middleware", found=f"{name}{said}")
    return Finding.error("middleware", f"{name}, which is not installed", "install its package for "
                         "this distribution, or unset RMW_IMPLEMENTATION")


def _domain(environment: Mapping[str, str]) -> Finding:
    text = environment.get("ROS_DOMAIN_ID") or "0"
    if text.isascii() and text.isdigit() and int(text) <= _LAST_DOMAIN:
        return Finding(name="domain", found=f"ROS_DOMAIN_ID {text}")
    return Finding.warning("domain", f"ROS_DOMAIN_ID {text}", "set a number from 0 to "
                           f"{_LAST_DOMAIN}, the same on all computers")


def _reach(environment: Mapping[str, str]) -> Finding:
    """Say which computers find the nodes; ROS_LOCALHOST_ONLY is the older variable and wins."""
    alone = environment.get("ROS_LOCALHOST_ONLY") == "1"
    asked = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE") or "SUBNET"
    if asked not in _RANGES:
        return Finding.warning("discovery", f"ROS_AUTOMATIC_DISCOVERY_RANGE {asked}",
                               f"set one of {', '.join(_RANGES)}")
    if alone or asked in ("LOCALHOST", "OFF"):
        by = "ROS_LOCALHOST_ONLY=1" if alone else f"ROS_AUTOMATIC_DISCOVERY_RANGE={asked}"
        return Finding(name="discovery", found=f"this computer only ({by})")
    return Finding(name="discovery", found=f"{asked.lower()}")
