# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is read straight from the wire is what rclpy makes of it, and what the core needs."""

import contextlib
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Quaternion, Vector3
from nav_msgs.msg import Odometry
from policy_msgs.msg import JointCommand
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image, Imu, JointState
from std_msgs.msg import Float32MultiArray, Header, Int32

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.state_fields import STATE_FIELDS, StateField
from policy_core.errors import RobotError
from policy_core.observation.state import RobotState
from policy_inference.messages.readers import stamp_ns, state_reader
from policy_inference.messages.wire import Decode, peek_stamp_ns
from policy_inference.nodes.sampling import decoder_for, message_class
from testkit.edits import MISSING
from testkit.ros_time import stamp
from testkit.wording import refusal

from .bundles import JOINTS, write_bundle

pytestmark = pytest.mark.ros
COMMAND_ARRAYS = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")
# All lengths modulo 8, since what follows a string is aligned.
FRAMES = ["", *("abcdefgh"[:length] for length in range(1, 9)), "prüfstand"]


def header_of(frame: str) -> Header:
    return Header(stamp=Time(sec=-5, nanosec=4_000_000_000), frame_id=frame)


def numbered_joints(
    names: Sequence[str], frame: str = "base", sizes: int | None = None
) -> JointState:
    size = len(names) if sizes is None else sizes
    return JointState(
        header=header_of(frame),
        name=list(names),
        position=array("d", np.arange(size) + 0.25),
        velocity=array("d", np.arange(size) - 0.5),
        effort=array("d", np.arange(size) * 1e9),
    )


def assert_joints_alike(decode: Decode, message: JointState) -> None:
    found = decode(serialize_message(message))
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (-5, 4_000_000_000)
    assert found.name == message.name
    assert list(found.position) == list(message.position)
    assert list(found.velocity) == list(message.velocity)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("names", [[], ["a"], ["ab", "c"], ["FL_HipX_joint", "", "gelenk_ö"]])
def test_joint_state_is_read_as_rclpy_reads_it(frame: str, names: list[str]) -> None:
    assert_joints_alike(decoder_for(JointState), numbered_joints(names, frame))


def test_one_stream_may_change_names_frame_and_number_of_joints() -> None:
    decode = decoder_for(JointState)
    assert_joints_alike(decode, numbered_joints(["a", "b"], sizes=0))
    for names in ("ab", "ab", "ba", "a", "abc"):
        assert_joints_alike(decode, numbered_joints(list(names), "base"))
    for frame in ("base", "longer", ""):
        assert_joints_alike(decode, numbered_joints(["a", "b"], frame))


@pytest.mark.parametrize(
    "row", [row for row in STATE_FIELDS.values() if row.read is not None], ids=lambda row: row.name
)
def test_each_field_of_the_state_is_read_from_the_wire_of_each_message_of_its_topic(
    row: StateField,
) -> None:
    assert row.read is not None
    for kind in row.topic.types:
        message = message_class(kind)()
        found = list(row.read(decoder_for(type(message))(serialize_message(message))))
        assert found == list(row.read(message))
        assert len(found) == (0 if row.size == "joints" else row.size)


def joint_command(names: Sequence[str], first: float = 0.25) -> JointCommand:
    numbers = np.arange(6 * len(names)).reshape(6, -1) + first
    fields = dict(zip(COMMAND_ARRAYS, (array("d", row) for row in numbers), strict=True))
    return JointCommand(
        stamp=Time(sec=-5, nanosec=4_000_000_000),
        sequence=2**64 - 1,
        mode=7,
        valid_for=Duration(sec=-1, nanosec=3),
        names=list(names),
        **fields,
    )


