# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Read depth and color images from messages, without any ROS package."""

from __future__ import annotations

import io
import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_core.errors import RobotError
from policy_core.observation.images import Image, decode, read_frame

RAW_DEPTH = npt.NDArray[np.uint16] | npt.NDArray[np.float32]
_KINDS = {"16UC1": "u2", "32FC1": "f4"}
"""Pixel type by encoding: uint16 in mm, float32 in m (REP 118)."""
_HEADER = struct.Struct("<i2f")
"""Header of compressedDepth: format, followed by the two parameters for inverse depth."""
_PNG = b"\x89PNG"


def read_depth(message: Any, size: tuple[int, ...]) -> RAW_DEPTH:
    """Return a depth image [height, width]; an uncompressed one shares the message's memory.

    Args:
        message: sensor_msgs/Image as 16UC1 (mm) or 32FC1 (m), or sensor_msgs/CompressedImage from
            compressedDepth, in PNG.
        size: Height and width from the contract.

    Returns:
        uint16 in mm, 0 if unknown; or float32 in m, NaN if unknown.

    Raises:
        RobotError: The encoding or the size differs, or data is missing.
    """
    return _compressed(message, size) if hasattr(message, "format") else _raw(message, size)


class _AnySize:
    """Placeholder for the size of a frame whose size is checked later."""

    height = width = 0
    resize = True


def read_colour(message: Any, size: tuple[int, ...]) -> Image:
    """Return a color image [height, width, 3] in RGB; for rgb8, a view of the message.

    Args:
        message: sensor_msgs/Image or CompressedImage; see `policy_core.observation.images`.
        size: Height and width from the contract.

    Raises:
        RobotError: The encoding or the size differs, or data is missing or damaged.
    """
    frame = read_frame(message, _AnySize())
    _require_size((frame.height, frame.width), size)
    return decode(frame)


def _raw(message: Any, size: tuple[int, ...]) -> RAW_DEPTH:
    kind = _kind(message.encoding)
    _require_size((message.height, message.width), size)
    dtype = np.dtype((">" if message.is_bigendian else "<") + kind)
    height, width = size
    data = np.frombuffer(message.data, np.uint8)
    row_bytes = width * dtype.itemsize
    if message.step < row_bytes or data.size < height * message.step:
        raise RobotError(
            f"expected {height} rows of at least {row_bytes} bytes, found {data.size} bytes in "
            f"rows of {message.step}"
        )
    return np.ndarray((height, width), dtype, data, strides=(message.step, dtype.itemsize))


def _compressed(message: Any, size: tuple[int, ...]) -> RAW_DEPTH:
    from PIL import Image as Pillow

    encoding, _, transport = message.format.partition(";")
    kind = _kind(encoding.strip())
    data = bytes(message.data)
    content = data[_HEADER.size :]
    if "compressedDepth" not in transport or not content.startswith(_PNG):
        raise RobotError(
            f"expected compressedDepth in PNG, found {message.format!r} with other data; set the "
            "camera's parameter `format` of compressedDepth to png"
        )
    try:
        # Pillow verifies a file's checksums only on request.
        Pillow.open(io.BytesIO(content), formats=["PNG"]).verify()
        with Pillow.open(io.BytesIO(content), formats=["PNG"]) as image:
            _require_size((image.height, image.width), size)
            if not image.mode.startswith("I"):
                raise RobotError(f"expected a 16-bit PNG, found mode {image.mode}")
            pixels = np.asarray(image, dtype=np.uint16)
    except RobotError:
        raise
    # The type of exception depends on the damaged byte.
    except Exception as error:
        raise RobotError(f"expected an intact PNG, found a damaged one: {error}") from error
    if kind == "u2":
        return pixels
    _, scale, offset = _HEADER.unpack_from(data)
    if not (math.isfinite(scale) and math.isfinite(offset) and scale > 0.0):
        raise RobotError(
            f"expected compressedDepth with finite depth parameters, found {scale:g}, {offset:g}"
        )
    with np.errstate(divide="ignore"):
        metres = np.float32(scale) / (pixels - np.float32(offset))
    metres[pixels == 0] = np.nan
    return metres.astype(np.float32, copy=False)


def _kind(encoding: str) -> str:
    kind = _KINDS.get(encoding)
    if kind is None:
        raise RobotError(
            f"expected a depth image with encoding {' or '.join(_KINDS)}, found encoding "
            f"{encoding!r}"
        )
    return kind


def _require_size(found: tuple[int, int], size: tuple[int, ...]) -> None:
    if found != tuple(size):
        raise RobotError(
            f"expected an image of {size[1]} x {size[0]} pixels (the contract's camera_size), "
            f"found {found[1]} x {found[0]}; set the camera to the expected size"
        )
