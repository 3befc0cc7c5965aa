# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable

import numpy as np
import pytest

from policy_inference.errors import RefusedError
from policy_inference.interfaces import Mode

from .contracts import JOINTS, quat_xyzw
from .robots import PERIOD_NS, Robot

TILTED = quat_xyzw(1.2, 0.0, 0.0)


@pytest.fixture
def robot() -> Robot:
    return Robot()


def refusal(act: Callable[[], None]) -> str:
    with pytest.raises(RefusedError) as caught:
        act()
    return str(caught.value)


@pytest.mark.parametrize("wanted", ["stand", "run"])
@pytest.mark.parametrize(
    ("silent", "fields", "text"),
    [
        (["joint_states", "imu/data"], {}, "joint_states: no message; imu/data: no message"),
        (["imu/data"], {}, "imu/data: no message"),
        ([], {"quat_xyzw": TILTED}, "tilt 1.20 rad, limit 1.00 rad"),
        ([], {"joint_pos": (0.0, 1.7, -1.7)}, "outside their position limits: knee, ankle"),
        ([], {"joint_vel": (0.0, np.nan, 0.0)}, "not finite: joint_vel"),
    ],
)
def test_unfit_robots_are_refused_with_the_reason(
    robot: Robot, wanted: str, silent: list[str], fields: dict[str, tuple[float, ...]], text: str
) -> None:
    robot.tick(fields, silent=silent)
    assert text in refusal(getattr(robot.controller, wanted))
    assert robot.is_in(Mode.DAMP)


def test_inputs_that_went_stale_are_refused_with_their_age(robot: Robot) -> None:
    robot.stand()
    robot.now_ns += 3 * PERIOD_NS
    assert "joint_states: 60 ms old" in refusal(robot.controller.run)


def test_the_newest_orientation_counts_even_before_its_tick(robot: Robot) -> None:
    robot.tick()
    robot.sense(quat_xyzw=TILTED)
    assert "tilt 1.20 rad" in refusal(robot.controller.stand)


def test_a_joint_on_its_mechanical_stop_may_stand_up(robot: Robot) -> None:
    robot.tick(joint_pos=(0.0, 1.55, -1.55))
    robot.controller.stand()
    assert robot.is_in(Mode.STAND)


@pytest.mark.parametrize("wanted", ["stand", "run"])
def test_a_latched_fault_is_refused_until_reset(robot: Robot, wanted: str) -> None:
    robot.run().tick(quat_xyzw=TILTED)
    robot.tick(quat_xyzw=(0.0, 0.0, 0.0, 1.0))
    text = refusal(getattr(robot.controller, wanted))
    assert "latched fault (attitude: tilt 1.20 rad" in text
    assert "reset" in text
    robot.controller.reset()
    robot.run()


@pytest.mark.parametrize("wanted", ["stand", "run"])
def test_a_pressed_e_stop_is_refused(robot: Robot, wanted: str) -> None:
    robot.tick()
    robot.controller.estop("red button")
    assert "e-stop (red button)" in refusal(getattr(robot.controller, wanted))


def test_run_is_refused_from_every_mode_but_ready(robot: Robot) -> None:
    robot.tick()
    assert "the mode is DAMP, expected READY" in refusal(robot.controller.run)
    robot.controller.stand()
    robot.tick()
    assert "the mode is STAND, expected READY" in refusal(robot.controller.run)
    robot.controller.damp()
    robot.run()
    assert "the mode is RUN, expected READY" in refusal(robot.controller.run)
    robot.tick(silent=["imu/data"])
    robot.tick(silent=["imu/data"])
    robot.tick(silent=["imu/data"])
    assert "the mode is HOLD, expected READY" in refusal(robot.controller.run)


def test_run_is_refused_far_from_the_stand_pose_by_joint(robot: Robot) -> None:
    robot.stand().tick(joint_pos=(0.36, 0.5, -0.1))
    assert "too far from the stand pose: hip, ankle" in refusal(robot.controller.run)
    assert robot.is_in(Mode.READY)


def test_a_wider_tolerance_in_the_contract_is_honoured() -> None:
    robot = Robot({"stand.tolerance": {JOINTS[0]: 0.5, ".*[ke].*": 0.35}})
    robot.stand().tick(joint_pos=(0.45, 0.5, -0.5))
    robot.controller.run()
    assert robot.is_in(Mode.RUN)


def test_a_wheel_stands_where_it_is() -> None:
    """A wheel that has rolled is not wound back: no torque in STAND, and RUN may begin."""
    wheel = JOINTS[2]
    robot = Robot(
        {
            "stand.stiffness": {wheel: 0.0, "hip|knee": 100.0},
            "joints.position_min": -1e6,
            "joints.position_max": 1e6,
            "action.terms": [
                {"joints": list(JOINTS[:2]), "kind": "position"},
                {"joints": [wheel], "kind": "velocity"},
            ],
        }
    )
    rolled = (0.0, 0.5, 132.0)
    command = robot.stand().tick(joint_pos=rolled)
    assert command is not None
    assert command.torque(rolled)[2] == 0.0
    assert command.torque(rolled, velocity=1.0)[2] < 0.0, "it is braked"
    robot.controller.run()
    assert robot.is_in(Mode.RUN)


@pytest.mark.parametrize("wanted", ["stand", "run"])
def test_problems_of_the_caller_are_refused_together_with_those_found_here(
    robot: Robot, wanted: str
) -> None:
    robot.tick(quat_xyzw=TILTED)
    with pytest.raises(RefusedError, match=r"nobody listens.*tilt 1.20 rad"):
        getattr(robot.controller, wanted)(["nobody listens"])


def test_a_refused_request_changes_neither_mode_nor_targets(robot: Robot) -> None:
    robot.answer(0.1, 0.1, 0.1)
    before = robot.run(20).commanded()
    refusal(lambda: robot.controller.stand(["nobody listens"]))
    after = robot.commanded()
    assert robot.is_in(Mode.RUN)
    np.testing.assert_array_equal(after.position, before.position)
