# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is read straight from the wire is what rclpy makes of it, and what the core needs."""

import contextlib
import itertools
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from policy_msgs.msg import JointCommand
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image, Imu, JointState
from std_msgs.msg import Header, Int32
from tf2_msgs.msg import TFMessage

from policy_core.bundle.state_fields import STATE_FIELDS, StateField
from policy_core.errors import RobotError
from policy_core.interfaces import F64
from policy_inference.messages.readers import stamp_ns
from policy_inference.messages.wire import Decode, JointCommandWriter, peek_stamp_ns
from policy_inference.nodes.sampling import decoder_for, message_class
from testkit.wording import refusal

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


def joint_command(names: Sequence[str], block: F64 | None = None, **given: Any) -> JointCommand:
    numbers = np.arange(6.0 * len(names)).reshape(6, -1) + 0.25 if block is None else block
    fields: dict[str, Any] = {
        "stamp": Time(sec=-5, nanosec=4_000_000_000),
        "sequence": 2**64 - 1,
        "mode": 7,
        "valid_for": Duration(sec=-1, nanosec=3),
        **{name: array("d", row) for name, row in zip(COMMAND_ARRAYS, numbers, strict=True)},
    }
    return JointCommand(names=list(names), **{**fields, **given})


def assert_alike(decode: Decode, message: Any) -> None:
    """Require that all that is used of a message is read from the wire as rclpy has it."""
    found = decode(serialize_message(message))
    assert _READ[type(message).__name__](found) == _READ[type(message).__name__](message)


JOINT_NAMES = [
    [],
    ["ab", "c"],
    ["FL_HipX_joint", "", "gelenk_ö"],
    *(["abcdefgh"[:length]] for length in range(1, 9)),
]


@pytest.mark.parametrize("names", JOINT_NAMES)
def test_joints_and_commands_are_read_as_rclpy_reads_them(names: list[str]) -> None:
    for frame in FRAMES:
        assert_alike(decoder_for(JointState), numbered_joints(names, frame))
    assert_alike(decoder_for(JointCommand), joint_command(names))


def test_one_stream_may_change_names_frame_and_number_of_joints() -> None:
    decode, decode_command = decoder_for(JointState), decoder_for(JointCommand)
    assert_alike(decode, numbered_joints(["a", "b"], sizes=0))
    for names in ("ab", "ab", "ba", "a", "abc", ""):
        assert_alike(decode, numbered_joints(list(names), "base"))
        assert_alike(decode_command, joint_command(list(names)))
    for frame in ("base", "longer", ""):
        assert_alike(decode, numbered_joints(["a", "b"], frame))
    uneven = joint_command(["a", "b"])
    uneven.velocity, uneven.damping = array("d"), array("d", [1.0, 2.0, 3.0])
    assert_alike(decode_command, uneven)


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


@pytest.mark.parametrize("frame", FRAMES)
def test_imu_and_images_are_read_as_rclpy_reads_them(frame: str) -> None:
    rotation = Quaternion(x=0.1, y=0.2, z=0.3, w=0.4)
    covariance = np.arange(9.0) - 1.0
    imu = Imu(
        header=header_of(frame),
        orientation=rotation,
        orientation_covariance=covariance,
        angular_velocity=Vector3(x=1.0, y=2.0, z=3.0),
        angular_velocity_covariance=covariance + 9.0,
        linear_acceleration=Vector3(x=7.0, y=8.0, z=9.0),
    )
    assert_alike(decoder_for(Imu), imu)
    for encoding in ("", "rgb8", "mono8", "yuv422_yuy2"):
        assert_alike(decoder_for(Image), image_of(frame, encoding))
    for kind, size in itertools.product(("", "png", "rgb8; jpeg compressed bgr8"), (0, 7)):
        data = array("B", range(size))
        message = CompressedImage(header=header_of(frame), format=kind, data=data)
        assert_alike(decoder_for(CompressedImage), message)


