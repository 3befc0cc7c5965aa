# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Camera images: checked on arrival, and decoded only when needed.

The checks take microseconds, so every frame is checked and a misconfigured camera is reported
immediately; decoding takes milliseconds, so only frames that a policy sees are decoded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from policy_core.errors import RobotError

Image = npt.NDArray[np.uint8]
"""Image in RGB, uint8 [height, width, 3]."""

_LARGEST = 8192
"""Maximum height and width, pixels, since a small compressed image may claim to be huge."""
_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"\x00\x00\x00\x00IEND\xaeB`\x82"
_PNG_SIZE = struct.Struct(">16x2I")
_JPEG_SEGMENT, _JPEG_SIZE = struct.Struct(">BBH"), struct.Struct(">5x2H")
_JPEG_SCAN = 0xDA
_JPEG_STEPS = 256
"""Maximum number of parsed segments and fill bytes, far more than cameras write. Limits how long a
tick waits.
"""
_READ_AHEAD = bytes(16)
"""Padding appended to the data: more than the 8 bytes that libjpeg reads ahead."""
# Start-of-frame markers: C0 to CF except tables (C4, CC) and an extension (C8).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """An image as received, with validated size and length.

    `encoding` is a sensor_msgs/Image encoding, or jpeg or png; `step` is the row length in bytes,
    or 0 if compressed. `data` is a view of the received message.
    """

    encoding: str
    height: int
    width: int
    step: int
    data: memoryview


class _Raw(NamedTuple):
    """Memory layout of an encoding, and the conversion to RGB."""

    channels: int
    """Number of bytes per pixel in a row of `step` bytes."""
    even: tuple[int, int]
    """Required divisors of height and width."""
    half_rows: int
    """Half rows of data per image row: 3 if chroma adds half a row, otherwise 2."""
    conversion: int | None


# Names as in sensor_msgs/image_encodings.hpp. YUV is ITU-R BT.601 in studio range, as webcams send
# it.
_YUY2 = _Raw(2, (1, 2), 2, cv2.COLOR_YUV2RGB_YUY2)
_RAW = {
    "rgb8": _Raw(3, (1, 1), 2, None),
    "bgr8": _Raw(3, (1, 1), 2, cv2.COLOR_BGR2RGB),
    "mono8": _Raw(1, (1, 1), 2, cv2.COLOR_GRAY2RGB),
    "yuv422_yuy2": _YUY2,
    "yuyv": _YUY2,
    "nv12": _Raw(1, (2, 2), 3, cv2.COLOR_YUV2RGB_NV12),
}
ENCODINGS = tuple(_RAW)
"""Supported encodings of sensor_msgs/Image."""
FRAME_ENCODINGS = (*ENCODINGS, "jpeg", "png")
"""Supported encodings of a frame."""


class ImageSize(Protocol):
    """Image size expected from a camera, as in a contract or a mapping."""

    @property
    def height(self) -> int:
        """Height, pixels."""

    @property
    def width(self) -> int:
        """Width, pixels."""

    @property
    def resize(self) -> bool:
        """True if images of a different size are accepted and resized."""


def read_frame(message: Any, camera: ImageSize) -> Frame:
    """Return the frame in a camera message, validated but not decoded.

    Args:
        message: sensor_msgs/Image or CompressedImage, or an object with the same attributes.
        camera: Expected size.

    Raises:
        RobotError: The encoding is unknown, the size is wrong and resizing is not allowed, or data
            is missing.
    """
    frame = _compressed(message) if hasattr(message, "format") else _raw(message)
    require_size(frame, camera)
    height, width = frame.height, frame.width
    if not (0 < height <= _LARGEST and 0 < width <= _LARGEST):
        raise RobotError(
            f"expected an image of 1 to {_LARGEST} pixels in height and width, found "
            f"{width} x {height}"
        )
    return frame


def require_size(frame: Frame, camera: ImageSize) -> None:
    """Raise RobotError unless a frame has the expected size, or may be resized."""
    if not camera.resize and (frame.height, frame.width) != (camera.height, camera.width):
        raise RobotError(
            f"expected an image of {camera.width} x {camera.height} pixels, found {frame.width} x "
            f"{frame.height}; set the camera to that size, or set `resize: true` for it in the "
            "contract or mapping"
        )


def decode(frame: Frame) -> Image:
    """Return the frame's pixels in RGB: a view of the message if the message is already RGB.

    Raises:
        RobotError: A compressed image is damaged.
    """
    return _decode_compressed(frame) if frame.step == 0 else _decode_raw(frame)


def _raw(message: Any) -> Frame:
    known = _RAW.get(message.encoding)
    if known is None:
        raise RobotError(
            f"expected one of the encodings {', '.join(_RAW)}, found {message.encoding!r}"
        )
    height, width, step, data = message.height, message.width, message.step, message.data
    rows, columns = known.even
    if height % rows or width % columns:
        raise RobotError(f"expected an even size for {message.encoding}, found {width} x {height}")
    if step < width * known.channels:
        raise RobotError(
            f"expected a step of at least {width * known.channels} bytes for "
            f"{width} pixels of {message.encoding}, found {step}"
        )
    wanted = step * height * known.half_rows // 2
    if len(data) != wanted:
        raise RobotError(
            f"expected {wanted} bytes for {height} rows of {message.encoding}, found "
            f"{len(data)}: the image is truncated, or its header is wrong"
        )
    return Frame(
        encoding=message.encoding, height=height, width=width, step=step, data=memoryview(data)
    )


def _decode_raw(frame: Frame) -> Image:
    known = _RAW[frame.encoding]
    rows, used = frame.height * known.half_rows // 2, frame.width * known.channels
    pixels = np.frombuffer(frame.data, np.uint8).reshape(rows, frame.step)[:, :used]
    pixels = pixels.reshape(rows, frame.width, known.channels)
    if known.conversion is None:
        return pixels
    return _checked(cv2.cvtColor(pixels, known.conversion))


def _compressed(message: Any) -> Frame:
    data = memoryview(message.data).cast("B")
    for encoding, start, size_of in (("jpeg", _JPEG, _jpeg_size), ("png", _PNG, _png_size)):
        if bytes(data[: len(start)]) == start:
            height, width = size_of(data)
            return Frame(encoding=encoding, height=height, width=width, step=0, data=data)
    raise RobotError(
        f"expected a JPEG or a PNG, found {len(data)} bytes that are neither "
        f"(format {message.format!r})"
    )


def _jpeg_size(data: memoryview) -> tuple[int, int]:
    """Return the height and width of a complete JPEG (ITU-T T.81, annex B).

    Decoders fill missing parts with gray, without an error. Within a scan, FF is always followed by
    00 or a restart marker, so a truncated image never ends with the end marker.
    """
    # Cameras may pad their data with zeros.
    if not bytes(data).rstrip(b"\0").endswith(_JPEG_END):
        raise _truncated("JPEG", data)
    at, size = len(_JPEG), None
    for _ in range(_JPEG_STEPS):
        if at + _JPEG_SEGMENT.size > len(data):
            raise _truncated("JPEG", data)
        prefix, marker, length = _JPEG_SEGMENT.unpack_from(data, at)
        if prefix != 0xFF or (marker == _JPEG_SCAN and size is None):
            raise _truncated("JPEG", data)
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _JPEG_SCAN and size is not None:
            return size
        if marker in _JPEG_FRAMES and at + _JPEG_SIZE.size <= len(data):
            size = _JPEG_SIZE.unpack_from(data, at)
        at += 2 + length
    raise RobotError(
        f"expected a JPEG with at most {_JPEG_STEPS} segments and fill bytes before its scan, "
        f"found more in {len(data)} bytes"
    )


def _png_size(data: memoryview) -> tuple[int, int]:
    """Return the height and width of a PNG that ends with its last chunk, IEND."""
    if bytes(data[-len(_PNG_END) :]) != _PNG_END or len(data) < _PNG_SIZE.size:
        raise _truncated("PNG", data)
    width, height = _PNG_SIZE.unpack_from(data)
    return height, width


def _truncated(kind: str, data: memoryview) -> RobotError:
    return RobotError(
        f"expected a complete {kind}, found one that is truncated after {len(data)} bytes"
    )


def _decode_compressed(frame: Frame) -> Image:
    # Decoded as captured: the camera's orientation tag must not rotate the image.
    how = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    data = _without_end(bytes(frame.data)) if frame.encoding == "jpeg" else frame.data
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:
        found = None
    if found is None or found.shape[:2] != (frame.height, frame.width):
        raise RobotError(
            f"expected a {frame.encoding.upper()} of {frame.width} x {frame.height} pixels, found "
            f"{len(frame.data)} bytes that cannot be decoded: some were changed or lost in transit"
        )
    return _checked(cv2.cvtColor(found, cv2.COLOR_BGR2RGB))


def _without_end(data: bytes) -> bytes:
    """Return a single-scan JPEG without its end marker, which does not change the image.

    At the end marker, libjpeg fills in missing parts, for example after a camera's packets were
    lost, and reports this only on stderr. Without the marker, it waits for more data, and OpenCV
    (4.11, 5.0) returns no image. With several scans, as in a progressive JPEG, it would always
    wait, so such images keep the marker.
    """
    if data.count(bytes((0xFF, _JPEG_SCAN))) > 1:
        return data
    return data.rstrip(b"\0")[: -len(_JPEG_END)] + _READ_AHEAD


def _checked(found: Any) -> Image:
    """Return OpenCV's result, typed as an image."""
    image: Image = found
    return image
