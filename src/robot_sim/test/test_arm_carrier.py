# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A Lite3 with an arm on its back: what it is made of, what moves it, what its cameras see."""

from collections.abc import Iterator

import numpy as np
import pytest

from robot_sim.arm_carrier import ArmCarrier
from robot_sim.arm_figures import SO101
from robot_sim.arm_model import POLICY_CAMERAS
from robot_sim.arm_world import ArmWorld
from robot_sim.drives import DriveCommand
from robot_sim.figures import LITE3, Array
from robot_sim.world import World

PERIOD_NS = 20_000_000
LEGS = len(LITE3.joint_names)


@pytest.fixture
def carrier() -> Iterator[ArmCarrier]:
    """A robot that stands, with its arm at home."""
    carrier = ArmCarrier(pose="standing")
    yield carrier
    carrier.close()


def hold_carried_arm(carrier: ArmCarrier, arm: Array, seconds: float) -> None:
    """Let the robot stand with its arm in a pose."""
    count = LEGS + len(SO101.joint_names)
    stiffness, damping = np.full((2, count), [[100.0], [2.5]])
    stiffness[LEGS:], damping[LEGS:] = SO101.servo.stiffness, SO101.servo.damping
    zeros = np.zeros(count)
    for _ in range(round(50 * seconds)):
        carrier.apply(
            DriveCommand(
                joint_names=carrier.joint_names,
                position=np.concatenate([LITE3.standing_rad, arm]),
                velocity=zeros,
                effort=zeros,
                stiffness=stiffness,
                damping=damping,
                effort_limit=carrier.effort_limit_nm,
                valid_for_ns=2 * PERIOD_NS,
            )
        )
        carrier.step(PERIOD_NS)


def test_its_joints_are_those_of_the_legs_then_of_the_arm(carrier: ArmCarrier) -> None:
    sensed = carrier.sense()
    assert sensed.joint_names == (*LITE3.joint_names, *SO101.joint_names)
    np.testing.assert_allclose(sensed.joint_pos[LEGS:], SO101.home_rad)
    assert carrier.sense_arm().joint_names == SO101.joint_names


def test_it_weighs_what_a_lite3_and_the_links_of_an_arm_weigh(carrier: ArmCarrier) -> None:
    links_kg = sum(link.mass_kg for link in SO101.links)
    alone = World()
    assert carrier.model.body_mass.sum() == pytest.approx(alone.model.body_mass.sum() + links_kg)


def test_it_stands_while_its_arm_moves(carrier: ArmCarrier) -> None:
    pose = np.array([0.8, 0.2, 0.2, 0.8, 0.0, 0.5])
    hold_carried_arm(carrier, pose, 3.0)
    np.testing.assert_allclose(carrier.sense_arm().joint_pos, pose, atol=0.1)
    assert not carrier.fallen
    assert carrier.tilt_rad < 0.1


def test_its_cameras_see_the_table_that_it_carries(carrier: ArmCarrier) -> None:
    table = ArmWorld()
    try:
        for name in POLICY_CAMERAS:
            np.testing.assert_array_equal(carrier.render(name), table.render(name))
        before = carrier.render("front").copy()
        carrier.move_cube(3)
        assert (carrier.render("front") != before).any()
        np.testing.assert_array_equal(
            carrier.sense_arm().cube_world, ArmWorld(seed=3).sense().cube_world
        )
    finally:
        table.close()
