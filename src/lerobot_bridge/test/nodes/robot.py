# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot with one camera and a leader, in one process with the episode recorder."""

import time
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from policy_msgs.msg import EpisodeMark
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CompressedImage, JointState
from std_srvs.srv import Trigger

from lerobot_bridge.nodes.episode_recorder import EpisodeRecorder
from lerobot_bridge.recording.watches import Watch

DEADLINE_S = 60.0
"""Far beyond what anything here takes; only a test that fails waits so long."""
MAPPING = """
schema_version: 1
robot_type: two_joints
rate_hz: 30
joints: {pan: {unit: degrees}, lift: {unit: degrees}}
vectors:
  observation.state: [{topic: joint_states, type: sensor_msgs/msg/JointState}]
  action: [{topic: leader/joint_states, type: sensor_msgs/msg/JointState}]
cameras:
  front: {topic: front/image_raw/compressed, height: 4, width: 6}
"""
IMAGE = cv2.imencode(".jpg", np.zeros((4, 6, 3), np.uint8))[1].tobytes()
RELIABLE = QoSProfile(depth=100)
SENSOR = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Robot:
    """Publishes on request, while its executor also runs the recorders."""

    def __init__(self, new_log: Callable[[], str]) -> None:
        self._new_log, self._log = new_log, ""
        self.executor = SingleThreadedExecutor()
        self.node = Node("robot")
        self.executor.add_node(self.node)
        self.recorders: list[EpisodeRecorder] = []
        self.marks: list[EpisodeMark] = []
        self.statuses: list[DiagnosticArray] = []
        self.node.create_subscription(EpisodeMark, "episode_marks", self.marks.append, LATCHED)
        self.node.create_subscription(
            DiagnosticArray, "episode_recorder/status", self.statuses.append, LATCHED
        )
        self.silent: set[str] = set()
        self.sent, self.image, self.joints = 0, IMAGE, ["pan", "lift"]
        self.publishers: dict[str, Any] = {}

    def appears(self) -> None:
        """Create the publishers: best effort for the camera, reliable for the joints."""
        for topic in ("joint_states", "leader/joint_states"):
            self.publishers[topic] = self.node.create_publisher(JointState, topic, RELIABLE)
        self.publishers["front"] = self.node.create_publisher(
            CompressedImage, "front/image_raw/compressed", SENSOR
        )

    def recorder(self, folder: Path, **parameters: object) -> EpisodeRecorder:
        mapping = folder / "two_joints.yaml"
        mapping.write_text(MAPPING)
        given = {
            "mapping": str(mapping),
            "output": str(folder / "session"),
            "task": "Wave.",
            "min_free_mb": 1.0,
            "auto": False,
            **parameters,
        }
        node = EpisodeRecorder([Parameter(name, value=value) for name, value in given.items()])
        self.executor.add_node(node)
        self.recorders.append(node)
        return node

    def send(self, count: int = 1) -> None:
        """Publish each topic that is not silent `count` times."""
        for _ in range(count):
            self.sent += 1
            stamp = self.node.get_clock().now().to_msg()
            for topic, publisher in self.publishers.items():
                if topic in self.silent:
                    continue
                if topic == "front":
                    message: Any = CompressedImage(format="jpeg", data=array("B", self.image))
                else:
                    message = JointState(
                        name=self.joints, position=array("d", [float(self.sent), 0.0])
                    )
                message.header.stamp = stamp
                publisher.publish(message)

    def until(self, condition: Callable[[], object], what: str, *, sends: bool = False) -> None:
        """Spin until the condition holds, publishing if `sends`; fail if it never does."""
        ends_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < ends_s, f"waited in vain for {what}; log: {self.log}"
            if sends:
                self.send()
            self.executor.spin_once(timeout_sec=0.02)

    def call(self, service: type[Any], name: str, request: Any = None) -> Any:
        client = self.node.create_client(service, name)
        self.until(client.service_is_ready, name, sends=True)
        future = client.call_async(request or service.Request())
        self.until(future.done, f"an answer of {name}", sends=True)
        self.node.destroy_client(client)
        return future.result()

    def ask(self, request: str) -> Trigger.Response:
        return self.call(Trigger, f"episode_recorder/{request}")

    def request(self, request: str) -> str:
        response = self.ask(request)
        assert response.success, response.message
        return str(response.message)

    def begins(self) -> None:
        self.is_ready()
        self.request("start")

    def is_ready(self) -> None:
        node = self.recorders[-1]
        self.until(lambda: not node.recorder.obstacle(node.now_ns()), "all topics", sends=True)

    def sends_seen(self, count: int) -> None:
        """Publish `count` times, and wait each time until the recorder has the message."""
        watch = self.recorders[-1].recorder.watches["/joint_states"]
        for _ in range(count):
            more = watch.count + 1
            self.send()
            self.until(partial(self._has_come, watch, more), "a message to arrive")

    @staticmethod
    def _has_come(watch: Watch, count: int) -> bool:
        return watch.count >= count

    def value(self, key: str) -> str:
        (status,) = self.statuses[-1].status
        return str(next(entry.value for entry in status.values if entry.key == key))

    def hears(self, text: str) -> None:
        self.until(lambda: text in self.log, f"{text!r} in the log")

    @property
    def log(self) -> str:
        self._log += self._new_log()
        return self._log

    def ends(self, node: EpisodeRecorder) -> None:
        self.recorders.remove(node)
        self.executor.remove_node(node)
        node.close()
        node.destroy_node()

    def close(self) -> None:
        for node in [*self.recorders]:
            self.ends(node)
        self.executor.shutdown()
        self.node.destroy_node()


def read_episode(episode: Path) -> dict[str, list[tuple[int, Any]]]:
    """Return the messages of a recorded episode by topic: (log time in ns, message)."""
    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([episode]) as reader:
        for connection, log_ns, data in reader.messages():
            found.setdefault(connection.topic, []).append(
                (log_ns, reader.deserialize(data, connection.msgtype))
            )
    return found
