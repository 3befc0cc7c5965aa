# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is written, when it is not, and that it is there whole or not at all."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_tools.errors import ToolError
from model_tools.files.row_files import read_rows
from model_tools.files.rows import Row
from model_tools.prove.calibration.calibrate import (
    CalibrationRequest,
    Selection,
    calibrate,
    collect,
)
from model_tools.prove.calibration.calibration_files import PROVENANCE, calibration_samples, kept_in
from model_tools.prove.calibration.calibration_report import Calibrated
from model_tools.prove.calibration.collection import Collection
from policy_core.bundle.bundle import JointBundle
from policy_core.interfaces import Tensor
from testkit.disks import small_disk
from testkit.wording import check_wording, refusal

from ...tiny_bundle import observations
from .sources import Made, counting, silent

COUNT = 100
Calibrate = Callable[..., Calibrated]


def made_rows(count: int = COUNT, begins: tuple[int, ...] = (0,), **given: Any) -> Made:
    """Return rows of the tiny tiny with what was sensed, whose actions are none of its own."""
    obs = observations(count)
    actions = observations(count, seed=3)[:, :2]
    follows = np.setdiff1d(np.arange(1, count), begins)
    obs[list(begins), 4:] = 0.0
    obs[follows, 4:] = actions[follows - 1]
    sensed = {
        "joint_pos": obs[:, :2].astype(np.float64),
        "joint_vel": obs[:, 2:4].astype(np.float64),
    }
    return Made({"obs": obs, "actions": actions}, sensed, begins=begins, **given)


@pytest.fixture
def calib(tiny: JointBundle, tmp_path: Path) -> Calibrate:
    """Calibrates with made-up rows; `output` is below the test's folder."""

    def run(output: str, *sources: Made, samples: int | None = None, **given: Any) -> Calibrated:
        shown = list[Calibrated]()
        request = CalibrationRequest(
            selection=Selection(samples=samples), batch=8, output=tmp_path / output, **given
        )
        calibrate(tiny, sources or [made_rows()], request, silent(), shown.append)
        return shown[0]

    return run


def test_an_npz_is_what_compile_and_compare_read(
    calib: Calibrate, tiny: JointBundle, tmp_path: Path
) -> None:
    calib("calib.npz", made_rows(begins=(0, 40)))

    rows, source = read_rows(tmp_path / "calib.npz", tiny), made_rows(begins=(0, 40))
    for number, row in enumerate(source.rows(None)):
        np.testing.assert_array_equal(rows.inputs["obs"][number], row.tensors["obs"])
        np.testing.assert_array_equal(rows.outputs["actions"][number], row.tensors["actions"])
        np.testing.assert_array_equal(rows.sensed["joint_vel"][number], row.sensed["joint_vel"])
    assert rows.breaks == (40,)
    samples = calibration_samples(tiny, tmp_path / "calib.npz", rows, 50)
    assert samples["obs"].shape == (50, 6)


def test_rknn_gets_a_list_with_a_file_per_sample(calib: Calibrate, tmp_path: Path) -> None:
    calib("rknn", form="rknn")

    lines = (tmp_path / "rknn" / "dataset.txt").read_text("utf-8").splitlines()
    assert len(lines) == COUNT
    for line, row in zip(lines, made_rows().rows(None), strict=True):
        np.testing.assert_array_equal(np.load(tmp_path / "rknn" / line)[0], row.tensors["obs"])


@pytest.mark.parametrize("form", ["bpu_bin", "bpu_npy"])
def test_a_bpu_gets_a_folder_of_samples(calib: Calibrate, tmp_path: Path, form: str) -> None:
    calib("bpu", form=form)

    files = sorted((tmp_path / "bpu" / "samples" / "0_obs").iterdir())
    for file, row in zip(files, made_rows().rows(None), strict=True):
        found = np.load(file) if form == "bpu_npy" else np.fromfile(file, np.float32)
        assert form == "bpu_bin" or found.shape == (1, 6, 1, 1)
        np.testing.assert_array_equal(found.ravel(), row.tensors["obs"])


