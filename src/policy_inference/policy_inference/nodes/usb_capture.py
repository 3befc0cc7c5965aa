# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A USB camera through OpenCV and Video4Linux: opened, read, lost, opened again. No ROS here."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from policy_inference.errors import PolicyError

MJPG = "MJPG"
_LOST_READS, _LOST_AFTER_S = 5, 2.0
"""A broken picture is one read that fails; a camera that is gone fails them all, or hangs."""
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_OLDEST_S = 1.0
"""A picture of the driver that claims to be older is stamped by another clock than ours."""
BANDWIDTH = (
    "if it works alone, two cameras on one USB bus ask for more than it has: put them on "
    "different buses, ask for less (width, height, fps), or let the driver compute what "
    "they need (sudo modprobe -r uvcvideo; sudo modprobe uvcvideo quirks=128)"
)


class CameraError(PolicyError):
    """A camera is not there, gives no pictures, or others than asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of a camera.

    Attributes:
        device: Path, or number of /dev/videoN.
        width, height: Of the picture, pixels.
        fps: Pictures per second.
        compressed: Whether the camera's own JPEG is wanted, instead of pixels.
    """

    device: str
    width: int
    height: int
    fps: float
    compressed: bool

    @property
    def path(self) -> Path:
        """Its device file."""
        return Path(f"/dev/video{self.device}" if self.device.isdigit() else self.device)


class Shot(NamedTuple):
    """A picture: `data` uint8 [height, width, 3] in blue, green, red; or the bytes of a JPEG."""

    data: npt.NDArray[np.uint8]
    age_s: float
    """Since the driver got it."""


class UsbCapture:
    """An opened camera."""

    def __init__(self, wanted: Wanted) -> None:
        """Open the camera and ask for its settings, MJPG first: two cameras fit on one bus then.

        Raises:
            CameraError: There is none, or it does not have what is asked for.
        """
        self._wanted = wanted
        # By number where that can be: not all builds of OpenCV open Video4Linux by name.
        number = device_number(wanted.path)
        found = str(wanted.path) if number is None else number
        self._capture = cv2.VideoCapture(found, cv2.CAP_V4L2)
        try:
            self._ask()
        except BaseException:
            self.close()
            raise
        self._failed, self._good_s, self._shots = 0, time.monotonic(), 0

    def _ask(self) -> None:
        wanted, capture = self._wanted, self._capture
        if not capture.isOpened():
            raise CameraError(_not_there(wanted.path))
        if wanted.compressed:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*MJPG))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.height)
        capture.set(cv2.CAP_PROP_FPS, wanted.fps)
        self.format = _fourcc(capture.get(cv2.CAP_PROP_FOURCC))
        self.fps = float(capture.get(cv2.CAP_PROP_FPS))
        width, height = (
            int(capture.get(name)) for name in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if (width, height) != (wanted.width, wanted.height):
            raise CameraError(
                f"{wanted.path}: expected pictures of {wanted.width} x "
                f"{wanted.height} pixels, found that the camera gives {width} x "
                f"{height}; set width and height to a size that it has (v4l2-ctl -d "
                f"{wanted.path} --list-formats-ext)"
            )
        if wanted.compressed and self.format != MJPG:
            raise CameraError(
                f"{wanted.path}: expected a camera that gives {MJPG}, found "
                f"{self.format}; set image_transport to raw"
            )

    def shoot(self) -> Shot | None:
        """Wait for the next picture; None where one was broken, or does not come yet.

        Raises:
            CameraError: The camera is gone, gives no pictures, or others than asked for.
        """
        is_there, read = self._capture.read()
        data = None
        if is_there and read is not None:
            data = whole_jpeg(read) if self._wanted.compressed else self._as_asked(read)
        if data is not None:
            self._failed, self._good_s, self._shots = 0, time.monotonic(), self._shots + 1
            return Shot(data, self._age_s())
        self._failed += 1
        if self._failed >= _LOST_READS or time.monotonic() - self._good_s > _LOST_AFTER_S:
            path = self._wanted.path
            if self._shots == 0:
                raise CameraError(
                    f"{path}: expected pictures, found a camera that opens and gives "
                    f"none; {BANDWIDTH}"
                )
            raise CameraError(f"{path}: expected pictures, found none any more; is it plugged in?")
        return None

    def _as_asked(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return a picture that is one, in colour and of the size asked for."""
        shape = (self._wanted.height, self._wanted.width, 3)
        if pixels.shape != shape or pixels.dtype != np.uint8:
            raise CameraError(
                f"{self._wanted.path}: expected pictures of uint8 {list(shape)}, "
                f"found {pixels.dtype} {list(pixels.shape)}, other than what the "
                "camera agreed to; does another program change its settings?"
            )
        return pixels

    def _age_s(self) -> float:
        """Return how long ago the driver got the picture, which it tells on the steady clock."""
        got_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        age_s = time.monotonic() - got_ms * 1e-3
        return age_s if 0.0 <= age_s <= _OLDEST_S else 0.0

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.release()


def whole_jpeg(data: npt.NDArray[Any]) -> npt.NDArray[np.uint8] | None:
    """Return a camera's JPEG without what lies behind its end; None where it has no end."""
    flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    content = flat.tobytes()
    end = content.rfind(_JPEG_END)
    if end < 0 or not content.startswith(_JPEG_START):
        return None
    return flat[: end + len(_JPEG_END)]


def device_number(path: Path) -> int | None:
    """Return N of a device that is /dev/videoN, through links such as those of /dev/v4l/by-id."""
    name = Path(os.path.realpath(path)).name
    number = name.removeprefix("video")
    return int(number) if name.startswith("video") and number.isdigit() else None


def _fourcc(value: float) -> str:
    """Return the four letters of a format."""
    return int(value).to_bytes(4, "little", signed=value < 0).decode("ascii", "replace")


def _not_there(path: Path) -> str:
    """Say why a camera does not open."""
    if not path.exists():
        there = sorted(str(other) for other in Path("/dev").glob("video*"))
        return (
            f"{path}: expected a camera, found nothing; there are {', '.join(there) or 'none'} "
            "(usb_camera --list tells them apart)"
        )
    if not os.access(path, os.R_OK | os.W_OK):
        return (
            f"{path}: expected a camera that may be read, found no permission; add the user to "
            "the group video (sudo usermod -aG video $USER), and log in again"
        )
    return (
        f"{path}: expected a camera, found a device that does not open: another program has "
        "it, or it gives no pictures (a camera may have several devices; usb_camera --list "
        "tells them apart)"
    )
