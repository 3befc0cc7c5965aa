# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0


import random

import numpy as np
import pytest

from policy_core.control.authority import AuthorityRequest, Rest
from policy_core.control_state import ControlState
from policy_core.errors import RefusedError
from policy_core.interfaces import F64, Mode
from testkit.kernel.contracts import DEFAULT
from testkit.kernel.robots import Robot, Targets
from testkit.wording import refusal

pytestmark = pytest.mark.both_cores

BLEND_TICKS = 10
MIXED_KINDS = [
    {"joints": ["hip"], "kind": "position", "offset": "default_position"},
    {"joints": ["knee"], "kind": "velocity"},
    {"joints": ["ankle"], "kind": "effort"},
]
FIELDS = tuple(Targets.__annotations__)


def _ask(robot: Robot, share: float, rest: Rest = Rest.STAND, *joints: str) -> None:
    robot.controller.set_authority(AuthorityRequest(share, rest, joints))


def _block(targets: Targets) -> F64:
    return np.stack([getattr(targets, name) for name in FIELDS])


def _runs(share: float = 1.0, **changes: object) -> Robot:
    """Return a robot whose policy asks for other targets than those of standing, blended in."""
    robot = Robot(changes)
    robot.answer(0.4, -0.4, 0.2)
    _ask(robot, share)
    return robot.run(2 * BLEND_TICKS)


def _standing() -> F64:
    return _block(Robot().stand().commanded())


@pytest.mark.parametrize("terms", [None, MIXED_KINDS])
def test_authority_0_commands_exactly_what_standing_does(terms: object) -> None:
    changes = {} if terms is None else {"action.terms": terms}
    robot = Robot(changes)
    robot.answer(0.4, -0.4, 0.2)
    _ask(robot, 0.0)
    standing = _block(robot.stand().commanded())
    robot.controller.run()
    for _ in range(2 * BLEND_TICKS):
        np.testing.assert_array_equal(_block(robot.commanded()), standing)
    assert robot.is_in(Mode.RUN)


def test_authority_1_commands_exactly_what_the_policy_does() -> None:
    untouched, asked = Robot(), Robot()
    _ask(asked, 0.3)
    for robot in (untouched, asked):
        robot.answer(0.4, -0.4, 0.2)
        robot.stand()
    _ask(asked, 1.0, Rest.FREEZE)
    for robot in (untouched, asked):
        robot.controller.run()
    for _ in range(2 * BLEND_TICKS):
        np.testing.assert_array_equal(_block(untouched.commanded()), _block(asked.commanded()))


def test_half_of_the_authority_is_half_way_between_the_stand_and_the_policy() -> None:
    half = _block(_runs(0.5).commanded())
    whole = _block(_runs(1.0).commanded())
    np.testing.assert_allclose(half, 0.5 * (whole + _standing()), atol=1e-12)


def test_a_share_goes_where_it_is_asked_to_within_the_contract_s_blend() -> None:
    robot = _runs()
    tick = robot.controller.latest_tick
    _ask(robot, 0.0)
    shares = []
    for _ in range(BLEND_TICKS + 2):
        robot.tick()
        shares.append(tick.authority[0])
    expected = [*np.arange(BLEND_TICKS - 1, -1, -1) / BLEND_TICKS, 0.0, 0.0]
    np.testing.assert_allclose(shares, expected, atol=1e-12)
    assert robot.controller.snapshot().authority == 0.0


def test_what_is_asked_for_before_a_run_is_in_force_at_once() -> None:
    robot = Robot()
    _ask(robot, 0.25)
    assert robot.controller.snapshot().authority == 0.25


def test_frozen_joints_stay_where_they_were_commanded_and_the_others_go_on() -> None:
    robot = _runs()
    before = robot.commanded()
    _ask(robot, 0.0, Rest.FREEZE, "kn*")
    robot.answer(-0.4, 0.4, -0.2)
    for _ in range(2 * BLEND_TICKS):
        targets = robot.commanded()
    standing = _standing()
    assert targets.position[1] == before.position[1]
    np.testing.assert_array_equal(_block(targets)[3:, 1], standing[3:, 1])
    robot_alone = _runs()
    robot_alone.answer(-0.4, 0.4, -0.2)
    alone = [robot_alone.commanded() for _ in range(2 * BLEND_TICKS)][-1]
    np.testing.assert_allclose(_block(targets)[:, [0, 2]], _block(alone)[:, [0, 2]])


def test_disabled_joints_have_the_damping_of_a_fault_and_no_stiffness() -> None:
    robot = _runs()
    _ask(robot, 0.0, Rest.DISABLE, "ankle")
    for _ in range(2 * BLEND_TICKS):
        targets = robot.commanded()
    assert (targets.stiffness[2], targets.damping[2], targets.effort[2]) == (0.0, 5.0, 0.0)
    assert (targets.stiffness[:2] > 0.0).all()


