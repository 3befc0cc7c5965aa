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
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32, F64
from testkit.wording import check_wording, refusal

OURS = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_walk"
ACTION = np.linspace(-2.0, 3.0, 12).astype(np.float32)
Edit = Callable[[F64], object]


@pytest.fixture
def lite3_contract() -> JointContract:
    return load_bundle(OURS, kind=JointBundle).contract


def observed_row(action: F32 = ACTION) -> F64:
    obs = np.zeros(45)
    obs[5], obs[33:45] = -1.0, action
    return obs


def check_agreement(lite3_contract: JointContract, obs: F64, action: F32 = ACTION) -> None:
    ObservationAgreement(lite3_contract, "envs:make").check({"obs": obs}, action, 3)


def test_what_the_contract_describes_passes(lite3_contract: JointContract) -> None:
    noisy = observed_row()
    noisy[:33] += np.random.default_rng(0).uniform(-0.05, 0.05, 33)
    check_agreement(lite3_contract, noisy)
    check_agreement(lite3_contract, observed_row(0 * ACTION), 0 * ACTION)


@pytest.mark.parametrize(
    "edit",
    [
        lambda o: o.__setitem__(slice(33, 45), 0),
        lambda o: o.__setitem__(slice(33, 45), 0.25 * ACTION),
        lambda o: o.__setitem__(slice(3, 6), 0),
        lambda o: o.__setitem__(5, -9.81),
        lambda o: o.__setitem__(11, 75.0),
        lambda o: o.__setitem__(slice(None), np.roll(o, 3)),
    ],
    ids=["no action", "scaled action", "no gravity", "gravity in m/s2", "degrees", "rolled"],
)
def test_something_else_in_the_columns_of_a_term_is_named(
    lite3_contract: JointContract, edit: Edit
) -> None:
    obs = observed_row()
    edit(obs)

    with refusal(ToolError):
        check_agreement(lite3_contract, obs)


def test_bounds_of_the_contract_are_those_of_the_action_seen(lite3_contract: JointContract) -> None:
    clipped = dataclasses.replace(lite3_contract.observations["obs"], clip=1.0)
    bounded = dataclasses.replace(lite3_contract, observations={"obs": clipped})

    check_agreement(bounded, observed_row(np.clip(ACTION, -1.0, 1.0)))
    check_agreement(bounded, observed_row())
    with pytest.raises(ToolError, match="last_action"):
        check_agreement(lite3_contract, observed_row(np.clip(ACTION, -1.0, 1.0)))


def test_values_far_from_a_healthy_run_are_warned_of(
    lite3_contract: JointContract, caplog: pytest.LogCaptureFixture
) -> None:
    nominal = lite3_contract.nominal
    assert nominal is not None
    usual = np.array(nominal.observation["obs"].max, np.float32)[np.newaxis]
    warn_of_unusual(lite3_contract, {"obs": usual}, "envs:make")
    assert caplog.text == ""

    unusual = usual.copy()
    unusual[0, 21] = 300.0
    warn_of_unusual(lite3_contract, {"obs": unusual}, "envs:make")

    check_wording(*caplog.messages)
