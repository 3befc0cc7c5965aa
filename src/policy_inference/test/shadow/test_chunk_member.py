# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The shadow of a chunk policy that is a member of a set: asked about the ticks it runs in."""

from __future__ import annotations

import numpy as np
import pytest

from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, ShadowMode
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.members.chunk.settings import ChunkSettings
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.shadow.chunk_shadow import ChunkShadow
from policy_inference.shadow.shadowed_member import ShadowedMember
from testkit.kernel.arms import ramp
from testkit.kernel.chunk_contracts import chunk_contract_of
from testkit.kernel.legs_and_arm import LegsAndArm

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


@pytest.mark.parametrize("offset", [0.0, OFFSET])
def test_shadow_of_a_chunk_member_answers_its_ticks(offset: float) -> None:
    shadowed = ShadowedSet(offset)
    answers = shadowed.tick(TICKS)
    assert {answer.outcome for answer in answers} == {ShadowOutcome.COMPARED}
    for answer in answers:
        assert answer.target is not None
        assert answer.active_target is not None
        np.testing.assert_allclose(answer.target - answer.active_target, offset, atol=1e-12)


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
