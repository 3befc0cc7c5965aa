# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures to a video file, with text written into them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from robot_sim.offscreen import Frame


def write_frames(
    pictures: Iterable[Frame],
    path: Path,
    *,
    total: int,
    rate_hz: float,
    width: int,
    height: int,
    on_picture: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write an H.264 video (`.mp4`); the file is there once it is whole.

    Args:
        pictures: Colours [height, width, 3] each, RGB.
        path: The file to write.
        total: How many pictures there are.
        rate_hz: Pictures per second.
        width: Of the pictures; a multiple of 16, as H.264 likes it.
        height: Of the pictures; a multiple of 16.
        on_picture: Called after each picture with how many are done, and of how many.

    Raises:
        OSError: The file cannot be written.
    """
    with _there_once_whole(path) as growing:
        writer = imageio_ffmpeg.write_frames(
            str(growing), (width, height), fps=rate_hz, quality=7, macro_block_size=16
        )
        writer.send(None)
        try:
            for done, frame in enumerate(pictures, start=1):
                writer.send(np.ascontiguousarray(frame))
                on_picture(done, total)
        finally:
            writer.close()


def caption(frame: Frame, text: str) -> Frame:
    """Write a line of text into the lower left corner of a picture."""
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
    """Yield a temporary name beside `path`, which the file gets where nothing was raised."""
    growing = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        yield growing
        growing.replace(path)
    finally:
        growing.unlink(missing_ok=True)
