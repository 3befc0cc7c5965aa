# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An environment whose observation is not the contract's is found out by what its columns hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.prove.local_loop.agreement import (
    ObservationAgreement,
    warn_of_unusual,
)
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.load import load_bundle
from policy_inference.interfaces import F32, F64

OURS = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_walk"
ACTION = np.linspace(-2.0, 3.0, 12).astype(np.float32)
Edit = Callable[[F64], object]


@pytest.fixture
def contract() -> JointContract:
    return load_bundle(OURS, kind=JointBundle).contract


def observed(action: F32 = ACTION) -> F64:
    obs = np.zeros(45)
    obs[5], obs[33:45] = -1.0, action
    return obs


def check(contract: JointContract, obs: F64, action: F32 = ACTION) -> None:
    ObservationAgreement(contract, "envs:make").check({"obs": obs}, action, 3)


def test_what_the_contract_describes_passes(contract: JointContract) -> None:
    noisy = observed()
    noisy[:33] += np.random.default_rng(0).uniform(-0.05, 0.05, 33)
    check(contract, noisy)
    check(contract, observed(0 * ACTION), 0 * ACTION)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda o: o.__setitem__(slice(33, 45), 0),
            r"columns 33 to 44 \(last_action\): expected the "
            r"action that was given before, \[-2, .*found \[0, 0, 0, 0, ...\]",
        ),
        (lambda o: o.__setitem__(slice(33, 45), 0.25 * ACTION), "last_action"),
        (
            lambda o: o.__setitem__(slice(3, 6), 0),
            r"columns 3 to 5 \(projected_gravity\): expected a "
            r"direction of length 1, found \[0, 0, 0\]",
        ),
        (lambda o: o.__setitem__(5, -9.81), "projected_gravity"),
        (
            lambda o: o.__setitem__(11, 75.0),
            r"\(joint_pos_rel\): expected FL_Knee_joint within 0.524 "
            r"to 2.792 rad, found 76.3",
        ),
        (lambda o: o.__setitem__(slice(None), np.roll(o, 3)), "projected_gravity"),
    ],
)
def test_something_else_in_the_columns_of_a_term_is_named(
    contract: JointContract, edit: Edit, message: str
) -> None:
    obs = observed()
    edit(obs)

    with pytest.raises(
        ToolError,
        match=f"^envs:make: step 3: obs, .*{message}.*; the "
        "environment's observation is not the one that the",
    ):
        check(contract, obs)


def test_bounds_of_the_contract_are_those_of_the_action_seen(contract: JointContract) -> None:
    clipped = dataclasses.replace(contract.observations["obs"], clip=1.0)
    bounded = dataclasses.replace(contract, observations={"obs": clipped})

    check(bounded, observed(np.clip(ACTION, -1.0, 1.0)))
    check(bounded, observed())
    with pytest.raises(ToolError, match="last_action"):
        check(contract, observed(np.clip(ACTION, -1.0, 1.0)))


def test_values_far_from_a_healthy_run_are_warned_of(
    contract: JointContract, caplog: pytest.LogCaptureFixture
) -> None:
    nominal = contract.nominal
    assert nominal is not None
    usual = np.array(nominal.observation["obs"].max, np.float32)[np.newaxis]
    warn_of_unusual(contract, {"obs": usual}, "envs:make")
    assert caplog.text == ""

    unusual = usual.copy()
    unusual[0, 21] = 300.0
    warn_of_unusual(contract, {"obs": unusual}, "envs:make")

    assert "envs:make: obs[21] (joint_vel of FL_HipX_joint): 300 to 300, where a healthy" in (
        caplog.text
    )
