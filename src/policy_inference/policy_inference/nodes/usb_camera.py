# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A USB camera as a topic, and a list of cameras with an image of each.

    usb_camera --ros-args -r __ns:=/laptop -p device:=/dev/video0
    usb_camera --list --output images

Publishes (best effort, depth 1): `image_raw` (sensor_msgs/Image, bgr8) or, with `image_transport`
compressed, `image_raw/compressed` (sensor_msgs/CompressedImage, the camera's own JPEG). A camera
that is unplugged is opened again when it is back. `--list` needs no ROS: it takes one image per
camera.
"""

from __future__ import annotations

import sys
import threading
from array import array
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage, Image

from policy_core.errors import PolicyError
from policy_inference.nodes import qos
from policy_inference.nodes.lifecycle import PeerGuard
from policy_inference.nodes.parameters import ParameterTable, Spec, refuse_arguments
from policy_inference.nodes.process import serve_node
from policy_inference.nodes.settings import COMPRESSED, RAW, TRANSPORTS
from policy_inference.nodes.usb_capture import (
    CameraError,
    CameraRequest,
    Shot,
    UsbCapture,
    list_cameras,
)
from policy_store.command_line import CommandParser, CommandResult, add_json, show_result

PARAMETERS = (
    Spec(
        name="device",
        type=str,
        required=True,
        doc="Device file, such as /dev/v4l/by-path/..., or N of /dev/videoN",
    ),
    Spec(name="width", type=int, default=640, minimum=1, maximum=8192, doc="Of the image, pixels"),
    Spec(name="height", type=int, default=480, minimum=1, maximum=8192, doc="Of the image, pixels"),
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
"""Waiting times before a lost camera is searched again; doubled each time."""
_LEAVE_WITHIN_S = 1.0


class UsbCamera(PeerGuard, Node):
    """Reads a camera on a thread of its own, and publishes each image."""

    def __init__(self, overrides: Sequence[Parameter] = ()) -> None:
        super().__init__(
            "usb_camera",
            automatically_declare_parameters_from_overrides=True,
            parameter_overrides=list(overrides),
        )
        # The request to the camera is read once.
        self._table = ParameterTable(self, PARAMETERS, lambda: hasattr(self, "_request"))
        values = self._table.read()
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

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop reading; a driver that hangs is left behind."""
        self._stopped.set()
        self._thread.join(_LEAVE_WITHIN_S)

    @property
    def problem(self) -> str:
        """Message that its thread has ended: no camera error causes that, but Python can."""
        alive = self._thread.is_alive()
        return "" if alive else "the thread that reads the camera has ended; so does the node"

    def _serve(self) -> None:
        wait_s, logged = _FIRST_WAIT_S, ""
        while not self._stopped.is_set():
            self._gives = False
            try:
                with closing(UsbCapture(self._request)) as capture:
                    self._read(capture)
            except Exception as error:  # noqa: BLE001  # OpenCV and drivers raise what they like
                if self._gives:  # it worked until now
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
    if "--list" in remove_ros_args(["usb_camera", *given]):
        sys.exit(_list(given))
    refuse_arguments("usb_camera", __doc__, PARAMETERS, given)

    def start() -> UsbCamera:
        node = UsbCamera()
        node.start()
        return node

    sys.exit(serve_node("usb_camera", start, given))


def _list(given: Sequence[str]) -> int:
    parser = CommandParser(
        "usb_camera", description="One image per camera.\n\n    usb_camera --list --output images"
    )
    parser.add_version("policy-inference")
    add_json(parser)
    parser.add_argument("--list", action="store_true", required=True)
    parser.add_argument(
        "--output", type=Path, help="folder for the images; without it none is written"
    )
    parser.add_argument("--force", action="store_true", help="replace images that exist")
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
