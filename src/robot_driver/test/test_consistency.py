# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Senses that disagree are found by their rule, and only by that; those that agree are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from robot_driver.consistency import WARNING_SHARE, SenseConsistency
from robot_driver.interfaces import DriveFigures
from testkit.wording import check_wording

JOINTS = 4
NAMES = ("hip", "knee", "other_hip", "other_knee")
STIFFNESS, DAMPING = 60.0, 1.0
FIGURES = DriveFigures(
    joint_names=NAMES,
    lowest_rad=np.full(JOINTS, -2.0),
    highest_rad=np.full(JOINTS, 2.0),
    position_margin_rad=0.1,
    fastest_rad_s=np.full(JOINTS, 20.0),
    largest_torque_nm=np.full(JOINTS, 30.0),
    largest_stiffness=100.0,
    largest_damping=10.0,
    first_torque_nm=5.0,
    demand_nm=10.0,
    foreign_nm=10.0,
    state_rate_hz=(100.0, 1000.0),
    watchdog_s=np.inf,
    rest_mode=0,
    rest_s=2.0,
)


@dataclass(frozen=True)
class Senses:
    """What a robot shows at one time."""

    tick: int
    joint_pos: np.ndarray
    joint_vel: np.ndarray
    joint_effort: np.ndarray
    temperature_c: np.ndarray
    rpy: np.ndarray
    ang_vel: np.ndarray
    lin_acc: np.ndarray


Spoil = Callable[[Senses], Senses]


def senses_at(tick: int, **shown: Any) -> Senses:
    """Return a robot at rest but for what is given."""
    still = np.zeros(JOINTS)
    rest = Senses(tick, still, still, still, still, np.zeros(3), np.zeros(3), 9.81 * np.eye(3)[2])
    return replace(rest, **shown)


def rotation(vector: Any) -> np.ndarray:
    """Return the rotation [3, 3] by a vector [3], rad, by Rodrigues' formula."""
    angle = float(np.linalg.norm(vector))
    x, y, z = np.asarray(vector) / (angle or 1.0)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross)


def rules_of_moving_robot(
    spoil: Spoil = lambda senses: senses, seconds: float = 4.0, figures: DriveFigures = FIGURES
) -> SenseConsistency:
    """Return the rules after a robot that swings its legs and sways, with what it shows spoilt."""
    rules = SenseConsistency(figures, torques=True)
    phase = np.array([0.0, 1.0, np.pi, np.pi + 1.0])
    for tick in range(0, round(1000 * seconds), 2):
        swing = 2.0 * np.pi * 2.0 * 1e-3 * tick + phase
        turn = 2.0 * np.pi * 1e-3 * tick
        position, velocity = 0.3 * np.sin(swing), 1.2 * np.pi * np.cos(swing)
        target = 0.35 * np.sin(swing)
        values = np.zeros((JOINTS, 5))
        values[:, 0], values[:, 3], values[:, 4] = target, STIFFNESS, DAMPING
        rules.sent(values)
        # About one axis of the body, so that the rates are the derivatives of the angles.
        roll = 0.5 * np.sin(turn)
        shown = spoil(
            Senses(
                tick=tick,
                joint_pos=position,
                joint_vel=velocity,
                joint_effort=STIFFNESS * (target - position) - DAMPING * velocity,
                temperature_c=np.zeros(JOINTS),
                rpy=np.array([roll, 0.0, 0.0]),
                ang_vel=np.array([1.0 * np.pi * np.cos(turn), 0.0, 0.0]),
                lin_acc=9.81 * np.array([0.0, np.sin(roll), np.cos(roll)]),
            )
        )
        rules.see(shown, shown.rpy, shown.ang_vel, shown.lin_acc)
    return rules


def beyond(rules: SenseConsistency) -> set[str]:
    return {rule for rule, share in rules.shares.items() if share >= 1.0}


def exchanged_knees(senses: Senses) -> Senses:
    knees = [0, 3, 2, 1]
    return replace(senses, joint_pos=senses.joint_pos[knees], joint_vel=senses.joint_vel[knees])


