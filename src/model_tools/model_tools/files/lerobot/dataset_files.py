# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Read a dataset's files: Parquet in parts, and video frames by time.

A dataset may be hostile. Only regular files are opened, and only as the format that is
named here, since FFmpeg would otherwise follow a playlist to other files. Sizes that a file states
are checked before its content is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from model_tools.errors import ToolError, first_line
from policy_core.interfaces import Tensor
from policy_core.safe_files import reading

LARGEST_ROWS_BYTES = 1 << 28
"""Maximum size of the vectors of an episode, and of the list of episodes, in memory."""
_MOST_VALUES = 1 << 27
"""Maximum number of values of a column in a row group: compressed, they may take no space."""
_LARGEST_COLUMN_BYTES = 1 << 30
"""Maximum size of a column in a row group, as encoded; LeRobot begins a new file at 100 MB."""
_NUMBERS_AT_ONCE, _TEXTS_AT_ONCE, _IMAGES_AT_ONCE = 4096, 16, 1
"""Maximum number of rows decoded at once: a few bytes may stand for the same image in all rows."""
_LARGEST_BLOCK = 128
"""Largest block (AV1), pixels; a decoder rounds the size of an image up to whole blocks."""
ImageArray = npt.NDArray[np.uint8]
_READ_ON_S = 1.0
"""Longest span (s) for which decoding forward is no slower than seeking to a key frame."""


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Open a Parquet file; convert pyarrow's errors for a damaged file to ToolError."""
    try:
        with _reading(file, "a file") as stream, pq.ParquetFile(stream) as parquet:
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
    """Return columns for rows `first` to `end` - 1, without keeping the rest of the file.

    Raises:
        ToolError: The file lacks them, or they take more than `LARGEST_ROWS_BYTES`.
    """
    with opened(file) as parquet:
        _require(file, columns, parquet.schema_arrow)
        count = parquet.metadata.num_rows
        end = count if end is None else end
        if not 0 <= first <= end <= count:
            raise ToolError(
                f"{file}: expected rows {first} to {end} (listed in meta/episodes), "
                f"found {count} rows; copy the dataset again"
            )
        fields = [parquet.schema_arrow.field(name) for name in columns]
        are_numbers = all(_is_numeric(field.type) for field in fields)
        at_once = _NUMBERS_AT_ONCE if are_numbers else _TEXTS_AT_ONCE
        parts, size_bytes = list[pa.RecordBatch](), 0
        for at, batch in _batches(file, parquet, columns, (first, end), at_once):
            part = batch.slice(max(first - at, 0), end - max(first, at))
            size_bytes += part.nbytes
            if size_bytes > LARGEST_ROWS_BYTES:
                raise ToolError(
                    f"{file}: expected at most {LARGEST_ROWS_BYTES} bytes in rows {first} to "
                    f"{end} (of {len(columns)} columns), found more; record shorter episodes, or "
                    "fewer in a dataset"
                )
            parts.append(part)
        table = pa.Table.from_batches(parts, pa.schema(fields))
        if len(table) != end - first:
            raise _missing_rows(file, end, first + len(table))
        return {name: table.column(name).combine_chunks() for name in columns}


def read_each(file: Path, column: str, rows: Sequence[int]) -> Iterator[Any]:
    """Yield a column's values in the given rows as Python objects, one in memory at once.

    Args:
        file: The Parquet file.
        column: Name of the column.
        rows: Increasing row numbers in the file.
    """
    if not rows:
        return
    with opened(file) as parquet:
        _require(file, [column], parquet.schema_arrow)
        wanted = iter(rows)
        row = next(wanted, None)
        span = (rows[0], rows[-1] + 1)
        for at, batch in _batches(file, parquet, [column], span, _IMAGES_AT_ONCE):
            while row is not None and row < at + len(batch):
                yield batch.column(0)[row - at].as_py()
                row = next(wanted, None)
        if row is not None:
            raise _missing_rows(file, row + 1, parquet.metadata.num_rows)


