# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Models in few bits: judged by the report on walking that their bundle carries."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policy_inference.self_test.run import SelfTestResult
from policy_inference.self_test.text import lines

from .bundles import (
    WALKS,
    keep_comparison,
    make_bundle,
    read_contract,
    walking_checks,
    write_contract,
)

Test = Callable[..., SelfTestResult]
FELL = {"what": "walks cut short", "value": 1.0, "limit": 0.0, "at_least": False, "where": "fell"}
NOT_MEASURED = {**FELL, "what": "largest tilt, degrees", "value": None}


@pytest.fixture
def integers(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "integers", precision="w8a8")


def missing(found: SelfTestResult) -> str:
    assert found.verdict is not None, found.error
    assert not found
    (text,) = found.verdict.missing
    return text


def test_integers_that_walked_hold(test: Test, integers: Path) -> None:
    keep_comparison(integers, "vendor")

    found = test(integers)

    assert found, found.error
    assert found.verdict is not None
    assert "walking: walks cut short" in [check.what for check in found.verdict.checks]


def test_integers_without_a_report_are_not_judged_and_the_remedy_is_said(
    test: Test, integers: Path
) -> None:
    found = test(integers)
    text = missing(found)

    assert re.search(r"verdict +not judged: (\d+) of \1 limits hold, 1 not", [*lines(found)][-1])
    assert "reports/comparison_vendor.json: expected a report on walking" in text
    assert f"model_tools compare {integers} --backend onnx,vendor --closed-loop --record" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "expected a report about the model .*, found one about another"),
        ({"backend": "onnx"}, "expected a report about the model .*, found one about another"),
        ({"closed_loop": [], "closed_loop_checks": []}, "found a comparison without --closed-loop"),
        (
            {"closed_loop_checks": [{"what": "tilt"}]},
            "expected checks of walks, found something else",
        ),
        ({"closed_loop_checks": "none"}, "expected checks of walks, found something else"),
        ({"closed_loop_checks": walking_checks()[1:]}, "found none of walks cut short"),
        (
            {"closed_loop_checks": walking_checks()[:1]},
            r"found none of largest tilt, degrees, .*error of yaw rate \(0, 0, 0.8\)",
        ),
        *[
            (
                {"closed_loop_checks": walking_checks({**FELL, **wrong})},
                "expected checks of walks, found something else",
            )
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
            )
        ],
    ],
)
def test_a_report_that_says_nothing_about_this_model_is_none(
    test: Test, integers: Path, changes: dict[str, Any], message: str
) -> None:
    keep_comparison(integers, "vendor", changes)

    text = missing(test(integers))

    assert re.search(message, text)
    assert "--force" in text


def test_a_report_that_was_changed_by_hand_is_none(test: Test, integers: Path) -> None:
    keep_comparison(integers, "vendor")
    file = integers / "reports" / "comparison_vendor.json"
    file.write_text(file.read_text("utf-8").replace("1.0", "0.0") + " ", "utf-8")

    assert "comparison_vendor.json: expected sha256" in missing(test(integers))


@pytest.mark.parametrize("check", [FELL, NOT_MEASURED])
def test_integers_that_fell_fail(test: Test, integers: Path, check: dict[str, Any]) -> None:
    keep_comparison(integers, "vendor", {"closed_loop_checks": walking_checks(check)})

    found = test(integers)

    assert found.verdict is not None
    (fell,) = (one for one in found.verdict.checks if not one)
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
    folder = make_bundle(
        tmp_path / "integers",
        precision="w8a8",
        limits={"vendor": {"closed_loop": limits}} if limits else {},
    )
    keep_comparison(folder, "vendor", {"closed_loop_checks": walking_checks(check)})

    found = test(folder)

    assert found.verdict is not None
    assert not found.verdict.missing
    (failed,) = (one for one in found.verdict.checks if not one)
    assert failed.what == f"walking: {check['what']}"


def test_limits_that_are_laxer_now_than_in_the_report_do_not_count(
    test: Test, tmp_path: Path
) -> None:
    folder = make_bundle(
        tmp_path / "integers",
        precision="w8a8",
        limits={"vendor": {"closed_loop": {"max_tilt_rad": 1.0}}},
    )
    tilted = {"what": "largest tilt, degrees", "where": "(0.8, 0, 0)", "value": 11.0}
    keep_comparison(folder, "vendor", {"closed_loop_checks": walking_checks(tilted)})

    assert not test(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "int8"}, "a model in floats, found another one, in int8"),
        ({"closed_loop": []}, "expected checks of walks, found something else"),
        (
            {
                "closed_loop": [
                    {"command": command, "error": [None] * 3} for command in WALKS.values()
                ]
            },
            "expected checks of walks, found something else",
        ),
        (
            {"closed_loop": [{"command": [0, 0, 0], "error": [0.1] * 3}]},
            "expected checks of walks, found something else",
        ),
    ],
)
def test_a_report_whose_reference_did_not_walk_in_floats_is_none(
    test: Test, integers: Path, changes: dict[str, Any], message: str
) -> None:
    keep_comparison(integers, "vendor", reference_changes=changes)

    assert message in missing(test(integers))


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int16", "w16a16i_dfp", "FP16"])
def test_floats_and_what_is_as_fine_need_no_report(
    test: Test, tmp_path: Path, precision: str
) -> None:
    limits = {"vendor": {"mae": 1e-3}}

    assert test(make_bundle(tmp_path / "half", precision=precision, limits=limits))


@pytest.mark.parametrize("precision", ["W8A8", "INT8", "int4", "fp8", "w4a16", "mixed"])
def test_every_other_precision_needs_a_report_however_it_is_spelled(
    test: Test, tmp_path: Path, precision: str
) -> None:
    limits = {"vendor": {"mae": 1e-3}}

    text = missing(test(make_bundle(tmp_path / "few", precision=precision, limits=limits)))

    assert text.startswith("walking: ")


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """A bundle with what was compiled for a device and for its simulator in one order."""
    folder = make_bundle(tmp_path / "compiled", precision="w8a8", backend="simulated")
    contract = read_contract(folder)
    artifacts = contract["model"]["artifacts"]
    (folder / "policy.zip").write_bytes(b"what the simulator builds from")
    artifacts["simulated"] |= {"made": "w8a8 over 300 rows", "tool": "toolkit 1"}
    artifacts["simulator"] = artifacts["simulated"] | {"file": "policy.zip", "sha256": "1" * 64}
    write_contract(folder, contract)
    keep_comparison(folder, "simulator")
    return folder


def test_what_the_simulator_walked_counts_for_the_device(test: Test, compiled: Path) -> None:
    found = test(compiled, "simulated")

    assert found, found.verdict or found.error
    assert found.verdict is not None
    assert any("reports/comparison_simulator.json" in check.where for check in found.verdict.checks)


def test_what_the_simulator_walked_with_another_order_does_not_count(
    test: Test, compiled: Path
) -> None:
    contract = read_contract(compiled)
    contract["model"]["artifacts"]["simulated"]["made"] = "w8a8 over 30 rows"
    write_contract(compiled, contract)

    text = missing(test(compiled, "simulated"))

    assert "comparison_simulated.json: expected a report on walking" in text
