# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes images to a video file, and text onto images."""

from collections.abc import Iterable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from robot_sim.offscreen import Frame


def write_frames(
    images: Iterable[Frame],
    path: Path,
    *,
    rate_hz: float,
    width: int,
    height: int,
) -> None:
    """Write an H.264 video (`.mp4`).

    Args:
        images: Images, each [height, width, 3] in RGB.
        path: The file to write.
        rate_hz: Images per second.
        width: Width of the images; must be a multiple of 16 for H.264.
        height: Height of the images; must also be a multiple of 16.
    """
    size = (width, height)
    writer = imageio_ffmpeg.write_frames(
        str(path), size, fps=rate_hz, quality=7, macro_block_size=16
    )
    writer.send(None)
    try:
        for frame in images:
            writer.send(np.ascontiguousarray(frame))
    finally:
        writer.close()


def caption(frame: Frame, text: str) -> Frame:
    """Write a line of text in the lower left corner of an image."""
    image = Image.fromarray(frame)
    draw, size = ImageDraw.Draw(image, "RGBA"), max(12, frame.shape[0] // 26)
    font = ImageFont.load_default(size)
    corner = (size, frame.shape[0] - 2.4 * size)
    left, top, right, bottom = draw.textbbox(corner, text, font=font)
    pad = size // 2
    draw.rounded_rectangle(
        (left - pad, top - pad, right + pad, bottom + pad), radius=pad, fill=(20, 24, 30, 170)
    )
    draw.text(corner, text, font=font, fill=(245, 246, 248, 255))
    return np.asarray(image)
