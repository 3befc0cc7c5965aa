# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Joins parts into one dataset, as LeRobot would have recorded it.

LeRobot's `aggregate_datasets` is not used: it keeps the parts' statistics for index columns, loses
the vector lengths in the column types, and rereads all rows for each part.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from lerobot.datasets.compute_stats import compute_episode_stats
from lerobot.datasets.lerobot_dataset import LeRobotDataset, LeRobotDatasetMetadata
from lerobot.datasets.utils import create_lerobot_dataset_card

from lerobot_bridge.writing.part import episode_writer
from model_tools.errors import ToolError

_PLACES = ("index", "episode_index", "task_index")
"""Columns whose values in the joined dataset differ from those in a part."""
_ADDED = (*_PLACES, "timestamp", "frame_index")
"""Columns that LeRobot adds to every dataset."""


def join_parts(
    parts: Sequence[Path],
    output: Path,
    repo_id: str,
    tags: Sequence[str] = (),
    description: str = "",
    on_progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Write a dataset of all parts, in order, and its card.

    Args:
        parts: Datasets of one episode each, with the same features.
        output: Folder of the dataset; it must not exist yet.
        repo_id: Name of the dataset: user/name.
        tags: Tags in addition to LeRobot's own.
        description: Text for the card.
        on_progress: Called after each part, with the number of finished parts.
    """
    first = LeRobotDatasetMetadata(_name(parts[0]), root=parts[0])
    features = {
        name: {key: feature[key] for key in ("dtype", "shape", "names")}
        for name, feature in first.features.items()
        if name not in _ADDED
    }
    with _temporary_beside(output):
        dataset = LeRobotDataset.create(
            repo_id,
            first.fps,
            features,
            root=output,
            robot_type=first.robot_type,
            use_videos=bool(first.video_keys),
        )
        for number, part in enumerate(parts):
            found = LeRobotDatasetMetadata(_name(part), root=part)
            _refuse_other(first, found)
            _append(dataset, number, found)
            on_progress(number + 1)
        dataset.finalize()
    card = create_lerobot_dataset_card(
        list(tags), dataset.meta.info, dataset_description=description
    )
    card.save(output / "README.md")


def _refuse_other(first: LeRobotDatasetMetadata, part: LeRobotDatasetMetadata) -> None:
    for name, expected, found in (
        ("robot_type", first.robot_type, part.robot_type),
        ("fps", first.fps, part.fps),
        ("features", list(first.features), list(part.features)),
        *((name, feature, part.features.get(name)) for name, feature in first.features.items()),
    ):
        if found != expected:
            raise ToolError(
                f"{part.root}: expected the same {name} as in {first.root} ({expected}), found "
                f"{found}"
            )


def _append(dataset: LeRobotDataset, number: int, part: LeRobotDatasetMetadata) -> None:
    """Append a part's only episode, with the steps of LeRobot's `save_episode`."""
    tasks, length = list(part.tasks.index), part.total_frames
    dataset.meta.save_episode_tasks(tasks)
    rows = pq.read_table(part.root / part.get_data_file_path(0))
    columns: dict[str, Any] = {name: _values(rows.column(name)) for name in rows.column_names}
    begin = dataset.meta.total_frames
    columns["index"] = np.arange(begin, begin + length)
    columns["episode_index"] = np.full(length, number)
    columns["task_index"] = np.full(length, dataset.meta.get_task_index(tasks[0]))
    stats = part.stats | compute_episode_stats(
        {name: columns[name] for name in _PLACES},
        {name: dataset.meta.features[name] for name in _PLACES},
    )
    writer = episode_writer(dataset)
    place = writer._save_episode_data(columns)
    for key in part.video_keys:
        # LeRobot removes the folder of a video that it has copied
        copy = Path(tempfile.mkdtemp()) / "video.mp4"
        shutil.copyfile(part.root / part.get_video_file_path(0, key), copy)
        place |= writer._save_episode_video(key, number, temp_path=copy)
    dataset.meta.save_episode(number, length, tasks, stats, place)


def _values(column: Any) -> Any:
    """Return a column in LeRobot's form: an array, or a list of images."""
    found = column.to_pylist()
    return found if isinstance(found[0], dict) else np.array(found)


def _name(part: Path) -> str:
    return f"local/{part.name}"


@contextmanager
def _temporary_beside(output: Path) -> Iterator[None]:
    """Keep temporary files, such as growing videos, on the output's disk, which has space."""
    with tempfile.TemporaryDirectory(prefix=".joining.", dir=output.parent) as folder:
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield
        finally:
            tempfile.tempdir = before
