# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A controller goes on from what others know of where another one has come to."""

from collections.abc import Mapping

import numpy as np
import pytest

from policy_inference.core.controller import ControllerState
from policy_inference.core.guard import Rule
from policy_inference.interfaces import Mode, OnFault

from .contracts import DEFAULT
from .robots import STALE_AFTER, Robot, Targets, silence_inputs

NOMINAL = {"source": "a test", "ticks": 1, "target_step": 0.02, "effort_demand": 5.0}


def known(robot: Robot, targets: Targets) -> ControllerState:
    """Return what a recording of the last tick says."""
    run = robot.controller.latest_run
    return ControllerState(
        mode=robot.controller.mode,
        time_ns=robot.now_ns,
        measured=np.array(robot.sensed["joint_pos"]),
        commanded=np.stack([getattr(targets, name) for name in Targets.__annotations__]),
        target=run.target.copy() if robot.is_in(Mode.RUN) else None,
        blend=run.blend,
    )


def continued(robot: Robot, targets: Targets, changes: Mapping[str, object] | None = None) -> Robot:
    """Return a robot under a new controller that begins there."""
    other = Robot(changes)
    other.now_ns, other.sensed = robot.now_ns, robot.sensed
    other.backend.answers = dict(robot.backend.answers)
    other.sense()
    other.controller.begin_at(known(robot, targets))
    return other


def assert_same_commands(robot: Robot, other: Robot, ticks: int = 20) -> None:
    for _ in range(ticks):
        expected, found = robot.commanded(), other.commanded()
        assert other.controller.mode is robot.controller.mode
        for name, values in vars(expected).items():
            # The pose at the end of standing up is rounded on its way.
            np.testing.assert_allclose(getattr(found, name), values, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("on_fault", OnFault)
def test_what_is_commanded_in_damp_goes_on(on_fault: OnFault) -> None:
    changes = {"safety.on_fault": on_fault.value}
    robot = Robot(changes)
    robot.stand().controller.damp()
    other = continued(robot, robot.commanded(), changes)
    assert_same_commands(robot, other)


def test_robot_that_stands_goes_on_standing_and_may_run() -> None:
    robot = Robot().stand()
    other = continued(robot, robot.commanded())
    assert_same_commands(robot, other)
    for one in (robot, other):
        one.answer(0.1, 0.2, 0.3)
        one.controller.run()
    assert_same_commands(robot, other)


@pytest.mark.parametrize("ticks", [1, 3, 30])
def test_policy_goes_on_with_its_share_of_the_command(ticks: int) -> None:
    robot = Robot().stand()
    robot.answer(0.1, 0.2, 0.3)
    robot.controller.run()
    for _ in range(ticks):
        targets = robot.commanded()
    assert_same_commands(robot, continued(robot, targets))


def test_step_is_counted_from_the_last_target() -> None:
    changes = {"nominal": NOMINAL}
    robot = Robot(changes)
    robot.stand().answer(9.0, 9.0, 9.0)
    robot.controller.run()
    robot.tick()
    targets = robot.commanded()
    other = continued(robot, targets, changes)
    assert robot.count(Rule.TARGET_STEP) == 2
    assert_same_commands(robot, other, 5)
    assert other.count(Rule.TARGET_STEP) == 5


def test_hold_holds_the_command_of_before() -> None:
    robot = Robot().run(30)
    other = continued(robot, robot.commanded())
    held = silence_inputs(other, STALE_AFTER + 1)
    assert other.is_in(Mode.HOLD)
    np.testing.assert_allclose(held.position, DEFAULT, atol=1e-12)


def test_fault_and_emergency_stop_of_before_are_forgotten() -> None:
    robot = Robot().stand()
    targets = robot.commanded()
    other = Robot()
    other.stand().controller.estop("pressed")
    other.tick()
    other.now_ns = robot.now_ns
    other.sense()
    other.controller.begin_at(known(robot, targets))
    assert not other.controller.estop_pressed
    assert_same_commands(robot, other)
