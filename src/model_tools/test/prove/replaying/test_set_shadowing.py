# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The shadow of a member of a recorded set: figures as those of a shadow that looked on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.shadowing import shadow_flight
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import ShadowMode
from policy_inference.backends.registry import open_backend
from policy_inference.flight.ring import ShadowAnswer
from policy_inference.shadow.joint_shadow import JointShadow
from policy_inference.shadow.shadowed_member import ShadowedMember

from ...tiny_bundle import make_bundle
from .test_set_replay import SmallSetFlight, lower, small_set

RUNS, ELSEWHERE = 30, 25


class LookedOn(SmallSetFlight):
    """A flight of a set, and a shadow that answers each tick in which a member runs."""

    def __init__(
        self, flown: SetBundle, member: str, shadow: JointBundle, mode: ShadowMode
    ) -> None:
        self.answers = list[ShadowAnswer]()
        self.member: ShadowedMember | None = None
        super().__init__(flown, state_every=6)
        self.member = ShadowedMember.in_set(flown, self.policy_set, member)
        state = self.member.state
        self._shadow = JointShadow(
            shadow,
            open_backend(shadow, ["onnx"])[0],
            limits_in_force(shadow.contract, StricterLimits()),
            flown.members[member].contract,  # type: ignore[arg-type]  # a joint policy
            {name: state[name].size for name in state.slices},
            mode,
        )

    def tick(self, **how: Any) -> None:
        super().tick(**how)
        assert self.member is not None
        question = self.member.question(self.controller.latest_tick)
        if question is not None:
            self.answers.append(
                self._shadow.answer(
                    len(self.answers),
                    question,
                    late=False,
                )
            )

    def there_and_back(self) -> None:
        """Walk, crouch, and walk again."""
        self.stand_and_run()
        self.go_on(RUNS)
        self.requests.switch("crouch")
        self.go_on(ELSEWHERE)
        self.requests.switch("walk")
        self.go_on(RUNS)


@pytest.fixture
def other(tmp_path: Path) -> JointBundle:
    """Another policy of the same robot."""
    return load_bundle(make_bundle(tmp_path / "other", edit=lower), kind=JointBundle)


@pytest.mark.parametrize("mode", ShadowMode)
@pytest.mark.parametrize("starts", ["clean", "followed"])
def test_replay_finds_what_a_shadow_answered_while_its_member_ran(
    tmp_path: Path, other: JointBundle, mode: ShadowMode, starts: str
) -> None:
    flight = LookedOn(small_set(tmp_path, None, starts), "walk", other, mode)
    flight.there_and_back()
    flown = flight.save(tmp_path / "flown")

    found = shadow_flight(FlightRecording(flown), other, ["onnx"], {}, mode, "walk")

    assert flight.member is not None
    assert 0 < flight.member.others <= ELSEWHERE
    assert found.divergence.compared > RUNS
    assert max(found.divergence.max) > 0.0
    assert found.systematic
    ours = [found.answers[tick] for tick in sorted(found.answers)]
    assert [each.outcome for each in ours] == [each.outcome for each in flight.answers]
    for one, theirs in zip(ours, flight.answers, strict=True):
        assert one.rules == theirs.rules
        if theirs.target is not None:
            np.testing.assert_array_equal(one.target, theirs.target)
            np.testing.assert_array_equal(one.active_target, theirs.active_target)
