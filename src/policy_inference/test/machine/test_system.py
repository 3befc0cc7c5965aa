# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What doctor finds of the computer and of ROS."""

from pathlib import Path

import pytest

from policy_inference.errors import PolicyError
from policy_inference.machine.finding import Finding, Severity
from policy_inference.machine.machine import Machine
from policy_inference.machine.middleware import (
    discovery_of,
    examine_ros,
    require_joystick_package,
    require_known_arguments,
    require_port,
)
from policy_inference.machine.system import examine_system

from ..machine_tree import Files, changed, machine

PC: Files = {
    "/etc/os-release": 'ID=ubuntu\nPRETTY_NAME="Ubuntu 24.04 LTS"\n',
    "/proc/sys/kernel/osrelease": "6.8.0-41-generic",
    "/sys/class/dmi/id/product_name": "NUC11",
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: x\n\nprocessor\t: 1\n",
    "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "performance",
    "/sys/devices/system/cpu/cpufreq/policy1/scaling_governor": "performance",
    "/proc/meminfo": "MemTotal: 8192000 kB\nMemFree: 1 kB\nMemAvailable: 4096000 kB",
}
DISTRIBUTION = {"ROS_DISTRO": "jazzy"}


def found_of(path: Path, files: Files) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine_system(machine(path, files))}


def test_healthy_computer_is_described(tmp_path: Path) -> None:
    found = found_of(tmp_path, PC)

    assert {finding.severity for finding in found.values()} == {Severity.OK}
    assert found["system"].found.startswith("Ubuntu 24.04 LTS, Linux 6.8.0-41-generic, ")
    assert found["board"].found == "NUC11"
    assert found["processor"].found == "2 cores, governor performance"
    assert found["memory"].found == "4000 of 8000 MiB available"
    assert "container" not in found
    assert "realtime.priority" in found["real-time priority"].found
    assert "realtime.lock_memory" in found["locked memory"].found


def test_board_is_what_its_device_tree_says(tmp_path: Path) -> None:
    files = changed(PC, {"/proc/device-tree/model": "Radxa ROCK 5B\0"})

    assert found_of(tmp_path, files)["board"].found == "Radxa ROCK 5B"


def test_governor_that_saves_power_is_a_warning(tmp_path: Path) -> None:
    governor = "/sys/devices/system/cpu/cpufreq/policy1/scaling_governor"
    finding = found_of(tmp_path, changed(PC, {governor: "powersave"}))["processor"]

    assert finding.severity is Severity.WARNING
    assert finding.found == "2 cores, governor performance, powersave"
    assert "echo performance" in finding.remedy


def test_little_memory_is_a_warning(tmp_path: Path) -> None:
    files = changed(PC, {"/proc/meminfo": "MemTotal: 1024000 kB\nMemAvailable: 102400 kB"})

    assert found_of(tmp_path, files)["memory"].severity is Severity.WARNING


@pytest.mark.parametrize("mark", ["/.dockerenv", "/run/.containerenv"])
def test_container_is_reported(mark: str, tmp_path: Path) -> None:
    assert "container" in found_of(tmp_path, changed(PC, {mark: ""}))


@pytest.fixture
def ros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shell's folders with rclpy and policy_msgs, whether this shell has them or not."""
    for module in ("rclpy", "policy_msgs"):
        (tmp_path / "site" / module).mkdir(parents=True)
        (tmp_path / "site" / module / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "name", "severity", "said"),
    [
        ({}, "domain", Severity.OK, "ROS_DOMAIN_ID 0"),
        ({"ROS_DOMAIN_ID": "42"}, "domain", Severity.OK, "42"),
        ({"ROS_DOMAIN_ID": "102"}, "domain", Severity.WARNING, "102"),
        ({"ROS_DOMAIN_ID": "seven"}, "domain", Severity.WARNING, "seven"),
        ({}, "discovery", Severity.OK, "subnet"),
        ({"ROS_LOCALHOST_ONLY": "1"}, "discovery", Severity.OK, "this computer only"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, "discovery", Severity.OK, "this computer only"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LAN"}, "discovery", Severity.WARNING, "LAN"),
        ({}, "middleware", Severity.OK, "rmw_fastrtps_cpp (default)"),
        ({"RMW_IMPLEMENTATION": "rmw_other"}, "middleware", Severity.ERROR, "not installed"),
    ],
)
def test_ros_environment_is_judged(
    environment: dict[str, str], name: str, severity: Severity, said: str, ros: Path
) -> None:
    findings = examine_ros(Machine(ros), {**DISTRIBUTION, **environment})
    finding = next(finding for finding in findings if finding.name == name)

    assert finding.severity is severity
    assert said in finding.found


