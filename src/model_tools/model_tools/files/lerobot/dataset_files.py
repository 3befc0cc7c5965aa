# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Read a dataset's files: Parquet in parts, and video frames by time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from model_tools.errors import ToolError, first_line
from policy_core.interfaces import Tensor

_AT_ONCE = 16
"""Maximum number of image rows in memory at once."""
ImageArray = npt.NDArray[np.uint8]
_READ_ON_S = 1.0
"""Longest span (s) for which decoding forward is no slower than seeking to a key frame."""


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Open a Parquet file; convert pyarrow's errors for a damaged file to ToolError."""
    if not file.is_file():
        raise ToolError(
            f"{file}: expected a file of the dataset, found none; copy the dataset again"
        )
    try:
        with pq.ParquetFile(file) as parquet:
            yield parquet
    except (pa.ArrowException, OSError) as error:
        raise ToolError(
            f"{file}: expected a complete Parquet file, found: {first_line(error)}; copy the file "
            "again if the copy is incomplete, or call the dataset's finalize() after recording, "
            "which writes the footer"
        ) from error


def read_columns(
    file: Path, columns: Sequence[str], first: int = 0, end: int | None = None
) -> dict[str, pa.Array]:
    """Return columns for rows `first` to `end` - 1, without reading the rest of the file."""
    with opened(file) as parquet:
        _require(file, columns, parquet.schema_arrow.names)
        count = parquet.metadata.num_rows
        end = count if end is None else end
        if not 0 <= first <= end <= count:
            raise ToolError(
                f"{file}: expected rows {first} to {end} (listed in meta/episodes), "
                f"found {count} rows; copy the dataset again"
            )
        groups, skipped = _groups(parquet, first, end)
        table = parquet.read_row_groups(groups, columns=list(columns))
        part = table.slice(first - skipped, end - first)
        return {name: part.column(name).combine_chunks() for name in columns}


def read_each(file: Path, column: str, rows: Sequence[int]) -> Iterator[Any]:
    """Yield a column's values in the given rows as Python objects, few in memory at once.

    Args:
        file: The Parquet file.
        column: Name of the column.
        rows: Increasing row numbers in the file.
    """
    with opened(file) as parquet:
        _require(file, [column], parquet.schema_arrow.names)
        groups, at = _groups(parquet, rows[0], rows[-1] + 1) if rows else ([], 0)
        wanted = iter(rows)
        row = next(wanted, None)
        for batch in parquet.iter_batches(_AT_ONCE, row_groups=groups, columns=[column]):
            while row is not None and row < at + len(batch):
                yield batch.column(0)[row - at].as_py()
                row = next(wanted, None)
            at += len(batch)
        if row is not None:
            raise ToolError(
                f"{file}: expected row {row} (listed in meta/episodes), found "
                f"{parquet.metadata.num_rows} rows; copy the dataset again"
            )


def numbers(array: pa.Array, shape: Sequence[int]) -> Tensor | None:
    """Return a column as a NumPy array [rows, *shape]; None if values do not fit or are missing."""
    count, values = len(array), array
    while pa.types.is_nested(values.type) and not pa.types.is_struct(values.type):
        values = values.flatten()
    if values.null_count or not (pa.types.is_primitive(values.type)):
        return None
    found: Tensor = np.asarray(values.to_numpy(zero_copy_only=False))
    scalar = tuple(shape) == (1,) and values is array
    wanted = (count, *shape)
    return found.reshape(wanted) if scalar or found.size == np.prod(wanted) else None


def _groups(parquet: Any, first: int, end: int) -> tuple[list[int], int]:
    """Return the row groups that contain the rows, and the number of rows before them."""
    sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
    ends = np.cumsum(sizes, dtype=np.int64)
    groups = [i for i, last in enumerate(ends.tolist()) if last > first and last - sizes[i] < end]
    return groups, int(ends[groups[0]] - sizes[groups[0]]) if groups else 0


def _require(file: Path, columns: Sequence[str], found: Sequence[str]) -> None:
    missing = [name for name in columns if name not in found]
    if missing:
        raise ToolError(
            f"{file}: expected the columns {', '.join(missing)}, found {', '.join(found) or 'none'}"
        )


def images_at(file: Path, times_s: Sequence[float], period_s: float) -> Iterator[ImageArray]:
    """Yield the frames of a video at given times, uint8 [height, width, 3] RGB.

    Args:
        file: The video.
        times_s: Increasing times since the beginning of the video.
        period_s: Frame period; a frame matches a time less than half a period away.
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
                raise ToolError(
                    f"{file}: expected a frame at {time_s:.4f} s, found "
                    f"{'the end' if frame is None else f'one at {frame.time:.4f} s'}; the video "
                    "is truncated, or belongs to another dataset"
                )
            yield frame.to_ndarray(format="rgb24")


def _timed(frames: Iterator[Any]) -> Iterator[Any]:
    """Skip frames without a time, which a damaged file may have."""
    return (frame for frame in frames if frame.pts is not None)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Any, Any]]:
    """Yield the container and the stream of a video; convert PyAV's errors to ToolError."""
    if not file.is_file():
        raise ToolError(
            f"{file}: expected a video of the dataset, found none; copy the dataset again"
        )
    try:
        with av.open(str(file)) as container:
            if not container.streams.video:
                raise ToolError(f"{file}: expected a video, found a file without images")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise ToolError(
                    f"{file}: expected a codec that this FFmpeg decodes, found an unknown one; "
                    "install the PyAV wheel (`pip install av`), which includes AV1"
                )
            yield container, stream
    except av.FFmpegError as error:
        raise ToolError(
            f"{file}: expected a complete video, found: {error.strerror}; copy it again"
        ) from error
