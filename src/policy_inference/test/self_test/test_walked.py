# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Models in few bits: judged by the report on walking that their bundle carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policy_inference.self_test.text import lines
from testkit.wording import check_wording

from .bundles import (
    HELD,
    contract_in,
    keep_comparison,
    put_contract,
    two_joint_bundle,
)
from .conftest import Test, failing_checks, missing_evidence
from .vendor import Device

FELL = {"what": "walks cut short", "value": 1.0, "limit": 0.0, "at_least": False, "where": "fell"}
NOT_MEASURED = {**FELL, "what": "largest tilt, degrees", "value": None}


@pytest.fixture
def integer_bundle(tmp_path: Path) -> Path:
    return two_joint_bundle(tmp_path / "integers", precision="w8a8")


def test_integers_that_walked_hold(test: Test, integer_bundle: Path) -> None:
    keep_comparison(integer_bundle, "vendor")
    found = test(integer_bundle)
    assert found, found.error
    assert found.verdict is not None
    check_wording(*(check.what for check in found.verdict.checks if "cut" in check.what))


def test_integers_without_a_report_are_not_judged_and_the_remedy_is_said(
    test: Test, integer_bundle: Path
) -> None:
    found = test(integer_bundle)
    check_wording([*lines(found)][-1], missing_evidence(found))


NO_REPORT: dict[str, dict[str, Any]] = {
    "other model": {"sha256": "0" * 64},
    "other back end": {"backend": "onnx"},
    "no walks": {"closed_loop": [], "closed_loop_checks": []},
    "text": {"closed_loop_checks": "none"},
}


@pytest.mark.parametrize("case", [*NO_REPORT, "integers", "changed by hand"])
def test_a_report_that_says_nothing_about_this_model_is_none(
    test: Test, integer_bundle: Path, vendor_device: Device, case: str
) -> None:
    vendor_device.run_ms = lambda time_s: 1000.0  # few runs: speed is not what counts here
    keep_comparison(
        integer_bundle, "vendor", NO_REPORT.get(case), "int8" if case == "integers" else "fp32"
    )
    if case == "changed by hand":
        file = integer_bundle / "reports" / "comparison_vendor.json"
        file.write_text(file.read_text("utf-8").replace("1.0", "0.0") + " ", "utf-8")
    check_wording(missing_evidence(test(integer_bundle)))


@pytest.mark.parametrize("check", [FELL, NOT_MEASURED])
def test_integers_that_fell_fail(test: Test, integer_bundle: Path, check: dict[str, Any]) -> None:
    keep_comparison(integer_bundle, "vendor", {"closed_loop_checks": [HELD, check]})
    (fell,) = failing_checks(test(integer_bundle))
    assert fell.what == f"walking: {check['what']}"
    assert fell.where == "fell, reports/comparison_vendor.json"


@pytest.mark.parametrize("precision", ["bf16", "w16a16i_dfp", "FP16"])
def test_floats_and_what_is_as_fine_need_no_report(
    test: Test, tmp_path: Path, precision: str
) -> None:
    limits = {"vendor": {"mae": 1e-3}}
    assert test(two_joint_bundle(tmp_path / "half", precision=precision, limits=limits))


@pytest.mark.parametrize("precision", ["W8A8", "int4", "fp8", "mixed"])
def test_every_other_precision_needs_a_report_however_it_is_spelled(
    test: Test, tmp_path: Path, precision: str
) -> None:
    limits = {"vendor": {"mae": 1e-3}}
    found = test(two_joint_bundle(tmp_path / "few", precision=precision, limits=limits))
    assert missing_evidence(found).startswith("walking: ")


@pytest.fixture
def simulated_bundle(tmp_path: Path) -> Path:
    """A bundle with what was compiled for a device and for its simulator in one order."""
    folder = two_joint_bundle(tmp_path / "compiled", precision="w8a8", backend="simulated")
    contract = contract_in(folder)
    artifacts = contract["model"]["artifacts"]
    (folder / "policy.zip").write_bytes(b"what the simulator builds from")
    artifacts["simulated"] |= {"made": "w8a8 over 300 rows", "tool": "toolkit 1"}
    artifacts["simulator"] = artifacts["simulated"] | {"file": "policy.zip", "sha256": "1" * 64}
    put_contract(folder, contract)
    keep_comparison(folder, "simulator")
    return folder


def test_what_the_simulator_walked_counts_for_the_device(
    test: Test, simulated_bundle: Path
) -> None:
    found = test(simulated_bundle, "simulated")
    assert found, found.verdict or found.error
    assert found.verdict is not None
    assert any("reports/comparison_simulator.json" in check.where for check in found.verdict.checks)


def test_what_the_simulator_walked_with_another_order_does_not_count(
    test: Test, simulated_bundle: Path
) -> None:
    contract = contract_in(simulated_bundle)
    contract["model"]["artifacts"]["simulated"]["made"] = "w8a8 over 30 rows"
    put_contract(simulated_bundle, contract)
    check_wording(missing_evidence(test(simulated_bundle, "simulated")))
