# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What `model_tools compare --record` keeps in a bundle is what a self-test reads there."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_tools import cli
from policy_inference.self_test.run import SelfTestRequest, SelfTestResult, self_test

OURS = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"


def integers(folder: Path, rows: int = 256) -> Path:
    how = ["--precision", "int8", "--rows", str(OURS / "golden.npz"), "--samples", str(rows)]
    words = ["compile", "onnx", "--bundle", str(OURS), *how, "--output", str(folder)]
    assert cli.main(words) == 0
    return folder


def compared_walks(folder: Path) -> int:
    """Compare it with the reference on short walks, and keep the report."""
    return cli.main(
        ["compare", str(OURS), str(folder), "--closed-loop", "--seconds", "4", "--record"]
    )


def self_tested(folder: Path) -> SelfTestResult:
    return self_test(SelfTestRequest(folder=folder, backend="onnx", duration_s=0.2))


@pytest.mark.acceptance
def test_a_recorded_walk_judges_integers(tmp_path: Path) -> None:
    folder = integers(tmp_path / "int8")
    before = self_tested(folder)
    status = compared_walks(folder)

    after = self_tested(folder)

    assert before.verdict is not None
    assert "reports/comparison_onnx.json: expected" in before.verdict.missing[0]
    assert f" {folder} --cl" in before.verdict.missing[0]
    assert after.verdict is not None
    assert not after.verdict.missing
    walking = [check for check in after.verdict.checks if check.what.startswith("walking: ")]
    assert len(walking) > 10
    assert all(walking) is (status == 0)
