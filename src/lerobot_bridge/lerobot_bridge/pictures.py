# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of cameras into the pictures of a dataset."""

from __future__ import annotations

from typing import Any

from lerobot_bridge.mapping import Camera
from policy_inference.core.chunks.normalise import resized
from policy_inference.core.images import Picture, decode, frame_of


def picture_of(camera: Camera, message: Any) -> Picture:
    """Return the picture of a camera, of the size that the mapping says.

    Args:
        camera: Of the mapping.
        message: sensor_msgs/Image or CompressedImage; the picture may be a view of it.

    Raises:
        RobotError: The encoding is unknown, the size is another one where it must not be resized,
            or the picture is broken.
    """
    picture = decode(frame_of(message, camera))
    if picture.shape[:2] == (camera.height, camera.width):
        return picture
    return resized(picture, (camera.width, camera.height))
