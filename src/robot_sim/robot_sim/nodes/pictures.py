# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a camera as messages, each message made once."""

import io
from array import array
from typing import Any, ClassVar

import numpy as np
from builtin_interfaces.msg import Time
from PIL import Image as Pillow
from sensor_msgs.msg import CompressedImage, Image

from robot_sim.offscreen import Frame

_JPEG_QUALITY = 90


class ImageWriter:
    """Pictures as they are, rgb8."""

    MESSAGE: ClassVar[Any] = Image
    TOPIC: ClassVar[str] = "image_raw"

    def __init__(self, frame_id: str, size: tuple[int, int]) -> None:
        """Prepare a message.

        Args:
            frame_id: Name of the camera.
            size: Height and width of the pictures.
        """
        height, width = size
        self._message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        self._message.header.frame_id = frame_id
        self._message.data = array("B", bytes(3 * width * height))
        # A view of the message's own memory: filling it needs no conversion.
        self._pixels = np.frombuffer(self._message.data, np.uint8).reshape(height, width, 3)

    def draw(self, frame: Frame) -> None:
        """Take over a picture [height, width, 3], RGB."""
        self._pixels[:] = frame

    def stamped(self, stamp: Time) -> Image:
        """Return the message with this time."""
        self._message.header.stamp = stamp
        return self._message


class CompressedWriter:
    """Pictures as JPEG."""

    MESSAGE: ClassVar[Any] = CompressedImage
    TOPIC: ClassVar[str] = "image_raw/compressed"

    def __init__(self, frame_id: str, _size: tuple[int, int]) -> None:
        """Prepare a message; `frame_id` is the name of the camera."""
        self._message = CompressedImage(format="rgb8; jpeg compressed bgr8")
        self._message.header.frame_id = frame_id

    def draw(self, frame: Frame) -> None:
        """Take over a picture [height, width, 3], RGB."""
        file = io.BytesIO()
        Pillow.fromarray(frame).save(file, "JPEG", quality=_JPEG_QUALITY)
        self._message.data = array("B", file.getvalue())

    def stamped(self, stamp: Time) -> CompressedImage:
        """Return the message with this time."""
        self._message.header.stamp = stamp
        return self._message
