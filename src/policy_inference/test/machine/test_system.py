# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What an examination finds of the computer and of ROS."""

import os
import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from policy_core.errors import PolicyError
from policy_inference.fast_dds import fast_dds_without_shared_memory
from policy_inference.machine.machine import Finding, Machine, Severity
from policy_inference.machine.middleware import (
    discovery_variables,
    examine_ros,
    require_joystick_package,
    require_known_arguments,
    security_variables,
)
from policy_inference.machine.system import examine_system
from testkit.wording import check_wording, refusal

from ..machine_tree import Files, machine, tree_with

PC: Files = {
    "/sys/class/dmi/id/product_name": "NUC11",
    "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "performance",
    "/sys/devices/system/cpu/cpufreq/policy1/scaling_governor": "performance",
}
DISTRIBUTION = {"ROS_DISTRO": "jazzy"}


@pytest.fixture(autouse=True)
def two_cores_with_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (1.99, 2.0, 1.0))
    have_memory(monkeypatch, available_mib=4000)


def have_memory(monkeypatch: pytest.MonkeyPatch, available_mib: int) -> None:
    memory = SimpleNamespace(available=available_mib << 20, total=8000 << 20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


def found_of(path: Path, files: Files) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine_system(machine(path, files))}


def test_healthy_computer_is_described(tmp_path: Path) -> None:
    found = found_of(tmp_path, PC)
    assert {finding.severity for finding in found.values()} == {Severity.OK}
    assert platform.release() in found["system"].found
    assert found["board"].found == "NUC11"
    assert "container" not in found
    check_wording(found["processor"].found, found["memory"].found)


def test_what_this_computer_has_in_addition_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_memory(monkeypatch, available_mib=100)
    governor = "/sys/devices/system/cpu/cpufreq/policy1/scaling_governor"
    files = tree_with(
        PC, {"/proc/device-tree/model": "Radxa\0", governor: "powersave", "/.dockerenv": ""}
    )
    found = found_of(tmp_path, files)
    assert found["board"].found == "Radxa"
    assert found["memory"].severity is found["processor"].severity is Severity.WARNING
    check_wording(found["processor"].found, found["processor"].remedy, found["container"].found)


@pytest.fixture
def ros_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shell's folders with rclpy and policy_msgs, whether this shell has them or not."""
    monkeypatch.setattr(psutil, "net_if_stats", dict)
    for module in ("rclpy", "policy_msgs"):
        (tmp_path / "site" / module).mkdir(parents=True)
        (tmp_path / "site" / module / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "name", "severity"),
    [
        ({}, "domain", Severity.OK),
        ({"ROS_DOMAIN_ID": "102"}, "domain", Severity.WARNING),
        ({}, "discovery", Severity.OK),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LAN"}, "discovery", Severity.WARNING),
        ({"RMW_IMPLEMENTATION": "rmw_other"}, "middleware", Severity.ERROR),
    ],
    ids=str,
)
def test_ros_environment_is_judged(
    environment: dict[str, str], name: str, severity: Severity, ros_shell: Path
) -> None:
    findings = examine_ros(Machine(ros_shell), {**DISTRIBUTION, **environment})
    finding = next(finding for finding in findings if finding.name == name)
    assert finding.severity is severity
    check_wording(finding.found)


