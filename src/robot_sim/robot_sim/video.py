# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes images to a video file, and text into images."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from robot_sim.offscreen import Frame


def write_frames(
    images: Iterable[Frame],
    path: Path,
    *,
    total: int,
    rate_hz: float,
    width: int,
    height: int,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write an H.264 video (`.mp4`); the file appears when it is complete.

    Args:
        images: Colours [height, width, 3] each, RGB.
        path: The file to write.
        total: Number of images.
        rate_hz: Images per second.
        width: Width of the images; a multiple of 16, for H.264.
        height: Height of the images; a multiple of 16.
        on_image: Called after each image with the number done and `total`.
    """
    with _there_once_whole(path) as growing:
        writer = imageio_ffmpeg.write_frames(
            str(growing), (width, height), fps=rate_hz, quality=7, macro_block_size=16
        )
        writer.send(None)
        try:
            for done, frame in enumerate(images, start=1):
                writer.send(np.ascontiguousarray(frame))
                on_image(done, total)
        finally:
            writer.close()


def caption(frame: Frame, text: str) -> Frame:
    """Write a line of text into the lower left corner of an image."""
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


@contextmanager
def _there_once_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename the file to `path` if nothing is raised."""
    growing = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        yield growing
        growing.replace(path)
    finally:
        growing.unlink(missing_ok=True)
