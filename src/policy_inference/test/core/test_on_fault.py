# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What stands in the place of the policy's targets after a fault."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_inference.core.guard import Rule
from policy_inference.errors import RefusedError
from policy_inference.interfaces import JointTargets, Mode, OnFault
from testkit.wording import check_wording, refusal

from .robots import BOTH, MS, PERIOD_NS, TILTED, Robot, Targets, assert_safe, fail, silence_inputs


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


def test_hold_measured_commands_nothing_before_a_request() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"})
    now_ns = robot.now_ns
    assert robot.controller.tick(now_ns, now_ns + PERIOD_NS) is None
    assert robot.controller.estop("red button") is None
    assert robot.controller.tick(now_ns, now_ns + PERIOD_NS) is None
    assert robot.tick(joint_pos=(0.1, 0.7, -0.6)) is None
    robot.controller.damp()
    np.testing.assert_array_equal(robot.commanded().position, (0.1, 0.7, -0.6))


def test_hold_measured_never_goes_back_to_a_pose_of_before_an_outage() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"}).run(3)
    robot.tick(joint_pos=(0.1, 0.7, -0.6))
    robot.tick(quat_xyzw=TILTED)
    lost = silence_inputs(robot, 5)
    np.testing.assert_array_equal(lost.position, (0.1, 0.7, -0.6))
    found = [robot.commanded(joint_pos=(0.4, 0.2, -0.1)).position for _ in range(10)]
    np.testing.assert_allclose(found[0], (0.3, 0.5, -0.4))
    np.testing.assert_allclose(found[-1], (0.4, 0.2, -0.1))


def test_hold_measured_commands_nothing_after_a_new_start() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"}).run(3)
    robot.controller.stop("the node stops")
    robot.now_ns += 100 * PERIOD_NS
    robot.controller.start()
    assert robot.tick(silent=BOTH) is None
    assert robot.tick(joint_pos=(0.3, 0.2, 0.1)) is None
    check_wording(robot.reason)


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


class Operated:
    """A robot and what happens to it; keeps copies of whatever is published."""

    def __init__(self, on_fault: str) -> None:
        self.robot = Robot(
            {
                "safety.on_fault": on_fault,
                "stand.duration_s": 0.04,
                "safety.blend_s": 0.04,
                "safety.damp_after_s": 0.06,
            }
        )
        self.published = list[tuple[Targets, Mode, bool]]()
        """Targets, the mode that they say, and whether they are those of a safe state."""
        self.waits = self.holds = on_fault == "hold_measured"
        """Whether nothing may be commanded, since nothing was asked for."""

    def publish(self, targets: JointTargets | None, *, safe: bool) -> None:
        if targets is not None:
            assert not self.waits
            self.published.append((Targets.copied(targets), targets.mode, safe))

    def do(self, act: str) -> None:
        """Let one thing happen."""
        controller = self.robot.controller
        requests: Mapping[str, Callable[[], object]] = {
            "stand": controller.stand,
            "run": controller.run,
            "damp": controller.damp,
            "reset": controller.reset,
            "fault": lambda: controller.fault(Rule.INTERNAL, "a defect"),
            "estop": lambda: self.publish(controller.estop("pressed"), safe=True),
            "stop": lambda: controller.stop("the node stops"),
            "start": controller.start,
        }
        if act == "restart":
            self.do("stop")
            self.do("start")
            self.waits = self.holds
            return
        if act not in requests:
            self._tick(act)
            return
        try:
            requests[act]()
        except RefusedError:
            return
        if act in ("stand", "damp"):
            self.waits = False
        if act in ("fault", "stop", "damp"):
            self.publish(controller.safe_targets(), safe=True)

    def _tick(self, act: str) -> None:
        robot = self.robot
        robot.backend.during_run = fail if act == "inference fails" else lambda: None
        if act == "inference is late":
            robot.takes(PERIOD_NS + MS)
        robot.now_ns += {"gap": 200 * MS, "outage": 60 * MS}.get(act, PERIOD_NS)
        robot.sense(
            silent=BOTH if act in ("silence", "outage") else (),
            quat_xyzw=TILTED if act == "tilt" else (0.0, 0.0, 0.0, 1.0),
            joint_vel=(math.nan if act == "nan" else 0.0, 0.0, 0.0),
        )
        targets = robot.controller.tick(robot.now_ns, robot.now_ns + PERIOD_NS)
        mode, _ = robot.controller.ticked
        if targets is not None:
            assert targets.mode is mode
        self.publish(targets, safe=mode is Mode.DAMP)


ACTS = st.lists(
    st.sampled_from(
        [
            *["tick"] * 5,
            *["silence"] * 2,
            *["outage"] * 2,
            "stand",
            "stand",
            "run",
            "damp",
            "reset",
            "estop",
            "fault",
            "restart",
            "tilt",
            "nan",
            "gap",
            "inference fails",
            "inference is late",
        ]
    ),
    max_size=40,
)


@pytest.mark.parametrize("on_fault", ["damp", "hold_measured", "torque_off"])
@given(acts=ACTS, begins=st.booleans())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_whatever_is_published_was_asked_for_and_says_so_in_a_safe_state(
    on_fault: str, acts: Sequence[str], begins: bool
) -> None:
    operated = Operated(on_fault)
    for act in [*(["tick", "stand"] if begins else []), *acts, "stop"]:
        operated.do(act)
    for targets, mode, safe in operated.published:
        assert safe == (mode is Mode.DAMP)
        assert np.isfinite(targets.position).all()
        if safe:
            assert_safe(targets, OnFault(on_fault))
