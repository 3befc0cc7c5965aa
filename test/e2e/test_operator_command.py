# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `robot_operator`, as a user without the `ros2` command runs it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from policy_msgs.msg import RobotStatus
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from .rig import Rig

pytestmark = pytest.mark.ros
LATCHED = "DAMP, latched until reset"
IN_REAL_TIME = {"lockstep_speed": 1.0}
"""Commands are processes that take seconds; faster, the simulation would only hold them up."""


class Driver:
    """What there is of a robot's driver for its clients; it refuses until `agrees` is set."""

    def __init__(self, node: Node) -> None:
        self.agrees = False
        self.status = node.create_publisher(
            RobotStatus,
            "~/status",
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
        )
        self.status.publish(
            RobotStatus(state=RobotStatus.LISTENING, reason="asked for nothing yet")
        )
        for name in ("take_control", "release_control", "damp", "reset"):
            node.create_service(Trigger, f"~/{name}", self._answer)

    def _answer(self, _: Trigger.Request, response: Trigger.Response) -> Any:
        response.success, response.message = self.agrees, "done" if self.agrees else "it moves"
        return response


@pytest.fixture
def driver() -> Iterator[Driver]:
    """A driver called `some_driver`."""
    context = Context()
    rclpy.init(context=context)
    node = Node("some_driver", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    driver = Driver(node)
    spinner = threading.Thread(target=executor.spin)
    spinner.start()
    yield driver
    executor.shutdown()
    spinner.join()
    node.destroy_publisher(driver.status)
    node.destroy_node()
    rclpy.shutdown(context=context)


def operate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["robot_operator", "--sim-time", *arguments], capture_output=True, text=True
    )


def printed(*arguments: str) -> str:
    result = operate(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def shown_mode(text: str) -> str:
    return text.splitlines()[0].removeprefix("mode").strip()


@pytest.mark.acceptance
def test_a_robot_is_operated_by_commands_alone(tmp_path: Path) -> None:
    with Rig(tmp_path, drives=False, sim=IN_REAL_TIME) as rig:
        refused = operate("run")
        assert refused.returncode == 1
        assert "RUN refused" in refused.stderr
        assert shown_mode(printed("stand")) == "READY"
        assert shown_mode(printed("run")) == "RUN"
        assert shown_mode(printed("drive", "-0.5", "0", "0.1", "--seconds", "2")) == "RUN"
        inputs = [entry.name for entry in rig.operator.status.inputs]
        shown = printed("status")
        assert "lite3_walk 0.2.1" in shown
        assert [line.split()[0] for line in shown.splitlines()] == [
            "mode",
            "reason",
            "runs",
            "authority",
            "rate",
            "latency",
            *inputs,
            "guard",
            "machine",
            "driver",
        ]
        assert shown_mode(printed("estop")) == LATCHED
        assert shown_mode(printed("reset", "--node", "joint_policy_node")) == "DAMP"
        trace = rig.trace()
    driven = trace.command[(trace.command != 0.0).any(axis=1)]
    assert driven[0].tolist() == [-0.5, 0.0, 0.1]
    assert trace.command[-1].tolist() == [0.0, 0.0, 0.0]
    assert len(driven) * 0.02 == pytest.approx(2.0, abs=0.5)


@pytest.mark.slow
def test_the_driver_is_asked_and_its_answer_shown(driver: Driver) -> None:
    refused = operate("take_control")
    assert refused.returncode == 1
    assert "take_control: /some_driver" in refused.stderr
    driver.agrees = True
    assert printed("take_control", "--driver", "some_driver") == "done\n"


def test_a_velocity_that_is_none_is_refused() -> None:
    refused = operate("drive", "nan", "0", "0", "--seconds", "1")
    assert refused.returncode == 2
    assert "vx: expected a finite number, found nan" in refused.stderr
