# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import threading
from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest

from policy_inference.core.guard import Rule
from policy_inference.errors import RefusedError
from policy_inference.interfaces import Mode

from .contracts import quat_xyzw
from .robots import Robot, Targets, assert_safe

PATIENCE_S = 30.0
"""How long a test waits for a thread that should come at once, before it fails."""


class HangingTick:
    """A tick that hangs in the backend until `release`."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._entered, self._released = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._tick)
        self.targets: Targets | None = None

    def begin(self) -> None:
        self._robot.backend.during_run = self._hang
        self._thread.start()
        assert self._entered.wait(PATIENCE_S)

    def release(self) -> Targets | None:
        self._released.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._robot.backend.during_run = lambda: None
        return self.targets

    def _hang(self) -> None:
        self._entered.set()
        self._released.wait(PATIENCE_S)

    def _tick(self) -> None:
        self.targets = self._robot.tick()


@pytest.fixture
def hanging(robot: Robot) -> Iterator[HangingTick]:
    tick = HangingTick(robot)
    tick.begin()
    yield tick
    tick.release()


def test_an_e_stop_damps_the_next_tick_and_latches(robot: Robot) -> None:
    at_once = robot.controller.estop("red button")
    assert at_once is not None
    assert_safe(Targets.copied(at_once))
    runs = robot.backend.runs
    for _ in range(3):
        assert_safe(robot.tick())
    snapshot = robot.controller.snapshot()
    assert (snapshot.mode, snapshot.latched) == (Mode.DAMP, True)
    assert snapshot.reason == "estop: red button"
    assert robot.count(Rule.ESTOP) == 1
    assert robot.backend.runs == runs


def test_an_e_stop_without_a_word_is_one_too(robot: Robot) -> None:
    robot.controller.estop("")
    assert_safe(robot.tick())
    assert robot.controller.snapshot().latched


def test_an_e_stop_during_inference_takes_the_place_of_its_result(robot: Robot) -> None:
    def press() -> None:
        robot.controller.estop("red button")

    robot.backend.during_run = press
    assert_safe(robot.tick())
    assert robot.is_in(Mode.DAMP)
    assert robot.count(Rule.ESTOP) == 1


def test_an_e_stop_in_damp_is_latched_too() -> None:
    robot = Robot()
    robot.tick()
    robot.controller.estop("red button")
    assert_safe(robot.tick())
    assert robot.controller.snapshot().latched


def test_an_e_stop_that_stays_pressed_counts_once(robot: Robot) -> None:
    for _ in range(5):
        robot.controller.estop("red button")
        robot.tick()
    assert robot.count(Rule.ESTOP) == 1


def test_an_e_stop_comes_before_all_other_rules(robot: Robot) -> None:
    robot.controller.estop("red button")
    robot.tick(joint_vel=(np.nan, 0.0, 0.0), quat_xyzw=quat_xyzw(2.0, 0.0, 0.0))
    counters = robot.controller.snapshot().counters
    assert {name for name, count in counters.items() if count} == {"estop"}


def test_reset_clears_the_e_stop_and_the_robot_stays_damped(robot: Robot) -> None:
    robot.controller.estop("red button")
    robot.tick()
    robot.controller.reset()
    assert_safe(robot.tick())
    assert robot.is_in(Mode.DAMP)
    robot.run()


def test_an_e_stop_that_is_reset_before_any_tick_has_damped_all_the_same(robot: Robot) -> None:
    robot.controller.estop("red button")
    robot.controller.reset()
    assert_safe(robot.tick())
    assert robot.is_in(Mode.DAMP)
    assert robot.count(Rule.ESTOP) == 1
    assert not robot.controller.snapshot().latched


def test_an_e_stop_pressed_while_a_reset_is_under_way_is_not_cleared_by_it(robot: Robot) -> None:
    class PressAgain(deque[tuple[Mode, str, int]]):
        def append(self, edge: tuple[Mode, str, int]) -> None:
            super().append(edge)
            robot.controller.estop("pressed again")

    robot.controller.estop("red button")
    robot.controller.edges = PressAgain()
    robot.controller.reset()
    robot.controller.edges = deque()
    assert robot.controller.snapshot().latched
    with pytest.raises(RefusedError, match="latched fault"):
        robot.controller.stand()
    robot.controller.reset()
    robot.run()


def test_an_e_stop_on_top_of_another_fault_is_noted_once_and_cleared_with_it(robot: Robot) -> None:
    robot.tick(quat_xyzw=quat_xyzw(2.0, 0.0, 0.0))
    for _ in range(3):
        robot.controller.estop("red button")
        robot.tick(quat_xyzw=(0.0, 0.0, 0.0, 1.0))
    assert robot.count(Rule.ESTOP) == 1
    assert "attitude" in robot.reason
    assert "estop: red button" in robot.reason
    robot.controller.reset()
    robot.run()


def test_an_e_stop_does_not_wait_for_a_tick_that_hangs(robot: Robot, hanging: HangingTick) -> None:
    at_once = robot.controller.estop("red button")
    assert at_once is not None
    assert_safe(Targets.copied(at_once))
    assert_safe(hanging.release())
    assert robot.is_in(Mode.DAMP)


def test_an_e_stop_of_an_arm_holds_the_pose_of_now_even_while_a_tick_hangs() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"}).run(3)
    robot.tick(joint_pos=(0.3, 0.2, 0.1))
    hanging = HangingTick(robot)
    hanging.begin()
    at_once = robot.controller.estop("red button")
    pose = None if at_once is None else at_once.position.tolist()
    hanging.release()
    assert pose == [0.3, 0.2, 0.1]


def test_the_status_does_not_wait_for_a_tick_that_hangs(robot: Robot, hanging: HangingTick) -> None:
    assert robot.controller.snapshot().mode is Mode.RUN
    assert hanging.release() is not None


@pytest.mark.parametrize("request_name", ["damp", "stand", "run", "reset"])
def test_a_request_gives_up_on_a_tick_that_hangs_so_that_the_e_stop_gets_its_turn(
    robot: Robot, hanging: HangingTick, request_name: str
) -> None:
    with pytest.raises(RefusedError, match="hangs"):
        getattr(robot.controller, request_name)()
    robot.controller.estop("red button")
    assert_safe(hanging.release())
