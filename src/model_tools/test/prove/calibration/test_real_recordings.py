# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is said of the recorded walk of a real policy: it went forward and turned left, no more."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools import cli
from testkit.wording import check_wording

CONTRACT = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_deeprobotics"

pytestmark = pytest.mark.real_data


@pytest.fixture
def lite3_with_model(shared_data: Path, tmp_path: Path) -> Path:
    made = tmp_path / "lite3"
    shutil.copytree(CONTRACT, made)
    shutil.copyfile(shared_data / "legged" / "lite3" / "policy.onnx", made / "policy.onnx")
    return made


def calibrated(bundle: Path, *args: object) -> Any:
    folder = bundle.parent
    output = ("--output", folder / "calib.npz", "--report", folder / "report")
    assert cli.main(["calibrate", "--bundle", *map(str, (bundle, *args, *output))]) == 0
    return json.loads((folder / "report" / "coverage.json").read_text("utf-8"))


def test_a_recording_that_went_forward_and_left_is_usable_with_gaps(
    shared_data: Path, lite3_with_model: Path, tmp_path: Path
) -> None:
    source = shared_data / "legged" / "lite3" / "bag_mcap"
    found = calibrated(lite3_with_model, "--bag", source, "--samples", 800)

    assert found["verdict"]["problems"] == []
    check_wording(*found["verdict"]["warnings"])
    assert found["rows"] == found["different"] == 800


def test_the_whole_rollout_is_usable(
    shared_data: Path, lite3_with_model: Path, tmp_path: Path
) -> None:
    rollout = shared_data / "legged" / "lite3" / "rollout_50hz.npz"
    found = calibrated(lite3_with_model, "--rows", rollout, "--samples", "all")

    assert found["verdict"]["problems"] == found["verdict"]["warnings"] == []
    with np.load(rollout) as recorded, np.load(tmp_path / "calib.npz") as written:
        np.testing.assert_array_equal(written["obs"], recorded["obs"])
