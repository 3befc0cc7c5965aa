# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A Unitree robot's end of its DDS topics, by the Python binding of Eclipse Cyclone DDS.

It is another implementation of DDS than that of our ROS 2 nodes, as a robot's is. The types are
declared to DDS from the table of `robot_sim.unitree_messages`; LowState and LowCmd pass as bytes,
because the binding takes half a millisecond to read one and to write one field by field.

Cyclone DDS 11, which this is, makes processes with the maker's version 0.10 end when they see each
other's types: do not run it in the network of a real robot. Without another interface it is only
found on this computer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cyclonedds.core import DDSException, Policy, Qos
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import IdlStruct, make_idl_struct, types
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
from robot_sim.unitree_messages import blank, encode, fields_of
from robot_sim.unitree_state import UnitreeModel

LOOPBACK = "lo"
_PEERS = """<General><Interfaces><NetworkInterface name="lo" multicast="false"/></Interfaces>
<AllowMulticast>false</AllowMulticast></General><Discovery><ParticipantIndex>auto</ParticipantIndex>
<MaxAutoParticipantIndex>32</MaxAutoParticipantIndex><Peers><Peer address="127.0.0.1"/></Peers>
</Discovery>"""
"""The loopback interface has no multicast: participants are looked for at 33 ports of it."""
_NUMBERS = {
    "u8": types.uint8,
    "i16": types.int16,
    "u16": types.uint16,
    "i32": types.int32,
    "u32": types.uint32,
    "f32": types.float32,
}
_AT_ONCE = 16
_RELIABLE = Policy.Reliability.Reliable(duration(milliseconds=100))
_FORM = Policy.DataRepresentation(use_cdrv0_representation=True)
_NEWEST = Qos(_RELIABLE, Policy.Durability.Volatile, Policy.History.KeepLast(1), _FORM)
_LOSSY = Qos(Policy.Reliability.BestEffort, Policy.History.KeepLast(_AT_ONCE), _FORM)
_EVERY_ONE = Qos(_RELIABLE, Policy.Durability.Volatile, Policy.History.KeepLast(_AT_ONCE), _FORM)


def _as_bytes(kind: Any) -> Any:
    """Return a type of the binding whose samples are made of bytes, `data`, instead of fields.

    Its declaration to DDS stays: that is why it has no base with these methods.
    """

    def begin(sample: Any, data: bytes = b"") -> None:
        sample.data = data

    kind.__init__ = begin
    kind.serialize = lambda sample, *_, **__: sample.data
    kind.deserialize = classmethod(lambda own, data, *_, **__: own(data))
    # For the sample without fields that says that a writer has gone.
    kind.deserialize_key = kind.deserialize
    return kind