@pytest.mark.parametrize("form", ["npz", "rknn"])
def test_rows_that_will_not_do_are_not_written_unless_asked_for(
    calib: Calibrate, tmp_path: Path, form: str
) -> None:
    few, output = made_rows(20), "calib.npz" if form == "npz" else "calib"
    with refusal(ToolError):
        calib(output, few, form=form, report=tmp_path / "report")
    assert not (tmp_path / output).exists()
    report = json.loads((tmp_path / "report" / "coverage.json").read_text("utf-8"))
    assert report["verdict"]["usable"] is False

    calib(output, few, form=form, allow_poor=True)

    if form == "npz":
        with np.load(tmp_path / output) as arrays:
            kept = kept_in(arrays[PROVENANCE])
        assert kept is not None
        assert kept.verdict.words == "not usable"
        check_wording(kept.verdict.problems[0])
    else:
        said = json.loads((tmp_path / output / "calibration.json").read_text("utf-8"))
        assert said["verdict"]["usable"] is False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    with small_disk(tmp_path / "disk", 256) as folder:
        yield folder


def test_a_full_disk_is_one_clear_error(calib: Calibrate, disk: Path) -> None:
    output = disk / "calib.npz"
    with refusal(ToolError):
        calib(str(output), made_rows(5000), force=True)
    assert list(disk.iterdir()) == []


KNOWN = pytest.mark.parametrize("known", [True, False], ids=["count known", "count unknown"])


def one_row(number: int, **tensors: Tensor) -> Row:
    return Row(number=number, time_s=0.0, begins=False, tensors=tensors, sensed={})


def drawn(folder: Path, sources: Sequence[Made], batch: int = 4, **wanted: object) -> list[float]:
    with Collection(folder, batch) as rows:
        selection = Selection(**wanted)  # type: ignore[arg-type]  # of Selection
        collect(sources, selection, rows, silent())
        values = [float(value) for part in rows.batches() for value in part["tensors"]["obs"][:, 0]]
        assert len(values) == len(rows)
    return values


@KNOWN
@given(count=st.integers(1, 99), wanted=st.none() | st.integers(1, 120), every=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_as_many_rows_as_wanted_are_drawn_in_the_order_of_time(
    tmp_path_factory: pytest.TempPathFactory,
    known: bool,
    count: int,
    wanted: int | None,
    every: int,
) -> None:
    source, there = counting(count, known=known), range(0, count, every)
    folder = tmp_path_factory.getbasetemp()
    values = drawn(folder, [source], samples=wanted, every=every)

    assert values == sorted(set(values))
    assert set(values) <= set(there)
    assert len(values) == min(wanted or count, len(there))


@KNOWN
def test_every_row_has_the_same_chance(tmp_path: Path, known: bool) -> None:
    """Each of 40 rows is in 25 of 100 draws; 4.5 deviations of a binomial are 20."""
    counts = np.zeros(40)
    for seed in range(100):
        values = drawn(tmp_path, [counting(40, known=known)], samples=10, seed=seed)
        counts[np.array(values, int)] += 1

    assert counts.sum() == 1000
    assert counts.min() >= 5
    assert counts.max() <= 45


def test_only_rows_that_are_drawn_and_those_after_them_are_made(tmp_path: Path) -> None:
    source = counting(1000)
    values = drawn(tmp_path, [source], samples=10)
    assert source.made == sorted(
        {value + after for value in values for after in range(3) if value + after < 1000}
    )


@KNOWN
def test_several_sources_are_one_collection(tmp_path: Path, known: bool) -> None:
    sources = [counting(30, known=known), counting(70, known=known)]
    values = drawn(tmp_path, sources, samples=60)

    [second] = np.flatnonzero(np.diff(values) <= 0) + 1
    assert 5 <= second <= 30
    assert len(values) == 60
    assert max(values) >= 60


@KNOWN
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused(tmp_path: Path, known: bool, value: float) -> None:
    obs = np.zeros((5, 2), np.float32)
    obs[3, 1] = value
    with refusal(ToolError):
        drawn(tmp_path, [Made({"obs": obs}, known=known)], samples=None)


@pytest.mark.parametrize(
    "other", [{"obs": np.zeros(3, np.float32)}, {"scan": np.zeros(2, np.float32)}, {}]
)
def test_a_row_with_other_arrays_than_the_first_is_refused(
    tmp_path: Path, other: dict[str, np.ndarray]
) -> None:
    with Collection(tmp_path, 8) as rows:
        rows.add(one_row(0, obs=np.zeros(2, np.float32)))
        with refusal(ToolError):
            rows.add(one_row(1, **other))
