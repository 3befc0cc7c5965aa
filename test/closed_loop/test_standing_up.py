# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What standing up costs the simulated Lite3 under the contracts that ship with the suite."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from model_tools.simulation.controlled import drive_command
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import load_bundle
from policy_core.control.motions import Stand
from policy_core.interfaces import F64
from robot_sim.world import World

ROOT = Path(__file__).resolve().parents[2]
STEP_NS = 1_000_000
SETTLE_NS = 500_000_000
VENDORS_NM = 6.6
"""Largest torque of the robot maker's own way to stand up."""


def torques(contract: JointContract, friction: float = 1.0) -> F64:
    """Let a folded robot stand up; return |torque| [steps, joints], N m, and half a second on."""
    names = contract.joints.names
    stand = Stand(contract, contract.joints.effort_limit)
    world = World(friction=friction)
    stand.begin(world.sense().joint_pos, world.time_ns)
    ends_ns = round(contract.stand.longest_s * 1e9) + SETTLE_NS
    found = []
    while world.time_ns < ends_ns:
        stand.update(world.time_ns)
        world.apply(drive_command(names, stand.targets))
        for _ in range(contract.period_ns // STEP_NS):
            world.step(STEP_NS)
            found.append(np.abs(world.sense().joint_effort))
    assert world.sense().pos_world[2] > 0.33
    return np.array(found)


@pytest.mark.parametrize("name", ["lite3_walk", "lite3_deeprobotics"])
def test_a_folded_robot_draws_its_legs_in_and_needs_half_of_the_torque(name: str) -> None:
    contract = load_bundle(ROOT / "config" / "bundles" / name, kind=JointBundle).contract
    straight = dataclasses.replace(contract, stand=dataclasses.replace(contract.stand, via=()))
    drawn_in, through_nothing = torques(contract), torques(straight)
    assert drawn_in.max() < VENDORS_NM + 0.1
    assert through_nothing.max() > 1.7 * VENDORS_NM
    # Feet that stayed outside are held there by the HipX joints for as long as the robot stands.
    assert drawn_in[-1].max() < 5.0
    assert through_nothing[-1].max() > 10.0


@pytest.mark.parametrize("friction", [0.5, 1.2])
def test_other_floors_change_little_of_that(friction: float) -> None:
    contract = load_bundle(ROOT / "config" / "bundles" / "lite3_walk", kind=JointBundle).contract
    assert torques(contract, friction).max() < VENDORS_NM + 0.8
