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
from policy_inference.testing.chunk_bundles import ENCODER, POLICY, write_chunk_bundle

from ..files.lerobot.small_dataset import write_dataset
from ..tiny_bundle import make_bundle

SIZES = {"laptop": (48, 64), "phone": (48, 64)}
Calibrate = Callable[..., Path]


@pytest.fixture
def calibrate(tmp_path: Path) -> Calibrate:
    bundle = write_chunk_bundle(tmp_path / "arm", sizes=SIZES)
    dataset = write_dataset(tmp_path / "dataset")

    def apply(*more: str, status: int = 0) -> Path:
        output = tmp_path / "calib"
        found = cli.main(
            [
                "calibrate",
                "--bundle",
                str(bundle),
                "--dataset",
                str(dataset),
                "--cal-num",
                "12",
                "--output",
                str(output),
                *more,
            ]
        )
        assert found == status
        return output

    return apply


def test_arrays_have_all_samples_of_each_input(calibrate: Calibrate) -> None:
    folder = calibrate()

    images = np.load(folder / ENCODER / "0_images.npy")
    assert images.shape == (24, 3, 48, 64)
    assert sorted(file.name for file in (folder / POLICY).iterdir()) == [
        "0_states.npy",
        "1_laptop_features.npy",
        "2_phone_features.npy",
    ]
    assert np.load(folder / POLICY / "2_phone_features.npy").shape == (12, 2, 12, 16)
    assert sorted(file.name for file in folder.iterdir()) == [POLICY, ENCODER, "calibration.json"]


def test_the_folder_says_what_is_in_it(calibrate: Calibrate) -> None:
    said = json.loads((calibrate() / "calibration.json").read_text("utf-8"))

    assert (said["source"], said["bundle"], said["samples"], said["of"]) == (
        "dataset",
        "small_arm",
        12,
        36,
    )
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


def test_a_folder_that_is_there_is_replaced_by_force_alone(
    calibrate: Calibrate, caplog: pytest.LogCaptureFixture
) -> None:
    note = calibrate() / "note.txt"

    calibrate("--format", "rknn", status=4)
    assert "expected nothing there yet, found a folder; --force replaces it" in caplog.text
    note.touch()
    calibrate("--force", status=4)
    assert note.exists()
    note.unlink()
    calibrate("--format", "rknn", "--force")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            ("--format", "npz"),
            "expected a format among npy, rknn, bpu_bin, bpu_npy for a chunk policy",
        ),
        (("--bag", "walk"), "expected one --dataset, --rows or --bag to calibrate a chunk"),
        (
            ("--every", "2", "--live"),
            "small_arm, found --live, --every; it takes --dataset, --rows or --bag",
        ),
        (("--topic", "a=b"), "--topic: expected a recording, found"),
    ],
)
def test_options_of_joint_policies_are_refused(
    calibrate: Calibrate, caplog: pytest.LogCaptureFixture, more: tuple[str, ...], expected: str
) -> None:
    output = calibrate(*more, status=4)

    assert expected in caplog.text
    assert not output.exists()


def test_a_state_in_other_units_is_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A policy of rad, a dataset of degrees."""
    statistics = {"mode": "mean_std", "mean": [0.0, 0.1, 0.8], "std": [0.3, 0.3, 0.4]}
    changes: dict[str, Any] = {"state.normalisation": statistics}
    bundle = write_chunk_bundle(tmp_path / "arm", sizes=SIZES, **changes)

    cli.main(
        [
            "calibrate",
            "--bundle",
            str(bundle),
            "--dataset",
            str(write_dataset(tmp_path / "dataset")),
            "--cal-num",
            "12",
            "--output",
            str(tmp_path / "calib"),
        ]
    )

    assert "are the joints in the units that the policy was trained with?" in caplog.text


def test_a_dataset_is_not_for_joint_policies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    status = cli.main(
        [
            "calibrate",
            "--bundle",
            str(make_bundle(tmp_path / "tiny")),
            "--dataset",
            str(tmp_path),
            "--output",
            str(tmp_path / "calib.npz"),
        ]
    )

    assert status == 4
    assert "--dataset: expected a chunk policy, found the joint policy tiny" in (caplog.text)
