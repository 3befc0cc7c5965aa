# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unitree_driver import wire
from unitree_driver.figures import G1, GO2, H1, UnitreeFigures, UnitreeSettings
from unitree_driver.robot import UnitreeRobot
from unitree_driver.wire import GO, HG, MessageLayout, ServiceRequest, ServiceResponse

from .messages import low_state, remote_with_keys, write_remote

LAYOUTS = {
    "go.LowCmd": GO.command,
    "go.LowState": GO.state,
    "hg.LowCmd": HG.command,
    "hg.LowState": HG.state,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_what_a_sender_leaves_in_the_padding_does_not_count(layout: MessageLayout) -> None:
    empty = layout.to_wire(np.zeros((), layout.record))
    dirty = bytearray(empty)
    first = wire.HEADER + bytes(layout.wire_bytes - len(wire.HEADER))
    assert len(first) == len(dirty)
    # Behind the mode of the second motor there are 3 bytes that no field has.
    stride = layout.record["motors"].base.itemsize
    assert layout.record.fields is not None
    second = int(layout.record.fields["motors"][1]) + stride
    dirty[second + 1 : second + 4] = b"\xaa\xbb\xcc"

    record = layout.from_wire(bytes(dirty))

    assert wire.crc(record.tobytes()) == record["crc"]
    assert layout.to_wire(record) == empty


class _Robot(UnitreeRobot):
    model = GO2

    def open(self) -> Any:
        raise NotImplementedError

    def adopt(self, descriptors: Any) -> Any:
        raise NotImplementedError


class _G1(_Robot):
    model = G1


class _H1(_Robot):
    model = H1


@pytest.mark.parametrize(
    ("kind", "machine", "damping", "crc"),
    [
        # What the vendor's own checksum gives for these messages.
        (_Robot, 0, 3.0, 1794574391),
        (_G1, 5, 3.0, 3362085533),
    ],
)
def test_damping_command_has_the_vendors_checksum(
    kind: type[UnitreeRobot], machine: int, damping: float, crc: int
) -> None:
    robot = kind(UnitreeSettings(damping=damping))
    robot.decode(low_state(robot.model, machine=machine))

    frame = robot.encode(robot.rest(None))

    assert frame[0] == wire.RobotTopic.LOWCMD
    assert int.from_bytes(frame[-4:], "little") == crc


def test_strong_motors_of_the_h1_have_a_mode_of_their_own() -> None:
    frame = _H1(UnitreeSettings()).encode(np.zeros((19, 5)))

    modes = H1.family.command.from_wire(frame[1:])["motors"]["mode"]
    assert modes.tolist() == [10] * 9 + [0] + [1] * 10


@pytest.mark.parametrize("model", [GO2, G1, H1], ids=lambda model: model.name)
def test_slots_without_a_joint_are_off_and_empty(model: UnitreeFigures) -> None:
    class Robot(_Robot):
        pass

    Robot.model = model
    frame = Robot(UnitreeSettings()).encode(np.ones((len(model.slots), 5)))
    motors = model.family.command.from_wire(frame[1:])["motors"]
    others = sorted(set(range(len(motors))) - set(model.slots))

    assert not motors["mode"][others].any()
    assert not motors["numbers"][others].any()


@pytest.mark.parametrize("parameter", ["", "{}", '{"name":"ai"}', "ä" * 7])
def test_requests_and_answers_are_read_as_they_were_written(parameter: str) -> None:
    request = ServiceRequest(2**62 - 1, 1002, parameter)
    answer = ServiceResponse(7, 1001, -3104, parameter)

    assert wire.read_request(wire.request(request)) == request
    assert wire.read_response(wire.response(answer)) == answer


def test_answer_that_is_cut_off_or_no_utf8_is_none() -> None:
    data = bytearray(wire.response(ServiceResponse(7, 1001, 0, "abc")))
    for size in range(0, 31, 3):
        assert wire.read_response(bytes(data[:size])) is None
    data[-8] = 0xFF
    assert wire.read_response(bytes(data)) is None


def test_no_two_requests_have_the_same_number() -> None:
    one, other = wire.request_numbers(), wire.request_numbers()

    assert len({next(ids) for ids in (one, other) for _ in range(100)}) == 200


def test_remote_reports_keys_and_sticks() -> None:
    remote = remote_with_keys("L2", "B")._replace(lx=-0.25, ly=0.5, rx=0.75, ry=-1.0)

    read = wire.read_remote(write_remote(remote))

    assert read == remote
    assert read.holds("L2", "B")
    assert not read.holds("L2", "A")


def test_stick_that_is_no_number_is_in_the_middle() -> None:
    data = write_remote(remote_with_keys()._replace(lx=float("nan"), ly=float("inf")))

    remote = wire.read_remote(data)

    assert (remote.lx, remote.ly) == (0.0, 1.0)


def _captured_messages(folder: Path) -> dict[str, Any]:
    vectors: dict[str, Any] = json.loads((folder / "golden.json").read_text())
    return vectors


@pytest.mark.real_data
def test_recorded_messages_are_read_and_written_byte_for_byte(shared_data: Path) -> None:
    folder, checked = shared_data / "unitree", 0
    for name, about in _captured_messages(folder)["vectors"].items():
        data = (folder / "golden" / f"{name}.bin").read_bytes()
        layout = LAYOUTS.get(about["layout"])
        if layout is not None:
            record = layout.from_wire(data)
            assert (wire.crc(record.tobytes()) == record["crc"]) == about["crc_ok"], name
            assert int(record["crc"]) == about["crc"], name
            _check_motors(record, about)
            if about["crc_ok"]:
                assert layout.to_wire(record) == data, name
                checked += 1
        elif about["layout"] == "api.Request":
            request = wire.read_request(data)
            assert request is not None
            assert wire.request(request) == data, name
            assert request.parameter == about["values"]["parameter"]
            checked += 1
        elif about["layout"] == "api.Response":
            answer = wire.read_response(data)
            assert answer is not None
            assert wire.response(answer) == data, name
            assert answer.data == about["values"]["data"]
            checked += 1
    assert checked == 21


def _check_motors(record: Any, about: dict[str, Any]) -> None:
    """Hold the motors of a message against the values from which it was made."""
    if not about["crc_ok"]:
        return
    values = about["values"].get("motor_cmd") or about["values"]["motor_state"]
    motors = record["motors"]
    assert motors["mode"].tolist() == [value["mode"] for value in values]
    if "numbers" in (motors.dtype.names or ()):
        expected = [[value[key] for key in ("q", "dq", "tau", "kp", "kd")] for value in values]
        np.testing.assert_array_equal(motors["numbers"], np.array(expected, np.float32))
    else:
        for key in ("q", "dq", "tau_est", "temperature"):
            expected = [value[key] for value in values]
            np.testing.assert_array_equal(motors[key], np.array(expected).astype(motors[key].dtype))


@pytest.mark.real_data
def test_recorded_remotes_are_read(shared_data: Path) -> None:
    remotes = _captured_messages(shared_data / "unitree")["wireless_remote"]
    read = {name: wire.read_remote(bytes.fromhex(each["hex"])) for name, each in remotes.items()}

    assert read["L2_B"].holds("L2", "B")
    assert read["select"].holds("select")
    walking = read["forward_left_turn_right"]
    assert (walking.lx, walking.ly, walking.rx) == (-0.25, 0.5, 0.75)