def assert_command_alike(decode: Decode, message: JointCommand) -> None:
    found = decode(serialize_message(message))
    assert (found.stamp.sec, found.stamp.nanosec) == (-5, 4_000_000_000)
    assert (found.valid_for.sec, found.valid_for.nanosec) == (-1, 3)
    assert (found.sequence, found.mode, found.names) == (2**64 - 1, 7, message.names)
    for field in COMMAND_ARRAYS:
        assert list(getattr(found, field)) == list(getattr(message, field))


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["a"],
        ["ab", "c"],
        ["FL_HipX_joint", "", "gelenk_ö"],
        *[["abcdefgh"[:length]] for length in range(1, 9)],
    ],
)
def test_joint_command_is_read_as_rclpy_reads_it(names: list[str]) -> None:
    assert_command_alike(decoder_for(JointCommand), joint_command(names))


def test_one_stream_of_commands_may_change_names_and_numbers() -> None:
    decode = decoder_for(JointCommand)
    for names in ("ab", "ab", "ba", "a", "abc", ""):
        assert_command_alike(decode, joint_command(list(names)))
    assert_command_alike(decode, joint_command([], first=1.0))
    uneven = joint_command(["a", "b"])
    uneven.velocity, uneven.damping = array("d"), array("d", [1.0, 2.0, 3.0])
    assert_command_alike(decode, uneven)


@pytest.mark.parametrize("frame", FRAMES)
def test_imu_is_read_as_rclpy_reads_it(frame: str) -> None:
    covariance = np.arange(9.0) - 1.0
    message = Imu(
        header=header_of(frame),
        orientation=Quaternion(x=0.1, y=0.2, z=0.3, w=0.4),
        orientation_covariance=covariance,
        angular_velocity=Vector3(x=1.0, y=2.0, z=np.nan),
        angular_velocity_covariance=covariance + 9.0,
        linear_acceleration=Vector3(x=7.0, y=8.0, z=9.0),
    )
    found = decoder_for(Imu)(serialize_message(message))
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (-5, 4_000_000_000)
    q, rate = found.orientation, found.angular_velocity
    assert (q.x, q.y, q.z, q.w) == (0.1, 0.2, 0.3, 0.4)
    assert found.orientation_covariance[0] == -1.0
    assert (rate.x, rate.y) == (1.0, 2.0)
    assert np.isnan(rate.z)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("encoding", ["", "rgb8", "mono8", "yuv422_yuy2"])
def test_image_is_read_as_rclpy_reads_it_without_a_copy(frame: str, encoding: str) -> None:
    message = Image(
        header=header_of(frame),
        height=2,
        width=3,
        encoding=encoding,
        is_bigendian=1,
        step=9,
        data=array("B", range(18)),
    )
    wire = serialize_message(message)
    found = decoder_for(Image)(wire)
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (-5, 4_000_000_000)
    for name in ("height", "width", "encoding", "is_bigendian", "step"):
        assert getattr(found, name) == getattr(message, name)
    assert found.data.tobytes() == bytes(range(18))
    assert found.data.obj is wire


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("kind", ["", "png", "rgb8; jpeg compressed bgr8"])
@pytest.mark.parametrize("size", [0, 7])
def test_compressed_image_is_read_as_rclpy_reads_it(frame: str, kind: str, size: int) -> None:
    message = CompressedImage(header=header_of(frame), format=kind, data=array("B", range(size)))
    found = decoder_for(CompressedImage)(serialize_message(message))
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (-5, 4_000_000_000)
    assert found.format == kind
    assert found.data.tobytes() == bytes(range(size))


def big_endian_imu() -> bytes:
    """Encode an Imu in the other byte order, with x of the rotation rate 2.5."""
    values = np.zeros(37, ">f8")
    values[13] = 2.5
    return b"\x00\x00\x00\x00" + np.array([7, 8, 1], ">u4").tobytes() + bytes(4) + values.tobytes()


def test_other_encodings_and_messages_are_left_to_rclpy() -> None:
    found = decoder_for(Imu)(big_endian_imu())
    assert (found.header.stamp.sec, found.angular_velocity.x) == (7, 2.5)
    assert decoder_for(Int32)(serialize_message(Int32(data=7))) == Int32(data=7)


