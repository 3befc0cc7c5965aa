# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What stands in the place of the policy's targets after a fault."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from policy_core.errors import RefusedError
from policy_core.guard.bounds import Rule
from policy_core.interfaces import JointTargets, Mode, OnFault
from testkit.kernel.robots import (
    BOTH,
    MS,
    PERIOD_NS,
    TILTED,
    UPRIGHT,
    Robot,
    Targets,
    assert_safe,
    fail,
    silence_inputs,
)
from testkit.wording import refusal

pytestmark = pytest.mark.both_cores


def test_hold_measured_holds_the_pose_of_the_fault_with_the_stand_gains() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"}).run(3)
    robot.tick(joint_pos=(0.2, 0.8, -0.7))
    targets = robot.commanded(quat_xyzw=TILTED)
    assert_safe(targets, OnFault.HOLD_MEASURED)
    np.testing.assert_array_equal(targets.position, (0.2, 0.8, -0.7))
    assert targets.stiffness.tolist() == [100.0] * 3
    assert targets.damping.tolist() == [2.5] * 3
    later = robot.commanded(joint_pos=(0.25, 0.85, -0.75))
    np.testing.assert_array_equal(later.position, (0.2, 0.8, -0.7))


def test_hold_measured_holds_the_last_known_pose_where_the_fault_is_in_the_positions() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"}).run(3)
    for _ in range(2):
        robot.tick(joint_pos=(0.1, 0.7, -0.6))
    targets = robot.commanded(joint_pos=(0.2, math.nan, -0.7))
    np.testing.assert_array_equal(targets.position, (0.1, 0.7, -0.6))


def test_hold_measured_never_goes_back_to_a_pose_of_before_an_outage() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"}).run(3)
    robot.tick(joint_pos=(0.1, 0.7, -0.6))
    robot.tick(quat_xyzw=TILTED)
    lost = silence_inputs(robot, 5)
    np.testing.assert_array_equal(lost.position, (0.1, 0.7, -0.6))
    found = [robot.commanded(joint_pos=(0.4, 0.2, -0.1)).position for _ in range(10)]
    np.testing.assert_allclose(found[0], (0.3, 0.5, -0.4))
    np.testing.assert_allclose(found[-1], (0.4, 0.2, -0.1))


@pytest.mark.parametrize(
    "sensed", [{"joint_pos": (0.0, math.nan, 0.0)}, {"joint_vel": (0.0, math.nan, 0.0)}]
)
def test_damp_is_refused_where_nothing_is_held_and_nothing_can_be(
    sensed: Mapping[str, Sequence[float]],
) -> None:
    robot = Robot({"safety.on_fault": "hold_measured"})
    assert robot.tick(sensed) is None
    with refusal(RefusedError):
        robot.controller.damp()
    assert robot.tick() is None


def test_hold_measured_keeps_up_a_policy_whose_own_stiffness_is_zero() -> None:
    terms = [{"joints": ["hip", "knee", "ankle"], "kind": "effort"}]
    robot = Robot(
        {"safety.on_fault": "hold_measured", "action.terms": terms, "joints.stiffness": 0.0}
    )
    assert robot.run(3).commanded(quat_xyzw=TILTED).stiffness.tolist() == [100.0] * 3


def test_torque_off_commands_no_torque_in_any_state() -> None:
    robot = Robot({"safety.on_fault": "torque_off"}).run(3)
    targets = robot.commanded(quat_xyzw=TILTED)
    assert_safe(targets, OnFault.TORQUE_OFF)
    np.testing.assert_array_equal(targets.torque((1.0, 1.0, 1.0), velocity=5.0), np.zeros(3))


def test_damp_brakes_with_the_contract_s_gain(strider: Robot) -> None:
    targets = strider.commanded(quat_xyzw=TILTED)
    np.testing.assert_allclose(targets.torque((1.0, 1.0, 1.0), velocity=2.0), [-10.0] * 3)


def test_an_e_stop_while_a_stand_up_is_held_before_its_first_tick_says_damp() -> None:
    robot = Robot()
    robot.tick()
    robot.controller.stand()
    robot.now_ns += 3 * PERIOD_NS
    held = robot.controller.tick(robot.now_ns, robot.now_ns + PERIOD_NS)
    assert held is not None
    assert (robot.controller.mode, held.mode) == (Mode.HOLD, Mode.HOLD)
    np.testing.assert_array_equal(held.stiffness, np.zeros(3))
    safe = robot.controller.estop("red button")
    assert safe is not None
    assert safe.mode is Mode.DAMP


EVENTS = st.sampled_from(
    [
        *["none"] * 6,
        *["silence", "outage", "tilt", "nan", "gap", "inference fails", "inference is late"],
    ]
)
ANSWERS = st.sampled_from([0.0, 0.0, 0.5, 9.0, -1e30, math.nan])


