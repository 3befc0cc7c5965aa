# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The way to a robot whose own computer speaks ROS 2: a topic with its state, one for commands."""

import os
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from policy_inference.nodes import qos
from policy_inference.nodes.rclpy_gaps import (
    MessageWaitSet,
    full_name,
    never_called,
    take_message,
)
from policy_inference.nodes.sampling import SampleGroup
from robot_driver.interfaces import DriverError
from robot_driver.robot import Datagram, RobotTransport

_STATE_QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
"""A best-effort reader matches every publisher; the depth is a tenth of a second at 500 Hz."""
_LOOK_UP_NS = 50_000_000
_MOST_HELD = 1000


class TopicTransport(RobotTransport):
    """Messages in the form of the wire, as bytes. They are read on a thread of this object.

    DDS cannot be handed from one process to the other, so each of the two has a node of its own.
    Both are called `link_of_PID`, after the process of the driver's node, so that the driver knows
    its own publishers.
    """

    def __init__(
        self, state: tuple[type[Any], str], command: tuple[type[Any], str], *, linked: bool
    ) -> None:
        """Join the robot's topics.

        Args:
            state: Type and full name of the topic with the robot's state.
            command: Type and full name of the topic for commands.
            linked: Whether this is the link process, which also listens.

        Raises:
            DriverError: ROS refuses it, such as a name that no topic can have.
        """
        self.counts: dict[str, int] = {}
        self._own_name = f"link_of_{os.getppid() if linked else os.getpid()}"
        self._context = Context()
        self._signal = os.eventfd(0)
        self._heard: deque[Datagram] = deque(maxlen=_MOST_HELD)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            self._open(state, command, linked)
        except Exception as error:  # which one depends on the middleware and on what is wrong
            self.close()
            raise DriverError(f"topics {state[1]}, {command[1]}: {error}") from error

    def _open(
        self, state: tuple[type[Any], str], command: tuple[type[Any], str], linked: bool
    ) -> None:
        self._context.init(args=[])
        self._node = Node(
            self._own_name,
            context=self._context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._state_type, self._state_topic = state
        self._command_topic = command[1]
        self._publisher = self._node.create_publisher(*command, qos.COMMAND)
        if linked:
            self._subscription = self._node.create_subscription(
                *state, never_called, _STATE_QOS, callback_group=SampleGroup()
            )
            self._thread = threading.Thread(target=self._listen, name="topic", daemon=True)
            self._thread.start()

    @property
    def descriptors(self) -> Sequence[int]:
        """None: each process opens its own."""
        return ()

    def watched(self) -> Sequence[int]:
        """Return what the thread signals through."""
        return (self._signal,)

    def receive(self, ready: Collection[int]) -> Iterator[Datagram]:
        """Return the messages that have come; the source is the topic."""
        if self._signal in ready:
            os.eventfd_read(self._signal)
        while self._heard:
            yield self._heard.popleft()

    def send(self, data: bytes) -> None:
        """Publish a serialized message.

        Raises:
            DriverError: It cannot be published.
        """
        try:
            self._publisher.publish(data)
        except Exception as error:  # the middleware's own
            raise DriverError(f"{self._command_topic}: {error}") from error

    def problems(self) -> tuple[str, ...]:
        """Return which other nodes publish commands, or that the robot subscribes to none."""
        publishers = self._node.get_publishers_info_by_topic(self._command_topic)
        others = sorted({full_name(each) for each in publishers} - {f"/{self._own_name}"})
        found = []
        if others:
            found.append(
                f"{', '.join(others)} also publishes {self._command_topic}, expected this driver "
                "alone; stop the other"
            )
        if not self._publisher.get_subscription_count():
            found.append(f"{self._command_topic} has no subscriber: the robot cannot be commanded")
        return tuple(found)

    def keep_sending_half(self) -> None:
        """Nothing: this process had no other half."""

    def close(self) -> None:
        """Leave the topics."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        self._context.try_shutdown()
        os.close(self._signal)

    def _listen(self) -> None:
        handle, waiting = self._subscription.handle, MessageWaitSet(self._node, 1)
        source = (self._state_topic, 0)
        while not self._ending.is_set():
            if not waiting.wait([handle], _LOOK_UP_NS):
                continue
            while (taken := take_message(handle, self._state_type)) is not None:
                self._heard.append(Datagram(taken[0], source, time.time_ns()))
            os.eventfd_write(self._signal, 1)
