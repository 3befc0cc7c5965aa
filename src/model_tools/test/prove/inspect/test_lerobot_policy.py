# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is said of checkpoints and datasets of LeRobot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from model_tools.errors import ToolError
from model_tools.prove.inspect.registry import inspect_path
from policy_core.interfaces import F32
from testkit.wording import check_wording, refusal

from .small_kinds import (
    ACTION,
    CAMERA,
    CONFIG,
    NORMALISER,
    STATE,
    UNNORMALISER,
    lerobot_files,
    old_checkpoint,
    write_dataset_outside,
)


def checkpoint_suspicions(folder: Path) -> None:
    """Check what is said to be suspicious."""
    check_wording(*inspect_path(folder).suspicions)


def replace_tensors(file: Path, **changed: F32 | None) -> None:
    """Replace tensors of a file; None takes one out."""
    merged = {**load_file(file), **changed}
    save_file({name: value for name, value in merged.items() if value is not None}, file)


def test_a_checkpoint_shows_its_features_and_nothing_suspicious(tmp_path: Path) -> None:
    report = inspect_path(lerobot_files(tmp_path))
    assert report.kind == "LeRobot checkpoint"
    assert ("type", "act") in report.rows
    assert ("chunk_size", "10") in report.rows
    shown = ("state", "camera", "action", "parameters", "statistics")
    check_wording(*(dict(report.rows)[name] for name in shown))
    assert report.suspicions == []


def test_statistics_inside_the_weights_are_found_and_no_parameters(tmp_path: Path) -> None:
    report = inspect_path(old_checkpoint(tmp_path))
    check_wording(*(dict(report.rows)[name] for name in ("statistics", "parameters")))
    assert report.suspicions == []


def test_broken_statistics_are_named_where_they_are(tmp_path: Path) -> None:
    std = np.array([1.0, 0.0], np.float32)
    replace_tensors(
        lerobot_files(tmp_path) / NORMALISER, **{f"{STATE}.std": std, f"{CAMERA}.mean": None}
    )
    checkpoint_suspicions(tmp_path)
    replace_tensors(
        tmp_path / UNNORMALISER,
        **{
            f"{ACTION}.min": np.full(3, np.nan, np.float32),
            f"{ACTION}.max": np.ones(2, np.float32),
        },
    )
    checkpoint_suspicions(tmp_path)
    flat = {f"{ACTION}.{end}": -np.ones(3, np.float32) for end in ("min", "max")}
    replace_tensors(tmp_path / UNNORMALISER, **flat)
    checkpoint_suspicions(tmp_path)


def test_weights_of_other_sizes_than_the_configuration_are_named(tmp_path: Path) -> None:
    replace_tensors(
        lerobot_files(tmp_path) / "model.safetensors",
        **{
            "model.action_head.weight": np.ones((6, 4), np.float32),
            "model.encoder_env_state_input_proj.weight": np.ones((4, 7), np.float32),
            "model.decoder_pos_embed.weight": None,
        },
    )
    checkpoint_suspicions(tmp_path)


@pytest.mark.parametrize(
    "change", [{"n_action_steps": 11}, {"temporal_ensemble_coeff": 0.01}, {"output_features": {}}]
)
def test_steps_and_features_that_do_not_fit_are_named(
    tmp_path: Path, change: dict[str, object]
) -> None:
    checkpoint_suspicions(lerobot_files(tmp_path, config={**CONFIG, **change}))


@pytest.mark.parametrize(
    "name", ["model.safetensors", NORMALISER, UNNORMALISER, "policy_preprocessor.json"]
)
def test_files_that_are_missing_or_cut_off_are_named(tmp_path: Path, name: str) -> None:
    file = lerobot_files(tmp_path) / name
    file.write_bytes(file.read_bytes()[:-9])
    check_wording(*inspect_path(tmp_path).problems)
    file.unlink()
    check_wording(*inspect_path(tmp_path).problems)


@pytest.mark.parametrize("config", [{"input_shapes": {}}, {"model_type": "bert"}, []])
def test_other_configurations_are_refused(tmp_path: Path, config: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with refusal(ToolError):
        inspect_path(tmp_path)


def test_a_dataset_shows_its_size_and_features_and_nothing_suspicious(tmp_path: Path) -> None:
    report = inspect_path(write_dataset_outside(tmp_path))
    assert report.kind == "LeRobot dataset"
    rows = dict(report.rows)
    assert rows["episodes"] == "2"
    check_wording(rows["rate"], rows[STATE], rows[CAMERA])
    assert report.suspicions == []


def test_a_recording_that_was_not_finished_is_named(tmp_path: Path) -> None:
    file = write_dataset_outside(tmp_path) / "data" / "file.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    (tmp_path / "images").mkdir()
    (tmp_path / "videos" / CAMERA / "file.mp4").write_bytes(b"")
    check_wording(*inspect_path(tmp_path).suspicions)
