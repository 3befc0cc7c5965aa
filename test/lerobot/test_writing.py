# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of datasets: no frame is dropped, what cannot be written is said, damage is found."""

from __future__ import annotations

import fcntl
import inspect
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lerobot.datasets.lerobot_dataset import LeRobotDatasetMetadata

from bench.demonstration import CAMERAS, RATE_HZ, clip, mapping_content
from lerobot_bridge.converting.convert import ConversionSettings, convert
from lerobot_bridge.converting.parts_folder import parts_of
from lerobot_bridge.dataset_form import DatasetForm
from lerobot_bridge.episode import DatasetFrame, Episode
from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.mapping_file import parse_mapping
from lerobot_bridge.writing.check import check_dataset
from lerobot_bridge.writing.join import join_parts
from lerobot_bridge.writing.part import write_part
from model_tools.errors import ToolError
from model_tools.files.lerobot.dataset import Dataset

EPISODE = Episode(bag=Path("wave"), task="wave")
VIDEO = Path("videos/observation.images.front/chunk-000/file-000.mp4")


def mapping_of(size: tuple[int, int]) -> RobotMapping:
    return parse_mapping(mapping_content(size), "mapping.yaml")


def frames(count: int, size: tuple[int, int], seed: int = 0) -> Iterator[DatasetFrame]:
    """Yield frames as fast as they are taken."""
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
    """Two parts of 12 and 9 frames."""
    found = [tmp_path / "part_0", tmp_path / "part_1"]
    for part, count in zip(found, (12, 9), strict=True):
        write_part(part, mapping_of((32, 48)), EPISODE, frames(count, (32, 48)), DatasetForm())
    return found


def test_an_encoder_slower_than_its_frames_loses_none(tmp_path: Path) -> None:
    # LeRobot's own would drop those that wait for more than 0.1 s: 40 of 50 here.
    size = (720, 1280)

    assert (
        write_part(
            tmp_path / "part",
            mapping_of(size),
            EPISODE,
            frames(50, size),
            DatasetForm(encoder_threads=1),
        )
        == 50
    )

    check_dataset(tmp_path / "part", [50])


@pytest.mark.parametrize("codec", ["hevc", "libsvtav1"])
def test_other_codecs_are_written_and_joined(codec: str, tmp_path: Path) -> None:
    size, form = (64, 96), DatasetForm(codec=codec)
    found = [tmp_path / "a", tmp_path / "b"]
    for part in found:
        write_part(part, mapping_of(size), EPISODE, frames(8, size), form)

    join_parts(found, tmp_path / "all", "me/all")

    check_dataset(tmp_path / "all", [8, 8])


def test_an_encoder_that_cannot_write_is_an_error_not_a_wait(tmp_path: Path) -> None:
    # Videos have colours for four pixels at once: none encodes 31 rows.
    with pytest.raises(OSError, match=r"images\.(front|wrist): expected an encoder that writes"):
        write_part(
            tmp_path / "part", mapping_of((31, 48)), EPISODE, frames(100, (31, 48)), DatasetForm()
        )


def test_an_episode_of_one_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"^wave: expected at least 2 frames, found 1$"):
        write_part(
            tmp_path / "part", mapping_of((32, 48)), EPISODE, frames(1, (32, 48)), DatasetForm()
        )


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
        1 < len({episode.videos["observation.images.front"][0] for episode in dataset.episodes}) < 8
    )
    images = [
        list(dataset.images("observation.images.front", episode)) for episode in dataset.episodes
    ]
    for number in range(2, 8):
        np.testing.assert_array_equal(images[number], images[number % 2])


@pytest.mark.parametrize(
    ("key", "change", "said"),
    [
        (
            "robot_type",
            lambda kind: "other",
            "robot_type as in .*part_0, so101_follower, found other",
        ),
        ("rate_hz", lambda rate: 10, "fps as in .*part_0, 30, found 10"),
        (
            "joints",
            lambda joints: dict(reversed(joints.items())),
            r"observation\.state as in .*'shoulder_pan\.pos', .* found .* \['gripper\.pos', ",
        ),
        (
            "cameras",
            lambda cameras: dict(reversed(cameras.items())),
            r"features as in .*front', .*wrist', .* found .*wrist', .*front', ",
        ),
    ],
)
def test_parts_of_other_features_are_not_joined(
    key: str, change: Callable[[Any], Any], said: str, tmp_path: Path, parts: list[Path]
) -> None:
    content = mapping_content((32, 48))
    content[key] = change(content[key])
    write_part(
        tmp_path / "other",
        parse_mapping(content, "mapping.yaml"),
        EPISODE,
        frames(9, (32, 48)),
        DatasetForm(),
    )

    with pytest.raises(ToolError, match=f"^{tmp_path / 'other'}: expected {said}"):
        join_parts([*parts, tmp_path / "other"], tmp_path / "all", "me/all")


@pytest.mark.parametrize("lengths", [[12], [12, 8], [9, 12]])
def test_other_lengths_than_were_written_are_found(
    lengths: list[int], tmp_path: Path, parts: list[Path]
) -> None:
    join_parts(parts, tmp_path / "all", "me/all")

    with pytest.raises(ToolError, match="expected episodes of"):
        check_dataset(tmp_path / "all", lengths)


def test_a_video_that_lacks_images_is_found(tmp_path: Path, parts: list[Path]) -> None:
    shutil.copy(parts[1] / VIDEO, parts[0] / VIDEO)

    with pytest.raises(ToolError, match=r"front: episode 0: expected 12 images, found 9"):
        check_dataset(parts[0], [12])


def test_a_video_with_images_of_another_episode_is_found(parts: list[Path]) -> None:
    shutil.copy(parts[0] / VIDEO, parts[1] / VIDEO)

    with pytest.raises(ToolError, match="expected 9 images, found 12"):
        check_dataset(parts[1], [9])


def test_a_video_of_another_rate_is_found(tmp_path: Path, parts: list[Path]) -> None:
    content = mapping_content((32, 48)) | {"rate_hz": 10}
    write_part(
        tmp_path / "slow",
        parse_mapping(content, "mapping.yaml"),
        EPISODE,
        frames(12, (32, 48)),
        DatasetForm(),
    )
    shutil.copy(tmp_path / "slow" / VIDEO, parts[0] / VIDEO)

    with pytest.raises(ToolError, match=r"expected frame 11 at 0\.3667 s, found it at 1\.1"):
        check_dataset(parts[0], [12])


def test_odd_images_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(
        ToolError,
        match=r"cameras\.front: expected an even height and width .*"
        r"found 31 and 48; write images with --images",
    ):
        convert(
            [EPISODE],
            mapping_of((31, 48)),
            tmp_path / "out",
            ConversionSettings(repo_id="me/out"),
            lambda done: {},
        )
    assert not list(tmp_path.iterdir())


def test_two_commands_do_not_convert_into_one_folder(tmp_path: Path) -> None:
    folder = parts_of(tmp_path / "out")
    folder.mkdir()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(ToolError, match="expected no other command that converts"):
            convert(
                [EPISODE],
                mapping_of((32, 48)),
                tmp_path / "out",
                ConversionSettings(repo_id="me/out"),
                lambda done: {},
            )