def test_an_arm_that_would_fall_cannot_be_disabled() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"})
    with refusal(RefusedError):
        _ask(robot, 0.0, Rest.DISABLE)


@pytest.mark.parametrize(
    ("share", "rest", "joints"),
    [
        (1.5, Rest.STAND, ()),
        (-0.1, Rest.STAND, ()),
        (float("nan"), Rest.STAND, ()),
        (0.5, Rest.STAND, ("hip", "elbow", "FL_*")),
        (0.0, Rest.FREEZE, ()),
    ],
)
def test_a_request_that_cannot_be_granted_changes_nothing(
    share: float, rest: Rest, joints: tuple[str, ...]
) -> None:
    robot = Robot()
    with refusal(RefusedError):
        _ask(robot, share, rest, *joints)
    assert robot.controller.snapshot().authority == 1.0


@pytest.mark.parametrize("seed", range(6))
def test_any_sequence_of_settings_moves_no_faster_than_the_blend(seed: int) -> None:
    draw, robot = random.Random(seed), _runs()
    shares = robot.controller.latest_tick.authority
    blocks, at = [_block(robot.commanded())], [shares.copy()]
    for _ in range(200):
        if draw.random() < 0.2:
            joints = draw.sample(["hip", "knee", "ankle"], draw.choice([1, 2, 3]))
            share = draw.choice([0.0, 1.0, draw.random()])
            _ask(robot, share, draw.choice([*Rest]), *joints)
        blocks.append(_block(robot.commanded()))
        at.append(shares.copy())
    assert robot.is_in(Mode.RUN)
    assert np.min(at) >= 0.0
    assert np.max(at) <= 1.0
    assert np.abs(np.diff(at, axis=0)).max() <= 1.0 / BLEND_TICKS + 1e-12
    # Of the gains: share and what is at rest may both move by a tenth of 100 N·m/rad in a tick.
    assert np.abs(np.diff([block[3] for block in blocks], axis=0)).max() <= 20.0 + 1e-9


def test_the_dial_goes_on_in_another_controller() -> None:
    robot, other = _runs(), _runs()
    _ask(robot, 0.2, Rest.FREEZE, "hip")
    for _ in range(3):
        robot.tick()
    text, arrays = robot.controller.control_state().encoded()
    other.now_ns = robot.now_ns
    other.controller.go_on_from(ControlState.decoded(text, arrays))
    for _ in range(2 * BLEND_TICKS):
        np.testing.assert_array_equal(_block(robot.commanded()), _block(other.commanded()))
    assert other.controller.snapshot().authority == 0.2


def test_the_dial_stays_where_it_is_when_another_policy_is_loaded() -> None:
    robot, other = Robot(), Robot()
    _ask(robot, 0.3)
    robot.stand()
    other.now_ns = robot.now_ns
    other.controller.take_over(robot.controller)
    assert other.controller.snapshot().authority == 0.3


def test_a_state_from_before_there_was_a_dial_leaves_everything_to_the_policy() -> None:
    robot, other = _runs(), _runs(0.5)
    tree = dict(robot.controller.control_state().tree)
    tree["run"] = {name: each for name, each in tree["run"].items() if name != "authority"}
    other.now_ns = robot.now_ns
    other.controller.go_on_from(ControlState(tree=tree))
    np.testing.assert_array_equal(_block(robot.commanded()), _block(other.commanded()))


@pytest.mark.parametrize(
    "request_",
    [
        AuthorityRequest(0.1 + 0.2),
        AuthorityRequest(0.0, Rest.FREEZE),
        AuthorityRequest(1.0, Rest.STAND, ("hip",)),
        AuthorityRequest(0.5, Rest.DISABLE, ("FL_*", "hip")),
    ],
)
def test_recordings_have_a_request_as_text(request_: AuthorityRequest) -> None:
    assert AuthorityRequest.parse(str(request_)) == request_
    robot = Robot()
    _ask(robot, 0.1 + 0.2)
    robot.tick()
    assert robot.controller.latest_tick.granted[0][0] == "authority 0.30000000000000004"


@pytest.mark.parametrize(
    "text", ["stand", "authority", "authority x", "authority 1 fly", "a b c d"]
)
def test_other_texts_are_no_requests(text: str) -> None:
    with pytest.raises((KeyError, ValueError)):
        AuthorityRequest.parse(text)


def test_the_stand_pose_is_that_of_the_contract() -> None:
    np.testing.assert_allclose(_standing()[0], DEFAULT)
