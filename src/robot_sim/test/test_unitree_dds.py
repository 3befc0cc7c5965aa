# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The emulated Unitree on real DDS, as seen by a driver that declares the message types."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
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
from robot_sim.trace import Trace
from robot_sim.unitree_dds import RawMessage, configuration, read_request, written_response
from robot_sim.unitree_emulator import main
from robot_sim.unitree_host import LOW_CMD, LOW_STATE, ApiRequest, ApiResponse
from testkit.wording import check_wording, lines_with

from .test_unitree_messages import SIZES, numbered_message
from .unitree_robot import CHECK, RELEASE, low_cmd

pytest.importorskip("cyclonedds", reason="cyclonedds is not installed (no wheel of it)")

FOLDED = np.tile([0.0, 1.36, -2.65], 4)

_NUMBERS = {
    "u8": types.uint8,
    "i16": types.int16,
    "u16": types.uint16,
    "i32": types.int32,
    "u32": types.uint32,
    "f32": types.float32,
}


def _as_bytes(kind: Any) -> Any:
    """Let samples of this type carry raw bytes, `data`, instead of fields; return the type.

    The methods are replaced in place, so that its declaration to DDS stays the same.
    """

    def begin(sample: Any, data: bytes = b"") -> None:
        sample.data = data

    kind.__init__ = begin
    kind.serialize = lambda sample, *_, **__: sample.data
    kind.deserialize = classmethod(lambda own, data, *_, **__: own(data))
    # Called for the empty sample which reports that a writer has gone.
    kind.deserialize_key = kind.deserialize
    return kind


def declared_type(name: str, *, as_bytes: bool = False) -> Any:
    """Return the DDS type of a message of `unitree_messages`.

    Args:
        name: Its name in `FIELDS`.
        as_bytes: True if samples carry raw bytes, `data`, instead of fields.
    """
    declared: dict[str, Any] = {}
    for field, kind, count in messages.message_fields(name):
        one = _NUMBERS.get(kind) or declared_type(kind)
        declared[field] = types.array[one, count] if count else one
    package, _, short = name.partition(".")
    made = make_idl_struct(f"{short}_", f"unitree_{package}::msg::dds_::{short}_", declared)
    return _as_bytes(made) if as_bytes else made


def _api_type(name: str, **fields: Any) -> Any:
    return make_idl_struct(name, f"unitree_api::msg::dds_::{name}_", fields)


class Client:
    """A driver without safety rules, in the DDS domain ROS_DOMAIN_ID."""

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

    def start(self, *words: str) -> subprocess.Popen[str]:
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

        The value of a topic is True if all its endpoints describe their type.
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
        found: list[Any] = []

        def look() -> list[Any]:
            found.extend(one for one in reader.take(N=1) if one.sample_info.valid_data)
            return found

        self.until(look, "a message")
        return bytes(found[0].data)

    def state(self) -> messages.Record:
        return messages.decode(f"{self.family}.LowState", self.take(self._states))

    def send(self, data: bytes) -> None:
        self._commands.write(self._commands.data_type(data))

    def leave(self) -> None:
        """Stop publishing commands, like a driver that exits."""
        del self._commands

    def ask(self, api: int, parameter: str = "{}", service: str = "motion_switcher") -> Any:
        """Repeat a request to a service until it answers; return the answer."""
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
        """Wait until the condition holds; call `each` every 2 ms."""
        ends_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < ends_s, f"waited in vain for {what}"
            each()
            time.sleep(0.002)

    def end(self, process: subprocess.Popen[str]) -> str:
        """End an emulator with SIGINT, like Ctrl-C; return its log."""
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


class TestMessages:
    @pytest.mark.parametrize("name", SIZES)
    def test_bytes_are_those_of_cyclone_dds_own_serialiser(self, name: str) -> None:
        message = numbered_message(name)
        sample = declared_type(name)(**_fields(name, message))
        own = sample.serialize(use_version_2=False)
        assert own == messages.encode(name, message)

    def test_requests_and_answers_have_the_fields_of_the_maker(self) -> None:
        asked = request_sample(7, RELEASE, "{}")
        bytes_of = asked.serialize(use_version_2=False)
        assert bytes_of == (
            bytes([0, 1, 0, 0])
            + (7).to_bytes(8, "little")
            + RELEASE.to_bytes(8, "little")
            + bytes(8 + 4 + 1 + 3)
            + (3).to_bytes(4, "little")
            + b"{}\0\0"
            + bytes(4)
        )
        message = RawMessage(bytes_of[4:33], b"{}")
        assert read_request(message) == ApiRequest(number=7, api=RELEASE, parameter="{}")
        answer = written_response(ApiResponse(number=7, api=RELEASE, code=7002))
        assert answer == RawMessage(
            (7).to_bytes(8, "little") + RELEASE.to_bytes(8, "little") + (7002).to_bytes(4, "little")
        )

    @pytest.mark.real_data
    def test_golden_requests_and_answers(self, shared_data: Path) -> None:
        folder = shared_data / "unitree"
        vectors = json.loads((folder / "golden.json").read_text("utf-8"))["vectors"]
        tried = 0
        for name, vector in vectors.items():
            header = vector.get("values", {}).get("header")
            data = (folder / "golden" / f"{name}.bin").read_bytes()
            if vector["layout"] == "api.Request":
                number, api = header["identity"]["id"], header["identity"]["api_id"]
                parameter = vector["values"]["parameter"]
                made = request_sample(number, api, parameter).serialize(use_version_2=False)
                message = RawMessage(data[4:33], parameter.encode())
                assert read_request(message) == ApiRequest(number, api, parameter), name
            elif vector["layout"] == "api.Response":
                answer = ApiResponse(
                    number=header["identity"]["id"],
                    api=header["identity"]["api_id"],
                    code=header["status"]["code"],
                    data=vector["values"]["data"],
                )
                head, text = written_response(answer)
                made = bytes([0, 1, 0, 0]) + head + (len(text) + 1).to_bytes(4, "little") + text
                made += bytes(4 - len(text) % 4 + 4)
            else:
                continue
            assert made.ljust(len(data), b"\0") == data, name
            tried += 1
        assert tried == 7


