# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings become datasets that LeRobot reads and trains with, and in which nothing is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from lerobot_bridge.cli import main
from lerobot_bridge.converting.parts_folder import parts_path
from lerobot_bridge.episode import DatasetFrame, Episode, EpisodeSidecar, write_sidecar
from lerobot_bridge.frames import EpisodeFrames
from lerobot_bridge.mapping_file import load_mapping
from model_tools.files.lerobot.dataset import Dataset
from model_tools.files.lerobot.dataset_info import CONVERSION_REPORT
from policy_core.observation.images import Image
from testkit.demonstration import (
    CAMERAS,
    RATE_HZ,
    mapping_content,
    positions_rad,
    write_demonstration,
)

SIZE, LENGTHS_S = (96, 128), (2.0, 1.5, 1.0)
TASKS = ("Pick the cube", "Open the drawer", "Pick the cube")
STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
SAMPLE = "act/dataset_v3"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings with their sidecars, and a mapping of them."""
    folder = tmp_path_factory.mktemp("session")
    content = yaml.safe_dump(mapping_content(SIZE), sort_keys=False)
    (folder / "mapping.yaml").write_text(content, "utf-8")
    for number, (length_s, task) in enumerate(zip(LENGTHS_S, TASKS, strict=True)):
        bag = write_demonstration(
            folder / f"episode_{number:04}", length_s, size=SIZE, seed=10 * number, clip_frames=60
        )
        write_sidecar(bag, EpisodeSidecar(number=number, task=task, rate_hz=RATE_HZ))
    return folder


def conversion(session: Path, output: Path) -> list[str]:
    mapping = str(session / "mapping.yaml")
    return ["convert", str(session), "--mapping", mapping, "--output", str(output)]


def converted(session: Path, output: Path, *more: str) -> int:
    return main([*conversion(session, output), "--processes", "2", "--repo-id", "me/cubes", *more])


@pytest.fixture(scope="module")
def output(session: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output") / "cubes"
    assert converted(session, folder, "--tags", "so101,table") == 0
    return folder


def frames_recorded(session: Path, number: int) -> list[DatasetFrame]:
    """Return the frames of a recording, with images of their own."""
    frames = EpisodeFrames(
        load_mapping(session / "mapping.yaml"),
        Episode(bag=session / f"episode_{number:04}", task=""),
    )
    return [
        DatasetFrame(
            time_ns=frame.time_ns,
            vectors=frame.vectors,
            images={name: one.copy() for name, one in frame.images.items()},
        )
        for frame in frames.frames()
    ]


def psnr_db(found: Image, expected: Image) -> float:
    noise = np.mean((found.astype(np.float64) - expected) ** 2)
    return float(10 * np.log10(255.0**2 / noise))


def test_all_values_are_what_was_recorded_to_a_microradian(session: Path, output: Path) -> None:
    dataset = Dataset(output)

    assert [episode.tasks for episode in dataset.episodes] == [(task,) for task in TASKS]
    for episode in dataset.episodes:
        frames, rows = (
            frames_recorded(session, episode.index),
            dataset.rows(episode, [STATE, ACTION]),
        )
        assert len(frames) == episode.length == LENGTHS_S[episode.index] * RATE_HZ
        for name in (STATE, ACTION):
            expected = np.array([frame.vectors[name] for frame in frames])
            np.testing.assert_array_equal(rows[name], expected.astype(np.float32))
        # Joints are said each 10 ms, and the leader is 50 ms ahead; a message up to an eighth of a
        # period after a frame belongs to it.
        period_ns = round(1e9 / RATE_HZ)
        newest_s = (np.arange(episode.length) * period_ns + period_ns // 8) // 10_000_000 / 100
        for name, ahead_s in ((STATE, 0.0), (ACTION, 0.05)):
            expected = np.array([positions_rad(time_s + ahead_s)[:5] for time_s in newest_s])
            assert np.abs(np.deg2rad(rows[name][:, :5].astype(np.float64)) - expected).max() < 1e-6


def test_videos_show_each_frame_at_its_time_with_30_db(session: Path, output: Path) -> None:
    dataset = Dataset(output)

    for episode in dataset.episodes:
        frames = frames_recorded(session, episode.index)
        for camera in CAMERAS:
            shown = list(dataset.images(IMAGES + camera, episode))
            ratios = [
                psnr_db(one, frame.images[camera]) for one, frame in zip(shown, frames, strict=True)
            ]
            assert min(ratios) > 30.0
            # The clip moves: with the image of another frame it would be less.
            assert psnr_db(shown[10], frames[11].images[camera]) < min(ratios)


def test_lerobot_reads_it_with_other_moments_around_each_frame(session: Path, output: Path) -> None:
    period_s = 1 / RATE_HZ
    dataset = LeRobotDataset(
        "me/cubes",
        root=output,
        delta_timestamps={
            f"{IMAGES}front": [-period_s, 0.0],
            ACTION: [0.0, period_s, 2 * period_s],
        },
    )
    frames, begin = frames_recorded(session, 1), round(LENGTHS_S[0] * RATE_HZ)

    assert len(dataset) == sum(LENGTHS_S) * RATE_HZ
    item = dataset[begin + 10]

    assert item["task"] == TASKS[1]
    assert item["timestamp"] == pytest.approx(10 * period_s)
    np.testing.assert_array_equal(
        item[ACTION].numpy(),
        np.array([frames[10 + k].vectors[ACTION] for k in range(3)], np.float32),
    )
    for k, shown in enumerate(item[f"{IMAGES}front"].numpy()):
        image = (255 * shown).round().astype(np.uint8).transpose(1, 2, 0)
        assert psnr_db(image, frames[9 + k].images["front"]) > 30.0
    assert dataset[begin][f"{IMAGES}front_is_pad"].tolist() == [True, False]
    assert dataset.meta.stats[STATE]["count"] == [len(dataset)]


def test_lerobot_trains_two_steps(output: Path, tmp_path: Path) -> None:
    words = [
        "--dataset.repo_id=me/cubes",
        f"--dataset.root={output}",
        "--policy.type=act",
        "--policy.chunk_size=8",
        "--policy.n_action_steps=8",
        "--policy.dim_model=32",
        "--policy.n_heads=2",
        "--policy.dim_feedforward=64",
        "--policy.n_encoder_layers=1",
        "--policy.n_vae_encoder_layers=1",
        "--policy.pretrained_backbone_weights=null",
        "--policy.device=cpu",
        "--policy.push_to_hub=false",
        "--wandb.enable=false",
        "--steps=2",
        "--batch_size=2",
        "--num_workers=0",
        f"--output_dir={tmp_path / 'run'}",
    ]
    command = [sys.executable, "-m", "lerobot.scripts.lerobot_train", *words]

    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False, cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run/checkpoints/000002/pretrained_model/model.safetensors").is_file()


def test_verdicts_and_interventions_become_features_of_all_episodes(
    session: Path, tmp_path: Path
) -> None:
    judged = tmp_path / "judged"
    shutil.copytree(session, judged)
    begin_ns = frames_recorded(session, 0)[10].time_ns
    span = (begin_ns, frames_recorded(session, 0)[20].time_ns)
    write_sidecar(
        judged / "episode_0000",
        EpisodeSidecar(
            number=0, task=TASKS[0], rate_hz=RATE_HZ, success=True, interventions=(span,)
        ),
    )
    for number in (1, 2):
        write_sidecar(
            judged / f"episode_{number:04}",
            EpisodeSidecar(
                number=number, task=TASKS[number], rate_hz=RATE_HZ, success=False, interventions=()
            ),
        )

    assert converted(judged, tmp_path / "cubes") == 0

    dataset = Dataset(tmp_path / "cubes")
    rows = [dataset.rows(episode, ["next.success", "intervention"]) for episode in dataset.episodes]
    assert [np.flatnonzero(each["next.success"]).tolist() for each in rows] == [[59], [], []]
    assert [np.flatnonzero(each["intervention"]).tolist() for each in rows] == [
        list(range(10, 20)),
        [],
        [],
    ]
    assert bool(LeRobotDataset("me/cubes", root=tmp_path / "cubes")[59]["next.success"])


def test_a_recording_that_does_not_fit_is_left_out_named_and_tried_again(
    session: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken, target = tmp_path / "session", tmp_path / "cubes"
    shutil.copytree(session, broken)
    data = next((broken / "episode_0001").glob("*.mcap"))
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])

    assert converted(broken, target) == 1

    assert [episode.length for episode in Dataset(target).episodes] == [60, 30]
    report = json.loads((target / CONVERSION_REPORT).read_text())
    assert [each["name"] for each in report["episodes_left_out"]] == ["episode_0001"]
    shown = capsys.readouterr().out
    assert "left out: " in shown
    assert "1 of" in shown
    finished = {part: part.stat().st_mtime_ns for part in parts_path(target).glob("*/made.json")}
    assert len(finished) == 2
    assert converted(broken, target, "--allow-left-out", "--force") == 0

    data.write_bytes(whole)
    kept = {part: part.stat().st_mtime_ns for part in parts_path(target).glob("*/made.json")}
    assert kept == finished
    assert converted(broken, target, "--force") == 0
    assert [episode.length for episode in Dataset(target).episodes] == [60, 45, 30]


def begun(session: Path, target: Path) -> subprocess.Popen[str]:
    """Start the command in a process of its own; return when its first episode is finished."""
    words = [*conversion(session, target), "--processes", "1"]
    command = [sys.executable, "-m", "lerobot_bridge", *words]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(parts_path(target).glob("episode_*/made.json")):
        with suppress(subprocess.TimeoutExpired):
            running.wait(0.1)
            raise AssertionError(running.communicate()[1])
    return running


def test_killed_it_goes_on_where_it_was(session: Path, tmp_path: Path) -> None:
    target = tmp_path / "cubes"
    with begun(session, target) as running:
        running.kill()
    assert not target.exists()
    (unfinished,) = tmp_path.glob(".cubes.*")
    (first,) = parts_path(target).glob("episode_0000*/made.json")
    first.write_text(json.dumps(json.loads(first.read_text()) | {"too_short": 7}))

    assert converted(session, target) == 0

    assert [episode.length for episode in Dataset(target).episodes] == [60, 45, 30]
    report = json.loads((target / CONVERSION_REPORT).read_text())
    assert [each["parts_too_short"] for each in report["episodes"]] == [7, 0, 0]
    assert {each.name for each in tmp_path.iterdir()} == {"cubes", unfinished.name}


@pytest.mark.real_data
def test_it_has_the_features_columns_and_statistics_of_a_real_dataset(
    shared_data: Path, output: Path
) -> None:
    real = shared_data / SAMPLE
    ours, theirs = (json.loads((each / "meta/info.json").read_text()) for each in (output, real))
    cameras = dict(
        zip((IMAGES + name for name in CAMERAS), (f"{IMAGES}laptop", f"{IMAGES}phone"), strict=True)
    )

    def renamed(names: Sequence[str]) -> set[str]:
        for mine, other in cameras.items():
            names = [name.replace(mine, other) for name in names]
        return set(names)

    own = ("robot_type", "total_episodes", "total_frames", "total_tasks", "splits", "features")
    assert ours.keys() == theirs.keys()
    assert {k: v for k, v in ours.items() if k not in own} == {
        k: v for k, v in theirs.items() if k not in own
    }
    assert renamed(ours["features"]) == set(theirs["features"])
    for name, feature in ours["features"].items():
        other = dict(theirs["features"][cameras.get(name, name)])
        if name in cameras:  # images of another size
            height, width = other["shape"][:2]
            assert (height, width) == (48, 64)
            other |= {
                "shape": [*SIZE, 3],
                "info": other["info"] | {"video.height": SIZE[0], "video.width": SIZE[1]},
            }
        assert feature == other, name
    for file in (
        "data/chunk-000/file-000.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/tasks.parquet",
    ):
        mine, other = (pq.read_schema(each / file) for each in (output, real))
        assert renamed(mine.names) == set(other.names), file
        for column in other.names:
            named = {other: mine for mine, other in cameras.items()}
            found = column
            for name, own_name in named.items():
                found = found.replace(name, own_name)
            assert mine.field(found).type == other.field(column).type, column
    stats, real_stats = (
        json.loads((each / "meta/stats.json").read_text()) for each in (output, real)
    )
    assert renamed(stats) == set(real_stats)
    for name, each in stats.items():
        assert each.keys() == real_stats[cameras.get(name, name)].keys()
