# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The other end of a Unitree robot's DDS topics, by Cyclone DDS, and the emulator as a process.

Other than the emulator's, its endpoints have the types of the Python binding, field by field.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cyclonedds.builtin import (
    BuiltinDataReader,
    BuiltinTopicDcpsPublication,
    BuiltinTopicDcpsSubscription,
)
from cyclonedds.core import Policy, Qos
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import make_idl_struct, types
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic

from robot_sim import unitree_messages as messages
from robot_sim.unitree_dds import configuration
from robot_sim.unitree_host import LOW_CMD, LOW_STATE

DEADLINE_S = 60.0
_NUMBERS = {
    "u8": types.uint8,
    "i16": types.int16,
    "u16": types.uint16,
    "i32": types.int32,
    "u32": types.uint32,
    "f32": types.float32,
}
_FORM = Policy.DataRepresentation(use_cdrv0_representation=True)
_RELIABLE = Policy.Reliability.Reliable(100_000_000)
_SENT = Qos(_RELIABLE, Policy.History.KeepLast(1), _FORM)
_TAKEN = Qos(Policy.Reliability.BestEffort, Policy.History.KeepLast(1), _FORM)
_ANSWERED = Qos(_RELIABLE, Policy.History.KeepLast(8), _FORM)


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


def declared_type(name: str, *, as_bytes: bool = False) -> Any:
    """Return the type of a message of `unitree_messages` for the binding.

    Args:
        name: Its name in `FIELDS`.
        as_bytes: Whether samples are made of bytes, `data`, instead of fields.
    """
    declared: dict[str, Any] = {}
    for field, kind, count in messages.fields_of(name):
        one = _NUMBERS.get(kind) or declared_type(kind)
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


class Client:
    """A driver without rules. Its domain is ROS_DOMAIN_ID."""

    def __init__(self, family: str) -> None:
        domain = int(os.environ["ROS_DOMAIN_ID"])
        self.family = family
        self._domain = Domain(domain, configuration("lo"))
        self._robot = DomainParticipant(domain)
        self._numbers = itertools.count(time.time_ns())
        self._processes: list[subprocess.Popen[str]] = []
        self._states = self.reader(LOW_STATE, f"{family}.LowState")
        command = declared_type(f"{family}.LowCmd", as_bytes=True)
        self._commands = DataWriter(self._robot, Topic(self._robot, LOW_CMD, command), qos=_SENT)
        self._services: dict[str, tuple[Any, Any]] = {}

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start an emulator as a process."""
        robot = {"go": "go2", "hg": "g1"}[self.family]
        process = subprocess.Popen(
            [sys.executable, "-m", "robot_sim.unitree_emulator", "--robot", robot, *words],
            text=True,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._processes.append(process)
        return process

    def reader(self, topic: str, name: str) -> Any:
        kind = declared_type(name, as_bytes=True)
        return DataReader(self._robot, Topic(self._robot, topic, kind), qos=_TAKEN)

    def endpoints(self) -> tuple[dict[str, bool], dict[str, bool]]:
        """Return the topics of other participants' endpoints, and of the client's own.

        Each with whether all its endpoints come with a description of their type.
        """
        others: dict[str, bool] = {}
        own: dict[str, bool] = {}
        for topic in (BuiltinTopicDcpsPublication, BuiltinTopicDcpsSubscription):
            for found in BuiltinDataReader(self._robot, topic).take(N=64):
                side = own if found.participant_key == self._robot.guid else others
                described = found.type_id is not None
                side[found.topic_name] = side.get(found.topic_name, True) and described
        return others, own

    def take(self, reader: Any) -> bytes:
        """Wait for the next message of a reader; return its bytes."""
        found: list[Any] = []

        def look() -> list[Any]:
            found.extend(one for one in reader.take(N=1) if one.sample_info.valid_data)
            return found

        self.until(look, "a message")
        return bytes(found[0].data)

    def state(self) -> messages.Record:
        """Wait for the next LowState."""
        return messages.decode(f"{self.family}.LowState", self.take(self._states))

    def send(self, data: bytes) -> None:
        self._commands.write(self._commands.data_type(data))

    def leave(self) -> None:
        """Publish commands no more, as a driver that ends."""
        del self._commands

    def ask(self, api: int, parameter: str = "{}", service: str = "motion_switcher") -> Any:
        """Ask a service, again and again until it answers; return the answer."""
        if service not in self._services:
            asked, answered = (
                Topic(self._robot, f"rt/api/{service}/{way}", kind)
                for way, kind in (("request", Request), ("response", Response))
            )
            self._services[service] = (
                DataWriter(self._robot, asked, qos=_ANSWERED),
                DataReader(self._robot, answered, qos=_ANSWERED),
            )
        writer, reader = self._services[service]
        ends_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < ends_s:
            number = next(self._numbers)
            writer.write(request_sample(number, api, parameter))
            once_more_s = time.monotonic() + 0.5
            while time.monotonic() < once_more_s:
                for answer in reader.take(N=8):
                    if answer.header.identity.id == number:
                        return answer
                time.sleep(0.002)
        raise AssertionError(f"{service} does not answer")

    def until(
        self, condition: Callable[[], Any], what: str, each: Callable[[], None] = lambda: None
    ) -> None:
        """Wait until something holds, doing something every 2 ms."""
        ends_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < ends_s, f"waited in vain for {what}"
            each()
            time.sleep(0.002)

    def end(self, process: "subprocess.Popen[str]") -> str:
        """End an emulator as Ctrl-C does; return its log."""
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, log
        return log

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def request_sample(number: int, api: int, parameter: str) -> Any:
    return Request(
        header=SimpleNamespace(
            identity=SimpleNamespace(id=number, api_id=api),
            lease=SimpleNamespace(id=0),
            policy=SimpleNamespace(priority=0, noreply=False),
        ),
        parameter=parameter,
        binary=[],
    )
