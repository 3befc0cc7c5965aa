# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from model_tools.errors import ToolError
from model_tools.prove.inspect.registry import inspect_path
from policy_inference.interfaces import F32

from .small_kinds import (
    ACTION,
    CAMERA,
    CONFIG,
    NORMALISER,
    STATE,
    UNNORMALISER,
    checkpoint,
    old_checkpoint,
)


def suspicions(folder: Path) -> str:
    return "\n".join(inspect_path(folder).suspicions)


def problems(folder: Path) -> str:
    return "\n".join(inspect_path(folder).problems)


def edit(file: Path, **changed: F32 | None) -> None:
    """Replace tensors of a file; None takes one out."""
    merged = {**load_file(file), **changed}
    save_file({name: value for name, value in merged.items() if value is not None}, file)


def test_a_checkpoint_shows_its_features_and_nothing_suspicious(tmp_path: Path) -> None:
    report = inspect_path(checkpoint(tmp_path))
    assert report.kind == "LeRobot checkpoint"
    assert ("type", "act") in report.rows
    assert ("chunk_size", "10") in report.rows
    assert ("state", f"{STATE} [2], MEAN_STD") in report.rows
    assert ("camera", f"{CAMERA} 32 x 24, 3 channels, MEAN_STD") in report.rows
    assert ("action", f"{ACTION} [3], MIN_MAX") in report.rows
    assert ("parameters", "60 in 3 tensors") in report.rows
    assert ("statistics", "policy_preprocessor.json, policy_postprocessor.json") in report.rows
    assert report.suspicions == []


def test_statistics_inside_the_weights_are_found_and_no_parameters(tmp_path: Path) -> None:
    report = inspect_path(old_checkpoint(tmp_path))
    assert ("statistics", "inside model.safetensors (LeRobot up to 0.3)") in report.rows
    assert ("parameters", "60 in 3 tensors") in report.rows
    assert report.suspicions == []


def test_broken_statistics_are_named_where_they_are(tmp_path: Path) -> None:
    std = np.array([1.0, 0.0], np.float32)
    edit(checkpoint(tmp_path) / NORMALISER, **{f"{STATE}.std": std, f"{CAMERA}.mean": None})
    found = suspicions(tmp_path)
    assert f"{STATE}: no spread at 1" in found
    assert f"{CAMERA}: no mean, which MEAN_STD needs" in found
    edit(
        tmp_path / UNNORMALISER,
        **{
            f"{ACTION}.min": np.full(3, np.nan, np.float32),
            f"{ACTION}.max": np.ones(2, np.float32),
        },
    )
    found = suspicions(tmp_path)
    assert f"{ACTION}: min holds NaN" in found
    assert f"{ACTION}: max has 2 values, the feature 3" in found


def test_a_range_without_width_is_named(tmp_path: Path) -> None:
    edit(checkpoint(tmp_path) / UNNORMALISER, **{f"{ACTION}.max": -np.ones(3, np.float32)})
    assert f"{ACTION}: no spread at 0, 1, 2" in suspicions(tmp_path)


def test_no_statistics_or_twice_the_statistics_are_named(tmp_path: Path) -> None:
    old, new = old_checkpoint(tmp_path / "old"), checkpoint(tmp_path / "new")
    plain = (new / "model.safetensors").read_bytes()
    (old / "model.safetensors").replace(new / "model.safetensors")
    assert "which were used?" in suspicions(new)
    (old / "model.safetensors").write_bytes(plain)
    assert "no statistics, neither" in suspicions(old)


def test_weights_of_other_sizes_than_the_configuration_are_named(tmp_path: Path) -> None:
    edit(
        checkpoint(tmp_path) / "model.safetensors",
        **{
            "model.action_head.weight": np.ones((6, 4), np.float32),
            "model.encoder_env_state_input_proj.weight": np.ones((4, 7), np.float32),
            "model.decoder_pos_embed.weight": None,
        },
    )
    found = suspicions(tmp_path)
    assert "model.action_head.weight is [6, 4], the configuration says 3" in found
    assert "model.encoder_env_state_input_proj.weight is [4, 7], the config" in found
    assert "model.decoder_pos_embed.weight is not there, the configuration says 10" in found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"n_action_steps": 11}, "n_action_steps 11 of a chunk of 10"),
        ({"temporal_ensemble_coeff": 0.01}, "temporal ensembling needs n_action_steps 1, found 5"),
        ({"output_features": {}}, "no feature is an action"),
    ],
)
def test_steps_and_features_that_do_not_fit_are_named(
    tmp_path: Path, change: dict[str, object], found: str
) -> None:
    assert found in suspicions(checkpoint(tmp_path, config={**CONFIG, **change}))


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("model.safetensors", "model.safetensors is not there"),
        (NORMALISER, f"{NORMALISER}: expected a file beside config.json, found none"),
        (UNNORMALISER, f"{UNNORMALISER}: expected a file beside config.json, found none"),
        ("policy_preprocessor.json", "policy_preprocessor.json: expected a file beside"),
    ],
)
def test_files_that_are_missing_or_cut_off_are_named(
    tmp_path: Path, name: str, missing: str
) -> None:
    file = checkpoint(tmp_path) / name
    file.write_bytes(file.read_bytes()[:-9])
    assert f"{name}: expected" in problems(tmp_path)
    file.unlink()
    assert missing in problems(tmp_path)


def test_observations_that_are_renamed_are_shown(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    write_steps(
        tmp_path,
        {
            "registry_name": "rename_observations_processor",
            "config": {"rename_map": {"wrist": CAMERA}},
        },
    )
    report = inspect_path(tmp_path)
    assert ("renamed", f"wrist -> {CAMERA}") in report.rows
    assert not report.suspicions


def test_steps_that_change_values_are_named(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    write_steps(tmp_path, {"registry_name": "relative_actions_processor", "config": {}})
    assert "found relative_actions_processor, which makes actions relative" in problems(tmp_path)


def write_steps(folder: Path, first: object) -> None:
    """Write a pipeline with a step before the normalizer."""
    steps = [first, {"registry_name": "normalizer_processor", "state_file": NORMALISER}]
    (folder / "policy_preprocessor.json").write_text(json.dumps({"steps": steps}))


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"input_shapes": {}}, "found input_shapes, as LeRobot wrote them in 2024"),
        ({"model_type": "bert"}, "input_features: expected a value, found no such key"),
        ([], "expected a mapping"),
    ],
)
def test_other_configurations_are_refused(tmp_path: Path, config: object, found: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ToolError, match=found):
        inspect_path(tmp_path)