@pytest.mark.parametrize(
    ("environment", "severity"),
    [
        ({}, Severity.WARNING),
        ({"ROS_SECURITY_ENABLE": "true"}, Severity.OK),
        ({"ROS_LOCALHOST_ONLY": "1"}, Severity.OK),
        ({"ROS_STATIC_PEERS": "192.168.1.20"}, Severity.OK),
    ],
)
def test_open_network_is_found_where_neither_range_nor_security_is_chosen(
    environment: Any, severity: Severity, ros_shell: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = {"lo": True, "eth0": True, "wlan0": False}
    found = {name: SimpleNamespace(isup=isup) for name, isup in up.items()}
    monkeypatch.setattr(psutil, "net_if_stats", lambda: found)
    findings = examine_ros(Machine(ros_shell), {**DISTRIBUTION, **environment})
    finding = next(finding for finding in findings if finding.name == "discovery")
    assert finding.severity is severity
    if severity is Severity.WARNING:
        assert "(eth0)" in finding.found
        assert "docs/hardening.md" in finding.remedy


def test_robot_in_this_computer_is_found_by_it_alone_unless_the_user_chose() -> None:
    for robot in ("sim", "lite3_emulator", "go2_emulator"):
        assert discovery_variables(robot, {}) == {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        assert discovery_variables(robot, {"ROS_STATIC_PEERS": ""}) == discovery_variables(
            robot, {}
        )
        for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS"):
            assert discovery_variables(robot, {name: "0"}) == {}
    for robot in ("lite3", "go2", "g1", "none"):
        assert discovery_variables(robot, {}) == {}


def test_keystore_is_enforced_and_must_be_one(tmp_path: Path) -> None:
    assert security_variables("") == {}
    with refusal(PolicyError):
        security_variables(str(tmp_path))
    (tmp_path / "enclaves").mkdir()
    assert security_variables(str(tmp_path)) == {
        "ROS_SECURITY_ENABLE": "true",
        "ROS_SECURITY_STRATEGY": "Enforce",
        "ROS_SECURITY_KEYSTORE": str(tmp_path),
    }


def test_fast_dds_uses_no_shared_memory_and_reaches_who_it_reached() -> None:
    for environment in ({}, {"ROS_DISTRO": "humble"}, {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}):
        (name, profiles) = fast_dds_without_shared_memory(environment).popitem()
        assert name == "FASTRTPS_DEFAULT_PROFILES_FILE"
        assert Path(profiles).name == "fast_dds_udp.xml"
    assert "FASTDDS_DEFAULT_PROFILES_FILE" in fast_dds_without_shared_memory(
        {"ROS_DISTRO": "kilted"}
    )
    for here in ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, {"ROS_LOCALHOST_ONLY": "1"}):
        variables = fast_dds_without_shared_memory(here)
        assert Path(variables["FASTRTPS_DEFAULT_PROFILES_FILE"]).name == "fast_dds_loopback.xml"
        assert variables["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SYSTEM_DEFAULT"
        assert not variables["ROS_LOCALHOST_ONLY"]


@pytest.mark.parametrize(
    "environment",
    [
        {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"},
        {"FASTRTPS_DEFAULT_PROFILES_FILE": "mine.xml"},
        {"FASTDDS_BUILTIN_TRANSPORTS": "DEFAULT"},
        {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_STATIC_PEERS": "192.168.1.20"},
    ],
)
def test_what_the_user_configured_stays(environment: dict[str, str]) -> None:
    assert fast_dds_without_shared_memory(environment) == {}


def test_joystick_needs_its_package(ros_shell: Path) -> None:
    environment = {**DISTRIBUTION, "AMENT_PREFIX_PATH": f"/nowhere:{ros_shell}"}
    with refusal(PolicyError):
        require_joystick_package(environment)
    index = ros_shell / "share/ament_index/resource_index/packages"
    index.mkdir(parents=True)
    (index / "joy").touch()
    require_joystick_package(environment)


def test_shell_without_ros_is_a_warning_and_nothing_more(ros_shell: Path) -> None:
    (finding,) = examine_ros(Machine(ros_shell), {})
    assert finding.severity is Severity.WARNING
    assert "setup.bash" in finding.remedy


def test_an_argument_of_a_launch_file_with_a_typing_error_gets_the_right_name() -> None:
    known, words = {"bundle", "robot"}, ["launch", "/share/joint_policy.launch.py", "robot:=sim"]
    require_known_arguments(known, words)
    with refusal(PolicyError):
        require_known_arguments(known, [*words, "bundel:=x"])
    with refusal(PolicyError):
        require_known_arguments(known, [*words, "zzz:=x"])
    # A launch file that includes ours has arguments of its own.
    require_known_arguments(known, ["launch", "my_robot.launch.py", "simulated:=true"])
