# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`trial.yaml`: everything that is wrong is said at once, and gates must fit the policy."""

import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from policy_core.errors import BundleError
from policy_core.guard.limits import StricterLimits
from policy_store.trial_file import (
    TrialSettings,
    settings_of_trial,
    trial_schema,
)
from policy_store.trial_record import TrialEvent, new_line, parse_line
from testkit.kernel.chunk_contracts import chunk_contract_of
from testkit.kernel.contracts import contract_of
from testkit.wording import refusal

FILE = Path("trial.yaml")
BUNDLES = Path(__file__).resolve().parents[4] / "config" / "bundles"
WHOLE = """
run_time_s: 600
limits: {max_tilt_rad: 0.6, effort_scale: 0.8}
command_range: {min: [-0.3, -0.2, -0.3], max: [0.5, 0.2, 0.3]}
gates:
  tilt_rad: {limit: 0.4, after_s: 2}
  temperature_c: null
"""


def trial_settings(text: str) -> TrialSettings:
    return settings_of_trial(text.encode(), FILE, contract_of())


def setting_problems(text: str) -> list[str]:
    with pytest.raises(BundleError) as refused:
        trial_settings(text)
    return str(refused.value).splitlines()


def test_whole_file_is_read() -> None:
    found = trial_settings(WHOLE)
    assert found.run_time_s == 600.0
    assert found.limits == StricterLimits(max_tilt_rad=0.6, effort_scale=0.8)
    assert found.gates.judged()["tilt_rad"].limit == 0.4
    assert found.gates.judged()["tilt_rad"].after_s == 2.0
    assert "temperature_c" not in found.gates.judged()
    assert found.gates.judged()["falls"].limit == 0.0


def test_everything_wrong_is_said_at_once() -> None:
    found = setting_problems(
        "run_time_s: 0\nlimts: {}\nlimits: {margin: -1}\ngates: {tilt: {limit: 1}, falls: {}}\n"
    )
    for key in ("run_time_s", "limts", "limits.margin", "gates.tilt", "gates.falls.limit"):
        assert any(f"trial.yaml: {key}:" in line for line in found), key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("limits: {max_tilt_rad: 2.0}", "limits.max_tilt_rad"),
        ("limits: {command_timeout_s: 5.0}", "limits.command_timeout_s"),
        ("command_range: {min: [-2, 0, 0], max: [0, 0, 0]}", "command_range[0]"),
        ("command_range: {min: [0.1, 0, 0], max: [0.2, 0, 0]}", "command_range[0]"),
        ("command_range: {min: [0, 0, 0], max: [0, 0, -0.1]}", "command_range[2]"),
    ],
)
def test_what_would_loosen_the_contract_is_refused(text: str, key: str) -> None:
    (line,) = setting_problems(f"run_time_s: 10\n{text}")
    assert f"trial.yaml: {key}: expected" in line


@pytest.mark.parametrize("gate", ["falls", "tilt_rad", "torque_share"])
def test_gate_that_makes_no_sense_for_a_chunk_policy_is_refused_by_name(gate: str) -> None:
    contract = chunk_contract_of()
    text = f"run_time_s: 10\ngates: {{{gate}: {{limit: 1}}}}"
    with refusal(BundleError):
        settings_of_trial(text.encode(), FILE, contract)
    usual = settings_of_trial(b"run_time_s: 10", FILE, contract)
    assert gate not in usual.gates.judged()
    assert {"latched_faults", "hold_share", "tracking_error_rad"} <= usual.gates.judged().keys()


def test_range_of_commands_needs_a_policy_that_takes_them() -> None:
    text = b"run_time_s: 10\ncommand_range: {min: [0, 0, 0], max: [0, 0, 0]}"
    with refusal(BundleError):
        settings_of_trial(text, FILE, chunk_contract_of())


def test_record_keeps_all_settings() -> None:
    found = trial_settings(WHOLE)
    line = new_line(1, TrialEvent.BEGUN, settings=dataclasses.asdict(found))
    assert parse_line(json.loads(json.dumps(line)), FILE).settings == found


def test_of_each_limit_the_tighter_one_holds() -> None:
    both = trial_settings(WHOLE).stricter(
        StricterLimits(max_tilt_rad=0.5, effort_scale=0.9, margin=1.2)
    )
    assert both == StricterLimits(max_tilt_rad=0.5, effort_scale=0.8, margin=1.2)


def test_committed_schema_is_current_and_accepts_what_the_reader_accepts() -> None:
    committed = json.loads((BUNDLES / "trial.schema.json").read_text(encoding="utf-8"))
    assert committed == trial_schema(), "run python -m tools.write_schema"
    validator = jsonschema.Draft202012Validator(committed)
    validator.check_schema(committed)
    assert not list(validator.iter_errors(yaml.safe_load(WHOLE)))
    assert list(validator.iter_errors({"run_time_s": 0, "gates": {"tilt": {}}}))
