# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`inspect --plan` of bundles, and `inspect` of a plan."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from model_tools import cli
from policy_core.bundle.bundle import Bundle
from policy_core.bundle.load import load_bundle
from policy_core.plan import read_plan
from testkit.wording import check_wording

SHIPPED = Path(__file__).parents[4] / "config" / "bundles"


@pytest.fixture(autouse=True)
def all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lite3_walk", "run.policy.action.output"),
        ("lite3_gaits", "run.policy.states.0.name"),
        ("so101_reach", "run.policy.sync.cameras"),
        ("lite3_so101", "run.policy.members.0.name"),
    ],
)
def test_the_plan_of_a_bundle_is_written_and_shown(
    name: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, bundle = tmp_path / "a.polplan", load_bundle(SHIPPED / name, kind=Bundle)
    assert cli.main(["inspect", str(bundle.path), "--plan", "--output", str(file)]) == 0
    assert value in capsys.readouterr().out
    _, values = read_plan(file.read_bytes(), file, bytes.fromhex(bundle.sha256))
    assert cli.main(["inspect", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["values"]
    assert shown["bundle_sha256"] == bundle.sha256
    assert {key: len(each) for key, each in shown["plan"].items()} == {
        key: len(each) for key, each in values.items()
    }
    assert "limits.state_timeout_ns" in values


def test_a_damaged_plan_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "a.polplan"
    file.write_bytes(b"POLPLAN1" + bytes(20))
    assert cli.main(["inspect", str(file)]) == 4
    check_wording(caplog.messages[-1])
