# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The way to the robot over DDS: bytes of messages, without an object for any of them.

Decoding a LowState takes rclpy 193 us (unitree_go) or 386 us (unitree_hg), taking its bytes 18 us.

Three processes have a part. The link process subscribes and publishes. The node's process is not
on the robot's network, so that this has a domain and an interface of its own; it has a standby
process, which publishes what the node's process sends where the link process has died.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node

from policy_inference.nodes import qos
from policy_inference.nodes.rclpy_gaps import MessageWaitSet, full_name, never_called, take_message
from policy_inference.nodes.sampling import SampleGroup, message_class
from robot_driver.interfaces import DriverError
from robot_driver.robot import Datagram, RobotTransport
from unitree_driver.figures import MODELS, UnitreeFigures, UnitreeSettings
from unitree_driver.middleware import address_of, interface_environment, is_down
from unitree_driver.reception import GRAPH, PublisherNews
from unitree_driver.wire import HG, TOPIC_NAMES, RobotTopic

_REQUEST, _RESPONSE = "unitree_api/msg/Request", "unitree_api/msg/Response"
_LISTEN_NS = 50_000_000
_LOOK_S = 0.25
_ACKNOWLEDGED_S = 0.3
_UNNAMED = ("_CREATED_BY_BARE_DDS_APP_", "_NODE_NAME_UNKNOWN_")
"""What ROS calls the node of a publisher that has none."""
_STANDBY = "unitree_driver.nodes.standby"
_LARGEST_FRAME_BYTES = 4096
_MOST_HELD = 100
"""Messages of the robot that wait for the link; more are of a flood, and the oldest go."""


class RobotParticipant:
    """A ROS node on the robot's domain and network that publishes frames.

    A frame is the number of its topic, one byte, and the message.
    """

    def __init__(self, model: UnitreeFigures, settings: UnitreeSettings, name: str) -> None:
        """Join the robot's DDS domain; the environment of this process changes.

        Raises:
            DriverError: There is no such network interface.
            RobotError: A package of messages is missing.
        """
        self._context = rclpy.Context()
        with TemporaryDirectory(prefix="unitree_driver") as folder:
            if settings.network_interface:
                os.environ.update(interface_environment(settings.network_interface, Path(folder)))
            rclpy.init(args=[], context=self._context, domain_id=settings.domain_id)
            self.node = Node(
                name,
                context=self._context,
                use_global_arguments=False,
                enable_rosout=False,
                start_parameter_services=False,
            )
        self._publishers = {
            topic: self.node.create_publisher(kind, TOPIC_NAMES[topic], qos.COMMAND)
            for topic, kind in (
                (RobotTopic.LOWCMD, message_class(model.family.command.type_name)),
                (RobotTopic.SWITCHER_REQUEST, message_class(_REQUEST)),
                (RobotTopic.SPORT_REQUEST, message_class(_REQUEST)),
            )
        }

    def send(self, frame: bytes) -> None:
        """Publish a frame."""
        self._publishers[RobotTopic(frame[0])].publish(frame[1:])

    def close(self) -> None:
        """Leave, once the last requests have arrived."""
        for topic in (RobotTopic.SWITCHER_REQUEST, RobotTopic.LOWCMD):
            with suppress(Exception):
                self._publishers[topic].wait_for_all_acked(Duration(seconds=_ACKNOWLEDGED_S))
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


