# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The driver of a Go2 and the emulated robot, over two implementations of DDS."""

from __future__ import annotations

import json
import os
import shutil
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Duration
from policy_msgs.msg import JointCommand, RobotStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from examples.demos.runner import LoggedProcess, Processes
from robot_sim.figures import load_robot
from robot_sim.trace import Trace

pytest.importorskip("cyclonedds", reason="cyclonedds is not installed (no wheel of it)")
if shutil.which("go2_driver") is None:
    pytest.skip("unitree_driver is not built", allow_module_level=True)
pytestmark = [pytest.mark.ros, pytest.mark.real_time]

GO2 = load_robot("go2")
DEADLINE_S = 60.0
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_MODE = {True: JointCommand.MODE_STAND, False: JointCommand.MODE_DAMP}


class Stage:
    """Emulator and driver as processes, and a node that commands."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.events_file = folder, folder / "events.jsonl"
        self.fault_file = folder / "faults.txt"
        self.processes = Processes()
        words = {
            "--robot": "go2",
            "--event-file": self.events_file,
            "--fault-file": self.fault_file,
            "--trace-file": folder / "trace.npz",
        }
        command = ["unitree_emulator", *(str(word) for pair in words.items() for word in pair)]
        self.processes.add(LoggedProcess(command, folder / "emulator.log"))
        self.processes.start(
            "go2_driver",
            {
                "network_interface": "lo",
                "domain_id": int(os.environ["ROS_DOMAIN_ID"]),
                "remote_required": False,
                "state_timeout_s": 0.5,
                "status_rate_hz": 20.0,
            },
            folder / "driver.log",
        )
        rclpy.init()
        self.node = Node("commander", use_global_arguments=False)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.status: RobotStatus | None = None
        self.joints: JointState | None = None
        self.node.create_subscription(RobotStatus, "go2_driver/status", self._on_status, _LATCHED)
        self.node.create_subscription(JointState, "joint_states", self._on_joints, 1)
        self._command = self.node.create_publisher(JointCommand, "joint_command", 1)
        self._sequence = 0

    def _on_status(self, message: RobotStatus) -> None:
        self.status = message

    def _on_joints(self, message: JointState) -> None:
        self.joints = message

    @property
    def happened(self) -> list[str]:
        if not self.events_file.is_file():
            return []
        lines = self.events_file.read_text("utf-8").splitlines()
        return [event for line in lines if (event := json.loads(line)["event"]) != "ignored"]

    def until(
        self, reached: Callable[[], Any], what: str, each: Callable[[], None] = lambda: None
    ) -> None:
        """Spin until something holds; command meanwhile."""
        ends_s = time.monotonic() + DEADLINE_S
        while not reached():
            assert time.monotonic() < ends_s, f"waited in vain for {what}: {self._said()}"
            self.processes.check()
            each()
            self.executor.spin_once(timeout_sec=0.005)

    def _said(self) -> str:
        status = self.status
        if status is None:
            return "no status"
        return f"{status.state} {status.reason} {list(status.obstacles)} {self.happened}"

    def ask(self, service: str) -> tuple[bool, str]:
        client = self.node.create_client(Trigger, f"go2_driver/{service}")
        self.until(client.service_is_ready, service)
        answer = client.call_async(Trigger.Request())
        self.until(answer.done, f"the answer to {service}")
        return answer.result().success, answer.result().message

    def command(self, pose: np.ndarray, *, stiff: bool) -> None:
        count = len(pose)
        self._sequence += 1
        fields = {
            "position": pose,
            "velocity": np.zeros(count),
            "effort": np.zeros(count),
            "stiffness": np.full(count, 60.0 if stiff else 0.0),
            "damping": np.full(count, 3.0),
            "effort_limit": GO2.effort_limit_nm,
        }
        self._command.publish(
            JointCommand(
                sequence=self._sequence,
                valid_for=Duration(nanosec=200_000_000),
                mode=_MODE[stiff],
                names=list(GO2.joint_names),
                **{name: array("d", values) for name, values in fields.items()},
            )
        )

    def pose(self) -> np.ndarray:
        assert self.joints is not None
        places = [self.joints.name.index(name) for name in GO2.joint_names]
        return np.array(self.joints.position)[places]

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown()
        self.processes.stop()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


@pytest.mark.slow
def test_a_go2_is_released_stands_up_is_damped_and_given_back(stage: Stage) -> None:
    stage.until(lambda: stage.joints is not None, "joint_states")
    stage.until(
        lambda: (
            stage.status is not None
            and stage.status.state == RobotStatus.LISTENING
            and not stage.status.obstacles
        ),
        "a robot without obstacles",
    )
    taken, message = stage.ask("take_control")
    assert taken, message
    # A request whose answer was lost is made again.
    assert list(dict.fromkeys(stage.happened)) == ["standing_down", "mode_released"]

    start = stage.pose()
    stage.until(
        lambda: stage.status is not None and stage.status.state == RobotStatus.FOLLOWING,
        "a driver that follows",
        each=lambda: stage.command(start, stiff=False),
    )
    began_s = time.monotonic()

    def rise() -> None:
        part = min(1.0, (time.monotonic() - began_s) / 2.0)
        stage.command(start + part * (GO2.standing_rad - start), stiff=True)

    stage.until(lambda: time.monotonic() > began_s + 2.5, "standing up", each=rise)
    assert np.abs(stage.pose() - GO2.standing_rad).max() < 0.25
    assert stage.happened[-1] == "following"

    stage.until(
        lambda: stage.happened[-1] == "damped",
        "damping",
        each=lambda: stage.command(GO2.standing_rad, stiff=False),
    )
    given, message = stage.ask("release_control")
    assert given, message
    stage.until(lambda: "mode_selected" in stage.happened, "the robot's own controller")
    stage.processes.stop()
    trace = Trace.load(stage.folder / "trace.npz")
    assert set(trace.mode[~np.isnan(trace.mode)]) == {0.0, 1.0}
    assert trace.pos_world[:, 2].max() > 0.28
