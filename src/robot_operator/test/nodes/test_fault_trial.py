# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`robot_operator try_faults` beside a policy node, and a node that injects faults."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from policy_msgs.msg import JointCommand
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from policy_core.errors import BundleError
from robot_operator.fault_scenarios import read_scenarios
from testkit.wording import check_wording, refusal

from .robot import Robot

NOTICED, UNNOTICED, REFUSED = "drop:imu", "drop:odom", "drop:wheel"
SILENCING = "freeze:imu+6"
Try = Callable[..., "subprocess.CompletedProcess[str]"]


class Injector:
    """The node `fault_injector`, and the policy's reaction to its faults."""

    def __init__(self, robot: Robot) -> None:
        self._robot, self.set = robot, list[list[str]]()
        self.node = Node("fault_injector", use_global_arguments=False)
        self.node.declare_parameter("faults", [""])
        self._commands = robot.node.create_publisher(
            JointCommand, "joint_command", QoSProfile(depth=1)
        )
        self.node.add_on_set_parameters_callback(self._on_set)
        self.silent = False
        self.node.create_timer(0.05, self._command)
        robot.executor.add_node(self.node)

    def _command(self) -> None:
        if not self.silent:
            self._commands.publish(JointCommand(mode=self._robot.policy.mode))

    def _on_set(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        (parameter,) = parameters
        self.set.append([*parameter.value])
        if any(REFUSED in each for each in parameter.value):
            return SetParametersResult(successful=False, reason="unknown target")
        if SILENCING in parameter.value:
            self.silent = True
        if f"{NOTICED}+10" in parameter.value:
            self._robot.policy.mode = JointCommand.MODE_DAMP
            self._robot.policy.reason = "held_too_long: imu"
            self._commands.publish(JointCommand(mode=JointCommand.MODE_DAMP))
        return SetParametersResult(successful=True)


@pytest.fixture
def injector(met_robot: Robot) -> Iterator[Injector]:
    made = Injector(met_robot)
    yield made
    made.node.destroy_node()


@pytest.fixture
def tries(met_robot: Robot, tmp_path: Path) -> Try:
    """Return what runs the command with these scenarios."""

    def run(*scenarios: dict[str, Any], words: Sequence[str] = ("--yes",)) -> Any:
        file = tmp_path / "faults.yaml"
        file.write_text(json.dumps({"scenarios": scenarios}))
        command = ["robot_operator", "try_faults", str(file), "--json", *words]
        process = subprocess.Popen(
            [*command, "--node", "joint_policy_node", "--timeout", "3", "--without-driver"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        met_robot.until(lambda: process.poll() is not None, "the end of the command")
        out, log = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, out, log)

    return run


@pytest.mark.slow
@pytest.mark.ros
def test_the_robot_runs_before_each_fault_and_faults_are_removed_after_it(
    injector: Injector, tries: Try, met_robot: Robot
) -> None:
    noticed = {"faults": [NOTICED], "expected": "rest", "within_s": 60.0}
    ended = tries(noticed, noticed, {"faults": [UNNOTICED], "expected": "goes_on"})
    assert ended.returncode == 0, ended.stderr
    assert met_robot.asked == ["reset", "stand", "run"] * 3
    checked = [[f"{fault}@1e+09+10"] for fault in (NOTICED, NOTICED, UNNOTICED)]
    noticed_then, unnoticed_then = [[f"{NOTICED}+10"], [""]], [[f"{UNNOTICED}+10"], [""]]
    assert injector.set == [*checked, [""], *noticed_then, *noticed_then, *unnoticed_then]
    outcomes = json.loads(ended.stdout)["outcomes"]
    assert [each["as_expected"] for each in outcomes] == [True] * 3
    assert [each["rest_after_s"] is None for each in outcomes] == [False, False, True]
    assert outcomes[0]["reason"] == "held_too_long: imu"


@pytest.mark.slow
@pytest.mark.ros
@pytest.mark.usefixtures("injector")
def test_unexpected_outcomes_are_the_exit_status(tries: Try) -> None:
    ended = tries(
        {"faults": [NOTICED], "expected": "goes_on"},
        {"faults": [NOTICED], "expected": "rest", "within_s": 1e-6},
        {"faults": [UNNOTICED], "expected": "rest"},
    )
    assert ended.returncode == 1
    outcomes = json.loads(ended.stdout)["outcomes"]
    assert [each["as_expected"] for each in outcomes] == [False] * 3


@pytest.mark.slow
@pytest.mark.ros
def test_nothing_is_tried_after_a_refused_fault_or_without_a_terminal(
    injector: Injector, tries: Try, met_robot: Robot
) -> None:
    first, second = ({"faults": [fault], "expected": "goes_on"} for fault in (UNNOTICED, REFUSED))
    ended = tries(first, second)
    assert ended.returncode == 1
    check_wording(ended.stderr.splitlines()[-1])
    assert met_robot.asked == []
    ended = tries(first, words=())
    assert ended.returncode == 1
    check_wording(ended.stderr.splitlines()[-1])
    assert met_robot.asked == []


@pytest.mark.slow
@pytest.mark.ros
def test_a_policy_that_no_longer_sends_commands_does_not_go_on(
    injector: Injector, tries: Try
) -> None:
    ended = tries({"faults": [SILENCING], "expected": "goes_on"})
    assert ended.returncode == 1
    (outcome,) = json.loads(ended.stdout)["outcomes"]
    assert (outcome["rest_after_s"], outcome["as_expected"]) == (None, False)
    assert injector.silent


@pytest.mark.slow
@pytest.mark.ros
def test_the_robot_stays_where_it_is_while_somebody_else_injects_faults(
    injector: Injector, tries: Try, met_robot: Robot
) -> None:
    injector.node.set_parameters([Parameter("faults", value=[UNNOTICED])])
    ended = tries({"faults": [UNNOTICED], "expected": "goes_on"})
    assert ended.returncode == 1
    check_wording(ended.stderr.splitlines()[-1])
    assert met_robot.asked == []


@pytest.mark.slow
@pytest.mark.ros
def test_the_robot_stays_where_it_is_without_the_node_that_injects(
    tries: Try, met_robot: Robot
) -> None:
    ended = tries({"faults": [NOTICED], "expected": "rest"})
    assert ended.returncode == 1
    check_wording(ended.stderr.splitlines()[-1])
    assert met_robot.asked == []


@pytest.mark.parametrize(
    "content",
    [
        "scenarios: []",
        "scenarios: [{faults: [], expected: rest}]",
        "scenarios: [{faults: [drop:imu], expected: falls}]",
        "scenarios: [{faults: [drop:imu], expected: rest, within_s: 0}]",
        "scenarios: [{faults: ['drop:imu@1'], expected: rest}]",
    ],
)
def test_an_invalid_file_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text(content)
    with refusal(BundleError):
        read_scenarios(file)


def test_the_examples_are_scenarios() -> None:
    assert len(read_scenarios(Path(__file__).parents[4] / "examples" / "faults.yaml")) > 5
