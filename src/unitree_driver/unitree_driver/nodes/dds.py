# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Transport to the robot over DDS, which sends and receives messages in serialized form only.

rclpy takes 193 us (unitree_go) or 386 us (unitree_hg) to decode a LowState; receiving only its
bytes takes 18 us.

Three processes are involved. The link process subscribes and publishes. The node's process is not
on the robot's network, which has its own domain and interface; its frames are published by a
standby process, in case the link process has died.
"""

import fcntl
import json
import os
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from policy_inference.nodes.sampling import message_class
from policy_inference.worker_process import WorkerProcess
from robot_driver.interfaces import DriverError
from robot_driver.nodes.topic_transport import TopicTransport, TypedTopic
from robot_driver.robot import Datagram, RobotTransport
from unitree_driver.figures import MODELS, UnitreeFigures, UnitreeSettings
from unitree_driver.reception import GRAPH, PublisherNews
from unitree_driver.wire import HG, TOPIC_NAMES, RobotTopic

_LOOPBACK = "127.0.0.1"
_SIOCGIFADDR = 0x8915
"""The request for an interface's IPv4 address, from Linux's sockios.h."""
_NAME_BYTES = 15
_PARTICIPANTS = 64
"""Maximum number of processes in a domain on this machine without multicast; DDS's default is 4."""

_CYCLONE = """<CycloneDDS><Domain Id="any"><General><Interfaces>
<NetworkInterface name="{name}"/></Interfaces></General>{discovery}</Domain></CycloneDDS>"""
# Linux's loopback has no multicast, which discovery normally uses.
_CYCLONE_LOOPBACK = f"""<Discovery><ParticipantIndex>auto</ParticipantIndex>
<Peers><Peer address="{_LOOPBACK}"/></Peers></Discovery>"""
_FASTDDS = """<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
<transport_descriptors><transport_descriptor>
<transport_id>robot</transport_id><type>UDPv4</type>
<interfaceWhiteList><address>{address}</address></interfaceWhiteList>
<maxInitialPeersRange>{participants}</maxInitialPeersRange>
</transport_descriptor></transport_descriptors>
<participant profile_name="robot" is_default_profile="true"><rtps>
{discovery}<userTransports><transport_id>robot</transport_id></userTransports>
<useBuiltinTransports>false</useBuiltinTransports>
</rtps></participant></profiles>
"""
_FASTDDS_LOOPBACK = f"""<builtin><initialPeersList><locator><udpv4>
<address>{_LOOPBACK}</address></udpv4></locator></initialPeersList></builtin>
"""


@contextmanager
def robot_network(interface: str) -> Iterator[None]:
    """Make this process's first node join the robot's network, if it is created in this context.

    The process's environment stays changed: all its nodes use only this interface, and they do not
    use SROS 2, for which the robot has no keys.

    Args:
        interface: Name of the network interface; empty to use the one set in the environment.
    """
    os.environ["ROS_SECURITY_ENABLE"] = "false"
    with TemporaryDirectory(prefix="unitree_driver") as folder:
        if interface:
            os.environ.update(interface_environment(interface, Path(folder)))
        yield


def interface_environment(name: str, folder: Path) -> dict[str, str]:
    """Return the environment variables that restrict a process to one network interface.

    Args:
        name: Name of the interface, such as `eth0`; `lo` for a robot emulated on this machine.
        folder: Folder for Fast DDS's XML, which must be in a file.
    """
    address, is_loopback = find_address(name), name == "lo"
    profile = folder / "fastdds.xml"
    profile.write_text(
        _FASTDDS.format(
            address=address,
            discovery=_FASTDDS_LOOPBACK if is_loopback else "",
            participants=_PARTICIPANTS,
        )
    )
    return {
        "CYCLONEDDS_URI": _CYCLONE.format(
            name=name, discovery=_CYCLONE_LOOPBACK if is_loopback else ""
        ),
        # Fast DDS has renamed the variable; each version reads its own.
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(profile),
        "FASTDDS_DEFAULT_PROFILES_FILE": str(profile),
        # The ROS settings for the user's own nodes do not apply to the robot.
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT",
        "ROS_LOCALHOST_ONLY": "0",
        "ROS_STATIC_PEERS": "",
    }


def find_address(name: str) -> str:
    names = sorted(interface for _, interface in socket.if_nameindex())
    if name not in names:
        raise DriverError(
            f"network_interface: expected one of {', '.join(names)}, found {name!r}; `ip -br addr` "
            "shows which one has an address in the robot's network"
        )
    request = struct.pack("256s", name.encode()[:_NAME_BYTES])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFADDR, request)
        except OSError:
            raise DriverError(
                f"network_interface: {name} has no IPv4 address; give it one in the robot's "
                "network, such as 192.168.123.99/24"
            ) from None
    return socket.inet_ntoa(answer[20:24])


