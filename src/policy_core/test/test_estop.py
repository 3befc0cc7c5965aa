# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import threading
from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest

from policy_core.errors import RefusedError
from policy_core.guard.bounds import Rule
from policy_core.interfaces import Mode
from testkit.kernel.contracts import quat_xyzw
from testkit.kernel.robots import BOTH, UPRIGHT, Robot, Targets, assert_safe
from testkit.wording import check_wording, refusal

pytestmark = pytest.mark.both_cores

PATIENCE_S = 30.0
"""How long a test waits for a thread that should come at once, before it fails."""


class HangingTick:
    """A tick that hangs in the back end until `release`."""

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
def hanging_tick(strider: Robot) -> Iterator[HangingTick]:
    tick = HangingTick(strider)
    tick.begin()
    yield tick
    tick.release()


def robot_in(mode: Mode) -> Robot:
    robot = Robot()
    robot.tick()
    if mode in (Mode.STAND, Mode.READY):
        robot.controller.stand()
    elif mode is not Mode.DAMP:
        robot.run(20)
    while not robot.is_in(mode):
        robot.tick(silent=BOTH if mode is Mode.HOLD else ())
    return robot


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("word", ["red button", ""])
def test_an_e_stop_wins_in_every_mode_and_holds_until_reset(mode: Mode, word: str) -> None:
    robot = robot_in(mode)
    before, runs = robot.controller.snapshot().counters, robot.backend.runs
    at_once = robot.controller.estop(word)
    assert at_once is not None
    assert_safe(Targets.copied(at_once))
    for _ in range(3):
        robot.controller.estop(word)  # it stays pressed
        broken = robot.tick(joint_vel=(np.nan, 0.0, 0.0), quat_xyzw=quat_xyzw(2.0, 0.0, 0.0))
        assert_safe(broken)
    snapshot = robot.controller.snapshot()
    assert (snapshot.mode, snapshot.latched) == (Mode.DAMP, True)
    assert word in snapshot.reason
    counted = {name for name, count in snapshot.counters.items() if count != before[name]}
    assert (counted, robot.count(Rule.ESTOP), robot.backend.runs) == ({"estop"}, 1, runs)
    robot.sense(joint_vel=(0.0, 0.0, 0.0), quat_xyzw=UPRIGHT)
    with pytest.raises(RefusedError):
        robot.controller.stand()
    robot.controller.reset()
    assert_safe(robot.tick())
    assert robot.is_in(Mode.DAMP)
    robot.run()


def test_an_e_stop_during_inference_takes_the_place_of_its_result(strider: Robot) -> None:
    def press() -> None:
        strider.controller.estop("red button")

    strider.backend.during_run = press
    assert_safe(strider.tick())
    assert strider.is_in(Mode.DAMP)
    assert strider.count(Rule.ESTOP) == 1


def test_an_e_stop_that_is_reset_before_any_tick_has_damped_all_the_same(strider: Robot) -> None:
    strider.controller.estop("red button")
    strider.controller.reset()
    assert_safe(strider.tick())
    assert strider.is_in(Mode.DAMP)
    assert strider.count(Rule.ESTOP) == 1
    assert not strider.controller.snapshot().latched


def test_an_e_stop_pressed_while_a_reset_is_under_way_is_not_cleared_by_it(strider: Robot) -> None:
    class PressAgain(deque[tuple[Mode, str, int]]):
        def append(self, edge: tuple[Mode, str, int]) -> None:
            super().append(edge)
            strider.controller.estop("pressed again")

    strider.controller.estop("red button")
    strider.controller.edges = PressAgain()
    strider.controller.reset()
    strider.controller.edges = deque()
    assert strider.controller.snapshot().latched
    with refusal(RefusedError):
        strider.controller.stand()
    strider.controller.reset()
    strider.run()


def test_an_e_stop_on_top_of_another_fault_is_noted_once_and_cleared_with_it(
    strider: Robot,
) -> None:
    strider.tick(quat_xyzw=quat_xyzw(2.0, 0.0, 0.0))
    for _ in range(3):
        strider.controller.estop("red button")
        strider.tick(quat_xyzw=(0.0, 0.0, 0.0, 1.0))
    assert strider.count(Rule.ESTOP) == 1
    assert "attitude" in strider.reason
    check_wording(strider.reason)
    strider.controller.reset()
    strider.run()


def test_neither_the_status_nor_an_e_stop_waits_for_a_tick_that_hangs(
    strider: Robot, hanging_tick: HangingTick
) -> None:
    assert strider.controller.snapshot().mode is Mode.RUN
    at_once = strider.controller.estop("red button")
    assert at_once is not None
    assert_safe(Targets.copied(at_once))
    assert_safe(hanging_tick.release())
    assert strider.is_in(Mode.DAMP)


def test_an_e_stop_of_an_arm_holds_the_pose_of_now_even_while_a_tick_hangs() -> None:
    robot = Robot({"safety.on_fault": "hold_measured"}).run(3)
    robot.tick(joint_pos=(0.3, 0.2, 0.1))
    hanging = HangingTick(robot)
    hanging.begin()
    at_once = robot.controller.estop("red button")
    pose = None if at_once is None else at_once.position.tolist()
    hanging.release()
    assert pose == [0.3, 0.2, 0.1]


@pytest.mark.parametrize("request_name", ["damp", "stand", "run", "reset"])
def test_a_request_gives_up_on_a_tick_that_hangs_so_that_the_e_stop_gets_its_turn(
    strider: Robot, hanging_tick: HangingTick, request_name: str
) -> None:
    with refusal(RefusedError):
        getattr(strider.controller, request_name)()
    strider.controller.estop("red button")
    assert_safe(hanging_tick.release())
