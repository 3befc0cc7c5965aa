# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The table of status fields agrees with the messages, the metrics' page, alerts and dashboard."""

import re
from pathlib import Path

import pytest

from policy_inference.status_fields import DRIVER, INPUT, POLICY, SET, SHADOW, TRIAL, StatusGroup
from tools.write_schema import METRICS, metrics_page

ROOT = Path(__file__).resolve().parents[2]
FIELD = re.compile(r"^[\w/]+(?:\[\])? (\w+)(?: .*)?$", re.M)


def fields_with_comments(message: str) -> dict[str, str]:
    """Return the fields of a message, each with its own comment and those of its paragraph."""
    text = (ROOT / "src" / "policy_msgs" / "msg" / f"{message}.msg").read_text("utf-8")
    return {
        name: paragraph for paragraph in text.split("\n\n") for name in FIELD.findall(paragraph)
    }


@pytest.mark.parametrize(
    "group", [DRIVER, INPUT, POLICY, SET, SHADOW, TRIAL], ids=lambda group: group.message
)
def test_fields_are_those_of_the_message_with_their_units(group: StatusGroup) -> None:
    described = fields_with_comments(group.message)
    assert [each.name for each in group.fields] == [*described]
    for each in group.fields:
        if each.unit:
            assert f"[{each.unit}]" in described[each.name], each.name


def test_page_of_metrics_has_the_table() -> None:
    assert METRICS.read_text("utf-8") == metrics_page(), "run python -m tools.write_schema"


@pytest.mark.parametrize(
    "file", ["deploy/prometheus/policy_inference.rules.yml", "deploy/grafana/policy_inference.json"]
)
def test_alerts_and_dashboard_ask_for_metrics_that_exist(file: str) -> None:
    known = set(re.findall(r"^\| `(\w+)` \|", METRICS.read_text("utf-8"), re.M))
    text = (ROOT / file).read_text("utf-8")
    asked = set(re.findall(r"(?<!name: )policy_inference_(\w+?)(?=[{\[)\s])", text))
    assert asked
    assert asked <= known


def test_state_of_a_fleet_is_read_from_metrics_that_exist() -> None:
    known = set(re.findall(r"^\| `(\w+)` \|", METRICS.read_text("utf-8"), re.M))
    text = (ROOT / "src/model_tools/model_tools/ship/fleet.py").read_text("utf-8")
    read = {*re.findall(r'name == "(\w+)"', text), *re.findall(r'samples, "(\w+)"', text)}
    assert read >= {"up", "latched", "diagnostics_level", "mode_seconds_total"}
    assert read <= known
