# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Each transition of a set is simulated before a robot makes it."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_tools import cli

BUNDLES = Path(__file__).resolve().parents[4] / "config" / "bundles"


def set_of(folder: Path, transition: dict[str, Any], *, stiffness: float = 30.0) -> Path:
    """Write a set of the walk that ships and a copy with another stiffness; return its folder."""
    members = dict[str, Any]()
    for name in ("walk", "other"):
        shutil.copytree(BUNDLES / "lite3_walk", folder / name)
        file = folder / name / "policy.yaml"
        contract = yaml.safe_load(file.read_text("utf-8"))
        contract["name"] = name
        if name == "other":
            contract["joints"]["stiffness"] = stiffness
        file.write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        members[name] = {"bundle": f"../{name}", "sha256": sha256}
    stated = {
        "schema_version": 1,
        "kind": "set",
        "name": "ways",
        "version": "1.0.0",
        "members": members,
        "initial": "walk",
        "states": {
            "walk": {"members": ["walk"], "stand": True, "to": {"other": transition}},
            "other": {"members": ["other"], "to": {"walk": {}}, "way_back": "walk"},
        },
    }
    (folder / "set").mkdir()
    (folder / "set" / "set.yaml").write_text(yaml.safe_dump(stated), "utf-8")
    return folder / "set"


def set_check(folder: Path, tries: int, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    """Run the command; return its status and, by source and target, what it found."""
    status = cli.main(["set-check", str(folder), "--tries", str(tries), "--json"])
    found = json.loads(capsys.readouterr().out)
    by_edge = {
        (one["edge"]["source"], one["edge"]["target"], one["edge"]["is_fallback"]): one
        for one in found
    }
    assert len(by_edge) == len(found)
    return status, by_edge


@pytest.mark.acceptance
def test_the_gaits_that_ship_hold_in_each_transition_and_fallback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, found = set_check(BUNDLES / "lite3_gaits", 1, capsys)
    assert status == 0
    assert set(found) == {
        ("walk", "crouch", False),
        ("crouch", "walk", False),
        ("crouch", "walk", True),
    }
    assert all(one["holds"] and one["granted"] == one["tries"] == 1 for one in found.values())


@pytest.mark.acceptance
def test_a_transition_after_which_the_robot_falls_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = set_check(set_of(tmp_path, {}, stiffness=3.0), 2, capsys)
    one = found["walk", "other", False]
    assert status == 1
    assert (one["granted"], one["failed"], one["holds"]) == (2, 2, False)
