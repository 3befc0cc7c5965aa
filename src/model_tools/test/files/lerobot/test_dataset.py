# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A LeRobot dataset gives the rows and images that were recorded, and says what it lacks."""

from __future__ import annotations

import json
import os
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_tools.errors import ToolError
from model_tools.files.lerobot.dataset import Dataset
from policy_inference.interfaces import F64
from policy_inference.testing.fuzzing import bounded
from testkit.wording import refusal

from .small_dataset import colour, state, write_dataset

PHONE = "observation.images.phone"


@pytest.mark.parametrize(
    ("codec", "stored"),
    [("libx264", "video"), ("libsvtav1", "video"), ("", "bytes"), ("", "paths")],
)
def test_each_frame_is_that_of_its_episode(tmp_path: Path, codec: str, stored: str) -> None:
    dataset = Dataset(write_dataset(tmp_path, codec=codec, stored=stored))

    assert [episode.length for episode in dataset.episodes] == [12, 9, 15]
    for episode in dataset.episodes:
        for frame, image in enumerate(dataset.images(PHONE, episode)):
            np.testing.assert_allclose(
                image.mean(axis=(0, 1)), colour(1, episode.index, frame), atol=3.5
            )
        assert frame == episode.length - 1


@pytest.mark.parametrize("stored", ["video", "bytes"])
def test_chosen_frames_are_those_of_all(tmp_path: Path, stored: str) -> None:
    dataset = Dataset(write_dataset(tmp_path, (80, 70), stored=stored))
    episode = dataset.episodes[1]
    everything = list(dataset.images(PHONE, episode))
    frames = [3, 4, 60, 69]

    chosen = list(dataset.images(PHONE, episode, frames))

    np.testing.assert_array_equal(chosen, [everything[frame] for frame in frames])
    assert list(dataset.images(PHONE, episode, [])) == []


def test_rows_are_those_of_the_episode(tmp_path: Path) -> None:
    dataset = Dataset(write_dataset(tmp_path))

    for episode in dataset.episodes:
        rows = dataset.rows(episode, ["observation.state", "action", "frame_index", "index"])
        expected = np.stack([state(episode.index, frame) for frame in range(episode.length + 1)])
        np.testing.assert_array_equal(rows["observation.state"], expected[:-1])
        np.testing.assert_array_equal(rows["action"], expected[1:])
        assert rows["frame_index"][:, 0].tolist() == list(range(episode.length))
        assert rows["index"][0, 0] == episode.first_frame


def test_a_dataset_knows_its_features(tmp_path: Path) -> None:
    dataset = Dataset(write_dataset(tmp_path, fps=10))

    assert dataset.cameras == ("observation.images.laptop", PHONE)
    assert dataset.info.fps == 10
    assert dataset.frames == dataset.info.frames == 36
    assert dataset.feature("action").names[-1] == "gripper.pos"
    assert dataset.feature(PHONE, camera=True).shape == (48, 64, 3)


def change_info(folder: Path, **changes: object) -> None:
    file = folder / "meta/info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change_episode(folder: Path, **changes: object) -> None:
    (file,) = folder.glob("meta/episodes/*/*")
    first, *others = pq.read_table(file).to_pylist()
    pq.write_table(pa.Table.from_pylist([first | changes, *others]), file)


def cut(folder: Path, pattern: str, share: float) -> None:
    (file,) = folder.glob(pattern)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])


def remove(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()


def name_images(folder: Path, path: str) -> None:
    """Let all images of a camera be in one file."""
    (file,) = folder.glob("data/*/file-000*")
    table = pq.read_table(file)
    entries = pa.array([{"bytes": None, "path": path}] * len(table))
    pq.write_table(table.set_column(table.schema.get_field_index(PHONE), PHONE, entries), file)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("../secret.png", "expected a path in the dataset, found"),
        ("{tmp_path}/secret.png", "expected a path in the dataset, found"),
        ("/dev/zero", "expected a path in the dataset, found"),
        ("a\0b", "expected a path in the dataset, found"),
        ("device", "no regular file"),
        ("pipe", "no regular file"),
        (".", "Is a directory"),
    ],
    ids=["above", "absolute", "device", "zero", "link to a device", "pipe", "folder"],
)
def test_a_path_of_an_image_leads_to_a_file_of_the_dataset(
    tmp_path: Path, path: str, found: str
) -> None:
    """/dev/zero filled the memory, a pipe was waited for, and any file of the user was read."""
    folder = write_dataset(tmp_path / "dataset", (3,), stored="paths")
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/zero")
    (image,) = folder.glob("images/phone/0-0.png")
    (tmp_path / "secret.png").write_bytes(image.read_bytes())
    name_images(folder, path.format(tmp_path=tmp_path))
    dataset = Dataset(folder)

    with bounded(), pytest.raises(ToolError, match=found):
        list(dataset.images(PHONE, dataset.episodes[0]))