@pytest.mark.parametrize(
    ("environment", "severity"),
    [
        ({}, Severity.WARNING),
        ({"ROS_SECURITY_ENABLE": "false"}, Severity.WARNING),
        ({"ROS_SECURITY_ENABLE": "true"}, Severity.OK),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, Severity.OK),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, Severity.OK),
        ({"ROS_LOCALHOST_ONLY": "1"}, Severity.OK),
        ({"ROS_STATIC_PEERS": "192.168.1.20"}, Severity.OK),
    ],
)
def test_open_network_is_found_where_neither_range_nor_security_is_chosen(
    environment: dict[str, str], severity: Severity, ros: Path
) -> None:
    for name, state in (("lo", "unknown"), ("eth0", "up"), ("wlan0", "down")):
        (ros / "sys/class/net" / name).mkdir(parents=True)
        (ros / "sys/class/net" / name / "operstate").write_text(state)

    findings = examine_ros(Machine(ros), {**DISTRIBUTION, **environment})
    finding = next(finding for finding in findings if finding.name == "discovery")

    assert finding.severity is severity
    if severity is Severity.WARNING:
        assert "open to the network (eth0)" in finding.found
        assert "docs/hardening.md" in finding.remedy


@pytest.mark.parametrize("robot", ["sim", "lite3_emulator", "go2_emulator"])
def test_robot_in_this_computer_is_found_by_it_alone_unless_the_user_chose(robot: str) -> None:
    assert discovery_of(robot, {}) == {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    assert discovery_of(robot, {"ROS_STATIC_PEERS": ""}) == discovery_of(robot, {})
    for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS"):
        assert discovery_of(robot, {name: "0"}) == {}


@pytest.mark.parametrize("robot", ["lite3", "go2", "g1", "none"])
def test_real_robot_is_found_by_those_that_the_user_chose(robot: str) -> None:
    assert discovery_of(robot, {}) == {}


@pytest.mark.parametrize(("load", "severity"), [("1.99", Severity.OK), ("12.31", Severity.WARNING)])
def test_more_threads_than_cores_are_a_warning(
    tmp_path: Path, load: str, severity: Severity
) -> None:
    found = found_of(tmp_path, changed(PC, {"/proc/loadavg": f"{load} 2.0 1.0 3/500 1234"}))
    assert found["load"].severity is severity


def test_port_of_the_metrics_is_a_number() -> None:
    assert require_port("9102") == 9102
    for text in ("abc", "0", "65536", "-1", "9102.0"):
        with pytest.raises(PolicyError, match="metrics_port: expected a number"):
            require_port(text)


def test_joystick_needs_its_package(ros: Path) -> None:
    environment = {**DISTRIBUTION, "AMENT_PREFIX_PATH": f"/nowhere:{ros}"}
    with pytest.raises(PolicyError, match="sudo apt install ros-jazzy-joy"):
        require_joystick_package(environment)
    index = ros / "share/ament_index/resource_index/packages"
    index.mkdir(parents=True)
    (index / "joy").touch()
    require_joystick_package(environment)


def test_middleware_that_is_installed_is_fine(ros: Path) -> None:
    index = ros / "share/ament_index/resource_index/packages"
    index.mkdir(parents=True)
    (index / "rmw_other").touch()
    findings = examine_ros(
        Machine(ros),
        {**DISTRIBUTION, "RMW_IMPLEMENTATION": "rmw_other", "AMENT_PREFIX_PATH": f"/nowhere:{ros}"},
    )

    assert {finding.severity for finding in findings} == {Severity.OK}


def test_shell_without_ros_is_a_warning_and_nothing_more(ros: Path) -> None:
    (finding,) = examine_ros(Machine(ros), {})

    assert finding.severity is Severity.WARNING
    assert "setup.bash" in finding.remedy


def test_an_argument_of_a_launch_file_with_a_typing_error_gets_the_right_name() -> None:
    known, words = {"bundle", "robot"}, ["launch", "/share/joint_policy.launch.py", "robot:=sim"]
    require_known_arguments(known, words)
    with pytest.raises(PolicyError, match=r"^bundel: .*did you mean bundle\?$"):
        require_known_arguments(known, [*words, "bundel:=x"])
    with pytest.raises(PolicyError, match="the arguments are bundle, robot"):
        require_known_arguments(known, [*words, "zzz:=x"])
    # A launch file that includes ours has arguments of its own.
    require_known_arguments(known, ["launch", "my_robot.launch.py", "simulated:=true"])


def test_the_launch_files_whose_arguments_are_checked_are_those_there_are() -> None:
    folder = Path(__file__).parents[2] / "launch"
    for file in folder.glob("*.launch.py"):
        with pytest.raises(PolicyError):
            require_known_arguments({"bundle"}, [file.name, "bundel:=x"])
