# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which camera is which: one picture per device. No ROS here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2

from policy_inference.nodes.usb_capture import CameraError, UsbCapture, Wanted, device_number
from policy_inference.whole_file import whole_file

_DEVICES, _NAMES, _LINKS = Path("/dev"), Path("/sys/class/video4linux"), Path("/dev/v4l/by-path")
_SIZE, _FPS = (640, 480), 30.0
_SHOTS = 10
"""The first pictures of a camera are dark: it has not found its exposure yet."""


def list_cameras(output: Path | None, force: bool) -> Iterator[str]:
    """Take a picture with each camera; yield a line about each device.

    Args:
        output: Folder for `videoN.jpg`; made where it is not there. None: no pictures.
        force: Whether pictures that are there may be replaced.

    Raises:
        CameraError: A picture is there already.
        OSError: A picture cannot be written.
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
                f"{there[0]}: expected a file that is not there yet, found one; name "
                "another folder, or replace it with --force"
            )
    for number, path in devices:
        yield f"{path} ({_called(number)}): {_looked_at(path, number, output)}"
        for link in sorted(_LINKS.glob("*")):
            if device_number(link) == number:
                yield f"    always the same socket: {link}"


def _looked_at(path: Path, number: int, output: Path | None) -> str:
    """Take a picture; say what it is, or why there is none."""
    wanted = Wanted(device=str(path), width=_SIZE[0], height=_SIZE[1], fps=_FPS, compressed=False)
    try:
        capture = UsbCapture(wanted)
    except CameraError as error:
        return str(error).removeprefix(f"{path}: ")
    try:
        shot = next(filter(None, [capture.shoot() for _ in range(_SHOTS)][::-1]), None)
    except CameraError as error:
        return str(error).removeprefix(f"{path}: ")
    finally:
        capture.close()
    if shot is None:
        return "expected pictures, found broken ones only"
    told = f"{_SIZE[0]} x {_SIZE[1]}, {capture.format}"
    if output is None:
        return told
    file = _file(output, number)
    _, jpeg = cv2.imencode(".jpg", shot.data)
    with whole_file(file, 0o644) as written:
        written.write(jpeg.tobytes())
    return f"{told}: {file}"


def _file(output: Path, number: int) -> Path:
    return output / f"video{number}.jpg"


def _called(number: int) -> str:
    """Return what the driver calls a device."""
    try:
        return (_NAMES / f"video{number}" / "name").read_text(encoding="utf-8").strip()
    except OSError:
        return "name unknown"
