# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checks on this shell's ROS 2 environment, without starting ROS."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from policy_core.errors import PolicyError, did_you_mean
from policy_inference.fast_dds import DEFAULT_RMW, DISCOVERY_RANGE
from policy_inference.machine.machine import Finding, Machine, module_found

_LAST_DOMAIN = 101
"""Highest domain ID whose DDS ports avoid Linux's ephemeral ports (ROS 2: About-Domain-ID)."""
_LAUNCH_FILES = (
    "act_bpu.launch.py",
    "act_policy.launch.py",
    "isaac_tensorrt.launch.py",
    "joint_policy.launch.py",
    "lite3_rknn.launch.py",
    "lite3_ros2_control.launch.py",
    "policy_set.launch.py",
)
_LAST_PORT = 65535
_RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")
_CHOICES = (DISCOVERY_RANGE, "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS")
"""Variables with which a user chooses the computers that can discover the nodes."""
_ON_THIS_COMPUTER = ("sim", "lite3_emulator", "go2_emulator", "so101_emulator")


def examine_ros(machine: Machine, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield findings about the environment of nodes started from this shell."""
    distribution = environment.get("ROS_DISTRO")
    if not distribution or not module_found("rclpy"):
        rclpy = "there" if module_found("rclpy") else "not found"
        yield Finding.warning(
            "distribution",
            f"{distribution or 'none'}, rclpy {rclpy}",
            "source ROS 2's setup.bash; without it, only commands that do not need ROS run",
        )
        return
    yield Finding(name="distribution", found=distribution)
    yield _workspace()
    yield _middleware(environment)
    yield _domain(environment)
    yield _reach(environment)
    if size := machine.number("/proc/sys/net/core/rmem_max"):
        yield Finding(
            name="receive buffer",
            found=f"net.core.rmem_max {size / 1024:.0f} KiB (large camera images may need more)",
        )


def discovery_variables(robot: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a launch file sets for a robot's nodes.

    For an emulated or simulated robot, discovery is limited to this computer, unless the user has
    set a discovery variable. Humble ignores the returned variable.

    Args:
        robot: Value of the `robot` launch argument.
        environment: Environment variables; an empty variable counts as not set.
    """
    if robot not in _ON_THIS_COMPUTER or any(environment.get(name) for name in _CHOICES):
        return {}
    return {DISCOVERY_RANGE: "LOCALHOST"}


def security_variables(keystore: str) -> dict[str, str]:
    """Return the environment variables that make nodes use SROS 2.

    Args:
        keystore: Folder created by `ros2 security`; "" for no protection.

    Raises:
        PolicyError: The folder is not a keystore.
    """
    if not keystore:
        return {}
    if not (Path(keystore) / "enclaves").is_dir():
        raise PolicyError(
            "security: expected a keystore made by `ros2 security`, with an enclaves folder, found "
            f"{keystore}; make one as described in docs/hardening.md"
        )
    return {
        "ROS_SECURITY_ENABLE": "true",
        "ROS_SECURITY_STRATEGY": "Enforce",
        "ROS_SECURITY_KEYSTORE": str(Path(keystore).absolute()),
    }


def require_port(text: str) -> int:
    """Return the `metrics_port` launch argument as a number."""
    if text.isascii() and text.isdigit() and 0 < int(text) <= _LAST_PORT:
        return int(text)
    raise PolicyError(
        f"metrics_port: expected a number from 1 to {_LAST_PORT}, or nothing for no metrics, "
        f"found {text!r}"
    )


def require_known_arguments(known: Collection[str], words: Sequence[str] = sys.argv) -> None:
    """Check a launch file's arguments, since `ros2 launch` ignores undeclared ones.

    Args:
        known: Names of the arguments that the suite's launch file declares.
        words: Words of the command line. If they name a launch file that includes ours, its
            arguments are unknown here, and nothing is checked.
    """
    if not any(Path(word).name in _LAUNCH_FILES for word in words):
        return
    for name, separator, _ in (word.partition(":=") for word in words):
        if separator and name not in known:
            meant = did_you_mean(name, known) or f"; the arguments are {', '.join(sorted(known))}"
            raise PolicyError(
                f"{name}: expected an argument of the launch file, found an unknown one{meant}"
            )


def require_joystick_package(environment: Mapping[str, str]) -> None:
    """Raise PolicyError unless the joystick node's package is installed."""
    if not _is_installed("joy", environment):
        distribution = environment.get("ROS_DISTRO") or "$ROS_DISTRO"
        raise PolicyError(
            "operator:=joystick: expected the joy package in this shell, found no such "
            "package; install it "
            f"(sudo apt install ros-{distribution}-joy) and source ROS 2 again, or pass "
            "joy_node:=false if another node publishes `joy`"
        )


def _is_installed(package: str, environment: Mapping[str, str]) -> bool:
    """Return True if the ament index lists this package."""
    folders = [Path(p) for p in environment.get("AMENT_PREFIX_PATH", "").split(":") if p]
    return any(
        (folder / "share/ament_index/resource_index/packages" / package).exists()
        for folder in folders
    )


def _workspace() -> Finding:
    if module_found("policy_msgs"):
        return Finding(name="workspace", found="policy_msgs found")
    return Finding.error(
        "workspace",
        "policy_msgs not found",
        "build the workspace, and source its install/setup.bash in this shell",
    )


def _middleware(environment: Mapping[str, str]) -> Finding:
    named = environment.get("RMW_IMPLEMENTATION")
    name, said = named or DEFAULT_RMW, "" if named else " (default)"
    if not named or _is_installed(name, environment):
        return Finding(name="middleware", found=f"{name}{said}")
    return Finding.error(
        "middleware",
        f"{name}, which is not installed",
        "install its package for this distribution, or unset RMW_IMPLEMENTATION",
    )


def _domain(environment: Mapping[str, str]) -> Finding:
    text = environment.get("ROS_DOMAIN_ID") or "0"
    if text.isascii() and text.isdigit() and int(text) <= _LAST_DOMAIN:
        return Finding(name="domain", found=f"ROS_DOMAIN_ID {text}")
    return Finding.warning(
        "domain",
        f"ROS_DOMAIN_ID {text}",
        f"set a number from 0 to {_LAST_DOMAIN}, the same on all computers",
    )


def _reach(environment: Mapping[str, str]) -> Finding:
    """Report which computers can discover the nodes; the older ROS_LOCALHOST_ONLY prevails."""
    alone = environment.get("ROS_LOCALHOST_ONLY") == "1"
    asked = environment.get(DISCOVERY_RANGE) or "SUBNET"
    if asked not in _RANGES:
        return Finding.warning(
            "discovery",
            f"ROS_AUTOMATIC_DISCOVERY_RANGE {asked}",
            f"set one of {', '.join(_RANGES)}",
        )
    if alone or asked in ("LOCALHOST", "OFF"):
        by = "ROS_LOCALHOST_ONLY=1" if alone else f"ROS_AUTOMATIC_DISCOVERY_RANGE={asked}"
        return Finding(name="discovery", found=f"this computer only ({by})")
    is_chosen = any(environment.get(name) for name in _CHOICES)
    is_secured = environment.get("ROS_SECURITY_ENABLE") == "true"
    networks = _networks()
    if networks and not (is_chosen or is_secured):
        return Finding.warning(
            "discovery",
            f"DDS is open to the network ({', '.join(networks)}): any machine on it "
            "can command the robot",
            f"set {DISCOVERY_RANGE}=LOCALHOST (Humble: ROS_LOCALHOST_ONLY=1), or "
            "configure SROS 2: docs/hardening.md",
        )
    return Finding(name="discovery", found=f"{asked.lower()}")


def _networks() -> list[str]:
    """Return the network interfaces that are up, except loopback."""
    return sorted(name for name, one in psutil.net_if_stats().items() if one.isup and name != "lo")