def _batches(
    file: Path, parquet: Any, columns: Sequence[str], span: tuple[int, int], at_once: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the batches with rows in the span (first, end), each with its first row's number."""
    first, end = span
    groups, at = _groups(parquet, first, end)
    _check_sizes(file, parquet.metadata, columns, groups)
    for batch in parquet.iter_batches(at_once, row_groups=groups, columns=list(columns)):
        if at >= end:
            return
        if at + len(batch) > first:
            yield at, batch
        at += len(batch)


def _check_sizes(file: Path, metadata: Any, columns: Sequence[str], groups: Sequence[int]) -> None:
    """Raise an error if a column states more than can be read."""
    for group in groups:
        row_group = metadata.row_group(group)
        for number in range(row_group.num_columns):
            column = row_group.column(number)
            if not any(f"{column.path_in_schema}.".startswith(f"{name}.") for name in columns):
                continue
            for key, limit, found in (
                ("values", _MOST_VALUES, column.num_values),
                ("bytes", _LARGEST_COLUMN_BYTES, column.total_uncompressed_size),
            ):
                if found > limit:
                    raise ToolError(
                        f"{file}: {column.path_in_schema}: expected at most {limit} {key} in a row "
                        f"group, found {found}; write the file again with more row groups"
                    )


def _missing_rows(file: Path, end: int, found: int) -> ToolError:
    return ToolError(
        f"{file}: expected {end} rows or more (listed in meta/episodes), found {found}; copy the "
        "dataset again"
    )


def numbers(array: pa.Array, shape: Sequence[int]) -> Tensor | None:
    """Return a column as a NumPy array [rows, *shape]; None if values do not fit or are missing."""
    count, values = len(array), array
    while pa.types.is_nested(values.type) and not pa.types.is_struct(values.type):
        values = values.flatten()
    if values.null_count or not (pa.types.is_primitive(values.type)):
        return None
    found: Tensor = np.asarray(values.to_numpy(zero_copy_only=False))
    if found.dtype.kind not in "biuf":
        return None
    scalar = tuple(shape) == (1,) and values is array
    wanted = (count, *shape)
    return found.reshape(wanted) if scalar or found.size == np.prod(wanted) else None


def _groups(parquet: Any, first: int, end: int) -> tuple[list[int], int]:
    """Return the row groups that contain the rows, and the number of rows before them."""
    sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
    ends = np.cumsum(sizes, dtype=np.int64)
    groups = [i for i, last in enumerate(ends.tolist()) if last > first and last - sizes[i] < end]
    return groups, int(ends[groups[0]] - sizes[groups[0]]) if groups else 0


def _require(file: Path, columns: Sequence[str], schema: pa.Schema) -> None:
    """Raise an error unless the file has the columns, and stores each value by itself."""
    missing = [name for name in columns if name not in schema.names]
    if missing:
        raise ToolError(
            f"{file}: expected the columns {', '.join(missing)}, found "
            f"{', '.join(schema.names) or 'none'}"
        )
    for name in columns:
        # A dictionary is small until its values become Python objects: 1 MB became 6.5 GB.
        if not _is_plain(schema.field(name).type):
            raise ToolError(
                f"{file}: {name}: expected numbers, texts, images, or lists of them, found "
                f"{schema.field(name).type}"
            )


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return all(_is_plain(field.type) for field in kind)
    leaf = _leaf(kind)
    texts = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
    return _is_numeric(leaf) or leaf in texts


def _is_numeric(kind: pa.DataType) -> bool:
    leaf = _leaf(kind)
    return bool(pa.types.is_primitive(leaf) or pa.types.is_null(leaf))


def _leaf(kind: pa.DataType) -> pa.DataType:
    """Return the type of a list's innermost elements."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    while any(test(kind) for test in lists):
        kind = kind.value_type
    return kind


def images_at(
    file: Path, episode: int, times_s: Sequence[float], period_s: float, shape: Sequence[int]
) -> Iterator[ImageArray]:
    """Yield the frames of a video at given times, uint8 [height, width, 3] RGB.

    Args:
        file: The video.
        episode: Number of the episode, for messages.
        times_s: Increasing times since the beginning of the video.
        period_s: Frame period; a frame matches a time less than half a period away.
        shape: Height and width of the images.
    """
    if not times_s:
        return
    with opened_video(file) as (container, stream):
        context = stream.codec_context
        if (context.height, context.width) != tuple(shape):
            raise ToolError(
                f"{file}: episode {episode}: expected images with shape {list(shape)}, found shape "
                f"{[context.height, context.width]}"
            )
        # The images themselves may be larger than the container states.
        rounded = (size + _LARGEST_BLOCK for size in shape)
        context.options = {"max_pixels": str(np.prod(list(rounded)))}
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
                    f"{file}: episode {episode}: expected a frame at {time_s:.4f} s, found "
                    f"{'the end' if frame is None else f'one at {frame.time:.4f} s'}; the video "
                    "is truncated, or belongs to another dataset"
                )
            yield frame.to_ndarray(format="rgb24")


def _timed(frames: Iterator[Any]) -> Iterator[Any]:
    """Skip frames without a time, which a damaged file may have."""
    return (frame for frame in frames if frame.pts is not None)


@contextmanager
def opened_video(file: Path) -> Iterator[tuple[Any, Any]]:
    """Yield the container and the stream of an MP4 video; convert PyAV's errors to ToolError."""
    try:
        # FFmpeg may read nothing but the file that was checked.
        with (
            _reading(file, "a video") as content,
            av.open(
                f"file:/proc/self/fd/{content.fileno()}",
                format="mp4",
                options={"protocol_whitelist": "file"},
            ) as container,
        ):
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
            f"{file}: expected a complete MP4 video, found: {error.strerror}; copy it again"
        ) from error


@contextmanager
def _reading(file: Path, kind: str) -> Iterator[IO[bytes]]:
    try:
        stream = reading(file)
    except OSError as error:
        found = "none" if isinstance(error, FileNotFoundError) else error.strerror
        raise ToolError(
            f"{file}: expected {kind} of the dataset, found {found}; copy the dataset again"
        ) from error
    with stream:
        yield stream
