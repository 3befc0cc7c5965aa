# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command line tools on a folder of recordings, checkpoints and fixtures that lies elsewhere.

What is looked for is named by its path in that folder; what is not there has no cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tools.digests.bundles import exact_bundle
from tools.digests.commands import calibrated, compared, completed, imported
from tools.digests.digest import Case
from tools.digests.internals import lerobot_frames, lite3_datagrams
from tools.digests.texts import file_stages, inspections, run_command, text_stages

_KNOWN = (".onnx", ".yaml", ".npz", ".npy", ".safetensors")
_MARKS = ("metadata.yaml", "config.json", "meta/info.json")
_SOURCES: dict[str, list[str]] = {
    "legged/go2_isaaclab/deploy.yaml": ["--joints", "go2"],
    "legged/isaaclab_env_yaml/env.yaml": [],
    "legged/isaaclab_io_descriptor/isaac_velocity_flat_anymal_d_v0_IO_descriptors.yaml": [],
    "legged/leapp/lite3_velocity.yaml": [],
    "legged/leapp/isaac_ros_deploy_single_model.yaml": [],
    "legged/leapp/isaac_ros_deploy_multi_model.yaml": [],
    "legged/lite3/policy.onnx": [],
}
_DATASET, _ARM = "act/dataset_v3", ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex")


def recorded(folder: Path, data: Path) -> Iterator[tuple[str, Case]]:
    """Return the cases of a folder of recordings."""
    yield from inspections(folder, dict(_places(data)), data=data)
    yield from _imports(folder, data)
    lite3 = data / "legged" / "lite3"
    if lite3.is_dir():
        yield from _walks(folder, lite3)
        yield "lite3/datagrams", lite3_datagrams(lite3 / "udp")
    if (data / _DATASET).is_dir():
        yield from _dataset(folder, data / _DATASET)


def _places(data: Path) -> Iterator[tuple[str, Path]]:
    """Return by name what `inspect` may know: files of some kinds, folders with some files."""
    for path in sorted(data.rglob("*")):
        folder = path.is_dir() and any((path / mark).is_file() for mark in _MARKS)
        if folder or path.suffix in _KNOWN:
            yield path.relative_to(data).as_posix().replace("/", "."), path


def _imports(folder: Path, data: Path) -> Iterator[tuple[str, Case]]:
    for place, words in _SOURCES.items():
        source = data / place
        if not source.is_file():
            continue
        model = source.parent / "policy.onnx"
        more = ["--model", str(model)] * (
            model.is_file() and model != source and "leapp" not in place
        )
        name = place.replace("/", ".")
        case = imported(folder, name, [source, *words, *more], data=data)
        yield f"import/{name}", case


def _walks(folder: Path, lite3: Path) -> Iterator[tuple[str, Case]]:
    """Return what an exact model's contract makes of a walk that was recorded in three forms."""
    exact, other = exact_bundle(folder / "exact"), exact_bundle(folder / "other", scale=0.5625)
    sources: dict[str, list[Any]] = {
        "mcap": ["--bag", lite3 / "bag_mcap"],
        "sqlite3": ["--bag", lite3 / "bag_sqlite3"],
        "rollout": ["--rows", lite3 / "rollout_50hz.npz"],
    }
    for name, words in sources.items():
        case = calibrated(folder, name, exact, [*words, "--samples", "all"])
        yield f"lite3/calibrate_{name}", case
    rows = [word for _, word in sources.values() for word in ("--rows", word)]
    yield "lite3/compare", compared(folder, "walk", [exact, other, *rows[:4]])
    bag = ["--bag", lite3 / "bag_mcap"]
    yield "lite3/complete_bag", completed(folder, "complete_bag", exact, bag)
    rollout = ["--rollout", lite3 / "rollout_50hz.npz"]
    yield "lite3/complete_rollout", completed(folder, "complete_rollout", exact, rollout)


def _dataset(folder: Path, dataset: Path) -> Iterator[tuple[str, Case]]:
    """Return what becomes of a LeRobot dataset as recordings, and of these as frames."""
    mapping = folder / "mapping.yaml"
    mapping.write_text(yaml.safe_dump(_mapping()), "utf-8")
    words: list[str | Path] = [
        "lerobot_bridge",
        "to-bag",
        dataset,
        "--mapping",
        mapping,
        "--output",
        "session",
    ]
    lines = run_command(*words, folder=folder, dataset=dataset)
    yield "lerobot/to_bag", text_stages(lines)
    for episode in sorted((folder / "session").glob("episode_*")):
        yield f"lerobot/{episode.name}", lerobot_frames(episode, str(mapping))
    report = folder / "check.json"
    check: list[str | Path] = [
        "lerobot_bridge",
        "check",
        folder / "session",
        "--decode-images",
        "--report",
        report,
    ]
    lines = run_command(*check, folder=folder)
    yield "lerobot/check", {**text_stages(lines), **file_stages(report, work=folder)}


def _mapping() -> dict[str, Any]:
    def source(topic: str) -> dict[str, str]:
        return {"topic": topic, "type": "sensor_msgs/msg/JointState"}

    return {
        "schema_version": 1,
        "robot_type": "so100_follower",
        "rate_hz": 30,
        "joints": {
            **{name: {"unit": "degrees"} for name in (*_ARM, "wrist_roll")},
            "gripper": {"unit": "range_0_100", "low_rad": -0.17453, "high_rad": 1.74533},
        },
        "vectors": {
            "observation.state": [source("joint_states")],
            "action": [source("leader/joint_states")],
        },
        "cameras": {
            name: {"topic": f"{name}/image_raw", "height": 48, "width": 64}
            for name in ("laptop", "phone")
        },
    }
