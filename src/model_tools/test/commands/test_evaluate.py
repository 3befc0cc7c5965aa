# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The verb `evaluate`: from a plan to results, a summary and a page."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from model_tools.cli import main
from testkit.wording import check_wording

BUNDLE = Path(__file__).resolve().parents[4] / "config" / "bundles" / "lite3_walk"


def plan_file(folder: Path, seeds: int = 2) -> Path:
    file = folder / "plan.yaml"
    content = {"robot": "lite3", "seeds": seeds, "duration_s": 4.0, "success": {"error": 0.3}}
    file.write_text(yaml.safe_dump(content), "utf-8")
    return file


@pytest.mark.acceptance
def test_an_evaluation_writes_results_summary_and_page_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["evaluate", str(BUNDLE), "--plan", str(plan_file(tmp_path)), "--videos", "0"]
    output = tmp_path / "one"
    assert main([*words, "--output", str(output), "--workers", "1"]) == 0
    summary = json.loads((output / "summary.json").read_text("utf-8"))
    assert (summary["trials"], summary["successes"], summary["not_done"]) == (2, 2, 0)
    assert summary["success_low"] < 1.0 == summary["success_high"]
    assert main([*words, "--output", str(output)]) == 4
    check_wording(caplog.messages[-1])
    plan_file(tmp_path, seeds=3)
    assert main([*words, "--output", str(output), "--resume", "--workers", "2"]) == 0
    assert json.loads((output / "summary.json").read_text("utf-8"))["trials"] == 3
    assert len((output / "trials.jsonl").read_text("utf-8").splitlines()) == 3
    other = tmp_path / "two"
    assert main([*words, "--output", str(other), "--workers", "2"]) == 0
    assert (other / "summary.json").read_bytes() == (output / "summary.json").read_bytes()
    assert (other / "report.html").read_bytes() == (output / "report.html").read_bytes()


def test_ray_that_is_not_installed_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["evaluate", str(BUNDLE), "--plan", str(plan_file(tmp_path))]
    assert main([*words, "--output", str(tmp_path / "out"), "--ray", "127.0.0.2:6379"]) == 4
    check_wording(caplog.messages[-1])
    assert not (tmp_path / "out").exists()
