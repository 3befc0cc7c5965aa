# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The verb `sensitivity`: from walks to figures, a page, and a report in the bundle."""

import json
from pathlib import Path

import pytest
import yaml

from model_tools.cli import main
from model_tools.make.parity import drop_reports_of_others
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from testkit.correcting import correcting_bundle
from testkit.store import tool_refused
from testkit.wording import check_wording


@pytest.mark.slow
def test_a_walk_with_each_error_and_a_report_that_install_reads(tmp_path: Path) -> None:
    bundle, plan, output = tmp_path / "bundle", tmp_path / "plan.yaml", tmp_path / "output"
    correcting_bundle(bundle, estimated=True)
    planned: dict[str, object] = {
        "robot": "lite3",
        "seeds": 1,
        "duration_s": 4.0,
        "required_success": 0.1,
    }
    planned["success"] = {"error": 0.3}
    plan.write_text(yaml.safe_dump(planned), "utf-8")
    words = ["sensitivity", str(bundle), "--plan", str(plan), "--output", str(output)]
    words += ["--errors", "5.0", "--workers", "1", "--record"]

    assert main(words) == 0

    found = json.loads((output / "sensitivity.json").read_text("utf-8"))
    assert [(one["error_mps"], one["successes"]) for one in found["levels"]] == [
        (0.0, 1),
        (0.05, 1),
        (5.0, 0),
    ]
    assert (found["survived_error_mps"], found["stated_error_mps"]) == (0.05, 0.05)
    assert (output / "sensitivity.html").stat().st_size > 0
    assert load_bundle(bundle).report("sensitivity_onnx") == found
    assert list(load_bundle(bundle).contract.reports) == ["sensitivity_onnx"]  # and no comparison

    drop_reports_of_others(load_bundle(bundle, kind=JointBundle))
    assert load_bundle(bundle).report("sensitivity_onnx") == found
    contract = bundle / "policy.yaml"
    text = contract.read_text("utf-8")
    contract.write_text(text.replace("error_mps: 0.05", "error_mps: 0.06"), "utf-8")
    tool_refused("install", bundle, "--root", tmp_path / "root")
    contract.write_text(text, "utf-8")
    assert main(["install", str(bundle), "--root", str(tmp_path / "root")]) == 0
    [installed] = (tmp_path / "root").glob("*/[0-9]*")
    words[1], words[5] = str(installed), str(tmp_path / "again")
    tool_refused(*words, "--force")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("errors", ["-0.1", "0.1,much"])
def test_errors_are_numbers_of_0_or_more(
    errors: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sensitivity", str(tmp_path), f"--errors={errors}", "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    check_wording(capsys.readouterr().err.splitlines()[-1])
