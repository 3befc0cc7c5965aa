# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`calibrate` with a chunk policy: a folder per graph, in the format of each compiler."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools import cli
from testkit.chunk_bundles import ENCODER, POLICY, write_chunk_bundle
from testkit.wording import check_wording, lines_with

from ..files.lerobot.small_dataset import write_dataset

SIZES = {"laptop": (48, 64), "phone": (48, 64)}
Calibrate = Callable[..., Path]


@pytest.fixture
def calibrate(tmp_path: Path) -> Calibrate:
    bundle = write_chunk_bundle(tmp_path / "arm", sizes=SIZES)
    dataset, output = write_dataset(tmp_path / "dataset"), tmp_path / "calib"
    words = f"calibrate --bundle {bundle} --dataset {dataset} --cal-num 12 --output {output}"

    def apply(*more: str, status: int = 0) -> Path:
        assert cli.main([*words.split(), *more]) == status
        return output

    return apply


def test_arrays_have_all_samples_of_each_input(calibrate: Calibrate) -> None:
    folder = calibrate()

    assert np.load(folder / ENCODER / "0_images.npy").shape == (24, 3, 48, 64)
    assert sorted(file.name for file in (folder / POLICY).iterdir()) == [
        "0_states.npy",
        "1_laptop_features.npy",
        "2_phone_features.npy",
    ]
    assert np.load(folder / POLICY / "2_phone_features.npy").shape == (12, 2, 12, 16)
    assert sorted(file.name for file in folder.iterdir()) == [POLICY, ENCODER, "calibration.json"]
    said = json.loads((folder / "calibration.json").read_text("utf-8"))
    found = [said[key] for key in ("source", "bundle", "samples", "of")]
    assert found == ["dataset", "small_arm", 12, 36]
    images = said["graphs"][ENCODER]["images"]
    assert images["samples"] == 24
    assert -2.5 < images["min"] < 0.0 < images["max"] < 4.0


@pytest.mark.parametrize(("form", "suffix"), [("bpu_npy", ".npy"), ("bpu_bin", ".bin")])
def test_files_of_the_bpu_are_named_as_in_its_workspace(
    calibrate: Calibrate, form: str, suffix: str
) -> None:
    folder = calibrate("--format", form)

    encoder, policy = (folder / graph / f"calibration_data_{graph}" for graph in (ENCODER, POLICY))
    assert len(list(encoder.glob(f"laptop_*{suffix}"))) == 12
    assert {place.name: len(list(place.iterdir())) for place in policy.iterdir()} == {
        "state": 12,
        "laptop": 12,
        "phone": 12,
    }
    assert (policy / "state" / f"0000000011{suffix}").stat().st_size >= 12


def test_lists_of_rknn_name_a_file_per_input(calibrate: Calibrate) -> None:
    folder = calibrate("--format", "rknn")

    for graph, inputs, rows in ((ENCODER, 1, 24), (POLICY, 3, 12)):
        lines = (folder / graph / "dataset.txt").read_text("utf-8").splitlines()
        assert [len(line.split()) for line in lines] == [inputs] * rows
        assert np.load(folder / graph / lines[0].split()[0]).shape[0] == 1


@pytest.mark.parametrize(
    "more",
    [
        ("--format", "npz"),
        ("--bag", "walk"),
        ("--every", "2", "--live"),
        ("--topic", "a=b"),
    ],
)
def test_options_of_joint_policies_are_refused(
    calibrate: Calibrate, caplog: pytest.LogCaptureFixture, more: tuple[str, ...]
) -> None:
    output = calibrate(*more, status=4)

    check_wording(caplog.messages[-1])
    assert not output.exists()


def test_a_state_in_other_units_is_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A policy of rad, a dataset of degrees."""
    statistics = {"mode": "mean_std", "mean": [0.0, 0.1, 0.8], "std": [0.3, 0.3, 0.4]}
    changes: dict[str, Any] = {"state.normalisation": statistics}
    bundle = write_chunk_bundle(tmp_path / "arm", sizes=SIZES, **changes)
    dataset, output = write_dataset(tmp_path / "dataset"), tmp_path / "calib"

    words = f"calibrate --bundle {bundle} --dataset {dataset} --cal-num 12 --output {output}"
    cli.main(words.split())

    check_wording(*lines_with(caplog.messages, "units"))
