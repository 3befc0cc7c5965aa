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
    WALKS,
    contract_in,
    keep_comparison,
    two_joint_bundle,
    walking_checks,
    write_contract,
)
from .conftest import Test, failed_checks, missing_evidence

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


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sha256": "0" * 64}, id="other model"),
        pytest.param({"backend": "onnx"}, id="other back end"),
        pytest.param({"closed_loop": [], "closed_loop_checks": []}, id="no walks"),
        pytest.param({"closed_loop_checks": [{"what": "tilt"}]}, id="half a check"),
        pytest.param({"closed_loop_checks": "none"}, id="text"),
        pytest.param({"closed_loop_checks": walking_checks()[1:]}, id="no falls"),
        pytest.param({"closed_loop_checks": walking_checks()[:1]}, id="falls only"),
    ],
)
def test_a_report_that_says_nothing_about_this_model_is_none(
    test: Test, integer_bundle: Path, changes: dict[str, Any]
) -> None:
    keep_comparison(integer_bundle, "vendor", changes)

    check_wording(missing_evidence(test(integer_bundle)))


def test_a_report_with_a_check_that_is_none_is_none(test: Test, integer_bundle: Path) -> None:
    texts = set[str]()
    for wrong in (
        {"limit": float("inf")},
        {"limit": float("nan")},
        {"limit": None},
        {"limit": "1"},
        {"limit": True},
        {"value": False},
        {"value": float("-inf")},
        {"at_least": True},
        {"at_least": 0},
        {"at_least": None},
        {"where": 1},
    ):
        checks = walking_checks({**FELL, **wrong})
        keep_comparison(integer_bundle, "vendor", {"closed_loop_checks": checks})
        texts.add(missing_evidence(test(integer_bundle)))

    check_wording(*texts)


def test_a_report_that_was_changed_by_hand_is_none(test: Test, integer_bundle: Path) -> None:
    keep_comparison(integer_bundle, "vendor")
    file = integer_bundle / "reports" / "comparison_vendor.json"
    file.write_text(file.read_text("utf-8").replace("1.0", "0.0") + " ", "utf-8")

    assert "comparison_vendor.json" in missing_evidence(test(integer_bundle))


@pytest.mark.parametrize("check", [FELL, NOT_MEASURED])
def test_integers_that_fell_fail(test: Test, integer_bundle: Path, check: dict[str, Any]) -> None:
    keep_comparison(integer_bundle, "vendor", {"closed_loop_checks": walking_checks(check)})

    (fell,) = failed_checks(test(integer_bundle))
    assert fell.what == f"walking: {check['what']}"
    assert fell.where == "fell, reports/comparison_vendor.json"


@pytest.mark.parametrize(
    ("check", "limits"),
    [
        ({**FELL, "limit": 2.0}, {}),
        (
            {"what": "largest tilt, degrees", "where": "(0.8, 0, 0)", "value": 9.0},
            {"max_tilt_rad": 0.1},
        ),
        ({"what": "error of vy", "where": "(0, 0.5, 0)", "value": 0.14}, {"velocity_error": 0.01}),
        ({"what": "error of vy", "where": "(0, 0.5, 0)", "value": 9.0, "limit": 10.0}, {}),
    ],
)
def test_limits_that_are_stricter_now_than_in_the_report_count(
    test: Test, tmp_path: Path, check: dict[str, Any], limits: dict[str, float]
) -> None:
    folder = two_joint_bundle(
        tmp_path / "integers",
        precision="w8a8",
        limits={"vendor": {"closed_loop": limits}} if limits else {},
    )
    keep_comparison(folder, "vendor", {"closed_loop_checks": walking_checks(check)})

    found = test(folder)

    assert found.verdict is not None
    assert not found.verdict.missing
    (failed,) = failed_checks(found)
    assert failed.what == f"walking: {check['what']}"


def test_limits_that_are_laxer_now_than_in_the_report_do_not_count(
    test: Test, tmp_path: Path
) -> None:
    folder = two_joint_bundle(
        tmp_path / "integers",
        precision="w8a8",
        limits={"vendor": {"closed_loop": {"max_tilt_rad": 1.0}}},
    )
    tilted = {"what": "largest tilt, degrees", "where": "(0.8, 0, 0)", "value": 11.0}
    keep_comparison(folder, "vendor", {"closed_loop_checks": walking_checks(tilted)})

    assert not test(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "int8"},
        {"closed_loop": []},
        {"closed_loop": [{"command": each, "error": [None] * 3} for each in WALKS.values()]},
        {"closed_loop": [{"command": [0, 0, 0], "error": [0.1] * 3}]},
    ],
    ids=["integers", "no walks", "no errors", "one walk"],
)
def test_a_report_whose_reference_did_not_walk_in_floats_is_none(
    test: Test, integer_bundle: Path, changes: dict[str, Any]
) -> None:
    keep_comparison(integer_bundle, "vendor", reference_changes=changes)

    check_wording(missing_evidence(test(integer_bundle)))


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int16", "w16a16i_dfp", "FP16"])
def test_floats_and_what_is_as_fine_need_no_report(
    test: Test, tmp_path: Path, precision: str
) -> None:
    limits = {"vendor": {"mae": 1e-3}}

    assert test(two_joint_bundle(tmp_path / "half", precision=precision, limits=limits))


@pytest.mark.parametrize("precision", ["W8A8", "INT8", "int4", "fp8", "w4a16", "mixed"])
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
    write_contract(folder, contract)
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
    write_contract(simulated_bundle, contract)

    check_wording(missing_evidence(test(simulated_bundle, "simulated")))
