# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot datasets of version v3.0 with given values and images, written as LeRobot does."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from policy_core.interfaces import Tensor

IMAGES = "observation.images."
Columns = Mapping[str, Tensor]
"""By feature [frames, ...]: numbers, flags, or images uint8 [frames, height, width, 3] in RGB."""


def write_frames(
    folder: Path,
    episodes: Sequence[Columns],
    names: Mapping[str, Sequence[str]],
    *,
    fps: int = 30,
    tasks: Sequence[str] = ("Stack",),
    stored: str = "bytes",
    codec: str = "libx264",
    per_file: int = 1000,
    **info: Any,
) -> Path:
    """Write a dataset.

    Args:
        folder: Where.
        episodes: Columns of each.
        names: Of the values of each vector.
        fps: Frames per second.
        tasks: Of the episodes, in turn.
        stored: `bytes` for images in the rows, `paths` for such in files, or `video`, which keeps
            them only about as they were.
        codec: Of videos.
        per_file: Episodes in a file of rows, and of a video.
        info: What its description says otherwise.
    """
    lengths = [len(next(iter(columns.values()))) for columns in episodes]
    begins = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    videos = [name for name in episodes[0] if name.startswith(IMAGES) and stored == "video"]
    entries = list[dict[str, Any]]()
    for number, first in enumerate(range(0, len(episodes), per_file)):
        part, since_s, tables = range(len(episodes))[first : first + per_file], 0.0, []
        for i in part:
            columns = {name: each for name, each in episodes[i].items() if name not in videos}
            tables.append(_table_of_frames(folder, columns, i, lengths[i], begins[i], fps, stored))
            entry = {
                "episode_index": i,
                "tasks": [tasks[i % len(tasks)]],
                "length": lengths[i],
                "data/chunk_index": 0,
                "data/file_index": number,
                "dataset_from_index": begins[i],
                "dataset_to_index": begins[i + 1],
            }
            for name in videos:
                entry |= {
                    f"videos/{name}/chunk_index": 0,
                    f"videos/{name}/file_index": number,
                    f"videos/{name}/from_timestamp": since_s,
                    f"videos/{name}/to_timestamp": since_s + lengths[i] / fps,
                }
            entries.append(entry)
            since_s += lengths[i] / fps
        _write_tables(folder / f"data/chunk-000/file-{number:03d}.parquet", tables)
        for name in videos:
            frames = [np.asarray(one, np.uint8) for i in part for one in episodes[i][name]]
            _write_video(
                folder / f"videos/{name}/chunk-000/file-{number:03d}.mp4", frames, codec, fps
            )
    listed = pa.Table.from_pylist(entries)
    _write_tables(folder / "meta/episodes/chunk-000/file-000.parquet", [listed])
    features = dict(
        _feature(name, column, names.get(name), name in videos)
        for name, column in episodes[0].items()
    )
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    for name in ("frame_index", "episode_index", "index", "task_index"):
        features[name] = {"dtype": "int64", "shape": [1], "names": None}
    described = {
        "codebase_version": "v3.0",
        "robot_type": "so100_follower",
        "fps": fps,
        "total_episodes": len(episodes),
        "total_frames": sum(lengths),
        "total_tasks": len(tasks),
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        if videos
        else None,
        "features": features,
    }
    (folder / "meta/info.json").write_text(json.dumps(described | info), "utf-8")
    return folder


def _table_of_frames(
    folder: Path, columns: Columns, episode: int, length: int, begin: int, fps: int, stored: str
) -> pa.Table:
    table: dict[str, Any] = {
        "timestamp": pa.array(np.arange(length, dtype=np.float32) / fps),
        "frame_index": pa.array(np.arange(length)),
        "episode_index": pa.array(np.full(length, episode)),
        "index": pa.array(np.arange(begin, begin + length)),
        "task_index": pa.array(np.zeros(length, np.int64)),
    }
    for name, column in columns.items():
        if name.startswith(IMAGES):
            entries = list[dict[str, Any]]()
            for frame, image in enumerate(column):
                _, png = cv2.imencode(".png", np.asarray(image, np.uint8)[..., ::-1])
                path = f"images/{name.removeprefix(IMAGES)}/{episode}-{frame}.png"
                if stored == "paths":
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    (folder / path).write_bytes(png.tobytes())
                content = png.tobytes() if stored == "bytes" else None
                entries.append({"bytes": content, "path": path})
            kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            table[name] = pa.array(entries, kind)
        elif column.ndim == 1:
            table[name] = pa.array(column)
        else:
            values = pa.array(column.astype(np.float32).ravel())
            table[name] = pa.FixedSizeListArray.from_arrays(values, column.shape[1])
    return pa.table(table)


def _write_tables(file: Path, tables: Sequence[pa.Table]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(file, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)


def _write_video(file: Path, images: Sequence[Any], codec: str, fps: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream(codec, rate=fps, options={"crf": "30", "g": "2"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    # Of root, libsvtav1 makes this thread real-time with priority 99, and all that it starts.
    os.sched_setscheduler(0, policy, priority)


def _feature(
    name: str, column: Tensor, names: Sequence[str] | None, is_video: bool
) -> tuple[str, dict[str, Any]]:
    if name.startswith(IMAGES):
        return name, {
            "dtype": "video" if is_video else "image",
            "shape": list(column.shape[1:]),
            "names": ["height", "width", "channels"],
        }
    dtype = "float32" if column.ndim > 1 else str(column.dtype)
    return name, {
        "dtype": dtype,
        "shape": list(column.shape[1:]) or [1],
        "names": list(names) if names else None,
    }
