# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated SO-101, its leader, and who hears what the arm is sent, for LeRobot's commands."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import yaml
from policy_msgs.msg import JointCommand
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState

from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.mapping_file import shipped
from lerobot_bridge.values import ToLeRobot
from policy_core.interfaces import F64

SOON_S = 120.0
RATE_HZ, HEIGHT, WIDTH = 10, 48, 64
_LIVE_S = 1.0


def small_mapping(folder: Path, *, max_relative_target: float | None = None) -> Path:
    """Write the mapping of an SO-101, less often and with smaller images; return its file.

    Args:
        folder: Where.
        max_relative_target: How far a command may be from where a joint is, rad; None: any.
    """
    content = yaml.safe_load(shipped()["so101"].read_text("utf-8"))
    content["rate_hz"] = RATE_HZ
    for camera in content["cameras"].values():
        camera.update(height=HEIGHT, width=WIDTH, timeout_s=_LIVE_S)
    for sources in content["vectors"].values():
        sources[0]["timeout_s"] = _LIVE_S
    for joint in content["joints"].values():
        joint["max_relative_target"] = max_relative_target
        if max_relative_target is None:
            del joint["max_relative_target"]
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return file


class Arm:
    """The processes, and a listener in this one. Use it in a `with` block.

    Attributes:
        commands: All that came, oldest first.
        positions: Of the joints, rad, by name, the newest ones.
        farthest_rad: How far a joint has been from where it was at first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.commands: list[JointCommand] = []
        self.positions: dict[str, float] = {}
        self.farthest_rad, self._first = 0.0, dict[str, float]()
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self.node = rclpy.create_node("listener", context=self._context)
        self.node.create_subscription(JointCommand, "joint_command", self.commands.append, 1000)
        self.node.create_subscription(
            JointState, "joint_states", self._on_state, qos_profile_sensor_data
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin)

    def __enter__(self) -> Arm:
        self._thread.start()
        self.start(
            "arm_sim_node",
            {
                "image_height": HEIGHT,
                "image_width": WIDTH,
                "camera_rate_hz": float(RATE_HZ),
                "joint_state_rate_hz": 60.0,
            },
        )
        self.start("arm_leader_node", {})
        self.wait_until(lambda: bool(self.positions), "the arm")
        self.wait_until(
            lambda: self.node.count_publishers("leader/joint_states") == 1, "the leader"
        )
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._processes):
            self.end(name)
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self._context.try_shutdown()

    def start(self, module: str, parameters: Mapping[str, Any]) -> None:
        words = [
            sys.executable,
            "-c",
            f"from robot_sim.nodes.{module} import main; main()",
            "--ros-args",
        ]
        for name, value in parameters.items():
            words += ["-p", f"{name}:={json.dumps(value)}"]
        with (self._folder / f"{module}.log").open("wb") as log:
            self._processes[module] = subprocess.Popen(words, stdout=log, stderr=log)

    def end(self, module: str) -> None:
        process = self._processes.pop(module)
        process.terminate()
        process.wait(SOON_S)

    def count_from_here(self) -> None:
        """Forget commands, and how far the joints have been."""
        self.commands.clear()
        self.farthest_rad, self._first = 0.0, {}

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SOON_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {SOON_S:g} s; {self._logs()}"
            time.sleep(0.01)

    def sent(self, mapping: RobotMapping) -> F64:
        """Return the actions that the arm was sent [actions, joints], in LeRobot's units.

        Repetitions of an action are left out.
        """
        (channel,) = mapping.command
        names = [mapping.ros_name(joint) for joint in mapping.select_joints(channel)]
        rows = np.array(
            [
                [message.position[message.names.index(name)] for name in names]
                for message in self.commands
                if message.mode == JointCommand.MODE_RUN
            ]
        )
        new = np.append(True, np.any(np.diff(rows, axis=0) != 0.0, axis=1))
        return ToLeRobot(mapping, channel).of_ros(rows[new])

    def _on_state(self, message: JointState) -> None:
        self.positions = dict(zip(message.name, message.position, strict=True))
        self._first = self._first or self.positions
        self.farthest_rad = max(
            self.farthest_rad,
            *(abs(self.positions[name] - self._first[name]) for name in self._first),
        )

    def _logs(self) -> str:
        return "\n".join(
            file.read_text("utf-8", "replace")[-2000:] for file in self._folder.glob("*.log")
        )
