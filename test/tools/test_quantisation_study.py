# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What calibration is worth, with a real walking policy: the order, and the figures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from tools.quantisation_study import Figures, study

CONTRACT = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_deeprobotics"

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def lite3_copy(lite3_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("study") / "lite3"
    shutil.copytree(CONTRACT, made)
    shutil.copyfile(lite3_data / "policy.onnx", made / "policy.onnx")
    return made


@pytest.fixture(scope="module")
def found(lite3_copy: Path, lite3_data: Path) -> list[Figures]:
    return study(load_bundle(lite3_copy, kind=JointBundle), lite3_data / "rollout_50hz.npz")


@pytest.mark.slow
def test_a_rollout_calibrates_better_than_noise_and_noise_than_zeros(found: list[Figures]) -> None:
    assert [one.calibration for one in found] == ["rollout", "N(0, 1)", "zeros"]
    rmse, cosine = zip(*(one.medians for one in found), strict=True)
    assert list(rmse) == sorted(rmse)
    assert list(cosine) == sorted(cosine, reverse=True)
