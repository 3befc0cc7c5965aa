# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A Unitree robot's side of its DDS topics, with Eclipse Cyclone DDS (robots use an older version).

This is not the DDS implementation that our ROS 2 nodes use. To programs that use Unitree's SDK, the
emulator looks like a real robot. By default, it is visible on this computer only.
"""

from __future__ import annotations

import ctypes as ct
import struct
from typing import Any, NamedTuple

import numpy as np
from cyclonedds.core import DDSException, Entity, Policy, Qos
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.internal import DDS
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

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

_SAMPLES = 16
# From dds/ddsc/dds_opcodes.h: a field (ADR), and its kind.
_END, _BYTES, _TEXT, _SEQUENCE = 0x0, 0x1080100, 0x1050000, 0x1070100


class _Serialized(ct.Structure):
    _fields_ = (("data", ct.c_void_p), ("size", ct.c_uint32))


class _Descriptor(ct.Structure):
    """`dds_topic_descriptor_t` of version 11."""

    _fields_ = (
        ("size", ct.c_uint32),
        ("align", ct.c_uint32),
        ("flags", ct.c_uint32),
        ("key_count", ct.c_uint32),
        ("type_name", ct.c_char_p),
        ("keys", ct.c_void_p),
        ("instruction_count", ct.c_uint32),
        ("instructions", ct.POINTER(ct.c_uint32)),
        ("xml", ct.c_char_p),
        ("type_information", _Serialized),
        ("type_mapping", _Serialized),
        ("representations", ct.c_uint32),
    )


class _Info(ct.Structure):
    """`dds_sample_info_t`."""

    _fields_ = (
        ("states", ct.c_int * 3),
        ("valid", ct.c_bool),
        ("written_ns", ct.c_int64),
        ("instance", ct.c_uint64),
        ("writer", ct.c_uint64),
        ("counts", ct.c_uint32 * 5),
    )


class _Sequence(ct.Structure):
    """`dds_sequence_t`."""

    _fields_ = (
        ("maximum", ct.c_uint32),
        ("length", ct.c_uint32),
        ("buffer", ct.c_void_p),
        ("release", ct.c_bool),
    )


_library = DDS._dll_handle
_create_topic, _write, _take = (
    _library.dds_create_topic,
    _library.dds_write,
    _library.dds_take,
)
_create_topic.argtypes = (
    ct.c_int32,
    ct.POINTER(_Descriptor),
    ct.c_char_p,
    ct.c_void_p,
    ct.c_void_p,
)
_write.argtypes = (ct.c_int32, ct.c_void_p)
_take.argtypes = (ct.c_int32, ct.c_void_p, ct.c_void_p, ct.c_size_t, ct.c_uint32)


class WireType(NamedTuple):
    """Wire format of a message type.

    Attributes:
        name: The type's name in DDS.
        size: Number of bytes, not counting the 4 bytes of encapsulation. Any bytes beyond that are
            ignored.
        text: True if a string and an unused sequence of bytes follow.
    """

    name: str
    size: int
    text: bool = False


class RawMessage(NamedTuple):
    """A message: the bytes of its `WireType`, without encapsulation, and the string."""

    data: bytes
    text: bytes = b""


class BytesTopic(Topic):  # type: ignore[misc]
    """A topic that carries raw bytes, without a type description."""

    def __init__(self, participant: Any, name: str, wire: WireType) -> None:
        fields: list[tuple[str, Any]] = [("data", ct.c_ubyte * wire.size)]
        if wire.text:
            fields += [("text", ct.c_char_p), ("sequence", _Sequence)]
        sample: Any = type("_Sample", (ct.Structure,), {"_fields_": fields})
        operations = [_BYTES, 0, wire.size]
        if wire.text:
            operations += [_TEXT, sample.text.offset, _SEQUENCE, sample.sequence.offset]
        operations.append(_END)
        descriptor = _Descriptor(
            size=ct.sizeof(sample),
            align=ct.alignment(sample),
            type_name=wire.name.encode(),
            instruction_count=len(operations),
            instructions=(ct.c_uint32 * len(operations))(*operations),
        )
        self.sample, self.data_type = sample, None
        Entity.__init__(
            self, _create_topic(participant._ref, descriptor, name.encode(), None, None)
        )
        self._keepalive_entities = [participant]


class TopicWriter:
    """Publishes messages on one topic."""

    def __init__(self, participant: Any, name: str, wire: WireType, qos: Any) -> None:
        self._topic = BytesTopic(participant, name, wire)
        self._writer = DataWriter(participant, self._topic, qos=qos)

    def write(self, message: RawMessage) -> None:
        sample = self._topic.sample()
        ct.memmove(ct.byref(sample), message.data, len(message.data))
        if message.text:
            sample.text = message.text
        status = _write(self._writer._ref, ct.byref(sample))
        if status < 0:
            raise DDSException(status, "Occurred while writing a message")


class TopicReader:
    """Receives messages from one topic."""

    def __init__(self, participant: Any, name: str, wire: WireType, qos: Any) -> None:
        topic = BytesTopic(participant, name, wire)
        self._reader = DataReader(participant, topic, qos=qos)
        self._text = wire.text
        # The library allocates the strings, and frees each one before it writes the next.
        self._samples = (topic.sample * _SAMPLES)()
        self._places = (ct.c_void_p * _SAMPLES)(*(ct.addressof(one) for one in self._samples))
        self._infos = (_Info * _SAMPLES)()

    def take(self) -> list[RawMessage]:
        """Return up to 16 messages that have arrived, oldest first."""
        count = _take(self._reader._ref, self._places, self._infos, _SAMPLES, _SAMPLES)
        if count < 0:
            raise DDSException(count, "Occurred while taking messages")
        return [
            RawMessage(bytes(sample.data), (sample.text or b"") if self._text else b"")
            # without a valid sample it only reports that a writer has gone
            for sample, info in zip(self._samples[:count], self._infos[:count], strict=True)
            if info.valid
        ]


LOOPBACK = "lo"
_PEERS = """<General><Interfaces><NetworkInterface name="lo" multicast="false"/></Interfaces>
<AllowMulticast>false</AllowMulticast></General><Discovery><ParticipantIndex>auto</ParticipantIndex>
<MaxAutoParticipantIndex>32</MaxAutoParticipantIndex><Peers><Peer address="127.0.0.1"/></Peers>
</Discovery>"""
"""The loopback interface has no multicast, so discovery tries 33 ports on it."""
_AT_ONCE = 16
_RELIABLE = Policy.Reliability.Reliable(duration(milliseconds=100))
_FORM = Policy.DataRepresentation(use_cdrv0_representation=True)
_NEWEST = Qos(_RELIABLE, Policy.Durability.Volatile, Policy.History.KeepLast(1), _FORM)
_LOSSY = Qos(Policy.Reliability.BestEffort, Policy.History.KeepLast(_AT_ONCE), _FORM)
_EVERY_ONE = Qos(_RELIABLE, Policy.Durability.Volatile, Policy.History.KeepLast(_AT_ONCE), _FORM)
# Request: number and api, a lease, a priority, whether a reply is unwanted, JSON. Response: number
# and api, a code, JSON.
_REQUEST, _RESPONSE = struct.Struct("<qqqi?"), struct.Struct("<qqi")
_REQUESTS = WireType("unitree_api::msg::dds_::Request_", _REQUEST.size, text=True)
_RESPONSES = WireType("unitree_api::msg::dds_::Response_", _RESPONSE.size, text=True)
_TWIST = struct.Struct("<6d")
_VELOCITIES = WireType("geometry_msgs::msg::dds_::Twist_", _TWIST.size)
# Only the mode of a JointCommand is read; it follows three times of 8 bytes.
_MODE_BYTE = 24
_TARGETS = WireType("policy_msgs::msg::dds_::JointCommand_", _MODE_BYTE + 1)


def wire_type(name: str) -> WireType:
    """Return the wire format of a message type in `unitree_messages`."""
    package, _, short = name.partition(".")
    size = len(encode(name, blank(name))) - len(HEADER)
    return WireType(f"unitree_{package}::msg::dds_::{short}_", size)


def read_request(message: RawMessage) -> ApiRequest:
    number, api, _, _, no_reply = _REQUEST.unpack(message.data)
    parameter = message.text.decode("utf-8", "replace")
    return ApiRequest(number=number, api=api, parameter=parameter, no_reply=no_reply)


def written_response(answer: ApiResponse) -> RawMessage:
    head = _RESPONSE.pack(answer.number, answer.api, answer.code)
    return RawMessage(head, answer.data.encode())


class RobotTopics:
    """All topics of one robot; at most one instance per DDS domain in a process."""

    def __init__(self, model: UnitreeModel, *, domain: int, interface: str) -> None:
        """Join a DDS domain.

        Args:
            model: The robot.
            domain: Number of the domain, as in ROS_DOMAIN_ID.
            interface: Network interface; if empty, Cyclone DDS chooses (CYCLONEDDS_URI).
        """
        try:
            self._domain = Domain(domain, configuration(interface)) if interface else None
            self._robot = DomainParticipant(domain)
        except DDSException as error:
            raise SimError(
                f"interface, domain: expected a network interface of this machine and a DDS "
                f"domain, found '{interface}' and {domain}: {error}"
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
        """Return the newest velocity command for a policy [3]; None if there is no new one.

        Neither this velocity nor `mode` comes from the robot's topics; both are only recorded with
        the robot's data.
        """
        messages = self._velocities.take()
        if not messages:
            return None
        forward, left, _, _, _, turn = _TWIST.unpack(messages[-1].data)
        return np.array([forward, left, turn])

    def mode(self) -> float | None:
        """Return the mode of a policy's newest command; None if there is no new one."""
        messages = self._targets.take()
        return float(messages[-1].data[_MODE_BYTE]) if messages else None

    def send(self, topic: str, data: bytes) -> None:
        """Publish these bytes, encapsulation included: a whole message, or half a LowState."""
        writer, content = self._writers[topic], data[len(HEADER) :]
        if topic == LOW_STATE and len(content) < self._state.size:
            half = self._state._replace(size=len(content))
            writer = self._half = self._half or TopicWriter(self._robot, LOW_STATE, half, _NEWEST)
        writer.write(RawMessage(content))

    def respond(self, service: str, answer: ApiResponse) -> None:
        self._responses[service].write(written_response(answer))


def configuration(interface: str) -> str:
    """Return the Cyclone DDS configuration for one network interface."""
    chosen = (
        _PEERS
        if interface == LOOPBACK
        else f'<General><Interfaces><NetworkInterface name="{interface}"/></Interfaces></General>'
    )
    return f"<CycloneDDS><Domain>{chosen}</Domain></CycloneDDS>"