def declared_type(name: str, *, as_bytes: bool = False, half: bool = False) -> Any:
    """Return the type of a message of `unitree_messages` for the binding.

    Args:
        name: Its name in `FIELDS`.
        as_bytes: Whether samples are made of bytes, `data`, instead of fields.
        half: Whether it ends after half of its motors, under its own name.
    """
    declared: dict[str, Any] = {}
    for field, kind, count in fields_of(name):
        one = _NUMBERS.get(kind) or declared_type(kind)
        if half and field == "motor_state":
            declared[field] = types.array[one, count // 2]
            break
        declared[field] = types.array[one, count] if count else one
    package, _, short = name.partition(".")
    made = make_idl_struct(f"{short}_", f"unitree_{package}::msg::dds_::{short}_", declared)
    return _as_bytes(made) if as_bytes else made


def _api_type(name: str, **fields: Any) -> Any:
    return make_idl_struct(name, f"unitree_api::msg::dds_::{name}_", fields)


_Identity = _api_type("RequestIdentity", id=types.int64, api_id=types.int64)
_Lease = _api_type("RequestLease", id=types.int64)
_Policy = _api_type("RequestPolicy", priority=types.int32, noreply=bool)
_RequestHeader = _api_type("RequestHeader", identity=_Identity, lease=_Lease, policy=_Policy)
_Status = _api_type("ResponseStatus", code=types.int32)
_ResponseHeader = _api_type("ResponseHeader", identity=_Identity, status=_Status)
Request = _api_type(
    "Request", header=_RequestHeader, parameter=str, binary=types.sequence[types.uint8]
)
Response = _api_type(
    "Response", header=_ResponseHeader, data=str, binary=types.sequence[types.uint8]
)
_Vector = make_idl_struct(
    "Vector3",
    "geometry_msgs::msg::dds_::Vector3_",
    dict.fromkeys(("x", "y", "z"), types.float64),
)
_Twist = make_idl_struct(
    "Twist", "geometry_msgs::msg::dds_::Twist_", {"linear": _Vector, "angular": _Vector}
)
# Of a JointCommand only the mode is read, which lies behind three times of 8 bytes.
_JointCommand = _as_bytes(
    make_idl_struct(
        "JointCommand",
        "policy_msgs::msg::dds_::JointCommand_",
        {"begin": types.array[types.uint64, 3], "mode": types.uint8},
    )
)
_MODE_BYTE = 4 + 24


def read_request(sample: Any) -> ApiRequest:
    """Return a request as the host takes it."""
    header = sample.header
    return ApiRequest(
        number=header.identity.id,
        api=header.identity.api_id,
        parameter=sample.parameter,
        no_reply=header.policy.noreply,
    )


def written_response(answer: ApiResponse) -> Any:
    """Return an answer of the host as a sample."""
    return Response(
        header=_ResponseHeader(
            identity=_Identity(id=answer.number, api_id=answer.api),
            status=_Status(code=answer.code),
        ),
        data=answer.data,
        binary=[],
    )


class RobotTopics:
    """All topics of one robot. One for each domain in a process."""

    def __init__(self, model: UnitreeModel, *, domain: int, interface: str) -> None:
        """Join a DDS domain.

        Args:
            model: The robot.
            domain: Number of the domain, as ROS_DOMAIN_ID.
            interface: Network interface; empty: Cyclone DDS chooses (CYCLONEDDS_URI).

        Raises:
            SimError: There is no such interface or domain.
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
        self._writers = {LOW_STATE: self._writer(LOW_STATE, f"{family}.LowState")}
        self._family, self._domain_id = family, domain
        self._half: Any = None
        self._whole_bytes = len(encode(f"{family}.LowState", blank(f"{family}.LowState")))
        if model.torso:
            self._writers[SECONDARY_IMU] = self._writer(SECONDARY_IMU, "hg.IMUState")
        if family == "hg":
            self._writers[BATTERY] = self._writer(BATTERY, "hg.BmsState")
        command = declared_type(f"{family}.LowCmd", as_bytes=True)
        self._commands = DataReader(self._robot, self._topic(LOW_CMD, command), qos=_LOSSY)
        self._requests, self._responses = {}, {}
        for service in ("motion_switcher", *(["sport"] if model.feet else [])):
            asked, answered = (
                self._topic(f"rt/api/{service}/{way}", kind)
                for way, kind in (("request", Request), ("response", Response))
            )
            self._requests[service] = DataReader(self._robot, asked, qos=_EVERY_ONE)
            self._responses[service] = DataWriter(self._robot, answered, qos=_EVERY_ONE)
        velocities = self._topic("rt/cmd_vel", _Twist)
        self._velocities = DataReader(self._robot, velocities, qos=_LOSSY)
        targets = self._topic("rt/joint_command", _JointCommand)
        self._targets = DataReader(self._robot, targets, qos=_LOSSY)

    def commands(self) -> list[bytes]:
        """Return the LowCmd messages that have arrived, with their encapsulation."""
        return [sample.data for sample in _taken(self._commands)]

    def requests(self) -> list[tuple[str, ApiRequest]]:
        """Return the requests that have arrived, each with its service."""
        return [
            (service, read_request(sample))
            for service, reader in self._requests.items()
            for sample in _taken(reader)
        ]

    def velocity(self) -> Array | None:
        """Return the newest velocity that was requested of a policy [3]; None without a new one.

        It is no topic of a robot, as `mode` is not: they are recorded beside what the robot does.
        """
        samples = _taken(self._velocities)
        if not samples:
            return None
        newest = samples[-1]
        return np.array([newest.linear.x, newest.linear.y, newest.angular.z])

    def mode(self) -> float | None:
        """Return the mode of a policy's newest command; None without a new one."""
        samples = [one for one in _taken(self._targets) if len(one.data) > _MODE_BYTE]
        return float(samples[-1].data[_MODE_BYTE]) if samples else None

    def send(self, topic: str, data: bytes) -> None:
        """Publish a message as these bytes, with encapsulation: a whole one, or half a LowState."""
        writer = self._writers[topic]
        if topic == LOW_STATE and len(data) < self._whole_bytes:
            writer = self._half = self._half or self._half_writer()
        writer.write(writer.data_type(data))

    def respond(self, service: str, answer: ApiResponse) -> None:
        """Answer a request."""
        self._responses[service].write(written_response(answer))

    def _half_writer(self) -> Any:
        """Return a writer of LowState messages with half of the motors.

        The binding writes only what is of the declared type, and a participant has one for a topic.
        """
        kind = declared_type(f"{self._family}.LowState", as_bytes=True, half=True)
        self._beside = DomainParticipant(self._domain_id)
        return DataWriter(self._beside, Topic(self._beside, LOW_STATE, kind), qos=_NEWEST)

    def _writer(self, topic: str, name: str) -> Any:
        kind = declared_type(name, as_bytes=True)
        return DataWriter(self._robot, self._topic(topic, kind), qos=_NEWEST)

    def _topic(self, name: str, kind: type[IdlStruct]) -> Any:
        return Topic(self._robot, name, kind)


def _taken(reader: Any) -> list[Any]:
    """Return the samples that wait, without those that only say that a writer has gone."""
    return [sample for sample in reader.take(N=_AT_ONCE) if sample.sample_info.valid_data]


def configuration(interface: str) -> str:
    """Return Cyclone DDS' configuration for one network interface."""
    chosen = (
        _PEERS
        if interface == LOOPBACK
        else f'<General><Interfaces><NetworkInterface name="{interface}"/></Interfaces></General>'
    )
    return f"<CycloneDDS><Domain>{chosen}</Domain></CycloneDDS>"
