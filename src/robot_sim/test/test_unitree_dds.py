# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The emulated Unitree on real DDS, as a driver of another make meets it."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from robot_sim import unitree_messages as messages
from robot_sim.trace import Trace

pytest.importorskip("cyclonedds", reason="cyclonedds is not installed (no wheel of it)")

from robot_sim.unitree_dds import RawMessage, read_request, written_response
from robot_sim.unitree_emulator import main
from robot_sim.unitree_host import BATTERY, SECONDARY_IMU, ApiRequest, ApiResponse
from testkit.wording import check_wording, lines_with

from .test_unitree_messages import SIZES, numbered_message
from .unitree_client import Client, declared_type, request_sample
from .unitree_robot import CHECK, RELEASE, SELECT, low_cmd

FOLDED = np.tile([0.0, 1.36, -2.65], 4)


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
    """A driver of a Go2; what it started ends with the test."""
    client = Client("go")
    yield client
    client.close()


@pytest.fixture
def g1() -> Iterator[Client]:
    client = Client("hg")
    yield client
    client.close()


@pytest.mark.ros
class TestProcess:
    def test_refused_commands_are_counted_and_a_driver_may_go(
        self, go2_client: Client, tmp_path: Path
    ) -> None:
        events, trace = tmp_path / "events.jsonl", tmp_path / "walk.npz"
        process = go2_client.start("--event-file", str(events), "--trace-file", str(trace))
        state = go2_client.state()
        assert messages.crc(state) == int(state["crc"])
        assert json.loads(go2_client.ask(CHECK).data)["name"] == "ai"
        # The maker's DDS can read it: nothing of it describes its type.
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

    @pytest.mark.acceptance
    def test_a_g1_has_a_second_imu_and_a_battery(self, g1: Client) -> None:
        torso = g1.reader(SECONDARY_IMU, "hg.IMUState")
        battery = g1.reader(BATTERY, "hg.BmsState")
        process = g1.start()
        assert int(g1.state()["mode_machine"]) == 5
        imu = messages.decode("hg.IMUState", g1.take(torso))
        assert np.linalg.norm(imu["quaternion"]) == pytest.approx(1.0, abs=1e-4)
        assert messages.decode("hg.BmsState", g1.take(battery))["soc"] == 85
        assert g1.ask(SELECT, '{"name":"flying"}').header.status.code == 7004
        g1.end(process)

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
    [
        ["--period-s", "0.0005"],
        ["--event-file", "/not/there/events"],
        ["--interface", "nowhere0"],
    ],
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
    """Write a file at once."""
    new = file.with_suffix(".new")
    new.write_text(text, "utf-8")
    new.replace(file)


def _fields(name: str, message: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field, kind, count in messages.fields_of(name):
        found = message[field]
        if kind in messages.FIELDS:
            each = [SimpleNamespace(**_fields(kind, one)) for one in found.reshape(-1)]
            values[field] = each if count else each[0]
        else:
            values[field] = found.tolist()
    return values
