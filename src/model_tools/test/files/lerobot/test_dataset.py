# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A LeRobot dataset gives the rows and images that were recorded, and says what it lacks."""

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
from testkit.fuzzing import bounded
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


def change_info(folder: Path, **changes: object) -> None:
    file = folder / "meta/info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change_episode(folder: Path, **changes: object) -> None:
    (file,) = folder.glob("meta/episodes/*/*")
    first, *others = pq.read_table(file).to_pylist()
    pq.write_table(pa.Table.from_pylist([first | changes, *others]), file)


def cut_file(folder: Path, pattern: str, share: float) -> None:
    (file,) = folder.glob(pattern)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])


def remove(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()


def name_images(folder: Path, path: str) -> None:
    (file,) = folder.glob("data/*/file-000*")
    table = pq.read_table(file)
    entries = pa.array([{"bytes": None, "path": path}] * len(table))
    pq.write_table(table.set_column(table.schema.get_field_index(PHONE), PHONE, entries), file)


@pytest.mark.parametrize(
    "path",
    ["../secret.png", "{tmp_path}/secret.png", "/dev/zero", "a\0b", "device", "pipe", "."],
    ids=["above", "absolute", "device", "zero", "link to a device", "pipe", "folder"],
)
def test_a_path_of_an_image_leads_to_a_file_of_the_dataset(tmp_path: Path, path: str) -> None:
    """/dev/zero filled the memory, a pipe was waited for, and any file of the user was read."""
    folder = write_dataset(tmp_path / "dataset", (3,), stored="paths")
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/zero")
    (image,) = folder.glob("images/phone/0-0.png")
    (tmp_path / "secret.png").write_bytes(image.read_bytes())
    name_images(folder, path.format(tmp_path=tmp_path))
    dataset = Dataset(folder)

    with bounded(), refusal(ToolError):
        list(dataset.images(PHONE, dataset.episodes[0]))


def test_images_may_be_links_into_a_cache(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "dataset", (3,), stored="paths")
    (folder / "images").rename(tmp_path / "cache")
    (folder / "images").symlink_to(tmp_path / "cache")
    dataset = Dataset(folder)

    assert len(list(dataset.images(PHONE, dataset.episodes[0]))) == 3


def end_early(folder: Path) -> None:
    (video,) = folder.glob("videos/*phone/*/*0.mp4")
    short = write_dataset(folder.parent / "short", (5,))
    video.write_bytes((short / video.relative_to(folder)).read_bytes())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda at: change_info(at, codebase_version="v2.1"),
        lambda at: change_info(at, codebase_version="v2.0"),
        lambda at: change_info(at, total_episodes=4),
        lambda at: change_info(at, fps=0),
        lambda at: change_info(at, fps=1e-320),
        lambda at: change_info(at, video_path="videos/{camera}.mp4"),
        lambda at: change_info(at, data_path="{chunk_index:0999999999d}"),
        lambda at: change_info(at, data_path="{chunk_index.__class__}"),
        lambda at: change_info(at, data_path="../../{chunk_index}.parquet"),
        lambda at: change_info(at, video_path="/{video_key}{chunk_index}{file_index}"),
        lambda at: change_episode(at, length=-1),
        lambda at: change_episode(at, dataset_to_index=None),
        lambda at: change_episode(at, tasks=None),
        lambda at: change_episode(at, **{f"videos/{PHONE}/from_timestamp": float("nan")}),
        lambda at: remove(at, "meta/info.json"),
        lambda at: remove(at, "meta/episodes/*/*"),
        lambda at: remove(at, "data/*/file-000*"),
        lambda at: remove(at, "videos/*phone/*/*0.mp4"),
        lambda at: cut_file(at, "data/*/file-000*", 0.9),
        lambda at: cut_file(at, "videos/*phone/*/*0.mp4", 0.9),
        end_early,
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    folder = write_dataset(tmp_path / "dataset")
    spoil(folder)

    with refusal(ToolError):
        read_all(folder)


def test_a_camera_or_vector_that_is_missing_is_named_with_those_there(tmp_path: Path) -> None:
    dataset = Dataset(write_dataset(tmp_path))

    with refusal(ToolError):
        list(dataset.images("observation.images.top", dataset.episodes[0]))
    with refusal(ToolError):
        dataset.rows(dataset.episodes[0], ["effort"])


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

    assert [one.length for one in dataset.episodes] == [40, 37]
    assert [one.tasks[0].split()[0] for one in dataset.episodes] == ["Pick", "Place"]
    for episode in dataset.episodes:
        rows = dataset.rows(episode, ["observation.state", "action"])
        times = range(episode.length + 1)
        expected = np.stack([np.ravel(recorded(6, episode.index, t)) for t in times])
        for name, wanted in (("observation.state", expected[:-1]), ("action", expected[1:])):
            np.testing.assert_allclose(rows[name].astype(float), wanted, atol=1e-5)
        for number, camera in enumerate(dataset.cameras):
            images = [one.astype(float) for one in dataset.images(camera, episode)]
            assert len(images) == episode.length
            off = {
                shift: np.mean(
                    [
                        np.abs(found - image(number, episode.index, t + shift, 48, 64)).mean()
                        for t, found in enumerate(images)
                    ]
                )
                for shift in (0, 3, 19)
            }
            assert off[0] < 3.0 < off[19]
            assert off[0] < off[3]
