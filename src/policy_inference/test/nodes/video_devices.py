# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What cv2.VideoCapture does with Video4Linux devices, as modules/videoio/src/cap_v4l.cpp has it.

A device that another capture has, or that is not there, does not open; settings of a closed one are
refused; width and height count when both were set; a size or a format that the camera does not
have leaves what it has; without conversion a JPEG is one row of bytes; the stream begins at the
first read, and fails there where the bus is full.
"""

import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt


def red_image(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return a red image in OpenCV's order of channels: blue, green, red."""
    return np.full((height, width, 3), (0, 0, 255), np.uint8)


class Device:
    def __init__(self) -> None:
        self.formats: tuple[str, ...] = ("YUYV", "MJPG")
        self.sizes = ((640, 480), (320, 240))
        self.plugged = True
        self.bus_is_full = False
        self.instead: list[Any] = []
        """What the next reads give in place of an image, or raise."""
        self.filled_up = 0
        """Zeros that the camera sends behind a JPEG."""
        self.taken_by: VideoCapture | None = None
        self.opened = 0


class VideoCapture:
    devices: Mapping[int, Device] = {}

    def __init__(self, device: int | str, backend: int) -> None:
        assert backend == cv2.CAP_V4L2, "only Video4Linux gives MJPG and raw bytes"
        found = self.devices.get(device) if isinstance(device, int) else None
        self._device = found if found and found.plugged and found.taken_by is None else None
        if self._device is not None:
            self._device.taken_by, self._device.opened = self, self._device.opened + 1
            self._format, self._size = self._device.formats[0], self._device.sizes[0]
            self._asked: dict[int, float] = {}
            self._converts, self._shot_s = True, 0.0

    def isOpened(self) -> bool:  # noqa: N802  OpenCV's name
        return self._device is not None

    def set(self, name: int, value: float) -> bool:
        if self._device is None:
            return False
        if name == cv2.CAP_PROP_FOURCC:
            asked = int(value).to_bytes(4, "little").decode()
            if asked in self._device.formats:
                self._format = asked
            return asked in self._device.formats
        if name == cv2.CAP_PROP_CONVERT_RGB:
            self._converts = bool(value)
        self._asked[name] = value
        size = tuple(
            int(self._asked.get(key, 0))
            for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if size in self._device.sizes:
            self._size = (size[0], size[1])
        return True

    def get(self, name: int) -> float:
        if self._device is None:
            return 0.0
        return float(
            {
                cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*self._format),
                cv2.CAP_PROP_FRAME_WIDTH: self._size[0],
                cv2.CAP_PROP_FRAME_HEIGHT: self._size[1],
                cv2.CAP_PROP_FPS: 30.0,
                cv2.CAP_PROP_POS_MSEC: 1e3 * self._shot_s,
            }[name]
        )

    def read(self) -> tuple[bool, Any]:
        device = self._device
        if device is None or not device.plugged or device.bus_is_full:
            return False, None
        if device.instead:
            found = device.instead.pop(0)
            if isinstance(found, BaseException):
                raise found
            return True, found
        self._shot_s = time.monotonic()
        pixels = red_image(*self._size[::-1])
        if self._converts:
            return True, pixels
        assert self._format == "MJPG", "the rows of other formats are not modelled"
        _, jpeg = cv2.imencode(".jpg", pixels)
        filled = np.concatenate([jpeg.reshape(-1), np.zeros(device.filled_up, np.uint8)])
        return True, filled.reshape(1, -1)

    def release(self) -> None:
        if self._device is not None:
            self._device.taken_by = None
        self._device = None
