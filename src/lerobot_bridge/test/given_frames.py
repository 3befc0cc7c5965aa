# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot datasets of version v3.0 with given values and images, which come back as they were."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
    **info: Any,
) -> Path:
    """Write a dataset.

    Args:
        folder: Where.
        episodes: Columns of each.
        names: Of the values of each vector.
        fps: Frames per second.
        tasks: Of the episodes, in turn.
        info: What its description says otherwise.
    """
    lengths = [len(next(iter(columns.values()))) for columns in episodes]
    begins = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    rows = pa.concat_tables(
        [
            _table_of_frames(columns, i, length, begins[i], fps)
            for i, (columns, length) in enumerate(zip(episodes, lengths, strict=True))
        ]
    )
    entries = [
        {
            "episode_index": i,
            "tasks": [tasks[i % len(tasks)]],
            "length": length,
            "data/chunk_index": 0,
            "data/file_index": 0,
            "dataset_from_index": begins[i],
            "dataset_to_index": begins[i + 1],
        }
        for i, length in enumerate(lengths)
    ]
    files = {
        "data/chunk-000/file-000.parquet": rows,
        "meta/episodes/chunk-000/file-000.parquet": pa.Table.from_pylist(entries),
    }
    for file, table in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / file)
    described = {
        "codebase_version": "v3.0",
        "robot_type": "so100_follower",
        "fps": fps,
        "total_episodes": len(episodes),
        "total_frames": sum(lengths),
        "total_tasks": len(tasks),
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": dict(
            _feature(name, column, names.get(name)) for name, column in episodes[0].items()
        ),
    } | info
    (folder / "meta/info.json").write_text(json.dumps(described), "utf-8")
    return folder


def _table_of_frames(columns: Columns, episode: int, length: int, begin: int, fps: int) -> pa.Table:
    table: dict[str, Any] = {
        "timestamp": pa.array(np.arange(length, dtype=np.float32) / fps),
        "frame_index": pa.array(np.arange(length)),
        "episode_index": pa.array(np.full(length, episode)),
        "index": pa.array(np.arange(begin, begin + length)),
        "task_index": pa.array(np.zeros(length, np.int64)),
    }
    for name, column in columns.items():
        if name.startswith(IMAGES):
            table[name] = pa.array(
                [{"bytes": _png(one), "path": None} for one in column],
                pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            )
        elif column.ndim == 1:
            table[name] = pa.array(column)
        else:
            values = pa.array(column.astype(np.float32).ravel())
            table[name] = pa.FixedSizeListArray.from_arrays(values, column.shape[1])
    return pa.table(table)


def _png(image: Tensor) -> bytes:
    _, png = cv2.imencode(".png", np.asarray(image, np.uint8)[..., ::-1])
    return bytes(png.tobytes())


def _feature(name: str, column: Tensor, names: Sequence[str] | None) -> tuple[str, dict[str, Any]]:
    if name.startswith(IMAGES):
        return name, {
            "dtype": "image",
            "shape": list(column.shape[1:]),
            "names": ["height", "width", "channels"],
        }
    dtype = "float32" if column.ndim > 1 else str(column.dtype)
    return name, {
        "dtype": dtype,
        "shape": list(column.shape[1:]) or [1],
        "names": list(names) if names else None,
    }
