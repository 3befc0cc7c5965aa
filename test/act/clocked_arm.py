# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy's node in simulated time, and who shows it an arm."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from policy_msgs.msg import ActionChunk, JointCommand
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from policy_inference.nodes.act_policy_node import ActPolicyNode
from testkit.ros_time import ns, stamp

WITHIN_S = 60.0


class ClockedArm(Node):  # type: ignore[misc]  # rclpy has no types
    """Shows an arm period by period, in simulated time."""

    def __init__(self, executor: SingleThreadedExecutor) -> None:
        super().__init__("arm")
        self.executor_of_all = executor
        executor.add_node(self)
        self.now_ns = 0
        self.commands: list[JointCommand] = []
        self.chunks: dict[int, ActionChunk] = {}
        self._clock = self.create_publisher(Clock, "/clock", 10)
        self.create_subscription(JointCommand, "joint_command", self.commands.append, 10)
        self.create_subscription(ActionChunk, "action_chunk", self._keep, 10)

    def _keep(self, chunk: ActionChunk) -> None:
        self.chunks[ns(chunk.stamp)] = chunk

    def show(self) -> None:
        """Let a period pass, and publish what sensors say."""
        raise NotImplementedError

    def publish_clock(self) -> None:
        self._clock.publish(Clock(clock=stamp(self.now_ns)))

    def spin(self, times: int = 1) -> None:
        for _ in range(times):
            self.executor_of_all.spin_once(timeout_sec=0.02)

    def until(self, condition: Any, what: str) -> None:
        ends_s = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < ends_s, f"waited in vain for {what}"
            self.spin()

    def answer(self, request: str) -> Trigger.Response:
        client = self.create_client(Trigger, f"act_policy_node/{request}")
        self.until(client.service_is_ready, request)
        future = client.call_async(Trigger.Request())
        self.until(future.done, request)
        return future.result()

    def ask(self, request: str) -> None:
        answer = self.answer(request)
        assert answer.success, answer.message

    def tick(self) -> int:
        """Let a period pass; return the mode of the command that answers."""
        self.show()
        self.until(lambda: self.answered, f"the command of {self.now_ns} ns")
        return int(self.commands[-1].mode)

    @property
    def answered(self) -> bool:
        return bool(self.commands) and ns(self.commands[-1].stamp) == self.now_ns

    def is_stood_up(self) -> None:
        """Let time pass until the node holds the arm, as it is asked to, and stands it up."""
        while not self.answer("damp").success:
            self.show()
            self.spin(10)
        self.tick()
        self.ask("stand")
        self.until(lambda: self.tick() == JointCommand.MODE_READY, "READY")
        self.ask("run")

    @property
    def newest_chunk(self) -> ActionChunk:
        """The chunk of the observation that was shown last."""
        self.until(lambda: self.now_ns in self.chunks, "its chunk")
        return self.chunks[self.now_ns]


@contextmanager
def clocked_executor() -> Iterator[SingleThreadedExecutor]:
    rclpy.init(args=[])
    executor = SingleThreadedExecutor()
    try:
        yield executor
    finally:
        executor.shutdown()
        rclpy.shutdown()


@contextmanager
def clocked_policy(executor: SingleThreadedExecutor, bundle: Path) -> Iterator[None]:
    """Run a policy's node that infers in each tick."""
    node = ActPolicyNode()
    executor.add_node(node)
    parameters = {
        "bundle": str(bundle),
        "use_sim_time": True,
        "mode": "synchronous",
        "n_action_steps": 1,
    }
    node.set_parameters([Parameter(name, value=value) for name, value in parameters.items()])
    try:
        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        yield
    finally:
        node.halt()
        executor.shutdown()
        node.leave()
        node.destroy_node()
