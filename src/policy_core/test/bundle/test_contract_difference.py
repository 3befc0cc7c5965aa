# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Where two contracts differ is found by key, whatever the models compute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from policy_core.bundle.bundle import Bundle
from policy_core.bundle.contract_difference import (
    ContractDifference,
    contract_differences,
    not_accepted,
)
from policy_core.bundle.load import load_bundle
from testkit.chunk_bundles import write_chunk_bundle
from testkit.kernel.contracts import DEFAULT, JOINTS, NOMINAL, TERMS_OF_A_WALKER, contract_of

SHIPPED = Path(__file__).resolve().parents[4] / "config" / "bundles"
SHUFFLED = ["hip", "ankle", "knee"]


def terms(**scales: float) -> dict[str, object]:
    """Return a change of scales of the observation's terms."""
    changed = [
        {**term, "scale": scales[str(term["term"])]} if term["term"] in scales else term
        for term in TERMS_OF_A_WALKER
    ]
    return {"observations.obs.terms": changed}


def action_term(**values: object) -> dict[str, object]:
    """Return a change of the only term of the action."""
    term = {"joints": list(JOINTS), "kind": "position", "scale": 0.5, "offset": "default_position"}
    return {"action.terms": [{**term, **values}]}


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({}, []),
        ({"version": "2.0.0", "description": "another one"}, []),
        ({"model.artifacts.onnx.sha256": "1" * 64}, []),
        ({"joints.stiffness": 24.0}, ["joints.stiffness"]),
        (
            {"joints.default_position": [0.05, 0.5, -0.5]},
            ["joints.default_position", "action.offset"],
        ),
        ({"joints.position_max": 1.6}, ["joints.position_max"]),
        ({"rate_hz": 40}, ["rate_hz"]),
        ({"damp.damping": 4.0}, ["damp.damping"]),
        ({"velocity_command.max": [1.0, 0.5, 1.2]}, ["velocity_command.max"]),
        ({"nominal": NOMINAL}, ["nominal"]),
        (terms(joint_vel=0.045), ["observations.obs.joint_vel.scale"]),
        (action_term(scale=0.25), ["action.scale"]),
        (action_term(joints=SHUFFLED), ["action.joints"]),
        (
            {"observations.obs.terms": [*TERMS_OF_A_WALKER[1:], TERMS_OF_A_WALKER[0]]},
            ["observations.obs.terms"],
        ),
    ],
)
def test_each_key_that_changes_a_motion_is_compared(
    changes: Mapping[str, object], keys: list[str]
) -> None:
    found = {one.key for one in contract_differences(contract_of(), contract_of(changes))}
    sized = {key for key in found if key.startswith("model.inputs")}
    assert found - sized == set(keys)


def test_order_of_joints_is_one_difference_and_values_go_by_joint() -> None:
    order = [JOINTS.index(joint) for joint in SHUFFLED]
    pose = [DEFAULT[index] for index in order]
    other = contract_of(
        {
            "joints.names": SHUFFLED,
            "joints.default_position": pose,
            "stand.position": pose,
            "joints.damping": {"hip": 1.0, "ankle": 1.0, "knee": 1.0},
        }
    )
    found = contract_differences(contract_of(), other)
    assert [one.key for one in found] == ["joints.names"]


def test_difference_has_the_values_of_the_joints_that_differ() -> None:
    (found,) = contract_differences(contract_of(), contract_of({"joints.stiffness": [30, 24, 30]}))
    assert found == ContractDifference(
        key="joints.stiffness", in_use="knee 30", candidate="knee 24"
    )
    (found,) = contract_differences(contract_of(), contract_of({"joints.stiffness": 24.0}))
    assert (found.in_use.split()[0], found.candidate.split()[0]) == ("30", "24")
    (found,) = contract_differences(contract_of({"nominal": NOMINAL}), contract_of())
    assert (found.key, found.in_use, found.candidate) == ("nominal", "present", "absent")


def test_accepted_key_covers_itself_and_what_is_below_it() -> None:
    changes = {"joints.stiffness": 24.0, "joints.damping": 2.0, "rate_hz": 40}
    found = contract_differences(contract_of(), contract_of(changes))
    for accepted, left in (
        ([], ["rate_hz", "joints.stiffness", "joints.damping"]),
        (["joints.stiffness"], ["rate_hz", "joints.damping"]),
        (["joints"], ["rate_hz"]),
        (["joint", "rate"], ["rate_hz", "joints.stiffness", "joints.damping"]),
        (["joints", "rate_hz"], []),
    ):
        assert [one.key for one in not_accepted(found, accepted)] == left


def test_contracts_of_the_members_of_a_set_are_compared() -> None:
    gaits, motions = (
        load_bundle(SHIPPED / name, kind=Bundle).contract
        for name in ("lite3_gaits", "lite3_motions")
    )
    assert contract_differences(gaits, gaits) == ()
    keys = {one.key for one in contract_differences(gaits, motions)}
    assert {"members.crouch", "members.bow", "states.crouch"} <= keys
    assert not any(key.startswith("members.walk.") for key in keys)


def test_contracts_of_chunk_policies_are_compared(tmp_path: Path) -> None:
    one, other = (
        load_bundle(write_chunk_bundle(tmp_path / version, version=version)).contract
        for version in ("1.0.0", "1.1.0")
    )
    assert contract_differences(one, other) == ()
