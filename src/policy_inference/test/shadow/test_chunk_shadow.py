# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow of a chunk policy answers the same observations, and its steps are compared by tick."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import (
    Camera,
    ChunkContract,
    EnvironmentState,
    Pairing,
    Scaling,
)
from policy_core.errors import BackendError, BundleError, PolicyError, RobotError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, ShadowMode
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.members.chunk.settings import ChunkSettings
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.shadow.chunk_shadow import ChunkShadow
from policy_inference.shadow.comparable import require_comparable
from policy_inference.shadow.shadowed_member import ShadowedMember
from testkit.kernel.arms import ramp
from testkit.kernel.chunk_contracts import CONTRACT, STEPS, chunk_contract_of
from testkit.kernel.legs_and_arm import LegsAndArm
from testkit.wording import refusal

from .shadowed import outcome_names
from .shadowed_arm import SETTINGS, ShadowedArm


def distances(answers: list[ShadowAnswer]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(
        [
            answer.target - answer.active_target
            for answer in answers
            if answer.target is not None and answer.active_target is not None
        ]
    )


@pytest.mark.parametrize("how", SETTINGS)
def test_what_every_chunk_has_more_is_the_distance_whole(how: str) -> None:
    shadowed = ShadowedArm(SETTINGS[how], ShadowMode.FREE)
    shadowed.offset = np.array([0.01, 0.02, 0.04])
    shadowed.tick(40)
    expected = np.broadcast_to(shadowed.offset, distances(shadowed.answers).shape).copy()
    if how == "realigned":
        expected[:, :2] = 0.0  # each chunk begins where the last target was, but for the gripper's
    np.testing.assert_allclose(distances(shadowed.answers), expected, atol=1e-6)


def test_followed_shadow_realigns_to_what_was_commanded_and_a_free_one_to_its_own() -> None:
    followed, free = (
        ShadowedArm({"steps": STEPS, "realign": True, "fade_s": 0.0}, mode) for mode in ShadowMode
    )
    # Chunks that rise: a free one rises on from where it has come to.
    rising = np.linspace(0.0, 0.09, STEPS)[:, np.newaxis]
    for each in (followed, free):
        each.offset = rising
        each.tick(40)
    assert abs(distances(followed.answers)).max() <= 0.09 + 1e-6
    assert distances(free.answers)[-1, 0] > 0.15


@pytest.mark.parametrize("error", [BackendError("gone"), RobotError("no JPEG")])
def test_failed_inference_fails_its_ticks_until_a_chunk_comes(error: Exception) -> None:
    shadowed = ShadowedArm(SETTINGS["synchronous"])
    shadowed.tick(5)
    shadowed.error = error
    shadowed.tick(10)
    # A chunk of five steps is executed at a time.
    assert outcome_names(shadowed.answers) == ["COMPARED"] * 5 + ["FAILED"] * 5 + ["COMPARED"] * 5
    assert [answer.rules for answer in shadowed.answers[5:7]] == [("inference_error",), ()]
    (failed,) = shadowed.answers[5].inferences
    assert failed.chunk is None
    assert failed.error == f"{type(error).__name__}: {error}"
    assert shadowed.shadow.problem == str(error)


def test_chunk_that_is_not_finite_is_not_executed() -> None:
    shadowed = ShadowedArm(SETTINGS["synchronous"])
    shadowed.tick(5)
    shadowed.offset = np.where(np.arange(STEPS)[:, np.newaxis] == 9, np.nan, 0.0)
    shadowed.tick(5)
    shadowed.offset = 0.0
    shadowed.tick(5)
    answers = shadowed.answers
    assert outcome_names(answers) == ["COMPARED"] * 5 + ["NOT_FINITE"] * 5 + ["COMPARED"] * 5
    assert answers[5].rules == ("not_finite",)
    assert answers[5].target is None


def test_joints_in_another_order_with_other_names_are_the_same_robot() -> None:
    order = [2, 0, 1]
    joints = {
        **CONTRACT["joints"],
        "names": ["c", "a", "b"],
        "robot_names": {"a": "pan", "b": "lift", "c": "gripper"},
    }
    shadow = {
        "joints": joints,
        "units": {name: {"unit": "radians"} for name in "abc"},
        "state.joints": ["a", "b", "c"],
        "action.joints": ["c", "a", "b"],
        "action.grippers": ["c"],
    }
    shadowed = ShadowedArm(SETTINGS["asynchronous"], shadow=shadow)
    shadowed.arm.joint_pos = (0.1, 0.2, 0.3)
    shadowed.order = order
    shadowed.tick(20)
    assert {*outcome_names(shadowed.answers)} == {"COMPARED"}
    np.testing.assert_array_equal(distances(shadowed.answers), 0.0)
    np.testing.assert_array_equal(shadowed.seen[-1].fields["joint_pos"], [0.3, 0.1, 0.2])


def test_guard_would_clip_targets_far_from_what_was_commanded() -> None:
    changes = {"action.max_relative_target": 1.0}
    shadowed = ShadowedArm(SETTINGS["asynchronous"], changes=changes)
    shadowed.offset = np.array([5.0, 0.0, 0.0])
    shadowed.tick(5)
    answers = shadowed.answers
    assert all(answer.beyond_limits for answer in answers)
    assert all("relative_target" in answer.rules for answer in answers)
    np.testing.assert_allclose(distances(answers)[:, 0], 5.0, atol=1e-6)


def test_shadow_must_have_as_many_steps_as_are_executed() -> None:
    short = {
        "chunk": {"size": 4, "steps": 2},
        "graphs.transformer.outputs": {"Actions": {"shape": [1, 4, 3]}},
    }
    with refusal(PolicyError):
        ShadowedArm(SETTINGS["synchronous"], shadow=short)


OUTSIDE = EnvironmentState(
    tensor="goal", topic="goal", size=2, normalisation=Scaling(mode="identity")
)


def seen_by(contract: ChunkContract, **cameras: Camera) -> ChunkContract:
    return replace(contract, cameras=cameras)


CHANGES: dict[str, Callable[[ChunkContract], ChunkContract]] = {
    "rate": lambda its: replace(its, rate_hz=20.0),
    "joints": lambda _: chunk_contract_of({"joints.robot_names": {"pan": "neck"}}),
    "pairing": lambda its: replace(its, pairing=Pairing(rule="newest")),
    "action": lambda its: replace(its, action=replace(its.action, joints=("pan", "lift"))),
    "size": lambda its: seen_by(its, laptop=replace(its.cameras["laptop"], width=16)),
    "camera": lambda its: seen_by(its, wrist=its.cameras["laptop"]),
    "environment": lambda its: replace(its, environment_state=OUTSIDE),
}


@pytest.mark.parametrize("change", CHANGES)
def test_bundle_that_cannot_be_compared_is_refused_with_the_reason(change: str) -> None:
    active = chunk_contract_of()
    contracts = (active, CHANGES[change](active))
    fits, other = (ChunkBundle(path=Path(), contract=each, content=b"") for each in contracts)
    require_comparable(active, {"joint_pos": 3}, fits)
    with refusal(BundleError):
        require_comparable(active, {"joint_pos": 3}, other)


TICKS, OFFSET = 20, 0.25


class ShadowedSet:
    """A walker with an arm in RUN, and a shadow that answers the arm's chunks, plus `offset`."""

    def __init__(self, offset: float) -> None:
        self.robot = robot = LegsAndArm(mode="synchronous")
        robot.chunk = ramp
        self.member = ShadowedMember.in_set(robot.bundle, robot.policy, "arm")
        self._offset, self._chunks = offset, dict[int, F64]()
        contract, state = chunk_contract_of(), self.member.state
        self._shadow = ChunkShadow(
            contract,
            self._run,
            limits_in_force(contract, StricterLimits()),
            contract,
            {name: state[name].size for name in state.slices},
            ChunkSettings(mode="synchronous"),
            ShadowMode.FOLLOWED,
        )
        self.answers = list[ShadowAnswer]()
        robot.run(0)

    def _run(self, sensed: Snapshot) -> F64:
        return self._chunks[sensed.time_ns] + self._offset

    def tick(self, count: int) -> list[ShadowAnswer]:
        """Tick; return the answers to these ticks."""
        before = len(self.answers)
        for _ in range(count):
            self.robot.tick()
            chunks = self.robot.arm.policy.chunks
            self._chunks |= {chunk.time_ns: chunk.targets for chunk in chunks}
            question = self.member.question(self.robot.controller.latest_tick)
            self.member.forget_chunks()
            if question is not None:
                self.answers.append(self._shadow.answer(len(self.answers), question, late=False))
        return self.answers[before:]


def test_shadow_of_a_chunk_member_answers_its_ticks() -> None:
    shadowed = ShadowedSet(OFFSET)
    answers = shadowed.tick(TICKS)
    assert {answer.outcome for answer in answers} == {ShadowOutcome.COMPARED}
    for answer in answers:
        assert answer.target is not None
        assert answer.active_target is not None
        np.testing.assert_allclose(answer.target - answer.active_target, OFFSET, atol=1e-12)


def test_shadow_of_a_chunk_member_is_not_asked_while_others_command() -> None:
    shadowed = ShadowedSet(OFFSET)
    shadowed.tick(TICKS)
    shadowed.robot.requests.switch("alone")
    shadowed.tick(TICKS)
    others = shadowed.member.others
    assert shadowed.tick(TICKS) == []
    assert shadowed.member.others == others + TICKS
    shadowed.robot.requests.switch("both")
    shadowed.tick(TICKS)
    assert {answer.outcome for answer in shadowed.tick(TICKS)} == {ShadowOutcome.COMPARED}
