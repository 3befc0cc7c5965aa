# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Publish a USB camera's images, or list the cameras with an image from each.

    usb_camera --ros-args -r __ns:=/laptop -p device:=/dev/video0
    usb_camera --list --output images

Publishes (best effort, depth 1): `image_raw` (sensor_msgs/Image, bgr8) or, with `image_transport`
compressed, `image_raw/compressed` (sensor_msgs/CompressedImage, the camera's own JPEG). A camera
that is unplugged is opened again when it is plugged in. `--list` needs no ROS: it takes one image
per camera.
"""
# run: usb_camera --ros-args: {ready: usb_camera}

from __future__ import annotations

import os
import sys
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image

from policy_core.errors import PolicyError
from policy_core.safe_files import whole_file
from policy_inference.nodes import qos
from policy_inference.nodes.parameters import Spec, refuse_arguments
from policy_inference.nodes.process import ServedNode, serve_node
from policy_inference.nodes.settings import COMPRESSED, RAW, TRANSPORTS
from policy_store.command_line import CommandParser, CommandResult, add_json, show_result

MJPG = "MJPG"
_LOST_READS, _LOST_AFTER_S = 5, 2.0
"""Failed reads in a row, and time without an image, after which a camera counts as unplugged."""
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_OLDEST_S = 1.0
"""Image age beyond which the driver's stamps cannot be from the steady clock."""
_DEVICES, _NAMES, _LINKS = Path("/dev"), Path("/sys/class/video4linux"), Path("/dev/v4l/by-path")
_SIZE, _FPS = (640, 480), 30.0
_SHOTS = 10
"""Number of images to take; the first are dark until the camera has adjusted its exposure."""
BANDWIDTH = (
    "if the camera works alone, two cameras probably exceed the bandwidth of one USB bus: use "
    "different buses, reduce width, height or fps, or let the driver compute each camera's "
    "bandwidth (sudo modprobe -r uvcvideo; sudo modprobe uvcvideo quirks=128)"
)


class CameraError(PolicyError):
    """A camera is missing, sends no images, or sends images of the wrong size or type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraRequest:
    """Requested camera settings.

    Attributes:
        device: Path, or the N of /dev/videoN.
        width, height: Image size, pixels.
        fps: Images per second.
        compressed: True to read the camera's own JPEG instead of pixels.
    """

    device: str
    width: int
    height: int
    fps: float
    compressed: bool

    @property
    def path(self) -> Path:
        return Path(f"/dev/video{self.device}" if self.device.isdigit() else self.device)


class Shot(NamedTuple):
    """An image: `data` is uint8 [height, width, 3] in blue, green, red, or the bytes of a JPEG."""

    data: npt.NDArray[np.uint8]
    age_s: float
    """Time since the driver received the image."""


class UsbCapture:
    """An opened camera."""

    def __init__(self, request: CameraRequest) -> None:
        """Open the camera and request its settings; try MJPG first, to fit two cameras on a bus."""
        self._request = request
        # Opened by number if possible: not all builds of OpenCV open Video4Linux by name.
        number = device_number(request.path)
        found = str(request.path) if number is None else number
        self._capture = cv2.VideoCapture(found, cv2.CAP_V4L2)
        try:
            self._ask()
        except BaseException:
            self.close()
            raise
        self._failed, self._good_s, self._shots = 0, time.monotonic(), 0

    def _ask(self) -> None:
        request, capture = self._request, self._capture
        if not capture.isOpened():
            raise CameraError(_why_not_opened(request.path))
        if request.compressed:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*MJPG))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, request.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, request.height)
        capture.set(cv2.CAP_PROP_FPS, request.fps)
        self.format = _fourcc(capture.get(cv2.CAP_PROP_FOURCC))
        self.fps = float(capture.get(cv2.CAP_PROP_FPS))
        width, height = (
            int(capture.get(name)) for name in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if (width, height) != (request.width, request.height):
            raise CameraError(
                f"{request.path}: expected images of {request.width} x {request.height} pixels, "
                f"found {width} x {height} from the camera; set width and height to a size that "
                f"it supports (v4l2-ctl -d {request.path} --list-formats-ext)"
            )
        if request.compressed and self.format != MJPG:
            raise CameraError(
                f"{request.path}: expected a camera that supports {MJPG}, found "
                f"{self.format}; set image_transport to raw"
            )

    def shoot(self) -> Shot | None:
        """Wait for the next image; return None if it was damaged, or did not arrive."""
        is_there, read = self._capture.read()
        data = None
        if is_there and read is not None:
            data = whole_jpeg(read) if self._request.compressed else self._checked(read)
        if data is not None:
            self._failed, self._good_s, self._shots = 0, time.monotonic(), self._shots + 1
            return Shot(data, self._age_s())
        self._failed += 1
        if self._failed >= _LOST_READS or time.monotonic() - self._good_s > _LOST_AFTER_S:
            path = self._request.path
            if self._shots == 0:
                raise CameraError(
                    f"{path}: expected images, found a camera that opens but sends none; "
                    f"{BANDWIDTH}"
                )
            raise CameraError(
                f"{path}: expected another image, received none; is the camera still plugged in?"
            )
        return None

    def _checked(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        shape = (self._request.height, self._request.width, 3)
        if pixels.shape != shape or pixels.dtype != np.uint8:
            raise CameraError(
                f"{self._request.path}: expected images of uint8 {list(shape)}, found "
                f"{pixels.dtype} {list(pixels.shape)}, which is not the format that the camera "
                "confirmed; does another program change its settings?"
            )
        return pixels

    def _age_s(self) -> float:
        """Return the time since the driver received the image, from its steady-clock stamp."""
        got_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        age_s = time.monotonic() - got_ms * 1e-3
        return age_s if 0.0 <= age_s <= _OLDEST_S else 0.0

    def close(self) -> None:
        self._capture.release()


def whole_jpeg(data: npt.NDArray[Any]) -> npt.NDArray[np.uint8] | None:
    """Return a camera's JPEG without the bytes after its end marker; None if incomplete."""
    flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    content = flat.tobytes()
    end = content.rfind(_JPEG_END)
    if end < 0 or not content.startswith(_JPEG_START):
        return None
    return flat[: end + len(_JPEG_END)]


def device_number(path: Path) -> int | None:
    """Return N for a device /dev/videoN, following links such as those in /dev/v4l/by-id."""
    name = Path(os.path.realpath(path)).name
    number = name.removeprefix("video")
    return int(number) if name.startswith("video") and number.isdigit() else None


def _fourcc(value: float) -> str:
    return int(value).to_bytes(4, "little", signed=value < 0).decode("ascii", "replace")


def _why_not_opened(path: Path) -> str:
    if not path.exists():
        there = sorted(str(other) for other in Path("/dev").glob("video*"))
        return (
            f"{path}: expected a camera, found nothing; there are {', '.join(there) or 'none'} "
            "(usb_camera --list shows which is which)"
        )
    if not os.access(path, os.R_OK | os.W_OK):
        return (
            f"{path}: expected a camera that may be read, found no permission; add the user to "
            "the group video (sudo usermod -aG video $USER), and log in again"
        )
    return (
        f"{path}: expected a camera, found a device that does not open: another program is "
        "using it, or it sends no images (a camera may have several devices; usb_camera --list "
        "shows which is which)"
    )


def list_cameras(output: Path | None, force: bool) -> Iterator[str]:
    """Take an image with each camera; yield one line per device.

    Args:
        output: Folder for `videoN.jpg`; created if missing. None to write no images.
        force: True to replace existing images.
    """
    devices = sorted(
        (number, path)
        for path in _DEVICES.glob("video*")
        if (number := device_number(path)) is not None
    )
    if not devices:
        yield "no camera: there is no /dev/video*"
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        there = [file for number, _ in devices if (file := _file(output, number)).exists()]
        if there and not force:
            raise CameraError(
                f"{there[0]}: expected a path that does not exist yet, found a file; choose "
                "another folder, or replace the file with --force"
            )
    for number, path in devices:
        yield f"{path} ({_driver_name(number)}): {_tried(path, number, output)}"
        for link in sorted(_LINKS.glob("*")):
            if device_number(link) == number:
                yield f"    stable path of this USB port: {link}"


def _tried(path: Path, number: int, output: Path | None) -> str:
    """Take an image; return its size, format and file, or the error."""
    width, height = _SIZE
    request = CameraRequest(
        device=str(path), width=width, height=height, fps=_FPS, compressed=False
    )
    try:
        with closing(UsbCapture(request)) as capture:
            shot = next(filter(None, [capture.shoot() for _ in range(_SHOTS)][::-1]), None)
    except CameraError as error:
        return str(error).removeprefix(f"{path}: ")
    if shot is None:
        return "expected images, found only damaged ones"
    described = f"{width} x {height}, {capture.format}"
    if output is None:
        return described
    file = _file(output, number)
    _, jpeg = cv2.imencode(".jpg", shot.data)
    with whole_file(file, 0o644) as written:
        written.write(jpeg.tobytes())
    return f"{described}: {file}"


def _file(output: Path, number: int) -> Path:
    return output / f"video{number}.jpg"


def _driver_name(number: int) -> str:
    try:
        return (_NAMES / f"video{number}" / "name").read_text(encoding="utf-8").strip()
    except OSError:
        return "name unknown"


PARAMETERS = (
    Spec(
        name="device",
        type=str,
        required=True,
        doc="Device file, such as /dev/v4l/by-path/..., or N of /dev/videoN",
    ),
    Spec(name="width", type=int, default=640, minimum=1, maximum=8192, doc="Image width, pixels"),
    Spec(name="height", type=int, default=480, minimum=1, maximum=8192, doc="Image height, pixels"),
    Spec(
        name="fps", type=float, default=30.0, minimum=0.1, maximum=1000.0, doc="Images per second"
    ),
    Spec(
        name="image_transport",
        type=str,
        default=RAW,
        choices=tuple(TRANSPORTS),
        doc="raw: image_raw; compressed: image_raw/compressed, which needs a camera with MJPG",
    ),
    Spec(name="frame_id", type=str, default="camera", doc="Frame in the messages' headers"),
)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 5.0
"""First and longest wait before another search for a lost camera; the wait doubles each time."""
_LEAVE_WITHIN_S = 1.0


class UsbCamera(ServedNode):
    """Reads a camera on its own thread, and publishes each image."""

    def __init__(self, overrides: Sequence[Parameter] = ()) -> None:
        super().__init__("usb_camera", PARAMETERS, overrides)
        values = self.values
        transport = values["image_transport"]
        self._request = CameraRequest(
            device=values["device"],
            width=values["width"],
            height=values["height"],
            fps=values["fps"],
            compressed=transport == COMPRESSED,
        )
        self._frame_id = values["frame_id"]
        self._publisher = self.create_publisher(
            CompressedImage if self._request.compressed else Image,
            TRANSPORTS[transport],
            qos.SAMPLE,
        )
        self._gives = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="camera", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading; if the driver hangs, leave the thread behind."""
        self._stopped.set()
        self._thread.join(_LEAVE_WITHIN_S)

    @property
    def problem(self) -> str:
        """Message saying that the camera's thread has ended, on an unexpected error; or ""."""
        alive = self._thread.is_alive()
        return "" if alive else "the thread that reads the camera has ended; the node exits"

    def _serve(self) -> None:
        wait_s, logged = _FIRST_WAIT_S, ""
        while not self._stopped.is_set():
            self._gives = False
            try:
                with closing(UsbCapture(self._request)) as capture:
                    self._read(capture)
            except Exception as error:  # noqa: BLE001  # OpenCV and drivers raise any type
                if self._gives:  # this capture worked until now
                    wait_s, logged = _FIRST_WAIT_S, ""
                if (text := self._words(error)) != logged:
                    logged = text
                    self.get_logger().error(text)
                self._stopped.wait(wait_s)
                wait_s = min(2.0 * wait_s, _LONGEST_WAIT_S)

    def _read(self, capture: UsbCapture) -> None:
        while not self._stopped.is_set():
            shot = capture.shoot()
            if shot is None:
                continue
            if not self._gives:
                self._gives = True
                self.get_logger().info(
                    f"{self._request.path}: {self._request.width} x {self._request.height} at "
                    f"{capture.fps:g} fps, {capture.format}, on {self._publisher.topic_name}"
                )
            self._publisher.publish(self._message(shot))

    def _words(self, error: Exception) -> str:
        if isinstance(error, CameraError):
            return str(error)
        return (
            f"{self._request.path}: expected images, found {type(error).__name__}: {error}; "
            "the camera is opened again"
        )

    def _message(self, shot: Shot) -> Any:
        message = CompressedImage() if self._request.compressed else Image()
        message.header.frame_id = self._frame_id
        message.header.stamp = (self.get_clock().now() - Duration(seconds=shot.age_s)).to_msg()
        # The only type of bytes that a message accepts without checking each of them.
        message.data = array("B", shot.data.tobytes())
        if self._request.compressed:
            message.format = "jpeg"
        else:
            message.height, message.width, _ = shot.data.shape
            message.encoding, message.step = "bgr8", 3 * message.width
        return message


def main(args: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if args is None else args)
    if "--list" in given:
        sys.exit(_list(given))
    refuse_arguments("usb_camera", __doc__, PARAMETERS, given)
    sys.exit(serve_node("usb_camera", UsbCamera, given))


def _list(given: Sequence[str]) -> int:
    parser = CommandParser(
        "usb_camera", description="One image per camera.\n\n    usb_camera --list --output images"
    )
    parser.add_version("policy-inference")
    add_json(parser)
    parser.add_argument("--list", action="store_true", required=True)
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for the images; without this option, no images are written",
    )
    parser.add_argument("--force", action="store_true", help="replace existing images")
    asked = parser.parse_args(given)
    try:
        lines = list(list_cameras(asked.output, asked.force))
    except (PolicyError, OSError) as error:
        sys.stderr.write(f"usb_camera --list: {error}\n")
        return PolicyError.exit_status
    show_result(CommandResult(document={"cameras": lines}, text=lines), as_json=asked.json)
    return 0


if __name__ == "__main__":
    main()
