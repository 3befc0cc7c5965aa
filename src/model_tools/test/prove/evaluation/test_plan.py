# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A plan says which trials there are, and is refused with everything that is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_tools.prove.evaluation.plan import Plan, load_plan, plan_schema
from policy_core.errors import BundleError
from testkit.wording import refusal

EXAMPLES = Path(__file__).resolve().parents[5] / "examples" / "evaluate"


def plan_of(folder: Path, **content: Any) -> Plan:
    """Load a plan with these keys, of a Lite3 and two seeds if they do not say so."""
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump({"robot": "lite3", "seeds": 2, **content}), "utf-8")
    return load_plan(file)


def test_every_combination_is_tried_with_every_seed(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, factors={"friction": [0.4, 1.0], "payload_kg": [0, 1, 2]})
    conditions = list(plan.conditions())
    assert len(conditions) == len(plan) == 12
    assert [seed for seed, _ in conditions] == [1] * 6 + [2] * 6
    assert {(each["friction"], each["payload_kg"]) for seed, each in conditions if seed == 2} == {
        (friction, kg) for friction in (0.4, 1.0) for kg in (0.0, 1.0, 2.0)
    }
    assert plan.varied == ("friction", "payload_kg")


def test_a_range_gives_each_seed_a_value_of_its_own_whatever_else_is_planned(
    tmp_path: Path,
) -> None:
    latency = {"min": 2.0, "max": 12.0}
    plan = plan_of(tmp_path, seeds=50, factors={"latency_ms": latency})
    drawn = [conditions["latency_ms"] for _, conditions in plan.conditions()]
    assert len(set(drawn)) == 50
    assert 2.0 <= min(drawn) < 4.0 < 10.0 < max(drawn) <= 12.0
    more = plan_of(
        tmp_path, seeds=60, factors={"latency_ms": latency, "push_n": {"min": 0, "max": 50}}
    )
    assert [conditions["latency_ms"] for _, conditions in more.conditions()][:50] == drawn


@pytest.mark.parametrize(
    "content",
    [
        {"seeds": 0},
        {"factors": {"frictoin": [1.0]}},
        {"factors": {"latency_ms": [50]}},
        {"factors": {"command": [[0.5, 0.0]]}},
        {"factors": {"payload_kg": [-60]}},
        {"factors": {"faults": [["nan:nose"]]}},
        {"factors": {"inference_ms": [5]}},
        {"robot": "so101", "factors": {"friction": [1.0]}},
        {"robot": "lite4"},
        {"duration_s": 1.0},
        {"required_success": 0.9, "seeds": 34},
        {"seeds": 1_000_000, "factors": {"friction": [1.0, 0.5]}},
        {"success": {"eror": 0.1}},
        {"success": {"estimate_rmse_mps": 0.05}},
        {"robot": "so101", "estimator": True},
    ],
)
def test_a_wrong_plan_is_refused(tmp_path: Path, content: Mapping[str, Any]) -> None:
    with refusal(BundleError):
        plan_of(tmp_path, **content)


def test_the_committed_schema_is_that_of_the_plan() -> None:
    committed = json.loads((EXAMPLES / "plan.schema.json").read_text("utf-8"))
    assert committed == plan_schema()


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.name)
def test_the_examples_are_plans(file: Path) -> None:
    assert len(load_plan(file)) >= 8
