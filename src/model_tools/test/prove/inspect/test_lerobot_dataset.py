# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from model_tools.prove.inspect.registry import inspect_path
from testkit.wording import check_wording

from .small_kinds import CAMERA, STATE, write_dataset_outside


def test_a_dataset_shows_its_size_and_features_and_nothing_suspicious(tmp_path: Path) -> None:
    report = inspect_path(write_dataset_outside(tmp_path))
    assert report.kind == "LeRobot dataset"
    rows = dict(report.rows)
    assert rows["episodes"] == "2"
    check_wording(rows["rate"], rows[STATE], rows[CAMERA])
    assert report.suspicions == []


def test_an_older_version_is_named_and_its_files_are_not_looked_for(tmp_path: Path) -> None:
    report = inspect_path(write_dataset_outside(tmp_path, version="v2.1"))
    check_wording(*report.suspicions)


@pytest.mark.parametrize(
    "place", ["data/file.parquet", f"videos/{CAMERA}/file.mp4", "meta/stats.json"]
)
def test_files_that_are_missing_are_named(tmp_path: Path, place: str) -> None:
    (write_dataset_outside(tmp_path) / place).unlink()
    check_wording(*inspect_path(tmp_path).suspicions)


def test_a_recording_that_was_not_finished_is_named(tmp_path: Path) -> None:
    file = write_dataset_outside(tmp_path) / "data" / "file.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    (tmp_path / "images").mkdir()
    (tmp_path / "videos" / CAMERA / "file.mp4").write_bytes(b"")
    check_wording(*inspect_path(tmp_path).suspicions)
