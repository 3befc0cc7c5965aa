# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Models in few bits: judged by the report on walking that their bundle carries."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policy_inference.self_test.run import Found

from .bundles import keep_comparison, make_bundle, read_contract, write_contract

Test = Callable[..., Found]
FELL = {"what": "walks cut short", "value": 1.0, "limit": 0.0, "at_least": False, "where": "fell"}
NOT_MEASURED = {**FELL, "what": "largest tilt, degrees", "value": None}


@pytest.fixture
def integers(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "integers", precision="w8a8")


def missing(found: Found) -> str:
    assert found.verdict is not None, found.error
    assert not found
    text, = found.verdict.missing
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
    text = missing(test(integers))

    assert "reports/comparison_vendor.json: expected a report on walking" in text
    assert f"model_tools compare {integers} --backends onnx,vendor --closed-loop --record" in text


@pytest.mark.parametrize(("changes", "message"), [
    ({"sha256": "0" * 64}, "expected a report about the model .*, found one about another"),
    ({"backend": "onnx"}, "expected a report about the model .*, found one about another"),
    ({"closed_loop": [], "closed_loop_checks": []}, "found a comparison without --closed-loop"),
    ({"closed_loop_checks": [{"what": "tilt"}]}, "expected checks of walks, found something else"),
    ({"closed_loop_checks": "none"}, "expected checks of walks, found something else"),
])  # fmt: skip
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
    keep_comparison(integers, "vendor", {"closed_loop_checks": [check]})

    found = test(integers)

    assert found.verdict is not None
    (fell,) = (one for one in found.verdict.checks if not one)
    assert fell.what == f"walking: {check['what']}"
    assert fell.where == "fell, reports/comparison_vendor.json"


def test_floats_need_no_report(test: Test, tmp_path: Path) -> None:
    assert test(make_bundle(tmp_path / "half", precision="fp16"))


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
