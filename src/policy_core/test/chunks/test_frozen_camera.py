# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A camera that repeats an image while the arm moves holds it, after what the contract says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from policy_core.guard.bounds import Rule
from policy_core.interfaces import Mode
from testkit.kernel.arms import Arm
from testkit.kernel.chunk_contracts import HEIGHT, STEPS, WIDTH
from testkit.kernel.messages import plain

pytestmark = pytest.mark.both_cores

LIMIT_S = 1.0
NOTICED_TICKS, LIMIT_TICKS = 12, 10
"""Ten equal frames are noticed; so many ticks pass in LIMIT_S."""
LIMIT: Mapping[str, object] = {
    f"cameras.{name}.camera_frozen_s": LIMIT_S for name in ("laptop", "phone")
}


def arm_in_run(changes: Mapping[str, object]) -> Arm:
    arm = Arm({"chunk.steps": STEPS, **changes})
    arm.answer = lambda run: np.full((1, STEPS, 3), 0.1)
    return arm.run()


def go_on(arm: Arm, ticks: int, *, frozen: bool, moves: bool = True) -> None:
    for tick in range(ticks):
        if not frozen:
            arm.image = plain(tick, 20, 30, HEIGHT, WIDTH)
        arm.joint_pos = (0.2 * (tick % 2) * moves, 0.0, 0.0)
        arm.tick()


def test_a_camera_that_repeats_an_image_for_too_long_holds_the_arm_and_then_is_a_fault() -> None:
    arm = arm_in_run(LIMIT)
    go_on(arm, 5, frozen=False)
    go_on(arm, NOTICED_TICKS, frozen=True)
    assert arm.is_in(Mode.RUN)
    go_on(arm, LIMIT_TICKS, frozen=True)
    assert arm.is_in(Mode.HOLD)
    assert arm.count(Rule.NO_TARGET) == 1
    assert "camera laptop" in arm.reason
    go_on(arm, 15, frozen=True)
    assert arm.count(Rule.HELD_TOO_LONG) == 1


def test_it_goes_on_with_the_first_image_that_is_another() -> None:
    arm = arm_in_run(LIMIT)
    go_on(arm, NOTICED_TICKS + LIMIT_TICKS, frozen=True)
    assert arm.is_in(Mode.HOLD)
    go_on(arm, 3, frozen=False)
    assert arm.is_in(Mode.RUN)


@pytest.mark.parametrize(
    ("changes", "frozen", "moves"), [({}, True, True), (LIMIT, True, False), (LIMIT, False, True)]
)
def test_without_a_limit_and_where_the_arm_rests_or_images_change_it_goes_on(
    changes: Mapping[str, object], frozen: bool, moves: bool
) -> None:
    arm = arm_in_run(changes)
    go_on(arm, 60, frozen=frozen, moves=moves)
    assert arm.is_in(Mode.RUN)
    assert arm.count(Rule.NO_TARGET) == 0


def test_images_at_rest_before_a_run_do_not_count_with_motion_of_the_previous_run() -> None:
    arm = arm_in_run(LIMIT)
    go_on(arm, 6, frozen=False)
    arm.controller.damp()
    arm.joint_pos = (0.0, 0.0, 0.0)
    arm.controller.stand()
    while not arm.is_in(Mode.READY):
        arm.tick()
    for _ in range(NOTICED_TICKS + LIMIT_TICKS):
        arm.tick()  # it rests, and its camera sees the same
    arm.controller.run()
    go_on(arm, LIMIT_TICKS + 5, frozen=True, moves=False)
    assert arm.is_in(Mode.RUN)
    assert arm.count(Rule.NO_TARGET) == 0
