# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording of a dataset shows a chunk policy what the dataset shows it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lerobot_bridge.cli import main
from model_tools.files.observation_sources import open_source
from model_tools.files.rows import RecordedObservation
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.chunk_contract import ChunkContract
from policy_inference.bundle.load import load_bundle
from policy_inference.interfaces import F64, Tensor
from policy_inference.testing.chunk_bundles import SIZES, write_chunk_bundle

from ..given_frames import write_frames

NAMES = ["shoulder_pan.pos", "elbow_flex.pos", "gripper.pos"]
GOAL = ["goal.x", "goal.y"]
FRAMES = 40


@pytest.fixture
def seeing_contract(tmp_path: Path) -> ChunkContract:
    bundle = write_chunk_bundle(tmp_path / "bundle", environment=2)
    return load_bundle(bundle, kind=ChunkBundle).contract


def mapping_of_contract(contract: ChunkContract) -> dict[str, Any]:
    """Return the mapping of the robot that the policy drives."""
    units = {
        name: {
            key: getattr(unit, key)
            for key in ("unit", "sign", "zero_rad", "low_rad", "high_rad")
            if getattr(unit, key) is not None
        }
        for name, unit in contract.units.items()
    }
    return {
        "schema_version": 1,
        "robot_type": "small_arm",
        "rate_hz": round(contract.rate_hz),
        "joints": {name.removesuffix(".pos"): units[name.removesuffix(".pos")] for name in NAMES},
        "vectors": {
            "observation.state": [{"topic": "joint_states", "type": "sensor_msgs/msg/JointState"}],
            "observation.environment_state": [
                {
                    "topic": "goal",
                    "type": "std_msgs/msg/Float32MultiArray",
                    "fields": {"goal.x": "data[0]", "goal.y": "data[1]"},
                }
            ],
            "action": [{"topic": "leader/joint_states", "type": "sensor_msgs/msg/JointState"}],
        },
        "cameras": {
            name: {"topic": f"{name}/image_raw", "height": height, "width": width}
            for name, (height, width) in SIZES.items()
        },
    }


def seen_columns() -> dict[str, Tensor]:
    rng = np.random.default_rng(3)
    vector = rng.uniform(0, 60, (FRAMES, 3)).astype(np.float32)
    images = {
        f"observation.images.{name}": rng.integers(0, 256, (FRAMES, *size, 3)).astype(np.uint8)
        for name, size in SIZES.items()
    }
    return {
        "observation.state": vector,
        "action": vector[::-1].copy(),
        "observation.environment_state": rng.uniform(-1, 3, (FRAMES, 2)).astype(np.float32),
        **images,
    }


def test_the_ticks_of_a_policy_are_the_frames_of_the_dataset(
    tmp_path: Path, seeing_contract: ChunkContract
) -> None:
    names = {"observation.state": NAMES, "action": NAMES, "observation.environment_state": GOAL}
    dataset = write_frames(tmp_path / "dataset", [seen_columns()], names)
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(
        yaml.safe_dump(mapping_of_contract(seeing_contract), sort_keys=False), "utf-8"
    )
    assert (
        main(
            [
                "to-bag",
                str(dataset),
                "--mapping",
                str(mapping),
                "--output",
                str(tmp_path / "session"),
            ]
        )
        == 0
    )

    given = all_of(seeing_contract, dataset)
    found = all_of(
        seeing_contract, tmp_path / "session" / "episode_0000", {"joint_states": "/joint_states"}
    )

    assert len(given) == len(found) == FRAMES
    for one, other in zip(given, found, strict=True):
        np.testing.assert_allclose(there(other.state), there(one.state), atol=1e-6)
        np.testing.assert_array_equal(there(other.environment_state), there(one.environment_state))
        for name in SIZES:
            np.testing.assert_array_equal(other.images[name], one.images[name])


def all_of(
    contract: ChunkContract, place: Path, topics: Mapping[str, str] | None = None
) -> list[RecordedObservation]:
    source = open_source(contract, place, topics)
    return [
        RecordedObservation(
            number=one.number,
            state=one.state,
            environment_state=one.environment_state,
            images={name: image.copy() for name, image in one.images.items()},
        )
        for one in source.observations(range(source.count))
    ]


def there(values: F64 | None) -> F64:
    assert values is not None
    return values
