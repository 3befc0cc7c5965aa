# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from model_tools.prove.inspect.registry import inspect_path

from .small_kinds import CAMERA, STATE, dataset


def suspicions(folder: Path) -> str:
    return "\n".join(inspect_path(folder).suspicions)


def test_a_dataset_shows_its_size_and_features_and_nothing_suspicious(tmp_path: Path) -> None:
    report = inspect_path(dataset(tmp_path))
    assert report.kind == "LeRobot dataset"
    assert ("rate", "30 Hz") in report.rows
    assert ("episodes", "2") in report.rows
    assert (STATE, "float32[2]: pan, lift") in report.rows
    assert (CAMERA, "video[24, 32, 3]") in report.rows
    assert report.suspicions == []


def test_an_older_version_is_named_and_its_files_are_not_looked_for(tmp_path: Path) -> None:
    report = inspect_path(dataset(tmp_path, version="v2.1"))
    assert len(report.suspicions) == 1
    assert "version v2.1; tools here read v3.0" in report.suspicions[0]


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("data/file.parquet", "data holds no .parquet file"),
        (f"videos/{CAMERA}/file.mp4", f"videos/{CAMERA} holds no .mp4 file"),
        ("meta/stats.json", "meta/stats.json is not there"),
    ],
)
def test_files_that_are_missing_are_named(tmp_path: Path, place: str, found: str) -> None:
    (dataset(tmp_path) / place).unlink()
    assert found in suspicions(tmp_path)


def test_a_recording_that_was_not_finished_is_named(tmp_path: Path) -> None:
    file = dataset(tmp_path) / "data" / "file.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    (tmp_path / "images").mkdir()
    (tmp_path / "videos" / CAMERA / "file.mp4").write_bytes(b"")
    found = suspicions(tmp_path)
    assert "data/file.parquet is cut off" in found
    assert "file.mp4 is cut off" in found
    assert "a recording was not finished" in found
