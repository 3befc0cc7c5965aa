# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `model_tools calibrate`: its sources, what it shows, and what it refuses."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools import cli
from model_tools.files.row_files import read_rows
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from testkit.bags import write_bag
from testkit.chunk_bundles import ENCODER, POLICY, write_chunk_bundle
from testkit.wording import check_wording, lines_with

from ..files.lerobot.small_dataset import write_dataset
from ..small_bag import every, joint_states
from ..tiny_bundle import forward, observations, weights

Run = Callable[..., int]


@pytest.fixture
def calibrate_tiny(users_folder: Callable[[], None]) -> Run:
    """Runs the command in a folder with the bundle `tiny` and the module `our_env`."""
    users_folder()
    return lambda *args: cli.main(
        ["calibrate", "--bundle", "tiny", "--output", "calib.npz", *map(str, args)]
    )


def only(caplog: pytest.LogCaptureFixture) -> None:
    """Check that there is one error, and that nothing was written."""
    [error] = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    check_wording(error.getMessage())
    left = {file.name for file in Path().iterdir()}
    assert not {name for name in left if "calib" in name or "report" in name}, left


def test_the_bundles_own_model_acts_in_an_environment(
    calibrate_tiny: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate_tiny("--env", "our_env:Env", "--samples", 600) == 0

    rows = read_rows(Path("calib.npz"), load_bundle(Path("tiny"), kind=JointBundle))
    assert len(rows) == 600
    assert len(rows.breaks) > 10
    obs, actions = (
        np.asarray(array, np.float32) for array in (rows.inputs["obs"], rows.outputs["actions"])
    )
    np.testing.assert_allclose(actions, forward(obs, weights()), atol=1e-6)
    shown = capsys.readouterr().out
    check_wording(*lines_with(shown, "600"), *lines_with(shown, "usable"))


def test_a_policy_of_the_user_acts_in_the_models_place(calibrate_tiny: Run) -> None:
    assert (
        calibrate_tiny("--env", "our_env:Env", "--policy", "our_env:Users", "--samples", 200) == 0
    )

    with np.load("calib.npz") as rows:
        follow = np.diff(rows["episode"]) == 0
        np.testing.assert_array_equal(rows["obs"][1:, 4:][follow], np.float32(0.25))
        np.testing.assert_allclose(rows["actions"], forward(rows["obs"], weights()), atol=1e-6)
    assert len(read_rows(Path("calib.npz"), load_bundle(Path("tiny"), kind=JointBundle))) == 200


def test_recordings_and_files_make_one_collection(calibrate_tiny: Run, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", joint_states(every(20, 0, 2000), topic="/robot/joints"))
    obs = observations(100)
    np.savez(tmp_path / "log.npz", obs=obs, actions=forward(obs, weights()))
    source = ("--bag", bag, "--topic", "joint_states=/robot/joints", "--allow-poor")

    assert calibrate_tiny(*source, "--rows", "log.npz", "--samples", "all") == 0

    with np.load("calib.npz") as rows:
        assert len(rows["obs"]) > 190
        assert "joint_pos" not in rows
        np.testing.assert_array_equal(rows["obs"][-100:], obs)

    assert calibrate_tiny(*source, "--from", 0.5, "--to", 1.0, "--force") == 0
    with np.load("calib.npz") as rows:
        assert (rows["time"].min(), rows["time"].max()) == pytest.approx((0.5, 1.0))


def test_rows_that_show_nothing_of_the_robot_fail_with_the_status_of_a_verdict(
    calibrate_tiny: Run, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ("--env", "our_env:still", "--samples", "100", "--policy", "our_env:Users")
    assert calibrate_tiny(*asked) == 1
    only(caplog)


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--policy", "our_env:Users"),
        ("--rows", "log.npz", "--topic", "a=/b"),
        ("--rows", "log.npz", "--duration", "3"),
        ("--live", "--duration", "nan"),
        ("--env", "our_env:Env", "--samples", "all"),
        ("--env", "our_env:Env", "--to", "3"),
        ("--rows", "missing.npz"),
        ("--bag", "tiny"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(
    calibrate_tiny: Run, caplog: pytest.LogCaptureFixture, args: tuple[str, ...]
) -> None:
    assert calibrate_tiny(*args) == 4
    only(caplog)


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


@pytest.mark.parametrize(
    "more", [("--format", "npz"), ("--bag", "walk"), ("--every", "2", "--live"), ("--topic", "a=b")]
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
