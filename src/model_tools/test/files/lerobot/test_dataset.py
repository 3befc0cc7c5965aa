# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A LeRobot dataset gives the rows and images that were recorded, and says what it lacks."""

import errno
import json
import os
import runpy
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_tools.errors import ToolError
from model_tools.files.lerobot.dataset import Dataset
from testkit.fuzzing import bounded
from testkit.wording import refusal

from .small_dataset import HEIGHT, WIDTH, colour, state, write_dataset

PHONE = "observation.images.phone"
COUNTING_POOL = pa.proxy_memory_pool(pa.default_memory_pool())
"""Kept, since arrays must not outlive their pool."""


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


def change_rows(folder: Path, number: int, change: Callable[[list[Any]], object]) -> None:
    file = folder / f"data/chunk-000/file-{number:03d}.parquet"
    table = pq.read_table(file)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), file)


def set_value(name: str, row: int, value: object) -> Callable[[Path], None]:
    return lambda folder: change_rows(folder, 0, lambda rows: rows[row].update({name: value}))


def exchange_files(folder: Path, *keys: str) -> None:
    """Let each list entry name the other file with this number of rows."""
    (file,) = folder.glob("meta/episodes/*/*")
    entries = pq.read_table(file).to_pylist()
    for entry in entries:
        entry |= {key: 1 - entry[key] for key in keys}
    pq.write_table(pa.Table.from_pylist(entries), file)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda at: exchange_files(at, "data/file_index"),
        set_value("episode_index", 2, 1),
        set_value("index", 2, 3),
        set_value("frame_index", 2, 1),
        set_value("timestamp", 2, 0.0),
        lambda at: change_episode(at, **{f"videos/{PHONE}/from_timestamp": 5 / 30}),
        lambda at: change_episode(at, **{f"videos/{PHONE}/from_timestamp": 2 / 30}),
    ],
    ids=["files exchanged", "episode", "index", "frame", "time", "same video", "overlap"],
)
def test_rows_and_videos_of_another_episode_are_refused(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    """They were paired in silence: 0 of 80 rows had their own image."""
    folder = write_dataset(tmp_path / "dataset", (5, 5, 5, 5))
    spoil(folder)

    with refusal(ToolError):
        read_all(folder)


def test_rows_that_were_deleted_leave_the_others_their_images(tmp_path: Path) -> None:
    """An image belongs to a row by its time, as in LeRobot, not by its number."""
    folder = write_dataset(tmp_path, (12, 9))
    deleted = range(3, 8)
    left = [frame for frame in range(12) if frame not in deleted]

    def delete(rows: list[Any]) -> None:
        del rows[deleted.start : deleted.stop]
        for index, row in enumerate(rows):
            row["index"] = index
            row["frame_index"] = index - len(left) * row["episode_index"]

    change_rows(folder, 0, delete)
    change_info(folder, total_frames=16)
    (file,) = folder.glob("meta/episodes/*/*")
    first, second = pq.read_table(file).to_pylist()
    first |= {"length": 7, "dataset_to_index": 7}
    second |= {"dataset_from_index": 7, "dataset_to_index": 16}
    pq.write_table(pa.Table.from_pylist([first, second]), file)
    dataset = Dataset(folder)

    for episode, frames in zip(dataset.episodes, (left, range(9)), strict=True):
        images = [image.mean(axis=(0, 1)) for image in dataset.images(PHONE, episode)]
        expected = [colour(1, episode.index, frame) for frame in frames]
        np.testing.assert_allclose(images, expected, atol=3.5)
    (image,) = dataset.images(PHONE, dataset.episodes[0], [4])
    np.testing.assert_allclose(image.mean(axis=(0, 1)), colour(1, 0, left[4]), atol=3.5)


def write_playlist(folder: Path, video: Path) -> None:
    change_info(folder, video_path="{video_key}.m3u8")
    lines = ("#EXTM3U", "#EXT-X-TARGETDURATION:9", "#EXTINF:9,", f"file://{video}")
    for camera in json.loads((folder / "meta/info.json").read_text())["features"]:
        (folder / f"{camera}.m3u8").write_text("\n".join((*lines, "#EXT-X-ENDLIST\n")))


def write_list_of_files(folder: Path, video: Path) -> None:
    (file,) = folder.glob("videos/*phone/*/*0.mp4")
    (file.parent / "pipe").symlink_to(video)
    file.write_text("ffconcat version 1.0\nfile pipe\n")


@pytest.mark.parametrize("write", [write_playlist, write_list_of_files])
def test_a_video_names_no_other_file(tmp_path: Path, write: Callable[[Path, Path], None]) -> None:
    """A playlist showed videos of the user that are outside the dataset, or waited for a pipe."""
    folder = write_dataset(tmp_path / "dataset", (3, 3))
    (video,) = write_dataset(tmp_path / "private", (3, 3)).glob("videos/*phone/*/*0.mp4")
    write(folder, video)

    with refusal(ToolError):
        read_all(folder)


def test_images_that_grow_within_a_video_are_not_decoded(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, (6,))
    (file,) = folder.glob("videos/*phone/*/*0.mp4")
    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        encoder: Any = av.CodecContext.create("libx264", "w")
        encoder.height, encoder.width, encoder.pix_fmt = 32 * HEIGHT, 32 * WIDTH, "yuv420p"
        encoder.time_base, encoder.framerate = Fraction(1, 30), 30
        # Each key frame states its size.
        encoder.options = {"x264-params": "repeat-headers=1"}
        packets = list[Any]()
        for frame, coder in enumerate((stream, stream, stream, encoder, encoder, encoder)):
            size = (HEIGHT, WIDTH) if coder is stream else (32 * HEIGHT, 32 * WIDTH)
            image = av.VideoFrame.from_ndarray(np.zeros((*size, 3), np.uint8), format="rgb24")
            image.pts, image.time_base = frame, Fraction(1, 30)
            packets += coder.encode(image)
        for packet in [*stream.encode(), *packets, *encoder.encode()]:
            packet.stream = stream
            container.mux(packet)

    with refusal(ToolError):
        read_all(folder)


def test_rows_of_an_episode_take_no_memory_for_the_others(tmp_path: Path) -> None:
    """All of a row group was read for each episode, and 200 kB may hold gigabytes of numbers."""
    folder = write_dataset(tmp_path, (3,))
    (file,) = folder.glob("data/*/*")
    rows = np.minimum(np.arange(1_000_000), 2)
    pq.write_table(pq.read_table(file).take(rows), file, row_group_size=len(rows))
    dataset = Dataset(folder)
    usual = pa.default_memory_pool()
    pa.set_memory_pool(COUNTING_POOL)
    try:
        actions = dataset.rows(dataset.episodes[0], ["action"])["action"]
    finally:
        pa.set_memory_pool(usual)

    assert len(actions) == 3
    assert COUNTING_POOL.max_memory() < len(rows) * actions.nbytes / 3 / 2


def repeat_tasks(folder: Path) -> None:
    """Write 6500 times the same text of 1 MB, which takes 1 MB in the file and 6.5 GB as texts."""
    (file,) = folder.glob("meta/episodes/*/*")
    (entry,) = pq.read_table(file).to_pylist()
    texts = pa.DictionaryArray.from_arrays(np.zeros(6500, np.int32), pa.array(["a" * 1_000_000]))
    columns = {name: [value] * 6500 for name, value in entry.items()}
    columns["tasks"] = pa.ListArray.from_arrays(np.arange(6501, dtype=np.int32), texts)
    pq.write_table(pa.table(columns), file)
    change_info(folder, total_episodes=6500)


def add_plain_texts(folder: Path) -> None:
    """Write them without the type, so that the file's 1 MB is all that tells of their size."""
    repeat_tasks(folder)
    (file,) = folder.glob("meta/episodes/*/*")
    table = pq.read_table(file)
    pq.write_table(table, file, store_schema=False)


def add_values(folder: Path) -> None:
    """Write more than 2^27 flags in a row, which are all the same."""
    (file,) = folder.glob("data/*/*")
    table, count = pq.read_table(file), 1 << 27
    flags = pa.array(np.zeros(count + 2, np.bool_))
    column = pa.ListArray.from_arrays(np.array([0, 1, 2, count + 2], np.int32), flags)
    pq.write_table(table.set_column(table.schema.get_field_index("action"), "action", column), file)


@pytest.mark.parametrize(
    "spoil", [repeat_tasks, add_plain_texts, pytest.param(add_values, marks=pytest.mark.slow)]
)
def test_a_small_file_that_holds_gigabytes_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = write_dataset(tmp_path, (3,))
    spoil(folder)

    with bounded(), refusal(ToolError):
        read_all(folder)


def test_an_endless_description_is_refused(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, (3,))
    os.truncate(folder / "meta/info.json", 1 << 40)

    with bounded(), pytest.raises(OSError, match=r"info\.json") as caught:
        Dataset(folder)

    assert caught.value.errno == errno.EFBIG


def test_a_camera_or_vector_that_is_missing_is_named_with_those_there(tmp_path: Path) -> None:
    dataset = Dataset(write_dataset(tmp_path))

    with refusal(ToolError):
        list(dataset.images("observation.images.top", dataset.episodes[0]))
    with refusal(ToolError):
        dataset.rows(dataset.episodes[0], ["effort"])


def read_all(folder: Path) -> None:
    dataset = Dataset(folder)
    for episode in dataset.episodes:
        dataset.rows(episode, ["observation.state", "action"])
        for camera in dataset.cameras:
            for _ in dataset.images(camera, episode):
                pass


@pytest.mark.real_data
def test_a_gap_leaves_each_row_its_image_and_exchanged_files_are_refused(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pairs"
    shutil.copytree(shared_data / "cases" / "dataset_pairs", folder)

    def levels(name: str) -> list[float]:
        dataset = Dataset(folder / name)
        images = (dataset.images(dataset.cameras[0], episode) for episode in dataset.episodes)
        return [float(image.mean()) for episode in images for image in episode]

    good = levels("good")
    np.testing.assert_allclose(levels("gap"), [*good[:10], *good[20:]], atol=1.5)
    with refusal(ToolError):
        levels("wrong_data_file")


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