def stuck_knee(senses: Senses) -> Senses:
    """Return a knee that stands still after a second, as its velocity does."""
    if senses.tick < 1000:
        return senses
    position, velocity = senses.joint_pos.copy(), senses.joint_vel.copy()
    position[1], velocity[1] = 0.1, 0.0
    return replace(senses, joint_pos=position, joint_vel=velocity)


def test_senses_that_agree_are_far_from_every_limit() -> None:
    rules = rules_of_moving_robot()
    assert max(rules.shares.values()) < 0.2
    assert rules.problem == rules.warning == ""


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda s: replace(s, joint_vel=0.0 * s.joint_vel), "velocity"),
        (lambda s: replace(s, joint_vel=-s.joint_vel), "velocity"),
        (lambda s: replace(s, joint_vel=np.degrees(s.joint_vel)), "velocity"),
        (lambda s: replace(s, ang_vel=-s.ang_vel), "turn"),
        (lambda s: replace(s, ang_vel=s.ang_vel[[1, 0, 2]]), "turn"),
        (lambda s: replace(s, ang_vel=np.degrees(s.ang_vel)), "turn"),
        (lambda s: replace(s, ang_vel=s.ang_vel + np.array([0.0, 0.0, 0.5])), "bias"),
        (lambda s: replace(s, lin_acc=-s.lin_acc), "gravity"),
        (lambda s: replace(s, lin_acc=s.lin_acc / 9.81), "gravity"),
        (lambda s: replace(s, lin_acc=s.lin_acc[[2, 1, 0]]), "gravity"),
        (exchanged_knees, "torque"),
        (stuck_knee, "still"),
    ],
)
def test_senses_that_disagree_are_found_by_their_rule(spoil: Spoil, rule: str) -> None:
    rules = rules_of_moving_robot(spoil)
    assert rule in beyond(rules)
    check_wording(rules.problem)


def test_a_value_near_its_limit_is_a_warning() -> None:
    bias = np.array([0.0, 0.0, 0.24])
    rules = rules_of_moving_robot(lambda s: replace(s, ang_vel=s.ang_vel + bias))
    assert WARNING_SHARE < rules.shares["bias"] < 1.0
    assert rules.problem == ""
    assert "angular velocity" in rules.warning


def test_one_jump_of_a_sensor_is_no_lasting_fault() -> None:
    def jump(senses: Senses) -> Senses:
        ahead = 2.0 if senses.tick == 3900 else 0.0
        return replace(senses, joint_pos=senses.joint_pos + ahead, rpy=senses.rpy + ahead)

    assert rules_of_moving_robot(jump).problem == ""


def test_states_that_are_lost_are_left_out() -> None:
    rules = rules_of_moving_robot(lambda s: replace(s, tick=s.tick + 700 * (s.tick >= 2000)))
    assert max(rules.shares.values()) < 0.2


@pytest.mark.parametrize(("gap_ms", "is_judged"), [(50, True), (52, False)])
def test_only_states_at_most_50_ms_apart_are_compared(gap_ms: int, is_judged: bool) -> None:
    rules = SenseConsistency(FIGURES, torques=False)
    for number in range(100):
        away = np.full(JOINTS, 0.1 * (number % 2))  # with a velocity of 0
        state = senses_at(gap_ms * number, joint_pos=away)
        rules.see(state, state.rpy, state.ang_vel, state.lin_acc)
    assert ("velocity" in beyond(rules)) is is_judged


@pytest.mark.parametrize(
    ("lowest_rad", "highest_rad", "is_judged"),
    [(-2.0, 0.21, True), (-2.0, 0.19, False), (-0.01, 2.0, True), (0.01, 2.0, False)],
)
def test_a_joint_within_100_mrad_of_its_stop_may_stand_still(
    lowest_rad: float, highest_rad: float, is_judged: bool
) -> None:
    knee = np.array(NAMES) == "knee"  # at 0.1 rad
    lowest, highest = np.where(knee, lowest_rad, -2.0), np.where(knee, highest_rad, 2.0)
    figures = replace(FIGURES, lowest_rad=lowest, highest_rad=highest)
    assert ("still" in beyond(rules_of_moving_robot(stuck_knee, figures=figures))) is is_judged


