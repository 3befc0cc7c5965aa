# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is said of the recorded walk of a real policy: it went forward and turned left, no more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from model_tools import cli

CONTRACT = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_deeprobotics"

pytestmark = pytest.mark.real_data


@pytest.fixture
def bundle(shared_data: Path, tmp_path: Path) -> Path:
    made = tmp_path / "lite3"
    shutil.copytree(CONTRACT, made)
    shutil.copyfile(shared_data / "legged" / "lite3" / "policy.onnx", made / "policy.onnx")
    return made


@pytest.mark.parametrize("recording", ["bag_mcap", "bag_sqlite3"])
def test_a_recording_that_went_forward_and_left_is_usable_with_gaps(
    shared_data: Path, bundle: Path, tmp_path: Path, recording: str
) -> None:
    source = shared_data / "legged" / "lite3" / recording
    assert (
        cli.main(
            [
                "calibrate",
                "--bundle",
                str(bundle),
                "--bag",
                str(source),
                "--samples",
                "800",
                "--output",
                str(tmp_path / "calib.npz"),
                "--report",
                str(tmp_path / "report"),
            ]
        )
        == 0
    )

    found = json.loads((tmp_path / "report" / "coverage.json").read_text("utf-8"))
    assert found["verdict"]["problems"] == []
    assert found["verdict"]["warnings"] == [
        "never backward, to the left, to the right, turning right: the policy was trained for that;"
        " record it, too"
    ]
    assert found["rows"] == found["different"] == 800


def test_the_whole_rollout_is_usable(shared_data: Path, bundle: Path, tmp_path: Path) -> None:
    rollout = shared_data / "legged" / "lite3" / "rollout_50hz.npz"
    assert (
        cli.main(
            [
                "calibrate",
                "--bundle",
                str(bundle),
                "--rows",
                str(rollout),
                "--samples",
                "all",
                "--output",
                str(tmp_path / "calib.npz"),
                "--report",
                str(tmp_path / "report"),
            ]
        )
        == 0
    )

    found = json.loads((tmp_path / "report" / "coverage.json").read_text("utf-8"))
    assert found["verdict"]["problems"] == found["verdict"]["warnings"] == []
    with np.load(rollout) as recorded, np.load(tmp_path / "calib.npz") as written:
        np.testing.assert_array_equal(written["obs"], recorded["obs"])
