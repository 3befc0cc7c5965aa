# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Small LeRobot datasets of version v3.0, written as LeRobot does: several episodes to a file."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from policy_core.interfaces import F32

FPS, VERDICT = 30, "next.success"
HEIGHT, WIDTH = 48, 64
JOINTS = ("shoulder_pan", "elbow_flex", "gripper")
"""In the order of the policy that `testkit.chunk_bundles` makes."""


def state(episode: int, frame: int) -> F32:
    """Return the joints of a frame."""
    waves = np.sin(0.1 * frame + np.arange(3) + 0.73 * episode)
    return np.asarray(waves * [20, 15, 25] + [1, 5, 40], np.float32)


def image(camera: int, episode: int, frame: int) -> npt.NDArray[np.uint8]:
    """Return an image that says which it is: its red, green and blue are about those numbers."""
    found = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    found[:] = colour(camera, episode, frame)
    return found


def colour(camera: int, episode: int, frame: int) -> tuple[int, int, int]:
    """Return the colour of an image."""
    return 40 + 60 * camera, 60 + 50 * episode, 40 + 9 * frame % 180


def write_dataset(
    folder: Path,
    lengths: Sequence[int] = (12, 9, 15),
    *,
    cameras: Sequence[str] = ("laptop", "phone"),
    codec: str = "libx264",
    stored: str = "video",
    fps: int = FPS,
    per_file: int = 2,
    succeeded: Collection[int] | None = None,
) -> Path:
    """Write a dataset.

    Args:
        folder: Where.
        lengths: Of the episodes.
        cameras: Their names.
        codec: Of the videos.
        stored: `video`, `bytes` for images in the rows, or `paths` for such in files.
        fps: Frames per second.
        per_file: Episodes in a file of rows, and of a video.
        succeeded: Episodes that did; None: nothing was judged.
    """
    files = [
        range(first, min(first + per_file, len(lengths)))
        for first in range(0, len(lengths), per_file)
    ]
    begins = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    entries = list[dict[str, Any]]()
    for number, episodes in enumerate(files):
        schema = None
        place = folder / f"data/chunk-000/file-{number:03d}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        writer = None
        for episode in episodes:
            table = _rows(
                folder,
                episode,
                lengths[episode],
                begins[episode],
                fps,
                cameras if stored != "video" else (),
                stored,
            )
            if succeeded is not None:
                verdicts = np.arange(lengths[episode]) == lengths[episode] - 1
                verdicts &= episode in succeeded
                table = table.append_column(VERDICT, pa.array(verdicts))
            schema = schema or table.schema
            writer = writer or pq.ParquetWriter(place, schema)
            writer.write_table(table)
            since = sum(lengths[one] for one in episodes if one < episode) / fps
            entry = {
                "episode_index": episode,
                "tasks": ["Stack"],
                "length": lengths[episode],
                "data/chunk_index": 0,
                "data/file_index": number,
                "dataset_from_index": begins[episode],
                "dataset_to_index": begins[episode + 1],
            }
            for name in cameras if stored == "video" else ():
                at = f"videos/observation.images.{name}"
                entry |= {
                    f"{at}/chunk_index": 0,
                    f"{at}/file_index": number,
                    f"{at}/from_timestamp": since,
                    f"{at}/to_timestamp": since + lengths[episode] / fps,
                }
            entries.append(entry)
        assert writer is not None
        writer.close()
        for camera, name in enumerate(cameras if stored == "video" else ()):
            frames = [
                (camera, episode, frame)
                for episode in episodes
                for frame in range(lengths[episode])
            ]
            _write_video(
                folder / f"videos/observation.images.{name}/chunk-000/file-{number:03d}.mp4",
                frames,
                codec,
                fps,
            )
    episodes_file = folder / "meta/episodes/chunk-000/file-000.parquet"
    episodes_file.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(entries), episodes_file)
    _write_info(folder, lengths, cameras, stored, fps, judged=succeeded is not None)
    return folder


def _rows(
    folder: Path,
    episode: int,
    length: int,
    begin: int,
    fps: int,
    cameras: Sequence[str],
    stored: str,
) -> pa.Table:
    vectors = np.stack([state(episode, frame) for frame in range(length)])
    actions = np.stack([state(episode, frame + 1) for frame in range(length)])
    columns = {
        "observation.state": pa.FixedSizeListArray.from_arrays(vectors.ravel(), 3),
        "action": pa.FixedSizeListArray.from_arrays(actions.ravel(), 3),
        "timestamp": pa.array(np.arange(length, dtype=np.float32) / fps),
        "frame_index": pa.array(np.arange(length)),
        "episode_index": pa.array(np.full(length, episode)),
        "index": pa.array(np.arange(begin, begin + length)),
        "task_index": pa.array(np.zeros(length, np.int64)),
    }
    for camera, name in enumerate(cameras):
        entries = []
        for frame in range(length):
            _, png = cv2.imencode(".png", image(camera, episode, frame)[..., ::-1])
            content, path = png.tobytes(), f"images/{name}/{episode}-{frame}.png"
            if stored == "paths":
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
            entries.append({"bytes": content if stored == "bytes" else None, "path": path})
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns[f"observation.images.{name}"] = pa.array(entries, kind)
    return pa.table(columns)


def _write_video(file: Path, frames: Sequence[tuple[int, int, int]], codec: str, fps: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream(codec, rate=fps, options={"crf": "30", "g": "2"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for which in frames:
            frame = av.VideoFrame.from_ndarray(image(*which), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    # Of root, libsvtav1 makes this thread real-time with priority 99, and all that it starts.
    os.sched_setscheduler(0, policy, priority)


def _write_info(
    folder: Path,
    lengths: Sequence[int],
    cameras: Sequence[str],
    stored: str,
    fps: int,
    *,
    judged: bool,
) -> None:
    vector = {"dtype": "float32", "shape": [3], "names": [f"{name}.pos" for name in JOINTS]}
    features: dict[str, Any] = {"observation.state": vector, "action": vector}
    for name in cameras:
        features[f"observation.images.{name}"] = {
            "dtype": "video" if stored == "video" else "image",
            "shape": [HEIGHT, WIDTH, 3],
            "names": ["height", "width", "channels"],
        }
    if judged:
        features[VERDICT] = {"dtype": "bool", "shape": [1], "names": None}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    for name in ("frame_index", "episode_index", "index", "task_index"):
        features[name] = {"dtype": "int64", "shape": [1], "names": None}
    info = {
        "codebase_version": "v3.0",
        "robot_type": "so100_follower",
        "fps": fps,
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "total_tasks": 1,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        if stored == "video"
        else None,
        "features": features,
    }
    (folder / "meta/info.json").write_text(json.dumps(info), "utf-8")