@pytest.mark.parametrize("axis", [*np.eye(3).tolist(), [0.6, -0.64, 0.48]])
@pytest.mark.parametrize("start_rpy", [(0.0, 0.0, 0.0), (0.5, -0.7, 2.0), (-0.9, 0.4, -1.2)])
def test_attitude_rates_and_acceleration_of_any_turn_agree(
    axis: list[float], start_rpy: tuple[float, float, float]
) -> None:
    rules, rate = SenseConsistency(FIGURES, torques=False), 0.8 * np.array(axis)
    start = rotation([0.0, 0.0, start_rpy[2]]) @ rotation([0.0, start_rpy[1], 0.0])
    start = start @ rotation([start_rpy[0], 0.0, 0.0])
    for tick in range(0, 4000, 2):
        axes = start @ rotation(1e-3 * tick * rate)
        rpy = np.arctan2(
            [axes[2, 1], -axes[2, 0], axes[1, 0]],
            [axes[2, 2], np.hypot(axes[2, 1], axes[2, 2]), axes[0, 0]],
        )
        if abs(rpy[1]) > 1.2:  # yaw and roll turn fast there
            break
        state = senses_at(tick, rpy=rpy, ang_vel=rate, lin_acc=axes.T @ [0.0, 0.0, 9.81])
        rules.see(state, state.rpy, state.ang_vel, state.lin_acc)
    assert max(rules.shares[rule] for rule in ("turn", "bias", "gravity")) < 0.1


@pytest.mark.parametrize(("stiffness", "is_judged"), [(0.0, False), (STIFFNESS, True)])
def test_a_joint_may_ignore_its_target_while_it_has_no_stiffness(
    stiffness: float, is_judged: bool
) -> None:
    rules = SenseConsistency(FIGURES, torques=False)
    for tick in range(0, 1000, 2):
        # The joint moves once. Then its target moves, and later it is stiff with a target at rest.
        values = np.zeros((JOINTS, 5))
        values[1, 0] = np.clip(1e-3 * (tick - 100), 0.0, 0.4)
        values[1, 3] = stiffness if tick < 600 else STIFFNESS
        rules.sent(values)
        state = senses_at(tick, joint_pos=np.array([0.0, 0.5 * (tick > 50), 0.0, 0.0]))
        rules.see(state, state.rpy, state.ang_vel, state.lin_acc)
    assert bool(rules.shares["still"] >= 1.0) is is_judged


@pytest.mark.parametrize(("answers_ms", "is_judged"), [(70, False), (200, True)])
def test_a_standing_joint_may_take_a_moment_to_follow_its_target(
    answers_ms: int, is_judged: bool
) -> None:
    judged = False
    for begins_ms in range(700, 740, 2):  # anywhere within a block
        rules = SenseConsistency(FIGURES, torques=False)
        for tick in range(0, 1000, 2):
            values = np.zeros((JOINTS, 5))
            values[:, 3], values[1, 0] = STIFFNESS, 0.2 * (tick >= begins_ms)
            rules.sent(values)
            # The joint moves a little at first, so that it is known to be free.
            moves_ms = max(0, tick - begins_ms - answers_ms)
            position = 0.05 * (tick > 50) + min(0.2, 1e-3 * moves_ms)
            state = senses_at(tick, joint_pos=np.array([0.0, position, 0.0, 0.0]))
            rules.see(state, state.rpy, state.ang_vel, state.lin_acc)
            judged |= bool(rules.shares["still"] >= 1.0)
    assert judged is is_judged


def test_torques_that_cannot_be_trusted_are_not_judged() -> None:
    rules = SenseConsistency(FIGURES, torques=False)
    values = np.zeros((JOINTS, 5))
    values[:, 0], values[:, 3] = 0.5, STIFFNESS
    rules.sent(values)
    for tick in range(0, 3000, 2):
        state = senses_at(tick, joint_pos=np.full(JOINTS, 1e-3 * np.sin(tick)))
        rules.see(state, state.rpy, state.ang_vel, state.lin_acc)
    assert rules.shares["torque"] == 0.0
