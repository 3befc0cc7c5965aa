# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Transport for a robot whose own computer uses DDS: topics for its state and its commands."""

import os
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from policy_inference.nodes import qos
from policy_inference.nodes.rclpy_gaps import (
    UNNAMED,
    MessageWaitSet,
    full_name,
    never_called,
    take_message,
)
from policy_inference.nodes.sampling import SampleGroup
from robot_driver.interfaces import DriverError
from robot_driver.reception import Source
from robot_driver.robot import Datagram, RobotTransport

_STATE_QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
"""A best-effort subscription matches every publisher; the depth covers 0.1 s at 500 Hz."""
_LISTEN_NS = 50_000_000
_LOOK_S = 0.25
_ACKNOWLEDGED_S = 0.3
_MOST_HELD = 1000


class TypedTopic(NamedTuple):
    """Full name of a topic and the type of its messages."""

    message: type[Any]
    name: str


class TopicTransport(RobotTransport):
    """Transport that carries serialized messages on topics, and listens on a separate thread.

    DDS entities cannot be passed between processes, so two processes each have their own node:
    `link_of_PID` in the link process, and `standby_of_PID` in the process that publishes if the
    link process has died (the driver's node, unless a robot needs a third process). PID is the
    process of the driver's node, so that a driver recognizes its own publishers.

    Attributes:
        others: Full names of the other nodes that publish commands, sorted; "" for each publisher
            that is not a ROS node. Updated four times per second in the link process.
        has_standby: True if the standby node publishes commands; updated at the same times.
    """

    def __init__(
        self,
        subscribed: Sequence[TypedTopic],
        published: Sequence[TypedTopic],
        *,
        linked: bool,
        driver_pid: int | None = None,
        domain_id: int | None = None,
    ) -> None:
        """Join the robot's topics.

        Args:
            subscribed: Topics to receive; the first carries the robot's state.
            published: Topics to publish on; the first carries the commands.
            linked: True in the link process, which also listens.
            driver_pid: Process of the driver's node; by default, the parent process if `linked`,
                and otherwise this process.
            domain_id: DDS domain of the robot; by default, the one set in the environment.

        Raises:
            DriverError: ROS refuses to join, for example because of an invalid topic name.
        """
        self.counts: dict[str, int] = {}
        self.others: tuple[str, ...] = ()
        self.has_standby = False
        self._state, self._command = subscribed[0], published[0]
        pid = driver_pid or (os.getppid() if linked else os.getpid())
        self._link, self._standby = f"link_of_{pid}", f"standby_of_{pid}"
        self._unnamed = 0
        self._context = Context()
        self._signal = os.eventfd(0)
        self._heard: deque[Datagram] = deque(maxlen=_MOST_HELD)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._publishers: dict[str, Any] = {}
        try:
            self._open(self._link if linked else self._standby, published, domain_id)
            if linked:
                self._begin_to_listen(subscribed)
        except Exception as error:  # its type depends on the middleware and the error
            self.close()
            names = ", ".join(topic.name for topic in (*subscribed, *published))
            raise DriverError(f"topics {names}: {error}") from error

    def _open(self, name: str, published: Sequence[TypedTopic], domain_id: int | None) -> None:
        self._context.init(args=[], domain_id=domain_id)
        self._node = Node(
            name,
            context=self._context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._publishers = {
            topic.name: self._node.create_publisher(*topic, qos.COMMAND) for topic in published
        }

    def _begin_to_listen(self, subscribed: Sequence[TypedTopic]) -> None:
        self._subscriptions = [
            self._node.create_subscription(
                *topic, never_called, _STATE_QOS, callback_group=SampleGroup()
            )
            for topic in subscribed
        ]
        self._topics = {
            subscription.handle.pointer: (subscription.handle, topic)
            for subscription, topic in zip(self._subscriptions, subscribed, strict=True)
        }
        self._wait_set = MessageWaitSet(self._node, len(subscribed))
        self._thread = threading.Thread(target=self._listen, name="topics", daemon=True)
        self._thread.start()

    @property
    def descriptors(self) -> Sequence[int]:
        """Empty, since each process joins the topics itself."""
        return ()

    def watched(self) -> Sequence[int]:
        return (self._signal,)

    def receive(self, ready: Collection[int]) -> Iterator[Datagram]:
        """Yield the messages that have arrived; the source is the topic."""
        if self._signal in ready:
            os.eventfd_read(self._signal)
        while self._heard:
            yield self._heard.popleft()

    def send(self, data: bytes) -> None:
        """Publish a serialized message on the command topic.

        Raises:
            DriverError: The message cannot be published.
        """
        self.publish(self._command.name, data)

    def publish(self, topic: str, data: bytes) -> None:
        """Publish a serialized message on one of the published topics.

        Raises:
            DriverError: The message cannot be published.
        """
        try:
            self._publishers[topic].publish(data)
        except Exception as error:  # an exception of the middleware
            raise DriverError(f"{topic}: {error}") from error

    def problems(self) -> tuple[str, ...]:
        """Return messages if other nodes publish commands, or the robot does not subscribe."""
        topic, found = self._command.name, []
        if self.others:
            names = ", ".join(name or "a program without a ROS node" for name in self.others)
            found.append(
                f"{names} also publishes {topic}, expected only this driver; stop the others"
            )
        if not self._publishers[topic].get_subscription_count():
            found.append(f"{topic} has no subscriber: the robot cannot be commanded")
        return tuple(found)

    def keep_sending_half(self) -> None:
        """Do nothing, since both processes can publish anyway."""

    def close(self) -> None:
        """Leave the topics, after waiting briefly for the last messages to arrive."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        for publisher in self._publishers.values():
            with suppress(Exception):
                publisher.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGED_S))
        self._context.try_shutdown()
        os.close(self._signal)

    def hand_on(self, data: bytes, source: Source) -> None:
        """Queue a datagram for `receive`."""
        self._heard.append(Datagram(data, source, time.time_ns()))
        os.eventfd_write(self._signal, 1)

    def looked(self) -> None:
        """Called after each update of `others`; does nothing unless overridden."""

    def state_types(self) -> list[str]:
        """Return the message types with which the robot's state topic is published, sorted."""
        return sorted({info.topic_type for info in self._infos(self._state)})

    def _listen(self) -> None:
        handles, look_s = [handle for handle, _ in self._topics.values()], 0.0
        while not self._ending.is_set():
            for pointer in self._wait_set.wait(handles, _LISTEN_NS):
                handle, topic = self._topics[pointer]
                while (taken := take_message(handle, topic.message)) is not None:
                    self.hand_on(taken[0], (topic.name, 0))
            if time.monotonic() >= look_s:
                look_s = time.monotonic() + _LOOK_S
                self._look()

    def _look(self) -> None:
        names = [_name(info) for info in self._infos(self._command)]
        own = [f"/{name}" for name in (self._link, self._standby) if f"/{name}" in names]
        for name in own:
            names.remove(name)
        # a node that joins or leaves is unnamed for a moment, so a publisher counts as nameless
        # only if it is unnamed twice in a row
        unnamed = names.count("")
        named = sorted(filter(None, names))
        self.others = (*[""] * min(unnamed, self._unnamed), *named)
        self._unnamed = unnamed
        self.has_standby = f"/{self._standby}" in own
        self.looked()

    def _infos(self, topic: TypedTopic) -> list[Any]:
        return list(self._node.get_publishers_info_by_topic(topic.name))


def _name(info: Any) -> str:
    return "" if info.node_name in UNNAMED else full_name(info)
