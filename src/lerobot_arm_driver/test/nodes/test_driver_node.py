# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `lerobot_arm_driver` where LeRobot is not: it says so, and takes no control."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from policy_msgs.msg import RobotStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from robot_sim.arm_servos import ArmServos
from robot_sim.servo_bus import ServoPort
from testkit.wording import check_wording

pytestmark = pytest.mark.ros
DEADLINE_S = 60.0


class Stage:
    """A driver that is started, and who listens to it."""

    def __init__(self, folder: Path) -> None:
        rclpy.init(args=[])
        self._log = folder / "driver.log"
        self.node = Node("listener")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.statuses: list[RobotStatus] = []
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(
            RobotStatus, "/lerobot_arm_driver/status", self.statuses.append, latched
        )
        self._take = self.node.create_client(Trigger, "/lerobot_arm_driver/take_control")
        self.process: subprocess.Popen[bytes]

    def start(self, **parameters: object) -> None:
        words = [
            word
            for name, value in parameters.items()
            for word in ("-p", f"{name}:={json.dumps(value)}")
        ]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["lerobot_arm_driver", "--ros-args", *words], stdout=log, stderr=log
            )

    def until(self, condition: Callable[[], object]) -> None:
        ends_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < ends_s, self.log
            self._executor.spin_once(timeout_sec=0.02)

    def taken(self) -> Any:
        self.until(self._take.service_is_ready)
        future = self._take.call_async(Trigger.Request())
        self.until(future.done)
        return future.result()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def close(self) -> None:
        if hasattr(self, "process") and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def servo_stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def servo_port_path() -> Iterator[str]:
    port = ServoPort(ArmServos().bus)
    yield port.name
    port.close()


def test_a_python_without_lerobot_is_named_and_control_is_refused(
    servo_stage: Stage, servo_port_path: str
) -> None:
    servo_stage.start(port=servo_port_path, lerobot_python=sys.executable)

    servo_stage.until(
        lambda: (
            servo_stage.statuses
            and any(sys.executable in text for text in servo_stage.statuses[-1].obstacles)
        )
    )

    answer = servo_stage.taken()
    assert not answer.success
    check_wording(answer.message)
    servo_stage.process.terminate()
    servo_stage.until(lambda: servo_stage.process.poll() is not None)
    assert servo_stage.process.returncode == 0, servo_stage.log


@pytest.mark.parametrize(
    ("parameters", "named"),
    [({"lerobot_python": "/nowhere/python"}, "/nowhere/python"), ({"robot": "so102"}, "so102")],
    ids=["Python", "robot"],
)
def test_what_cannot_be_used_ends_the_driver_by_name(
    servo_stage: Stage, servo_port_path: str, parameters: dict[str, str], named: str
) -> None:
    servo_stage.start(port=servo_port_path, **parameters)

    servo_stage.until(lambda: servo_stage.process.poll() is not None)

    assert servo_stage.process.returncode != 0
    assert named in servo_stage.log