class LinkTransport(RobotTransport):
    """The robot's topics in the link process: a thread takes what comes and signals."""

    def __init__(self, model: UnitreeFigures, settings: UnitreeSettings) -> None:
        """Subscribe, and publish from now on.

        Raises:
            DriverError: There is no such network interface.
            RobotError: A package of messages is missing.
        """
        self._settings = settings
        link, self._standby = (
            _node_name(model, part, os.getppid()) for part in ("link", "standby")
        )
        self._participant = RobotParticipant(model, settings, link)
        self._own = {f"/{link}", f"/{self._standby}"}
        kinds = {
            RobotTopic.LOWSTATE: message_class(model.family.state.type_name),
            RobotTopic.SWITCHER_RESPONSE: message_class(_RESPONSE),
        }
        if model.family is HG:
            kinds[RobotTopic.BATTERY] = message_class("unitree_hg/msg/BmsState")
        node = self._participant.node
        subscriptions = {
            topic: node.create_subscription(
                kind, TOPIC_NAMES[topic], never_called, qos.SAMPLE, callback_group=SampleGroup()
            )
            for topic, kind in kinds.items()
        }
        self._readers = {
            subscription.handle.pointer: (topic, subscription.handle, kinds[topic])
            for topic, subscription in subscriptions.items()
        }
        self._wait_set = MessageWaitSet(node, len(kinds))
        self._heard: deque[Datagram] = deque(maxlen=_MOST_HELD)
        # Of its own, since it is said once: no flood may hide who else publishes commands.
        self._graph: deque[Datagram] = deque(maxlen=1)
        self._signal = os.eventfd(0, os.EFD_NONBLOCK)
        self._news: bytes | None = None
        self._unnamed = 0
        self._ending = threading.Event()
        self.counts = {}
        self._thread = threading.Thread(target=self._listen, name="robot", daemon=True)
        self._thread.start()

    @property
    def descriptors(self) -> Sequence[int]:
        """None: the node's process has a way of its own."""
        return ()

    def watched(self) -> Sequence[int]:
        """Return the eventfd by which the thread signals."""
        return (self._signal,)

    def receive(self, ready: Collection[int]) -> Iterator[Datagram]:
        """Return what has come."""
        if self._signal in ready:
            with suppress(BlockingIOError):
                os.eventfd_read(self._signal)
        for heard in (self._graph, self._heard):
            while heard:
                yield heard.popleft()

    def send(self, data: bytes) -> None:
        """Publish a frame.

        Raises:
            DriverError: The middleware refuses it.
        """
        try:
            self._participant.send(data)
        # What the middleware raises is its own.
        except Exception as error:  # noqa: BLE001
            raise DriverError(f"{TOPIC_NAMES[RobotTopic(data[0])]}: {error}") from None

    def problems(self) -> tuple[str, ...]:
        """Return that the network interface has no connection."""
        name = self._settings.network_interface
        return (f"{name} is down: is the cable plugged in?",) if name and is_down(name) else ()

    def keep_sending_half(self) -> None:
        """Do nothing: this is the link process' transport."""

    def close(self) -> None:
        """End the thread and leave the robot's domain."""
        self._ending.set()
        self._thread.join()
        self._participant.close()

    def _listen(self) -> None:
        handles = [handle for _, handle, _ in self._readers.values()]
        look_s = 0.0
        while not self._ending.is_set():
            for pointer in self._wait_set.wait(handles, _LISTEN_NS):
                topic, handle, kind = self._readers[pointer]
                taken = take_message(handle, kind)
                if taken is not None:
                    self._hand_on(self._heard, taken[0], ("dds", int(topic)))
            if time.monotonic() >= look_s:
                look_s = time.monotonic() + _LOOK_S
                self._look()

    def _hand_on(self, heard: deque[Datagram], data: bytes, source: tuple[str, int]) -> None:
        heard.append(Datagram(data, source, time.time_ns()))
        os.eventfd_write(self._signal, 1)

    def _look(self) -> None:
        """Hand on which other nodes publish commands, and the state with which types."""
        node = self._participant.node
        names = [_name(info) for info in self._infos(RobotTopic.LOWCMD)]
        own = [name for name in self._own if name in names]
        for name in own:
            names.remove(name)
        # A node that comes or goes is without a name for a moment.
        unnamed = names.count("")
        names = [*filter(None, names), *[""] * min(unnamed, self._unnamed)]
        self._unnamed = unnamed
        types = sorted({info.topic_type for info in self._infos(RobotTopic.LOWSTATE)})
        standby = f"/{self._standby}" in own
        news = PublisherNews(tuple(sorted(names)), tuple(types), standby).pack()
        if news != self._news and node.context.ok():
            self._news = news
            self._hand_on(self._graph, news, (GRAPH, 0))

    def _infos(self, topic: RobotTopic) -> list[Any]:
        return list(self._participant.node.get_publishers_info_by_topic(TOPIC_NAMES[topic]))


class NodeTransport(RobotTransport):
    """The way to the robot of the node's process: frames go to a standby process."""

    def __init__(self, model: UnitreeFigures, settings: UnitreeSettings) -> None:
        """Check what the link process needs; nothing is opened.

        Raises:
            DriverError: There is no such network interface.
            RobotError: A package of messages is missing.
        """
        if settings.network_interface:
            address_of(settings.network_interface)
        for name in (model.family.state.type_name, _REQUEST):
            message_class(name)
        self._model, self._settings = model, settings
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.counts = {}

    @property
    def descriptors(self) -> Sequence[int]:
        """None: the link process opens its own."""
        return ()

    def watched(self) -> Sequence[int]:
        """Return nothing: only the link process listens."""
        return ()

    def receive(self, ready: Collection[int]) -> Iterator[Datagram]:
        """Return nothing."""
        return iter(())

    def send(self, data: bytes) -> None:
        """Publish a frame through the standby process.

        Raises:
            DriverError: It has ended, or hangs.
        """
        try:
            if self._socket is not None:
                self._socket.send(data)
        except OSError as error:
            raise DriverError(f"the standby process: {error.strerror}") from None

    def keep_sending_half(self) -> None:
        """Start the standby process, which the robot must know before it is needed."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", _STANDBY, self._model.name),
                    *(json.dumps(asdict(self._settings)), str(theirs.fileno())),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd="/",
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    def close(self) -> None:
        """End the standby process, after it has published what it was sent."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            try:
                self._process.wait(_START_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


_START_S = 5.0


def stand_by(model_name: str, settings: UnitreeSettings, node: socket.socket) -> None:
    """Publish each frame that comes from the node's process, until that ends.

    Args:
        model_name: Of one of MODELS.
        settings: As those of the link process.
        node: The node's end is a NodeTransport.
    """
    model = next(model for model in MODELS if model.name == model_name)
    participant = RobotParticipant(model, settings, _node_name(model, "standby", os.getppid()))
    try:
        while True:
            frame = node.recv(_LARGEST_FRAME_BYTES)
            if not frame:
                return
            participant.send(frame)
    except ConnectionError:
        return
    finally:
        participant.close()


def _node_name(model: UnitreeFigures, part: str, node_pid: int) -> str:
    """Return the name of a process' node, which its sister process knows, too."""
    return f"{model.name.lower().replace('-', '_')}_{part}_{node_pid}"


def _name(info: Any) -> str:
    return "" if info.node_name in _UNNAMED else full_name(info)
