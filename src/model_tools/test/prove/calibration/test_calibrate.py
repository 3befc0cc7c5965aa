# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is written, when it is not, and that it is there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.files.row_files import read_rows
from model_tools.prove.calibration.calibrate import CalibrationRequest, Selection, calibrate
from model_tools.prove.calibration.calibration_files import (
    PROVENANCE,
    calibration_samples,
    kept_in,
)
from model_tools.prove.calibration.calibration_report import Calibrated, calibration_report
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_store.report import Note, Plot, Section
from testkit.disks import small_disk
from testkit.wording import check_wording, refusal

from ...tiny_bundle import make_bundle, observations
from .sources import Made, silent

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
def tiny(tmp_path: Path) -> JointBundle:
    return load_bundle(make_bundle(tmp_path / "tiny"), kind=JointBundle)


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


def test_the_report_has_the_verdict_and_a_chart_of_each_term(
    calib: Calibrate, tmp_path: Path
) -> None:
    found = calib("calib.npz", report=tmp_path / "report")

    parts = calibration_report(found).parts
    notes = [part.text for part in parts if isinstance(part, Note)]
    assert found.verdict.warnings
    assert notes == [*found.verdict.problems, *found.verdict.warnings, *found.verdict.notes]
    [section] = [part for part in parts if isinstance(part, Section)]
    charts = [chart for part in section.parts if isinstance(part, Plot) for chart in part.charts]
    assert [len(chart.names) for chart in charts] == [
        len(term.names)
        for term in sorted(found.coverage.terms, key=lambda term: len(term.names) > 4)
    ]
    assert "<svg" in (tmp_path / "report" / "coverage.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("output", "form"), [("calib.bin", None), ("calib.npy", "npz"), ("calib", None)]
)
def test_an_output_of_no_known_format_is_refused(
    calib: Calibrate, output: str, form: str | None
) -> None:
    with refusal(ToolError):
        calib(output, form=form)


def test_an_npy_of_a_model_with_two_inputs_is_refused(tmp_path: Path) -> None:
    tiny = load_bundle(make_bundle(tmp_path / "tiny", recurrent=True), kind=JointBundle)
    request = CalibrationRequest(selection=Selection(), batch=8, output=tmp_path / "calib.npy")
    with refusal(ToolError):
        calibrate(tiny, [made_rows()], request, silent(), lambda _: None)


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