def test_images_may_be_links_into_a_cache(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "dataset", (3,), stored="paths")
    (folder / "images").rename(tmp_path / "cache")
    (folder / "images").symlink_to(tmp_path / "cache")
    dataset = Dataset(folder)

    assert len(list(dataset.images(PHONE, dataset.episodes[0]))) == 3


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (
            lambda at: change_info(at, codebase_version="v2.1"),
            "expected a dataset of version v3.0, found v2.1; this converts it in place",
        ),
        (
            lambda at: change_info(at, codebase_version="v2.0"),
            "found v2.0; LeRobot up to 0.3 converts older ones to v2.1",
        ),
        (
            lambda at: change_info(at, total_episodes=4),
            "expected 4 episodes, as in info.json, found 3",
        ),
        (lambda at: change_info(at, fps=0), "fps: expected 0.001 to 100000 frames per second"),
        (
            lambda at: change_info(at, video_path="videos/{camera}.mp4"),
            "expected a pattern of file na",
        ),
        (
            lambda at: change_info(at, data_path="{chunk_index:0999999999d}"),
            "expected a pattern of file names",
        ),
        (
            lambda at: change_info(at, data_path="{chunk_index.__class__}"),
            "expected a pattern of file names",
        ),
        (
            lambda at: change_info(at, data_path="../../{chunk_index}.parquet"),
            "expected a pattern of file names in the dataset",
        ),
        (
            lambda at: change_info(at, video_path="/{video_key}{chunk_index}{file_index}"),
            "expected a pattern of file names in the dataset",
        ),
        (lambda at: change_info(at, fps=1e-320), "fps: expected 0.001 to 100000 frames"),
        (lambda at: change_episode(at, length=-1), "length: expected a whole number from 0"),
        (
            lambda at: change_episode(at, dataset_to_index=None),
            "dataset_to_index: expected a whole number from 0, found nothing",
        ),
        (lambda at: change_episode(at, tasks=None), "tasks: expected a list of texts"),
        (
            lambda at: change_episode(at, **{f"videos/{PHONE}/from_timestamp": float("nan")}),
            "from_timestamp: expected a finite time from 0 s, found nan",
        ),
        (lambda at: remove(at, "meta/info.json"), "expected the folder of a LeRobot dataset"),
        (
            lambda at: remove(at, "meta/episodes/*/*"),
            "expected the list of episodes, found no .parq",
        ),
        (
            lambda at: remove(at, "data/*/file-000*"),
            "file-000.parquet: expected a file of the dataset",
        ),
        (
            lambda at: remove(at, "videos/*phone/*/*0.mp4"),
            "expected a video of the dataset, found non",
        ),
        (
            lambda at: cut(at, "data/*/file-000*", 0.9),
            "expected a whole Parquet file, found: Parquet",
        ),
        (lambda at: cut(at, "videos/*phone/*/*0.mp4", 0.9), "expected a whole video, found: "),
        (lambda at: cut(at, "videos/*phone/*/*0.mp4", 0.0), "expected a whole video, found: "),
    ],
)
def test_what_is_broken_is_named(
    tmp_path: Path, spoil: Callable[[Path], None], expected: str
) -> None:
    folder = write_dataset(tmp_path)
    spoil(folder)

    with pytest.raises(ToolError) as error:
        read_all(folder)

    assert expected in str(error.value)


def test_a_video_that_ends_early_is_named(tmp_path: Path) -> None:
    short, whole = write_dataset(tmp_path / "short", (5,)), write_dataset(tmp_path / "whole", (9,))
    (video,) = short.glob("videos/*phone/*/*.mp4")
    (whole / video.relative_to(short)).write_bytes(video.read_bytes())

    with refusal(ToolError):
        read_all(whole)


def test_a_camera_or_vector_that_is_missing_is_named_with_those_there(tmp_path: Path) -> None:
    dataset = Dataset(write_dataset(tmp_path))

    with refusal(ToolError):
        list(dataset.images("observation.images.top", dataset.episodes[0]))
    with refusal(ToolError):
        dataset.rows(dataset.episodes[0], ["effort"])


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, stored="paths")
    file = folder / "images/phone/1-4.png"
    file.write_bytes(file.read_bytes()[:60])

    with refusal(ToolError):
        read_all(folder)


def read_all(folder: Path) -> None:
    dataset = Dataset(folder)
    for episode in dataset.episodes:
        dataset.rows(episode, ["observation.state"])
        for camera in dataset.cameras:
            for _ in dataset.images(camera, episode):
                pass


@pytest.mark.real_data
def test_a_dataset_of_lerobot_is_read(shared_data: Path) -> None:
    folder = shared_data / "act"
    formulas = runpy.run_path(str(folder / "inputs.py"))
    image, recorded = formulas["image"], formulas["state"]
    dataset = Dataset(folder / "dataset_v3")

    assert [(one.length, one.tasks[0]) for one in dataset.episodes] == [
        (40, "Pick the cube"),
        (37, "Place the cube"),
    ]
    for episode in dataset.episodes:
        rows = dataset.rows(episode, ["observation.state", "action"])
        expected = np.stack(
            [np.ravel(recorded(6, episode.index, t)) for t in range(episode.length + 1)]
        )
        for name, wanted in (("observation.state", expected[:-1]), ("action", expected[1:])):
            np.testing.assert_allclose(rows[name].astype(float), wanted, atol=1e-5)
        for number, camera in enumerate(dataset.cameras):
            images = [one.astype(float) for one in dataset.images(camera, episode)]

            def off(
                shift: int,
                number: int = number,
                episode: int = episode.index,
                images: list[F64] = images,
            ) -> float:
                return float(
                    np.mean(
                        [
                            np.abs(found - image(number, episode, t + shift, 48, 64)).mean()
                            for t, found in enumerate(images)
                        ]
                    )
                )

            assert len(images) == episode.length
            assert off(0) < 3.0 < off(19)
            assert off(0) < off(3)
