# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of datasets: no frame is dropped, what cannot be written is said, damage is found."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lerobot.datasets.lerobot_dataset import LeRobotDatasetMetadata

from lerobot_bridge.dataset_form import DatasetForm
from lerobot_bridge.episode import DatasetFrame, Episode
from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.mapping_file import parse_mapping
from lerobot_bridge.writing.check import check_dataset
from lerobot_bridge.writing.join import join_parts
from lerobot_bridge.writing.part import write_part
from model_tools.errors import ToolError
from model_tools.files.lerobot.dataset import Dataset
from testkit.demonstration import CAMERAS, RATE_HZ, clip, mapping_content
from testkit.wording import refusal

EPISODE = Episode(bag=Path("wave"), task="wave")
VIDEO = Path("videos/observation.images.front/chunk-000/file-000.mp4")


def mapping_at(size: tuple[int, int]) -> RobotMapping:
    return parse_mapping(mapping_content(size), "mapping.yaml")


def quick(count: int, size: tuple[int, int], seed: int = 0) -> Iterator[DatasetFrame]:
    images = clip(10, size, seed)
    for number in range(count):
        values = np.full(6, float(number))
        yield DatasetFrame(
            time_ns=number * 1_000_000_000 // RATE_HZ,
            images=dict.fromkeys(CAMERAS, images[number % 10]),
            vectors={"observation.state": values, "action": values},
        )


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    found = [tmp_path / "part_0", tmp_path / "part_1"]
    for part, count in zip(found, (12, 9), strict=True):
        write_part(part, mapping_at((32, 48)), EPISODE, quick(count, (32, 48)), DatasetForm())
    return found


def test_an_encoder_slower_than_its_frames_loses_none(tmp_path: Path) -> None:
    # LeRobot's own would drop those that wait for more than 0.1 s: 40 of 50 here.
    size = (720, 1280)

    assert (
        write_part(
            tmp_path / "part",
            mapping_at(size),
            EPISODE,
            quick(50, size),
            DatasetForm(encoder_threads=1),
        )
        == 50
    )

    check_dataset(tmp_path / "part", [50])


def test_a_large_dataset_has_several_files_of_several_episodes(
    tmp_path: Path, parts: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    video_mb = sum((part / VIDEO).stat().st_size for part in parts) / 2**20
    # Where LeRobot describes a new dataset: the module is another one since 0.6.
    described = inspect.getmodule(
        LeRobotDatasetMetadata.create.__func__.__globals__["create_empty_dataset_info"]
    )
    for name, size_mb in (("VIDEO", 1.5 * video_mb), ("DATA", 0.003)):
        monkeypatch.setattr(described, f"DEFAULT_{name}_FILE_SIZE_IN_MB", size_mb)

    join_parts(parts * 4, tmp_path / "all", "me/all")

    check_dataset(tmp_path / "all", [12, 9] * 4)
    dataset = Dataset(tmp_path / "all")
    assert len({episode.data for episode in dataset.episodes}) > 1
    assert (
        1
        < len({episode.videos["observation.images.front"].file for episode in dataset.episodes})
        < 8
    )
    images = [
        list(dataset.images("observation.images.front", episode)) for episode in dataset.episodes
    ]
    for number in range(2, 8):
        np.testing.assert_array_equal(images[number], images[number % 2])


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("robot_type", lambda kind: "other"),
        ("rate_hz", lambda rate: 10),
        ("joints", lambda joints: dict(reversed(joints.items()))),
        ("cameras", lambda cameras: dict(reversed(cameras.items()))),
    ],
    ids=["robot type", "rate", "joints", "cameras"],
)
def test_parts_of_other_features_are_not_joined(
    key: str, change: Callable[[Any], Any], tmp_path: Path, parts: list[Path]
) -> None:
    content = mapping_content((32, 48))
    content[key] = change(content[key])
    write_part(
        tmp_path / "other",
        parse_mapping(content, "mapping.yaml"),
        EPISODE,
        quick(9, (32, 48)),
        DatasetForm(),
    )

    with refusal(ToolError):
        join_parts([*parts, tmp_path / "other"], tmp_path / "all", "me/all")
