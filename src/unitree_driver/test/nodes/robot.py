# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robot's side of the topics as a thread: LowState, motion service, what it is commanded."""

import os
import threading
import time
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node

from policy_inference.nodes import qos
from policy_inference.nodes.rclpy_gaps import MessageWaitSet, never_called, take_message
from policy_inference.nodes.sampling import SampleGroup, message_class
from unitree_driver import wire
from unitree_driver.figures import UnitreeFigures
from unitree_driver.wire import F64, TOPIC_NAMES, RobotTopic

from ..lockstep import FakeRobot
from ..messages import NO_KEYS, keys, low_state, values_of

_PERIOD_S = 0.002
_MS_PER_S = 1000


class RobotThread:
    """A robot that is where its own controller, or the newest command with stiffness, puts it.

    Attributes:
        service: Its own controller.
        commands: Values [n, 5] of each LowCmd with a right checksum.
        wrong_crc: Number of the others.
        names: Of the nodes that publish commands now.
        remote: What is pressed.
    """

    def __init__(self, model: UnitreeFigures, active: str = "ai") -> None:
        self.model, self.service = model, FakeRobot(model, active)
        self.service.lies_after_ms = 200
        self.commands: list[F64] = []
        self.wrong_crc = 0
        self.remote = NO_KEYS
        self.silent = False
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context)
        # As a publisher that is no node would be, were it one: outside of any namespace.
        self._node = Node("robot", context=self._context, enable_rosout=False)
        family = model.family
        request, response = (message_class(f"unitree_api/msg/{x}") for x in ("Request", "Response"))
        self._state = self._publisher(family.state.type_name, RobotTopic.LOWSTATE)
        self._answer = self._node.create_publisher(
            response, TOPIC_NAMES[RobotTopic.SWITCHER_RESPONSE], qos.COMMAND
        )
        kinds = {
            RobotTopic.LOWCMD: message_class(family.command.type_name),
            RobotTopic.SWITCHER_REQUEST: request,
            RobotTopic.SPORT_REQUEST: request,
        }
        self._readers = {}
        for topic, kind in kinds.items():
            subscription = self._node.create_subscription(
                kind, TOPIC_NAMES[topic], never_called, qos.SAMPLE, callback_group=SampleGroup()
            )
            self._readers[subscription.handle.pointer] = (topic, subscription.handle, kind)
        self._wait_set = MessageWaitSet(self._node, len(kinds))
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="robot", daemon=True)
        self._thread.start()

    @property
    def parameters(self) -> dict[str, Any]:
        """What a driver needs to find it."""
        return {"domain_id": int(os.environ["ROS_DOMAIN_ID"])}

    def press(self, *names: str) -> None:
        """Hold these keys of the remote, and no others."""
        self.remote = keys(*names)

    def damps(self) -> bool:
        """Return whether the newest command damps, and does nothing else."""
        newest = self.commands[-1] if self.commands else np.ones((1, 5))
        return not newest[:, :4].any() and bool((newest[:, 4] > 0.0).all())

    def follows(self) -> bool:
        """Return whether the newest command has stiffness."""
        return bool(self.commands) and bool((self.commands[-1][:, 3] > 0.0).all())

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _publisher(self, kind: str, topic: RobotTopic) -> Any:
        return self._node.create_publisher(message_class(kind), TOPIC_NAMES[topic], qos.COMMAND)

    def _run(self) -> None:
        handles = [handle for _, handle, _ in self._readers.values()]
        began_s = due_s = time.monotonic()
        while not self._ending.is_set():
            now_s = time.monotonic()
            now_ms = round(_MS_PER_S * (now_s - began_s))
            if now_s >= due_s:
                due_s = max(due_s + _PERIOD_S, now_s)
                self.service.move(now_ms)
                if not self.silent:
                    self._state.publish(
                        low_state(
                            self.model,
                            tick=now_ms + 1,
                            joint_pos=self.service.joint_pos,
                            remote=self.remote,
                        )
                    )
            wait_ns = round(1e9 * max(0.0, due_s - time.monotonic()))
            for pointer in self._wait_set.wait(handles, wait_ns):
                topic, handle, kind = self._readers[pointer]
                taken = take_message(handle, kind)
                if taken is not None:
                    self._hear(topic, taken[0], now_ms)

    def _hear(self, topic: RobotTopic, data: bytes, now_ms: int) -> None:
        if topic is not RobotTopic.LOWCMD:
            self.service.hear(bytes([topic]) + data, now_ms)
            for answer in self.service.answers:
                self._answer.publish(wire.response(answer))
            self.service.answers.clear()
            return
        record = self.model.family.command.from_wire(data[: self.model.family.command.wire_bytes])
        if wire.crc(record.tobytes()) != record["crc"]:
            self.wrong_crc += 1
            return
        self.commands.append(values_of(self.model, data))
