# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""No joint of an arm is commanded further in a tick than its `velocity_limit` allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_core.errors import RefusedError
from policy_core.guard.bounds import Rule
from policy_core.interfaces import F64, JointTargets, Mode
from testkit.fuzzing import examples
from testkit.kernel.arms import PERIOD_NS, Arm
from testkit.kernel.chunk_contracts import STEPS
from testkit.kernel.robots import fail

pytestmark = pytest.mark.both_cores

STRIDE = np.array([0.1, 0.05, 0.18])
"""What `velocity_limit` allows in a tick [joints], rad."""
ARM: Mapping[str, object] = {
    "joints.velocity_limit": (10.0 * STRIDE).tolist(),
    "safety.blend_s": 0.3,
    # Bounds on step and torque that a wrong sample makes larger steps of.
    "safety.margin": 1.5,
    "nominal": {"source": "test", "ticks": 100, "target_step": 0.3, "effort_demand": 2.0},
}
SPIKE_RAD = 0.4
DAMP_AFTER_TICKS = 20


def arm_that_follows(changes: Mapping[str, object] | None = None) -> Arm:
    arm = Arm({**ARM, **(changes or {})})
    arm.answer = lambda run: np.full((1, STEPS, 3), 0.6)
    return arm


def tick_following(arm: Arm) -> F64:
    command = arm.tick()
    arm.joint_pos = command
    return command


class Watched:
    """An arm that follows its commands, and the steps of what is sent."""

    def __init__(self, on_fault: str) -> None:
        self.arm = Arm({**ARM, "safety.on_fault": on_fault}, fade_s=0.2)
        self.last = np.full(3, np.nan)
        self.steps = list[F64]()

    def _note(self, targets: JointTargets | None, *, tick: bool) -> None:
        sent = np.full(3, np.nan)
        if targets is not None:
            sent[:] = np.where(targets.stiffness > 0.0, targets.position, np.nan)
        self.steps.append(np.abs(sent - self.last))
        if tick:
            self.last = sent

    def do(self, act: str, value: float) -> None:
        controller, arm = self.arm.controller, self.arm
        requests: Mapping[str, Callable[[], object]] = {
            "stand": controller.stand,
            "run": controller.run,
            "damp": controller.damp,
            "reset": controller.reset,
            "fault": lambda: controller.fault(Rule.INTERNAL, "a defect"),
            "e-stop": lambda: self._note(controller.estop("pressed"), tick=False),
        }
        if act in requests:
            with suppress(RefusedError):
                requests[act]()
            self._note(controller.safe_targets() if act == "fault" else None, tick=False)
            return
        if act == "chunk":
            arm.answer = lambda run: np.full((1, STEPS, 3), value)
        arm.transformer.during_run = fail if act == "no chunk" else arm._predict
        arm.now_ns += {"clock": round(1e9 * value)}.get(act, PERIOD_NS)
        follows = np.nan_to_num(self.last)
        arm.joint_pos = follows + value if act == "wrong sample" else follows
        arm.sense(["joint_states"] if act == "silent" else ["laptop"] if act == "blind" else ())
        self._note(controller.tick(arm.now_ns, arm.now_ns + PERIOD_NS), tick=True)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *["tick"] * 6,
                *["wrong sample"] * 3,
                *["silent", "blind", "no chunk", "chunk", "clock"] * 2,
                *["stand", "run", "damp", "reset", "e-stop", "fault"],
            ]
        ),
        st.floats(-1.0, 1.0),
        st.sampled_from([1, 1, 2, 12]),
    ),
    max_size=30,
)


@pytest.mark.fuzz
@pytest.mark.parametrize("on_fault", ["hold_measured", "damp"])
@given(acts=ACTS)
@examples(0.6)
def test_whatever_happens_no_command_is_further_than_a_step_from_the_one_before(
    on_fault: str, acts: Sequence[tuple[str, float, int]]
) -> None:
    watched = Watched(on_fault)
    begin = [("tick", 0.0, 1), ("stand", 0.0, 1), ("tick", 0.0, 6), ("run", 0.0, 1)]
    for act, value, times in [*begin, *acts]:
        for _ in range(times):
            watched.do(act, value)
    steps = np.nan_to_num(watched.steps)
    assert (steps <= STRIDE + 1e-9).all(), steps.max(axis=0)


@pytest.mark.parametrize("runs", [False, True])
def test_one_wrong_sample_before_silence_is_no_pose_to_hold(runs: bool) -> None:
    arm = arm_that_follows().run()
    if not runs:
        arm.controller.stand()
    for _ in range(4):
        tick_following(arm)
    assert arm.is_in(Mode.RUN if runs else Mode.READY)
    seen = np.array(arm.joint_pos)
    arm.tick()
    arm.joint_pos = seen + SPIKE_RAD
    before = arm.tick()
    held = arm.follow(DAMP_AFTER_TICKS, silent=["joint_states"])
    assert arm.reason.startswith(f"{Rule.HELD_TOO_LONG.value}: ")
    assert (np.abs(np.diff(np.vstack([before, held]), axis=0)) <= STRIDE + 1e-9).all()
    np.testing.assert_allclose(held[-1], seen, atol=0.05)


def test_a_pose_that_is_seen_twice_is_held_and_gone_to_step_by_step() -> None:
    arm = arm_that_follows().run()
    for _ in range(4):
        tick_following(arm)
    arm.joint_pos = np.asarray(arm.joint_pos) - SPIKE_RAD
    last = arm.follow(2)[-1]
    arm.controller.fault(Rule.INTERNAL, "a defect")
    steps = np.diff(np.vstack([last, arm.follow(12)]), axis=0)
    assert np.abs(steps).max(axis=0)[:2] == pytest.approx(STRIDE[:2])
    assert (np.abs(steps) <= STRIDE + 1e-9).all()
    np.testing.assert_allclose(last + steps.sum(axis=0), arm.joint_pos, atol=1e-9)