def image_of(frame: str, encoding: str) -> Image:
    size = {"height": 2, "width": 3, "step": 9, "is_bigendian": 1}
    return Image(header=header_of(frame), encoding=encoding, data=array("B", range(18)), **size)


def transforms_between(*pairs: tuple[str, str]) -> TFMessage:
    return TFMessage(
        transforms=[
            TransformStamped(
                header=header_of(parent),
                child_frame_id=child,
                transform=Transform(
                    translation=Vector3(x=i + 0.5, y=-1.0, z=2.0),
                    rotation=Quaternion(x=0.1, y=0.2, z=0.3, w=0.4),
                ),
            )
            for i, (parent, child) in enumerate(pairs)
        ]
    )


def test_transforms_are_read_as_rclpy_reads_them() -> None:
    decode = decoder_for(TFMessage)
    assert_alike(decode, transforms_between())
    for pair in itertools.product(FRAMES, FRAMES):
        assert_alike(decode, transforms_between(pair, ("odom", "base"), pair))


def test_image_is_no_copy() -> None:
    wire = serialize_message(image_of("", "rgb8"))
    assert decoder_for(Image)(wire).data.obj is wire


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
    "Image": image_of("camera", "rgb8"),
    "CompressedImage": CompressedImage(header=header_of("camera"), format="png"),
    "TFMessage": transforms_between(("map", "odom"), ("odom", "base_link")),
}

_READ: dict[str, Callable[[Any], object]] = {
    "JointState": lambda it: (stamp_ns(it), it.name, list(it.position), list(it.velocity)),
    "JointCommand": lambda it: (
        (it.stamp.sec, it.stamp.nanosec, it.valid_for.sec, it.valid_for.nanosec),
        (it.sequence, it.mode, it.names),
        *(list(getattr(it, field)) for field in COMMAND_ARRAYS),
    ),
    "Imu": lambda it: (
        (stamp_ns(it), it.orientation_covariance[0]),
        [getattr(it.orientation, axis) for axis in "xyzw"],
        [getattr(it.angular_velocity, axis) for axis in "xyz"],
    ),
    "Image": lambda it: (
        (stamp_ns(it), it.height, it.width, it.encoding, it.is_bigendian, it.step, bytes(it.data))
    ),
    "CompressedImage": lambda it: (stamp_ns(it), it.format, bytes(it.data)),
    "TFMessage": lambda it: [
        (
            (stamp_ns(each), each.header.frame_id, each.child_frame_id),
            [getattr(each.transform.translation, axis) for axis in "xyz"],
            [getattr(each.transform.rotation, axis) for axis in "xyzw"],
        )
        for each in it.transforms
    ],
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


@pytest.mark.parametrize("names", [*JOINT_NAMES[1:], ["gelenk_ö"] * 12])
def test_command_is_read_by_rclpy_with_all_its_numbers(names: list[str]) -> None:
    writer = JointCommandWriter(names, 1_250_000_000)
    block = np.zeros((len(COMMAND_ARRAYS), len(names)))
    for sequence, mode in ((0, JointCommand.MODE_RUN), (2**64 - 1, JointCommand.MODE_DAMP)):
        block += np.random.default_rng(sequence % 7).normal(size=block.shape)
        written = writer.write(block, 12_345_678_901, sequence, mode)
        # Not by their bytes: what the middleware pads with is anything.
        valid_for, at = Duration(sec=1, nanosec=250_000_000), Time(sec=12, nanosec=345_678_901)
        given = {"sequence": sequence, "mode": mode, "stamp": at, "valid_for": valid_for}
        wanted = joint_command(names, block, **given)
        assert deserialize_message(written, JointCommand) == wanted
        assert len(written) == len(serialize_message(wanted))


def test_a_command_that_was_written_stays_as_it_is() -> None:
    writer = JointCommandWriter(["a"], 0)
    first = writer.write(np.ones((6, 1)), 1, 1, 1)
    kept = bytes(bytearray(first))
    writer.write(np.zeros((6, 1)), 2, 2, 2)
    assert first == kept