class Operated(RuleBasedStateMachine):
    """A robot and whatever happens to it; all that it publishes is checked at once."""

    def __init__(self, on_fault: OnFault) -> None:
        super().__init__()
        self.on_fault = on_fault
        self.robot = Robot(
            {
                "safety.on_fault": on_fault.value,
                "stand.duration_s": 0.04,
                "safety.blend_s": 0.04,
                "safety.damp_after_s": 0.06,
            }
        )
        self.controller = self.robot.controller
        self.waits = on_fault is OnFault.HOLD_MEASURED
        """Whether nothing may be commanded, since nothing was asked for."""
        self.latched = False

    def publish(self, targets: JointTargets | None, mode: Mode = Mode.DAMP) -> None:
        if targets is None:
            return
        assert not self.waits
        assert targets.mode is mode
        assert np.isfinite(targets.block).all()
        assert (targets.effort_limit <= 20.0).all()
        assert (np.abs(targets.position) <= 1.5).all()
        if mode is Mode.DAMP:
            assert_safe(Targets.copied(targets), self.on_fault)

    @initialize(runs=st.booleans())
    def begin(self, runs: bool) -> None:
        if runs:
            self.tick("none", 0.0, 1)
            self.request("stand")
            self.tick("none", 0.0, 3)
            self.request("run")

    @rule(event=EVENTS, answer=ANSWERS, times=st.integers(1, 3))
    def tick(self, event: str, answer: float, times: int) -> None:
        robot, controller = self.robot, self.controller
        robot.answer(answer, 0.0, 0.0)
        robot.backend.during_run = fail if event == "inference fails" else lambda: None
        if event == "inference is late":
            robot.takes(PERIOD_NS + MS)
        for _ in range(times):
            before = controller.mode
            robot.now_ns += {"gap": 200 * MS, "outage": 60 * MS}.get(event, PERIOD_NS)
            robot.sense(
                silent=BOTH if event in ("silence", "outage") else (),
                quat_xyzw=TILTED if event == "tilt" else UPRIGHT,
                joint_vel=(math.nan if event == "nan" else 0.0, 0.0, 0.0),
            )
            targets = controller.tick(robot.now_ns, robot.now_ns + PERIOD_NS)
            self.publish(targets, controller.latest_tick.mode)
            broken = event in ("tilt", "nan", "gap") and before is not Mode.DAMP
            if broken or (before is Mode.RUN and event == "none" and math.isnan(answer)):
                assert controller.snapshot().latched

    @rule(name=st.sampled_from(["stand", "stand", "run", "run", "damp", "reset"]))
    def request(self, name: str) -> None:
        before = self.controller.snapshot()
        self.latched &= name != "reset"
        try:
            getattr(self.controller, name)()
        except RefusedError:
            assert self.controller.snapshot() == before
            return
        after = self.controller.snapshot()
        if name == "run":
            assert (before.mode, after.mode) == (Mode.READY, Mode.RUN)
        if name in ("stand", "run"):
            assert not before.latched
        if name == "reset":
            assert (after == before) == (not before.latched)
        if name == "damp":
            assert (after.mode, after.latched) == (Mode.DAMP, before.latched)
            self.waits = False
            self.publish(self.controller.safe_targets())
        self.waits &= name != "stand"

    @rule()
    def press(self) -> None:
        self.publish(self.controller.estop("pressed"))
        assert self.controller.snapshot().latched

    @rule()
    def defect(self) -> None:
        self.controller.fault(Rule.INTERNAL, "a defect")
        assert self.controller.snapshot().latched
        self.publish(self.controller.safe_targets())

    @rule()
    def restart(self) -> None:
        self.controller.stop("the node stops")
        self.publish(self.controller.safe_targets())
        self.controller.start()
        self.waits = self.on_fault is OnFault.HOLD_MEASURED

    @invariant()
    def a_latched_fault_stays_until_reset(self) -> None:
        snapshot = self.controller.snapshot()
        assert snapshot.latched or not self.latched
        assert snapshot.mode is Mode.DAMP or not snapshot.latched
        self.latched = snapshot.latched

    def teardown(self) -> None:
        entered = [mode for mode, _, _ in self.controller.edges]
        for before, mode, then in zip(entered, entered[1:], entered[2:], strict=False):
            assert before is not Mode.RUN or mode is not Mode.READY
            assert mode is not Mode.HOLD or then in (before, Mode.DAMP, Mode.STAND)


@pytest.mark.parametrize("on_fault", OnFault)
def test_whatever_happens_commands_are_bounded_asked_for_and_safe_after_a_fault(
    on_fault: OnFault,
) -> None:
    run_state_machine_as_test(
        lambda: Operated(on_fault),  # type: ignore[arg-type]  # anything that makes a machine
        settings=settings(max_examples=50, stateful_step_count=30, deadline=None, derandomize=True),
    )
