# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of a video by their times, in any codec that PyAV's FFmpeg decodes (AV1, H.264, HEVC)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from model_tools.errors import ToolError

Picture = npt.NDArray[np.uint8]
_READ_ON_S = 1.0
"""Up to here ahead, decoding on is not slower than looking for the key frame before."""


def pictures_at(file: Path, times_s: Sequence[float], period_s: float) -> Iterator[Picture]:
    """Yield the frames at some times of a video, uint8 [height, width, 3] RGB.

    Args:
        file: The video.
        times_s: Rising, since its beginning.
        period_s: From frame to frame; a frame counts for a time less than half of it away.

    Raises:
        ToolError: The video is missing, does not decode, or has no frame at a time.
    """
    if not times_s:
        return
    with _opened(file) as (container, stream):
        frames = _timed(container.decode(stream))
        frame = next(frames, None)
        for time_s in times_s:
            if frame is None or time_s - frame.time > _READ_ON_S:
                container.seek(max(0, int(time_s / stream.time_base)), stream=stream)
                frames = _timed(container.decode(stream))
                frame = next(frames, None)
            while frame is not None and frame.time < time_s - period_s / 2.0:
                frame = next(frames, None)
            if frame is None or frame.time > time_s + period_s / 2.0:
                raise ToolError(f"{file}: expected a frame at {time_s:.4f} s, found "
                                f"{'the end' if frame is None else f'one at {frame.time:.4f} s'}; "
                                "the video is cut off, or of another dataset")
            yield frame.to_ndarray(format="rgb24")


def _timed(frames: Iterator[Any]) -> Iterator[Any]:
    """Leave out frames without a time, which a damaged file may have."""
    return (frame for frame in frames if frame.pts is not None)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Any, Any]]:
    """Give container and stream of a video; what PyAV raises becomes an error of ours."""
    if not file.is_file():
        raise ToolError(f"{file}: expected a video of the dataset, found none; copy the dataset "
                        "again")
    try:
        with av.open(str(file)) as container:
            if not container.streams.video:
                raise ToolError(f"{file}: expected a video, found a file without pictures")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise ToolError(f"{file}: expected a codec that this FFmpeg decodes, found another"
                                "; install the wheel of PyAV (`pip install av`), which has AV1")
            yield container, stream
    except av.FFmpegError as error:
        raise ToolError(f"{file}: expected a whole video, found: {error.strerror}; copy it again"
                        ) from error
