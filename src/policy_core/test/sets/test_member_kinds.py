# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What every kind of set member keeps to; one without a model among them, as CONTRIBUTING.md adds.

A new kind adds its case to `CASES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple, cast

import numpy as np
import pytest

from policy_core.bundle.body import AnyContract
from policy_core.bundle.contract import JointContract
from policy_core.bundle.kinds import CONTRACT_KINDS
from policy_core.control_state import ControlState
from policy_core.guard.bounds import StepBound
from policy_core.interfaces import Mode
from policy_core.sets.controller import MEMBERS, SensedState
from policy_core.sets.member import MemberPolicy
from testkit.kernel.contracts import contract_of
from testkit.kernel.legs_and_arm import LegsAndArm
from testkit.kernel.pid import PID, LegsAndPid, PidMember
from testkit.kernel.walkers import SetRobot

NOT_A_NUMBER = (math.nan,) * 3


class MemberCase(NamedTuple):
    """A robot in simulated time with a member of a kind.

    Attributes:
        robot: Makes one.
        member: The name of the member in its set.
        spoil: Makes what the member computes not finite.
    """

    robot: Callable[[], Any]
    member: str
    spoil: Callable[[Any], object]


def moving_arm() -> LegsAndArm:
    robot = LegsAndArm(mode="synchronous")
    robot.chunk = lambda run: 0.05 * math.sin(robot.now_ns * 1e-9)
    return robot


CASES: Mapping[str, MemberCase] = {
    "joint": MemberCase(SetRobot, "walk", lambda robot: robot.answers("walk", *NOT_A_NUMBER)),
    "chunk": MemberCase(
        moving_arm, "arm", lambda robot: setattr(robot, "chunk", lambda run: math.nan)
    ),
    "pid": MemberCase(
        LegsAndPid, "arm", lambda robot: robot.policy.members["arm"].moved.fill(np.nan)
    ),
}


@pytest.fixture(autouse=True)
def with_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be one kind more, by a line in each table of this package."""
    monkeypatch.setitem(cast(dict[str, Any], CONTRACT_KINDS), "pid", lambda: PID)
    monkeypatch.setitem(cast(dict[str, type[MemberPolicy]], MEMBERS), "pid", PidMember)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> MemberCase:
    return CASES[request.param]


def contract_in(robot: Any, case: MemberCase) -> Any:
    return robot.set_contract.members[case.member].contract


def test_every_kind_has_a_case_and_a_member() -> None:
    assert {*CONTRACT_KINDS} == {*MEMBERS} == {*CASES}
    for name, each in CASES.items():
        assert contract_in(each.robot(), each).kind == name


def test_contract_states_its_bounds_and_how_it_commands(case: MemberCase) -> None:
    robot = case.robot()
    contract, place = contract_in(robot, case), robot.set_contract.members[case.member]

    assert isinstance(contract, CONTRACT_KINDS[contract.kind]().contract)
    assert contract.step_bounded.shape == (len(contract.joints.names),)
    assert contract.step_bounded.dtype == np.bool_
    assert {*contract.command_kinds} <= {*contract.joints.names}
    np.testing.assert_array_equal(
        robot.set_contract.step_bounded[place.places[place.commanded]],
        contract.step_bounded[place.commanded],
    )


def test_set_senses_and_times_what_the_member_reads(case: MemberCase) -> None:
    robot = case.robot()
    contract, member = contract_in(robot, case), robot.policy.members[case.member]
    state = cast(SensedState, robot.controller.state)

    assert all(state.get(name) is not None for name in member.sensed_sizes(contract))
    assert {*member.frames} == {*contract.cameras}
    assert all(f"{name}/image" in " ".join(robot.controller.inputs) for name in contract.cameras)


def test_state_in_a_recording_goes_on_bit_for_bit(case: MemberCase) -> None:
    robot, again = case.robot().run(7), case.robot()
    state = robot.controller.control_state()
    again.now_ns, again.sensed = robot.now_ns, dict(robot.sensed)
    again.controller.go_on_from(ControlState.decoded(*state.encoded()))

    pose = np.array(robot.sensed["joint_pos"])
    for tick in range(25):
        moved = (pose + 0.01 * math.sin(tick)).tolist()
        ours, others = robot.commanded(joint_pos=moved), again.commanded(joint_pos=moved)
        assert {name: each.tobytes() for name, each in vars(ours).items()} == {
            name: each.tobytes() for name, each in vars(others).items()
        }
    assert (
        robot.controller.control_state().encoded()[0]
        == (again.controller.control_state().encoded()[0])
    )


def test_clean_start_forgets_how_it_got_there(case: MemberCase) -> None:
    targets = []
    for ticks in (1, 8):
        robot = case.robot().run(ticks)
        member = robot.policy.members[case.member]
        member.reset()
        assert not member.has_answered
        assert member.is_due
        assert member.infer()
        member.commit()
        targets.append(member.command.tolist())

    np.testing.assert_allclose(targets[0], targets[1], atol=0.01)  # a chunk depends on its time


def test_output_that_is_not_finite_is_never_commanded(case: MemberCase) -> None:
    robot = case.robot()
    robot.run(5)
    state = robot.policy.report.state
    case.spoil(robot)

    for _ in range(60):  # the rest of a chunk is executed first
        targets = robot.commanded()
        assert all(np.isfinite(each).all() for each in vars(targets).values())
        robot.requests.tick(robot.now_ns)
    assert not robot.is_in(Mode.RUN) or robot.policy.report.state != state


@pytest.mark.parametrize(
    "name", ["step_bounded", "command_kinds", "models", "unfollowable", "counts_ticks"]
)
def test_kind_that_does_not_state_it_cannot_be_made(name: str) -> None:
    silent = type("Silent", (JointContract,), {name: getattr(AnyContract, name)})
    whole = contract_of()
    with pytest.raises(TypeError, match=name):
        silent(**{field.name: getattr(whole, field.name) for field in fields(whole)})


def test_step_of_a_new_kind_is_bounded_in_run() -> None:
    robot = LegsAndPid()
    robot.run(1)
    bound = StepBound(robot.set_contract)
    zero = np.zeros(6)
    bound.count_from(zero, zero + 1.0, Mode.RUN)

    nearer = bound.within(zero + 3.0)

    legs, arm = nearer[:3], nearer[3:]
    np.testing.assert_array_equal(legs, 3.0)
    np.testing.assert_allclose(arm, 10.0 / 50.0)
