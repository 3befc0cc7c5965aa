# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from model_tools.errors import ToolError
from model_tools.prove.inspect.inspection import InspectionReport
from model_tools.prove.inspect.registry import inspect_path
from policy_inference.interfaces import Tensor
from testkit.wording import refusal

OBS = np.random.default_rng(0).normal(size=(20, 3))


def inspected(folder: Path, **arrays: Tensor) -> InspectionReport:
    np.savez(folder / "a.npz", allow_pickle=False, **arrays)
    return inspect_path(folder / "a.npz")


def suspicions(folder: Path, **arrays: Tensor) -> str:
    return "\n".join(inspected(folder, **arrays).suspicions)


@pytest.mark.parametrize(
    ("arrays", "looks_like"),
    [
        ({"mean": OBS[0], "std": np.ones(3)}, "statistics of observations (obs_stats)"),
        ({"obs": OBS, "actions": OBS}, "rows of a model, as golden ones"),
        (
            {"obs": OBS, "actions": OBS, "time": np.arange(20) ** 2.0},
            "rows of a model, as golden ones",
        ),
        ({"obs": OBS, "action": OBS, "time": np.arange(20) * 0.02}, "a recorded rollout"),
        ({"obs": OBS}, "rows of observations"),
        ({"points": OBS}, "arrays that no tool here knows by name"),
    ],
)
def test_arrays_are_recognised_by_their_names(
    tmp_path: Path, arrays: dict[str, Tensor], looks_like: str
) -> None:
    report = inspected(tmp_path, **arrays)
    assert ("looks like", looks_like) in report.rows
    assert report.suspicions == []


def test_numbers_show_their_range_and_texts_themselves(tmp_path: Path) -> None:
    report = inspected(
        tmp_path,
        a=np.array([[1, 5]]),
        names=np.array(["hip", "knee"]),
        b=np.array([np.nan, 0.5]),
        none=np.zeros((0, 3)),
    )
    assert ("a", "int64[1, 2] in 1 .. 5") in report.rows
    assert ("names", "hip, knee") in report.rows
    assert ("b", "float64[2] in 0.5 .. 0.5") in report.rows
    assert ("none", "float64[0, 3]") in report.rows
    assert report.suspicions == ["b holds NaN or infinite values (50.0%)"]


def test_a_single_array_is_taken_for_observations(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", OBS)
    assert ("looks like", "rows of observations") in inspect_path(tmp_path / "a.npy").rows


def test_tensors_of_a_safetensors_file_are_shown(tmp_path: Path) -> None:
    save_file({"policy/state": np.zeros((1, 2), np.float32)}, tmp_path / "a.safetensors")
    report = inspect_path(tmp_path / "a.safetensors")
    assert ("policy/state", "float32[1, 2] in 0 .. 0") in report.rows


def test_statistics_that_cannot_be_are_named(tmp_path: Path) -> None:
    found = suspicions(tmp_path, mean=np.zeros(4), std=np.array([1.0, 0.0, 1e5]))
    assert "mean [4] and std [3] differ in shape" in found
    assert "std is 0 or less at 1;" in found
    assert "std is above 1000 at 2" in found


def test_rows_that_say_less_than_their_number_are_named(tmp_path: Path) -> None:
    obs = np.concatenate([OBS, OBS[:4]])
    obs[:, 1] = 7.0
    found = suspicions(tmp_path, obs=obs, actions=OBS)
    assert "24 rows of obs and 20 of actions" in found
    assert "obs never changes in the columns 1" in found
    assert "4 of 24 rows of obs repeat others" in found


def test_many_columns_are_counted_rather_than_listed(tmp_path: Path) -> None:
    assert "10, 11 and 8 more" in suspicions(tmp_path, obs=np.ones((3, 20)) * [[1], [1], [1]])


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_objects_are_refused(tmp_path: Path, suffix: str) -> None:
    objects = np.array([{"a": 1}, None], dtype=object)
    with (tmp_path / f"a{suffix}").open("wb") as file:
        (np.save if suffix == ".npy" else np.savez)(file, objects)
    with refusal(ToolError):
        inspect_path(tmp_path / f"a{suffix}")
