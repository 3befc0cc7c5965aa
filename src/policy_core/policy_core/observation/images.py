# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Images of cameras: what their messages say is judged when they come, and decoded when needed.

What a frame is costs microseconds to know and is known at once, so that a camera with a wrong
setting is reported; the pixels cost milliseconds, and only frames that a policy sees are decoded.
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
"""uint8 [height, width, 3], channels red, green, blue."""

_LARGEST = 8192
"""Height and width, pixels: a compressed image of few bytes may claim to be huge."""
_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"\x00\x00\x00\x00IEND\xaeB`\x82"
_PNG_SIZE = struct.Struct(">16x2I")
_JPEG_SEGMENT, _JPEG_SIZE = struct.Struct(">BBH"), struct.Struct(">5x2H")
_JPEG_SCAN = 0xDA
_JPEG_STEPS = 256
"""Segments and fill bytes that are looked at, far more than cameras write: a tick waits."""
_READ_AHEAD = bytes(16)
"""More than what libjpeg reads before it needs it, which is 8 bytes."""
# Start of a frame: the markers C0 to CF but those of tables (C4, CC) and of an extension (C8).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """An image as it came, whose size and length are known to be right.

    `encoding` is that of sensor_msgs/Image, or jpeg or png; `step` is the length of a row, bytes,
    0 where it is compressed. `data` is a view of the received message.
    """

    encoding: str
    height: int
    width: int
    step: int
    data: memoryview


class _Raw(NamedTuple):
    """How an encoding lies in memory, and how it becomes RGB."""

    channels: int
    """Bytes per pixel in a row of `step` bytes."""
    even: tuple[int, int]
    """What height and width must be multiples of."""
    half_rows: int
    """Per row of the image: 3 where half a row of colours belongs to each, else 2."""
    conversion: int | None


# Names as in sensor_msgs/image_encodings.hpp. YUV is that of ITU-R BT.601 in its studio range, as
# webcams give it.
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
"""Of sensor_msgs/Image that are understood."""
FRAME_ENCODINGS = (*ENCODINGS, "jpeg", "png")
"""That a frame may have."""


class ImageSize(Protocol):
    """What is asked of the size of a camera's images: a contract's camera, or a mapping's."""

    @property
    def height(self) -> int:
        """Pixels."""

    @property
    def width(self) -> int:
        """Pixels."""

    @property
    def resize(self) -> bool:
        """Whether images of another size are taken, and stretched."""


def read_frame(message: Any, camera: ImageSize) -> Frame:
    """Return what a message of a camera holds, judged but not decoded.

    Args:
        message: sensor_msgs/Image or CompressedImage, or an object with the same attributes.
        camera: The size that is taken.

    Raises:
        RobotError: The encoding is unknown, the size is another one where it must not be
            resized, or data is missing.
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
    """Raise RobotError unless a frame has the size that is taken."""
    if not camera.resize and (frame.height, frame.width) != (camera.height, camera.width):
        raise RobotError(
            f"expected an image of {camera.width} x {camera.height} pixels, found "
            f"{frame.width} x {frame.height}; set the camera to that size, or let its "
            "entry in the contract or mapping say `resize: true`"
        )


def decode(frame: Frame) -> Image:
    """Return the pixels, a view of the message where those are RGB already.

    Raises:
        RobotError: A compressed image is broken.
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
        f"expected a JPEG or a PNG, found {len(data)} bytes of something else "
        f"(format {message.format!r})"
    )


def _jpeg_size(data: memoryview) -> tuple[int, int]:
    """Return height and width of a JPEG whose end is there (ITU-T T.81, annex B).

    Decoders paint what is missing in grey without an error. Within a scan FF is always followed
    by 00 or a restart, so that a cut image never ends as a whole one does.
    """
    # Cameras may fill up what they send with zeros.
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
        f"expected a JPEG with at most {_JPEG_STEPS} segments and fill bytes before "
        f"its scan, found one of {len(data)} bytes that has more"
    )


def _png_size(data: memoryview) -> tuple[int, int]:
    """Return height and width of a PNG whose last chunk is there."""
    if bytes(data[-len(_PNG_END) :]) != _PNG_END or len(data) < _PNG_SIZE.size:
        raise _truncated("PNG", data)
    width, height = _PNG_SIZE.unpack_from(data)
    return height, width


def _truncated(kind: str, data: memoryview) -> RobotError:
    return RobotError(
        f"expected a whole {kind}, found one that is truncated after {len(data)} bytes"
    )


def _decode_compressed(frame: Frame) -> Image:
    # As it was taken: a note of the camera's orientation must not turn the image.
    how = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    data = _without_end(bytes(frame.data)) if frame.encoding == "jpeg" else frame.data
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:
        found = None
    if found is None or found.shape[:2] != (frame.height, frame.width):
        raise RobotError(
            f"expected a {frame.encoding.upper()} of {frame.width} x {frame.height} "
            f"pixels, found one of {len(frame.data)} bytes that does not decode: "
            "bytes of it are wrong, or were lost on the way"
        )
    return _checked(cv2.cvtColor(found, cv2.COLOR_BGR2RGB))


def _without_end(data: bytes) -> bytes:
    """Return a JPEG of one scan without its end marker, whose image is the same.

    At that marker libjpeg paints what is missing, as where a camera's packets were lost, and says
    so on stderr alone. Without it, it waits for more data, and OpenCV (4.11, 5.0) gives no image.
    (With several scans, as a progressive JPEG has, it would wait in any case.)
    """
    if data.count(bytes((0xFF, _JPEG_SCAN))) > 1:
        return data
    return data.rstrip(b"\0")[: -len(_JPEG_END)] + _READ_AHEAD


def _checked(found: Any) -> Image:
    """Return what OpenCV made, which its stubs know less of."""
    image: Image = found
    return image
