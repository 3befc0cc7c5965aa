# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Short recordings that rosbags writes, and the messages in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from policy_core.interfaces import U8

MS, S = 1_000_000, 1_000_000_000
TYPES = get_typestore(Stores.ROS2_JAZZY)
for _file in sorted(Path(__file__).parents[3].glob("src/policy_msgs/msg/*.msg")):
    TYPES.register(get_types_from_msg(_file.read_text("utf-8"), f"policy_msgs/msg/{_file.stem}"))

Said = tuple[str, int, Any]
"""Topic, time in the log (ns), message."""


def in_log(said: Iterable[Said]) -> list[Said]:
    """Return what is said in the order of its times."""
    return sorted(said, key=lambda one: one[1])


def write_bag(
    folder: Path,
    said: Iterable[Said],
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write a recording, in this order; a topic has the type of its messages."""
    writer = Writer(folder, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        known: dict[tuple[str, str], Any] = {}
        for topic, log_ns, message in said:
            kind = message.__msgtype__
            if (topic, kind) not in known:
                known[topic, kind] = writer.add_connection(topic, kind, typestore=TYPES)
            writer.write(known[topic, kind], log_ns, TYPES.serialize_cdr(message, kind))
    return folder


def stamp(time_ns: int) -> Any:
    return TYPES.types["builtin_interfaces/msg/Time"](*divmod(time_ns, S))


def header(time_ns: int, frame: str = "") -> Any:
    return TYPES.types["std_msgs/msg/Header"](stamp(time_ns), frame)


def joint_state(
    time_ns: int,
    name: Sequence[str],
    position: Sequence[float] | NDArray[np.float64],
    velocity: Sequence[float] | NDArray[np.float64] = (),
    effort: Sequence[float] | NDArray[np.float64] = (),
) -> Any:
    values = (np.array(each, np.float64) for each in (position, velocity, effort))
    return TYPES.types["sensor_msgs/msg/JointState"](header(time_ns), list(name), *values)


def twist(x: float, turn: float = 0.0) -> Any:
    vector = TYPES.types["geometry_msgs/msg/Vector3"]
    return TYPES.types["geometry_msgs/msg/Twist"](vector(x, 0.0, 0.0), vector(0.0, 0.0, turn))


def array(values: Sequence[float], dtype: type = np.float32) -> Any:
    layout = TYPES.types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    kind = f"std_msgs/msg/{np.dtype(dtype).name.capitalize()}MultiArray"
    return TYPES.types[kind](layout, np.array(values, dtype))


def picture(time_ns: int, size: tuple[int, int]) -> U8:
    """Return an image whose red is the time in 10 ms, green 50, blue 100."""
    return np.full((*size, 3), [time_ns // (10 * MS) % 256, 50, 100], np.uint8)


def image(time_ns: int, pixels: U8, encoding: str = "rgb8") -> Any:
    """Return an image of these RGB values."""
    height, width, _ = pixels.shape
    data = (pixels if encoding == "rgb8" else pixels[..., ::-1]).reshape(-1)
    return TYPES.types["sensor_msgs/msg/Image"](
        header(time_ns), height, width, encoding, is_bigendian=0, step=3 * width, data=data
    )


def compressed_image(time_ns: int, pixels: U8, end: str = ".png") -> Any:
    """Return an image of these RGB values as PNG, or as JPEG."""
    data = cv2.imencode(end, pixels[..., ::-1])[1].ravel()
    return TYPES.types["sensor_msgs/msg/CompressedImage"](header(time_ns), end[1:], data)
