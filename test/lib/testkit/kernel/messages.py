# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of cameras, with the attributes of the ROS types."""

from types import SimpleNamespace

import cv2
import numpy as np

from policy_core.observation.images import Image


def raw_image(
    encoding: str,
    rows: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]",
    height: int,
    width: int,
    padding: int = 0,
) -> SimpleNamespace:
    """Return a sensor_msgs/Image of these rows, each of which is followed by some padding."""
    flat = rows.reshape(len(rows), -1)
    padded = np.pad(flat, ((0, 0), (0, padding)), constant_values=77)
    return SimpleNamespace(
        encoding=encoding,
        height=height,
        width=width,
        step=padded.shape[1],
        is_bigendian=0,
        data=padded.tobytes(),
    )


def rgb8(image: Image, padding: int = 0) -> SimpleNamespace:
    height, width, _ = image.shape
    return raw_image("rgb8", image, height, width, padding)


def encoded_image(image: Image, suffix: str = ".jpg") -> SimpleNamespace:
    done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done
    return SimpleNamespace(format=f"rgb8; {suffix[1:]} compressed bgr8", data=data.tobytes())


def plain(red: int, green: int, blue: int, height: int = 48, width: int = 64) -> Image:
    image = np.zeros((height, width, 3), np.uint8)
    image[:] = (red, green, blue)
    return image


def coloured(height: int = 48, width: int = 64, seed: int = 0) -> Image:
    """Return an image with areas of all colours and soft edges."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height)), np.uint8)
