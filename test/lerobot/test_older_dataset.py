# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A dataset of version v2.1: the command that its refusal names makes it one that is read."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_tools.errors import ToolError
from model_tools.files.lerobot.dataset import Dataset

ACTION, FPS, LENGTHS = "action", 10, (5, 7)


def write_older(folder: Path) -> Path:
    """Write episodes of one joint, without images, as LeRobot 0.3 did: a file for each."""
    (folder / "meta").mkdir(parents=True)
    (folder / "data/chunk-000").mkdir(parents=True)
    begin, episodes, statistics = 0, list[Any](), list[Any]()
    for number, length in enumerate(LENGTHS):
        actions = np.arange(length, dtype=np.float32)[:, None] + 10 * number
        columns: dict[str, Any] = {
            ACTION: pa.FixedSizeListArray.from_arrays(actions.ravel(), 1),
            "timestamp": np.arange(length, dtype=np.float32) / FPS,
            "frame_index": np.arange(length),
            "episode_index": np.full(length, number),
            "index": np.arange(begin, begin + length),
            "task_index": np.zeros(length, np.int64),
        }
        pq.write_table(pa.table(columns), folder / f"data/chunk-000/episode_{number:06d}.parquet")
        episodes.append({"episode_index": number, "tasks": ["Reach"], "length": length})
        statistics.append(
            {
                "episode_index": number,
                "stats": {
                    ACTION: {
                        "min": actions.min(0).tolist(),
                        "max": actions.max(0).tolist(),
                        "mean": actions.mean(0).tolist(),
                        "std": actions.std(0).tolist(),
                        "count": [length],
                    }
                },
            }
        )
        begin += length
    for name, lines in (
        ("episodes", episodes),
        ("episodes_stats", statistics),
        ("tasks", [{"task_index": 0, "task": "Reach"}]),
    ):
        (folder / f"meta/{name}.jsonl").write_text(
            "".join(f"{json.dumps(line)}\n" for line in lines)
        )
    features: dict[str, Any] = {
        name: {"dtype": "int64", "shape": [1], "names": None}
        for name in ("frame_index", "episode_index", "index", "task_index")
    }
    features |= {
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        ACTION: {"dtype": "float32", "shape": [1], "names": ["lift.pos"]},
    }
    (folder / "meta/info.json").write_text(
        json.dumps(
            {
                "codebase_version": "v2.1",
                "robot_type": "arm",
                "total_episodes": len(LENGTHS),
                "total_frames": sum(LENGTHS),
                "total_tasks": 1,
                "total_videos": 0,
                "total_chunks": 1,
                "chunks_size": 1000,
                "fps": FPS,
                "splits": {"train": f"0:{len(LENGTHS)}"},
                "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
                "video_path": None,
                "features": features,
            }
        )
    )
    return folder


def test_command_in_the_refusal_converts_the_dataset(tmp_path: Path) -> None:
    folder = write_older(tmp_path / "older set")
    with pytest.raises(ToolError, match=r"v3\.0") as refused:
        Dataset(folder)
    version = ".".join(importlib.metadata.version("lerobot").split(".")[:2])
    found = re.search(
        rf"with LeRobot {version}: (\.venv-lerobot/bin/python .*?)(, with LeRobot|$)",
        str(refused.value),
    )
    assert found is not None
    _, *words = shlex.split(found[1])

    subprocess.run([sys.executable, *words], check=True, capture_output=True, timeout=120)

    dataset = Dataset(folder)
    assert [episode.length for episode in dataset.episodes] == list(LENGTHS)
    last = dataset.rows(dataset.episodes[1], [ACTION])[ACTION]
    np.testing.assert_array_equal(last.ravel(), np.arange(7) + 10)