@pytest.fixture
def go2_client() -> Iterator[Client]:
    """Provide a driver of a Go2; end what it started after the test."""
    client = Client("go")
    yield client
    client.close()


@pytest.mark.ros
class TestProcess:
    @pytest.mark.slow
    def test_refused_commands_are_counted_and_a_driver_may_go(
        self, go2_client: Client, tmp_path: Path
    ) -> None:
        events, trace = tmp_path / "events.jsonl", tmp_path / "walk.npz"
        process = go2_client.start("--event-file", str(events), "--trace-file", str(trace))
        state = go2_client.state()
        assert messages.crc(state) == int(state["crc"])
        assert json.loads(go2_client.ask(CHECK).data)["name"] == "ai"
        # The vendor's DDS can read the topics because they do not describe their types.
        others, own = go2_client.endpoints()
        assert own["rt/lowstate"]
        assert {"rt/lowstate", "rt/lowcmd", "rt/api/sport/response", "rt/cmd_vel"} <= set(others)
        assert not any(others.values())
        for kind, wrong in (("wrong_crc", {"crc": 1}), ("not_released", {})):
            command = low_cmd("go", FOLDED, stiffness=60.0, damping=3.0, **wrong)
            go2_client.until(
                partial(_mentions, events, kind),
                "the event",
                each=partial(go2_client.send, command),
            )
        go2_client.leave()
        ticks = [int(go2_client.state()["tick"]) for _ in range(500)]
        assert ticks[-1] > ticks[0]
        log = go2_client.end(process)
        assert log.count("ignored: wrong_crc") == 1
        check_wording(*lines_with(log, "wrong_crc"))
        assert "Traceback" not in log
        assert len(Trace.load(trace).time_s) > 0

    def test_faults_of_a_file_are_read_whenever_it_changes(
        self, go2_client: Client, tmp_path: Path
    ) -> None:
        faults, events = tmp_path / "faults.txt", tmp_path / "events.jsonl"
        process = go2_client.start("--fault-file", str(faults), "--event-file", str(events))
        assert not go2_client.state()["wireless_remote"].any()
        _replace_file(faults, "press:L2\n\npress:B\n")
        go2_client.until(
            lambda: go2_client.state()["wireless_remote"][2:4].tolist() == [0x20, 2], "the buttons"
        )
        _replace_file(faults, "explode:host\n")
        assert process.stderr is not None
        refused = next(line for line in process.stderr if "explode" in line)
        check_wording(refused)
        assert go2_client.state()["wireless_remote"].any()
        _replace_file(faults, "")
        go2_client.until(lambda: not go2_client.state()["wireless_remote"].any(), "no button")
        go2_client.end(process)
        told = [json.loads(line) for line in events.open()]
        assert [line["who"] for line in told] == ["press:L2, press:B", "none"]


@pytest.mark.parametrize(
    "words",
    [["--period-s", "0.0005"], ["--event-file", "/not/there/events"], ["--interface", "nowhere0"]],
    ids=str,
)
def test_a_bad_argument_ends_it_with_status_2(
    words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["--domain", "99", *words])
    check_wording(*caplog.messages)


def test_without_the_binding_it_names_the_package(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "robot_sim.unitree_dds", None)
    with pytest.raises(SystemExit, match=r"^2$"):
        main([])
    check_wording(*lines_with(caplog.messages, "cyclonedds"))


def _mentions(file: Path, text: str) -> bool:
    return file.is_file() and text in file.read_text()


def _replace_file(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text, "utf-8")
    new.replace(file)


def _fields(name: str, message: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field, kind, count in messages.message_fields(name):
        found = message[field]
        if kind in messages.FIELDS:
            each = [SimpleNamespace(**_fields(kind, one)) for one in found.reshape(-1)]
            values[field] = each if count else each[0]
        else:
            values[field] = found.tolist()
    return values


DEADLINE_S = 60.0
_FORM = Policy.DataRepresentation(use_cdrv0_representation=True)
_RELIABLE = Policy.Reliability.Reliable(100_000_000)
_SENT = Qos(_RELIABLE, Policy.History.KeepLast(1), _FORM)
_TAKEN = Qos(Policy.Reliability.BestEffort, Policy.History.KeepLast(1), _FORM)
_ANSWERED = Qos(_RELIABLE, Policy.History.KeepLast(8), _FORM)

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
