# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Talks to launched nodes of one namespace and watches the commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import rclpy
from policy_msgs.msg import JointCommand, PolicyStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger


class Talk:
    """Client of the services in a namespace; `modes` are those of the commands seen so far."""

    def __init__(self, namespace: str) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("talk", namespace=namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self.modes: list[int] = []
        self._node.create_subscription(
            JointCommand, "joint_command", lambda message: self.modes.append(message.mode), 10
        )

    def listen(self, kind: Any, topic: str, heard: Callable[[Any], None]) -> None:
        """Hear the newest of a topic whose publisher keeps it for those who come late."""
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._node.create_subscription(kind, topic, heard, latched)

    def publishers(self, topic: str) -> list[str]:
        name = self._node.resolve_topic_name(topic)
        return [one.node_name for one in self._node.get_publishers_info_by_topic(name)]

    def node_names(self) -> set[str]:
        """Return the names of all other nodes."""
        return {*self._node.get_node_names()} - {"talk"}

    def hear_inputs(self, policy_node: str, inputs: Sequence[str]) -> None:
        """Wait until a policy node is active and receives these inputs."""
        reports: list[PolicyStatus] = []
        self.listen(PolicyStatus, f"{policy_node}/status", reports.append)

        def are_received() -> bool:
            return bool(reports and reports[-1].ticks) and {
                report.name for report in reports[-1].inputs if report.ok
            } >= set(inputs)

        self.wait_until(are_received, 120.0)

    def ask(self, service: str) -> Any:
        """Call a Trigger service as soon as it is there and a command was seen."""
        client = self._node.create_client(Trigger, service)
        assert client.wait_for_service(30.0), f"no service {service}"
        self.wait_until(lambda: bool(self.modes))
        answer = client.call_async(Trigger.Request())
        self.wait_until(answer.done)
        return answer.result()

    def wait_until(self, happened: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Serve the node until something happened."""
        deadline = time.monotonic() + timeout_s
        while not happened():
            assert time.monotonic() < deadline, f"still waiting; modes seen: {self.modes[-5:]}"
            self._executor.spin_once(timeout_sec=0.1)

    def __enter__(self) -> Talk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()
