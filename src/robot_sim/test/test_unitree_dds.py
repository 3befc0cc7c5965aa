# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The emulated Unitree on real DDS, as a driver of another make meets it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from robot_sim import unitree_messages as messages
from robot_sim.trace import Trace

pytest.importorskip("cyclonedds", reason="cyclonedds is not installed (no wheel of it)")

from robot_sim.cyclone import Message
from robot_sim.unitree_dds import read_request, written_response
from robot_sim.unitree_emulator import main
from robot_sim.unitree_host import BATTERY, SECONDARY_IMU, ApiRequest, ApiResponse

from .test_unitree_messages import SIZES, filled
from .unitree_client import Client, declared_type, request
from .unitree_robot import CHECK, RELEASE, SELECT, STAND_DOWN, low_cmd

FOLDED = np.tile([0.0, 1.36, -2.65], 4)


class TestMessages:
    @pytest.mark.parametrize("name", SIZES)
    def test_bytes_are_those_of_cyclone_dds_own_serialiser(self, name: str) -> None:
        message = filled(name)
        sample = declared_type(name)(**_fields(name, message))
        own = sample.serialize(use_version_2=False)
        assert own == messages.encode(name, message)

    def test_requests_and_answers_have_the_fields_of_the_maker(self) -> None:
        asked = request(7, RELEASE, "{}")
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
        message = Message(bytes_of[4:33], b"{}")
        assert read_request(message) == ApiRequest(number=7, api=RELEASE, parameter="{}")
        answer = written_response(ApiResponse(number=7, api=RELEASE, code=7002))
        assert answer == Message(
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
                made = request(number, api, parameter).serialize(use_version_2=False)
                message = Message(data[4:33], parameter.encode())
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
def go2() -> Iterator[Client]:
    """A driver of a Go2; what it started ends with the test."""
    client = Client("go")
    yield client
    client.close()


@pytest.fixture
def g1() -> Iterator[Client]:
    """A driver of a G1."""
    client = Client("hg")
    yield client
    client.close()


@pytest.mark.ros
class TestProcess:
    def test_a_driver_releases_the_robot_lets_it_stand_up_and_damps_it(
        self, go2: Client, tmp_path: Path
    ) -> None:
        events, trace = tmp_path / "events.jsonl", tmp_path / "walk.npz"
        process = go2.start("--event-file", str(events), "--trace-file", str(trace))
        state = go2.state()
        assert messages.crc(state) == int(state["crc"])
        assert json.loads(go2.ask(CHECK).data)["name"] == "ai"
        go2.ask(STAND_DOWN, service="sport")
        go2.until(lambda: go2.state()["motor_state"]["q"][2] < -2.6, "a robot that lies")
        go2.ask(RELEASE)
        go2.until(lambda: json.loads(go2.ask(CHECK).data)["name"] == "", "the release")
        began = time.monotonic()
        stand = np.array([0.0, 0.8, -1.5] * 4)

        def command() -> None:
            part = min(1.0, (time.monotonic() - began) / 1.5)
            pose = FOLDED + part * (stand - FOLDED)
            go2.send(low_cmd("go", pose, stiffness=60.0, damping=3.0))

        go2.until(lambda: time.monotonic() > began + 2.5, "standing up", each=command)
        go2.until(lambda: np.abs(go2.state()["motor_state"]["q"][:12] - stand).max() < 0.2, "it")
        damping = low_cmd("go", stand, stiffness=0.0, damping=3.0)
        go2.until(lambda: "damped" in events.read_text(), "damping", each=lambda: go2.send(damping))
        go2.end(process)
        # A request whose answer was lost is made again.
        happened = list(dict.fromkeys(json.loads(line)["event"] for line in events.open()))
        assert happened == ["standing_down", "mode_released", "following", "damped"]
        walked = Trace.load(trace)
        assert walked.pos_world[:, 2].max() > 0.25
        targets = walked.target[np.isfinite(walked.target).all(axis=1)]
        assert targets[-1] == pytest.approx(stand, abs=1e-5)

    def test_refused_commands_are_counted_in_the_log(self, go2: Client, tmp_path: Path) -> None:
        events = tmp_path / "events.jsonl"
        process = go2.start("--event-file", str(events))
        go2.state()
        wrong = low_cmd("go", FOLDED, stiffness=60.0, damping=3.0, crc=1)
        go2.until(
            lambda: events.is_file() and "wrong_crc" in events.read_text(),
            "the event",
            each=lambda: go2.send(wrong),
        )
        log = go2.end(process)
        assert log.count("ignored: wrong_crc") == 1
        assert "messages ignored so far: wrong_crc" in log
        assert "Traceback" not in log

    def test_nothing_of_it_describes_its_type_so_that_the_makers_dds_can_read_it(
        self, go2: Client
    ) -> None:
        process = go2.start()
        go2.state()
        go2.ask(CHECK)
        others, own = go2.endpoints()
        assert own["rt/lowstate"]
        assert {"rt/lowstate", "rt/lowcmd", "rt/api/sport/response", "rt/cmd_vel"} <= set(others)
        assert not any(others.values())
        go2.end(process)

    def test_a_driver_that_has_gone_leaves_a_robot_that_goes_on(
        self, go2: Client, tmp_path: Path
    ) -> None:
        events = tmp_path / "events.jsonl"
        process = go2.start("--event-file", str(events))
        go2.state()
        early = low_cmd("go", FOLDED, stiffness=60.0, damping=3.0)
        go2.until(
            lambda: events.is_file() and "not_released" in events.read_text(),
            "the event",
            each=lambda: go2.send(early),
        )
        go2.leave()
        ticks = [int(go2.state()["tick"]) for _ in range(500)]
        assert ticks[-1] > ticks[0]
        assert "Traceback" not in go2.end(process)

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
        self, go2: Client, tmp_path: Path
    ) -> None:
        faults, events = tmp_path / "faults.txt", tmp_path / "events.jsonl"
        process = go2.start("--fault-file", str(faults), "--event-file", str(events))
        assert not go2.state()["wireless_remote"].any()
        _replace(faults, "press:L2\n\npress:B\n")
        go2.until(lambda: go2.state()["wireless_remote"][2:4].tolist() == [0x20, 2], "the buttons")
        _replace(faults, "explode:host\n")
        time.sleep(0.2)
        assert go2.state()["wireless_remote"].any()
        _replace(faults, "")
        go2.until(lambda: not go2.state()["wireless_remote"].any(), "no button")
        log = go2.end(process)
        assert "the faults stay as they were: fault: unknown kind 'explode'" in log
        told = [json.loads(line) for line in events.open()]
        assert [line["who"] for line in told] == ["press:L2, press:B", "none"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--faults", "explode:host"], "unknown kind 'explode'"),
        (["--watchdog-s", "-1"], "watchdog_s: expected a time >= 0"),
        (["--period-s", "0.0005"], "period_s: expected a period that is a multiple of"),
        (["--event-file", "/not/there/events"], "event_file: expected a file"),
        (["--interface", "nowhere0"], "interface, domain: expected a network interface"),
    ],
    ids=str,
)
def test_a_bad_argument_ends_it_with_status_2(
    words: list[str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["--domain", "99", *words]) == 2
    assert said in caplog.text


def test_without_the_binding_it_names_the_package(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "robot_sim.unitree_dds", None)
    assert main([]) == 2
    assert "expected the Python package cyclonedds" in caplog.text
    assert "pip install cyclonedds" in caplog.text


def _replace(file: Path, text: str) -> None:
    """Write a file at once."""
    new = file.with_suffix(".new")
    new.write_text(text, "utf-8")
    new.replace(file)


def _fields(name: str, message: Any) -> dict[str, Any]:
    """Return a message as the binding takes its fields."""
    values: dict[str, Any] = {}
    for field, kind, count in messages.fields_of(name):
        found = message[field]
        if kind in messages.FIELDS:
            each = [SimpleNamespace(**_fields(kind, one)) for one in found.reshape(-1)]
            values[field] = each if count else each[0]
        else:
            values[field] = found.tolist()
    return values