INTACT = {
    "JointState": numbered_joints(["FL_HipX_joint", "gelenk_ö"], "base"),
    "JointCommand": joint_command(["FL_HipX_joint", "gelenk_ö"]),
    "Imu": Imu(header=header_of("imu_link"), orientation=Quaternion(w=1.0)),
    "Image": Image(
        header=header_of("camera"),
        height=2,
        width=3,
        encoding="rgb8",
        step=9,
        data=array("B", range(18)),
    ),
    "CompressedImage": CompressedImage(header=header_of("camera"), format="png"),
}
_READ: dict[str, Callable[[Any], object]] = {
    "JointState": lambda it: (it.name, list(it.position), list(it.velocity)),
    "JointCommand": lambda it: (it.names, *(list(getattr(it, field)) for field in COMMAND_ARRAYS)),
    "Imu": lambda it: (it.orientation.w, it.angular_velocity.x),
    "Image": lambda it: (it.height, it.width, it.encoding, bytes(it.data)),
    "CompressedImage": lambda it: (it.format, bytes(it.data)),
}


@pytest.mark.parametrize("kind", INTACT)
def test_message_that_is_cut_off_anywhere_is_refused_and_spoils_no_later_one(kind: str) -> None:
    message, read = INTACT[kind], _READ[kind]
    wire, refused = serialize_message(message), 0
    for length in range(len(wire)):
        decode = decoder_for(type(message))
        with contextlib.suppress(RobotError):  # what is cut off may be what is not read
            decode(wire[:length])
            refused -= 1
        refused += 1
        assert read(decode(wire)) == read(message), length
    assert refused > 20


@pytest.mark.parametrize("length", [0, 1, 4, 11])
def test_message_too_short_for_a_stamp_has_none(length: int) -> None:
    assert peek_stamp_ns(serialize_message(INTACT["Imu"])[:length]) == 0


def test_text_that_is_no_utf_8_is_refused_by_the_type_that_was_expected() -> None:
    wire = serialize_message(numbered_joints(["aaaaaaaa"])).replace(b"aaaa", b"\xff\xff\xff\xff", 1)
    with refusal(RobotError):
        decoder_for(JointState)(wire)


def test_every_sensor_message_is_read(tmp_path: Path) -> None:
    terms = [
        {"term": "base_ang_vel"},
        {"term": "base_lin_vel"},
        {"term": "base_quat_xyzw"},
        {"term": "external", "topic": "scan", "size": 2},
    ]
    state = RobotState(
        load_bundle(
            write_bundle(
                tmp_path / "bundle",
                {
                    "observations": {"obs": {"terms": terms}},
                    "model.inputs": {"obs": {"shape": [1, 12]}},
                    "velocity_command": MISSING,
                    "safety": {"on_fault": "damp"},
                },
            ),
            kind=JointBundle,
        ).contract
    )
    odometry = Odometry()
    odometry.twist.twist.linear = Vector3(x=1.0, y=2.0, z=3.0)
    messages = {
        "joint_states": JointState(
            name=list(JOINTS), position=array("d", [1.0, 2.0]), velocity=array("d", [3.0, 4.0])
        ),
        "imu/data": Imu(orientation=Quaternion(w=1.0), angular_velocity=Vector3(z=5.0)),
        "odom": odometry,
        "scan": Float32MultiArray(data=[6.0, 7.0]),
    }
    for name in state.inputs:
        state_reader(name, JOINTS, state).read(messages[name])
    assert state["joint_pos"].tolist() == [1.0, 2.0]
    assert state["joint_vel"].tolist() == [3.0, 4.0]
    assert state["quat_xyzw"].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert state["ang_vel_body"].tolist() == [0.0, 0.0, 5.0]
    assert state["lin_vel_body"].tolist() == [1.0, 2.0, 3.0]
    assert state["external:scan"].tolist() == [6.0, 7.0]


def test_stamps_are_read_where_there_are_any() -> None:
    message = JointState()
    assert stamp_ns(message) is None
    message.header.stamp = stamp(12_345_678_901)
    assert stamp_ns(message) == 12_345_678_901
    assert stamp_ns(Float32MultiArray()) is None