def is_down(name: str) -> bool:
    """Return True if an interface has no link, as with an unplugged cable, or does not exist."""
    try:
        return Path(f"/sys/class/net/{name}/operstate").read_text().strip() == "down"
    except OSError:
        return True


_REQUEST, _RESPONSE = "unitree_api/msg/Request", "unitree_api/msg/Response"
_STANDBY = "unitree_driver.nodes.standby"
_LARGEST_FRAME_BYTES = 4096
_END_S = 5.0


class UnitreeTopics(TopicTransport):
    """Transport on the robot's topics, for the link process and the standby process.

    A frame is one byte, the topic's number, followed by the message.
    """

    def __init__(self, model: UnitreeFigures, settings: UnitreeSettings, *, linked: bool) -> None:
        """Join the robot's DDS domain, which changes this process's environment."""
        self._interface = settings.network_interface
        self._news = b""
        subscribed = {
            RobotTopic.LOWSTATE: model.family.state.type_name,
            RobotTopic.SWITCHER_RESPONSE: _RESPONSE,
        }
        if model.family is HG:
            subscribed[RobotTopic.BATTERY] = "unitree_hg/msg/BmsState"
        published = {
            RobotTopic.LOWCMD: model.family.command.type_name,
            RobotTopic.SWITCHER_REQUEST: _REQUEST,
            RobotTopic.SPORT_REQUEST: _REQUEST,
        }
        with robot_network(settings.network_interface):
            super().__init__(
                _topics(subscribed),
                _topics(published),
                linked=linked,
                driver_pid=os.getppid(),
                domain_id=settings.domain_id,
            )

    def send(self, data: bytes) -> None:
        self.publish(TOPIC_NAMES[RobotTopic(data[0])], data[1:])

    def problems(self) -> tuple[str, ...]:
        """Return a problem if the interface has no link; `UnitreeRobot` checks other publishers."""
        name = self._interface
        return (f"{name} is down: is the cable plugged in?",) if name and is_down(name) else ()

    def looked(self) -> None:
        """Pass on changes in the command publishers and in the state topic's message types."""
        types = tuple(self.state_types())
        news = PublisherNews(self.others, types, self.has_standby).pack()
        if news != self._news:
            self._news = news
            self.hand_on(news, (GRAPH, 0))


class NodeTransport(RobotTransport):
    """Transport for the node's process; passes its frames to a standby process."""

    def __init__(self, model: UnitreeFigures, settings: UnitreeSettings) -> None:
        """Check that the interface and the message types exist; nothing is opened."""
        if settings.network_interface:
            find_address(settings.network_interface)
        for name in (model.family.state.type_name, _REQUEST):
            message_class(name)
        self._model, self._settings = model, settings
        self._socket: socket.socket | None = None
        self._process: WorkerProcess | None = None
        self.counts = {}

    @property
    def descriptors(self) -> Sequence[int]:
        """An empty tuple, since the link process opens its own sockets."""
        return ()

    def watched(self) -> Sequence[int]:
        return ()

    def receive(self, ready: Collection[int]) -> Iterator[Datagram]:
        return iter(())

    def send(self, data: bytes) -> None:
        """Publish a frame through the standby process."""
        try:
            if self._socket is not None:
                self._socket.send(data)
        except OSError as error:
            raise DriverError(f"the standby process: {error.strerror}") from None

    def keep_sending_half(self) -> None:
        """Start the standby process, so that the robot discovers it before it is needed."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        with theirs:
            self._process = WorkerProcess(
                [
                    *("-m", _STANDBY, self._model.name),
                    *(json.dumps(asdict(self._settings)), str(theirs.fileno())),
                ],
                fds=[theirs.fileno()],
                folder=Path("/"),
            )

    def close(self) -> None:
        """End the standby process after it has published its remaining frames."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.end(_END_S)


def stand_by(model_name: str, settings: UnitreeSettings, node: socket.socket) -> None:
    """Publish each frame that the node's process sends, until that process ends.

    Args:
        model_name: Name of one of MODELS.
        settings: Same as for the link process.
        node: Socket whose other end a NodeTransport holds.
    """
    model = next(model for model in MODELS if model.name == model_name)
    topics = UnitreeTopics(model, settings, linked=False)
    try:
        while frame := node.recv(_LARGEST_FRAME_BYTES):
            topics.send(frame)
    except ConnectionError:
        return
    finally:
        topics.close()


def _topics(types: dict[RobotTopic, str]) -> list[TypedTopic]:
    return [TypedTopic(message_class(kind), TOPIC_NAMES[topic]) for topic, kind in types.items()]
