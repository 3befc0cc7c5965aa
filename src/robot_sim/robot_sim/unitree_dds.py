# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A Unitree robot's end of its DDS topics, by Eclipse Cyclone DDS, whose older version a robot has.

It is another implementation of DDS than that of our ROS 2 nodes. Programs of Unitree's SDK take
the robot for a real one. Without another interface it is only found on this computer.
"""

from __future__ import annotations

import struct

import numpy as np
from cyclonedds.core import DDSException, Policy, Qos
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.util import duration

from robot_sim.cyclone import TopicReader, TopicWriter, WireMessage, WireType
from robot_sim.errors import SimError
from robot_sim.figures import Array
from robot_sim.unitree_host import (
    BATTERY,
    LOW_CMD,
    LOW_STATE,
    SECONDARY_IMU,
    ApiRequest,
    ApiResponse,
)
from robot_sim.unitree_messages import HEADER, blank, encode
from robot_sim.unitree_state import UnitreeModel

LOOPBACK = "lo"
_PEERS = """<General><Interfaces><NetworkInterface name="lo" multicast="false"/></Interfaces>
<AllowMulticast>false</AllowMulticast></General><Discovery><ParticipantIndex>auto</ParticipantIndex>
<MaxAutoParticipantIndex>32</MaxAutoParticipantIndex><Peers><Peer address="127.0.0.1"/></Peers>
</Discovery>"""
"""The loopback interface has no multicast: participants are looked for at 33 ports of it."""
_AT_ONCE = 16
_RELIABLE = Policy.Reliability.Reliable(duration(milliseconds=100))
_FORM = Policy.DataRepresentation(use_cdrv0_representation=True)
_NEWEST = Qos(_RELIABLE, Policy.Durability.Volatile, Policy.History.KeepLast(1), _FORM)
_LOSSY = Qos(Policy.Reliability.BestEffort, Policy.History.KeepLast(_AT_ONCE), _FORM)
_EVERY_ONE = Qos(_RELIABLE, Policy.Durability.Volatile, Policy.History.KeepLast(_AT_ONCE), _FORM)
# A request: its number and api, a lease, a priority, whether no answer is wanted, JSON. A response:
# number and api, a code, JSON.
_REQUEST, _RESPONSE = struct.Struct("<qqqi?"), struct.Struct("<qqi")
_REQUESTS = WireType("unitree_api::msg::dds_::Request_", _REQUEST.size, text=True)
_RESPONSES = WireType("unitree_api::msg::dds_::Response_", _RESPONSE.size, text=True)
_TWIST = struct.Struct("<6d")
_VELOCITIES = WireType("geometry_msgs::msg::dds_::Twist_", _TWIST.size)
# Of a JointCommand only the mode is read, which lies behind three times of 8 bytes.
_MODE_BYTE = 24
_TARGETS = WireType("policy_msgs::msg::dds_::JointCommand_", _MODE_BYTE + 1)


def wire_type(name: str) -> WireType:
    """Return how a message of `unitree_messages` is on the wire."""
    package, _, short = name.partition(".")
    size = len(encode(name, blank(name))) - len(HEADER)
    return WireType(f"unitree_{package}::msg::dds_::{short}_", size)


def read_request(message: WireMessage) -> ApiRequest:
    number, api, _, _, no_reply = _REQUEST.unpack(message.data)
    parameter = message.text.decode("utf-8", "replace")
    return ApiRequest(number=number, api=api, parameter=parameter, no_reply=no_reply)


def written_response(answer: ApiResponse) -> WireMessage:
    head = _RESPONSE.pack(answer.number, answer.api, answer.code)
    return WireMessage(head, answer.data.encode())


class RobotTopics:
    """All topics of one robot. One for each domain in a process."""

    def __init__(self, model: UnitreeModel, *, domain: int, interface: str) -> None:
        """Join a DDS domain.

        Args:
            model: The robot.
            domain: Number of the domain, as ROS_DOMAIN_ID.
            interface: Network interface; empty: Cyclone DDS chooses (CYCLONEDDS_URI).
        """
        try:
            self._domain = Domain(domain, configuration(interface)) if interface else None
            self._robot = DomainParticipant(domain)
        except DDSException as error:
            raise SimError(
                f"interface, domain: expected a network interface of this machine and a DDS "
                f"domain, got '{interface}' and {domain}: {error}"
            ) from None
        family = model.family
        sent = {LOW_STATE: "LowState"}
        if model.torso:
            sent[SECONDARY_IMU] = "IMUState"
        if family == "hg":
            sent[BATTERY] = "BmsState"
        self._writers = {
            topic: TopicWriter(self._robot, topic, wire_type(f"{family}.{name}"), _NEWEST)
            for topic, name in sent.items()
        }
        self._state = wire_type(f"{family}.LowState")
        self._half: TopicWriter | None = None
        self._commands = TopicReader(self._robot, LOW_CMD, wire_type(f"{family}.LowCmd"), _LOSSY)
        self._requests, self._responses = {}, {}
        for service in ("motion_switcher", *(["sport"] if model.feet else [])):
            asked, answered = (f"rt/api/{service}/{way}" for way in ("request", "response"))
            self._requests[service] = TopicReader(self._robot, asked, _REQUESTS, _EVERY_ONE)
            self._responses[service] = TopicWriter(self._robot, answered, _RESPONSES, _EVERY_ONE)
        self._velocities = TopicReader(self._robot, "rt/cmd_vel", _VELOCITIES, _LOSSY)
        self._targets = TopicReader(self._robot, "rt/joint_command", _TARGETS, _LOSSY)

    def commands(self) -> list[bytes]:
        """Return the LowCmd messages that have arrived, with their encapsulation."""
        return [HEADER + command.data for command in self._commands.take()]

    def requests(self) -> list[tuple[str, ApiRequest]]:
        return [
            (service, read_request(message))
            for service, reader in self._requests.items()
            for message in reader.take()
        ]

    def velocity(self) -> Array | None:
        """Return the newest velocity that was requested of a policy [3]; None without a new one.

        It is no topic of a robot, as `mode` is not: they are recorded beside what the robot does.
        """
        messages = self._velocities.take()
        if not messages:
            return None
        forward, left, _, _, _, turn = _TWIST.unpack(messages[-1].data)
        return np.array([forward, left, turn])

    def mode(self) -> float | None:
        """Return the mode of a policy's newest command; None without a new one."""
        messages = self._targets.take()
        return float(messages[-1].data[_MODE_BYTE]) if messages else None

    def send(self, topic: str, data: bytes) -> None:
        """Publish a message as these bytes, with encapsulation: a whole one, or half a LowState."""
        writer, content = self._writers[topic], data[len(HEADER) :]
        if topic == LOW_STATE and len(content) < self._state.size:
            half = self._state._replace(size=len(content))
            writer = self._half = self._half or TopicWriter(self._robot, LOW_STATE, half, _NEWEST)
        writer.write(WireMessage(content))

    def respond(self, service: str, answer: ApiResponse) -> None:
        self._responses[service].write(written_response(answer))


def configuration(interface: str) -> str:
    """Return Cyclone DDS' configuration for one network interface."""
    chosen = (
        _PEERS
        if interface == LOOPBACK
        else f'<General><Interfaces><NetworkInterface name="{interface}"/></Interfaces></General>'
    )
    return f"<CycloneDDS><Domain>{chosen}</Domain></CycloneDDS>"
