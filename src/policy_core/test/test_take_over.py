# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One controller takes over from another one, between two ticks."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_core.errors import RefusedError
from policy_core.guard.bounds import Rule
from policy_core.interfaces import Mode, OnFault
from testkit.fuzzing import examples
from testkit.kernel.contracts import DEFAULT, TERMS_OF_A_WALKER
from testkit.kernel.robots import BOTH, MS, STALE_AFTER, Robot, assert_safe, silence_inputs
from testkit.wording import refusal

pytestmark = pytest.mark.both_cores

VIA = [{"position": [0.0, 0.6, -0.9], "duration_s": 0.1}]


def under_new_controller(robot: Robot, changes: Mapping[str, object] | None = None) -> Robot:
    other = Robot(changes)
    other.now_ns, other.sensed = robot.now_ns, robot.sensed
    other.controller.take_over(robot.controller)
    return other


def refuse_load(robot: Robot, changes: Mapping[str, object] | None = None) -> None:
    with refusal(RefusedError):
        under_new_controller(robot, changes)


@pytest.mark.parametrize("ticks", [2, 5, 8])
def test_standing_up_goes_on_through_the_same_poses(ticks: int) -> None:
    robots = [Robot({"stand.via": VIA}), Robot({"stand.via": VIA})]
    for robot in robots:
        robot.tick(joint_pos=(0.4, 1.2, -1.3))
        robot.controller.stand()
        for _ in range(ticks):
            robot.tick()
    robots[1] = under_new_controller(robots[1], {"stand.via": VIA})
    for _ in range(15 - ticks):
        assert robots[1].is_in(Mode.STAND)
        undisturbed, other = (robot.commanded() for robot in robots)
        np.testing.assert_array_equal(other.position, undisturbed.position)
    assert robots[1].is_in(Mode.READY)


@pytest.mark.parametrize(
    "other",
    [
        {"position": [0.0, 0.6, -0.9], "duration_s": 0.2},
        {"position": [0.0, 0.6, -0.8], "duration_s": 0.1},
    ],
)
def test_another_way_through_as_many_poses_is_refused_while_the_robot_stands(
    other: Mapping[str, object],
) -> None:
    refuse_load(Robot({"stand.via": VIA}).stand(), {"stand.via": [other]})


def test_new_policy_runs_from_where_the_old_one_stood() -> None:
    other = under_new_controller(Robot().stand())
    other.answer(0.1, 0.2, 0.3)
    other.controller.run()
    for _ in range(20):
        targets = other.commanded()
    assert other.is_in(Mode.RUN)
    np.testing.assert_allclose(targets.position, np.add(DEFAULT, (0.05, 0.1, 0.15)))


def test_new_policy_has_its_own_effort_limit_from_the_first_command() -> None:
    robot = Robot().run()
    robot.commanded()
    robot.controller.damp()
    other = under_new_controller(robot, {"joints.effort_limit": 9.0})
    other.stand()
    other.run()
    assert set(other.commanded().effort_limit) == {9.0}


@pytest.mark.parametrize("silent", [1, 2])
def test_policy_that_runs_or_holds_is_not_replaced(silent: int) -> None:
    robot = Robot().run()
    silence_inputs(robot, 3 * (silent - 1) + 1)
    mode = robot.controller.mode
    assert mode is (Mode.RUN, Mode.HOLD)[silent - 1]
    refuse_load(robot)


@pytest.mark.parametrize(
    "changes",
    [
        {"stand.position": [0.0, 0.5, -0.4]},
        {"stand.stiffness": 90.0},
        {"stand.via": VIA},
        {"joints.effort_limit": 21.0},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_way_to_stand_is_refused_while_the_robot_stands(
    changes: Mapping[str, object],
) -> None:
    robot = Robot().stand()
    before = robot.commanded()
    refuse_load(robot, changes)
    np.testing.assert_array_equal(robot.commanded().position, before.position)
    robot.controller.damp()
    under_new_controller(robot, changes)


@pytest.mark.parametrize(
    "changes",
    [{"stand.stiffness": 90.0}, {"stand.via": VIA}],
    ids=lambda changes: next(iter(changes)),
)
def test_policy_that_took_over_from_a_damped_one_stands_up_in_its_own_way(
    changes: Mapping[str, object],
) -> None:
    robot = Robot().stand()
    robot.controller.damp()
    robot.tick(joint_pos=(0.4, 1.2, -1.3))
    fresh = Robot(changes)
    fresh.tick(joint_pos=(0.4, 1.2, -1.3))
    other = under_new_controller(robot, changes)
    for one in (fresh, other):
        one.controller.stand()
    for _ in range(16):
        expected, found = fresh.commanded(), other.commanded()
        for name, values in vars(expected).items():
            np.testing.assert_array_equal(getattr(found, name), values, name)


def test_fault_that_the_new_policy_would_see_at_once_is_refused_while_the_robot_stands() -> None:
    robot = Robot().stand()
    robot.tick(quat_xyzw=(0.15, 0.0, 0.0, 0.9887))
    refuse_load(robot, {"safety.max_tilt_rad": 0.2})


def test_time_since_the_last_tick_makes_no_input_stale() -> None:
    robot = Robot().stand()
    silence_inputs(robot, STALE_AFTER)
    robot.now_ns += 19 * MS
    assert under_new_controller(robot).is_in(Mode.READY)


def test_value_that_was_never_read_is_refused_while_the_robot_stands() -> None:
    rate = next(term for term in TERMS_OF_A_WALKER if term["term"] == "base_ang_vel")
    blind = {"observations.obs.terms": [term for term in TERMS_OF_A_WALKER if term is not rate]}
    refuse_load(Robot(blind).stand())


def test_emergency_stop_that_no_tick_has_seen_yet_holds() -> None:
    robot = Robot().stand()
    robot.controller.estop("red button")
    other = under_new_controller(robot)
    assert other.controller.estop_pressed
    assert_safe(other.tick())
    assert other.count(Rule.ESTOP) == 1
    assert "red button" in other.reason


def test_velocity_command_goes_on_within_the_new_range() -> None:
    robot = Robot().stand()
    robot.controller.command.set((0.9, 0.1, 0.0), robot.now_ns)
    other = under_new_controller(robot, {"velocity_command.max": [0.5, 0.5, 1.0]})
    other.tick()
    np.testing.assert_array_equal(other.controller.state["velocity_command"], (0.5, 0.1, 0.0))


def test_command_that_fades_goes_on_fading_and_is_counted_once() -> None:
    robot = Robot()
    robot.controller.command.set((0.9, 0.1, 0.0), robot.now_ns)
    for _ in range(30):
        robot.tick()
    other = under_new_controller(robot)
    other.tick()
    assert other.count(Rule.STALE_COMMAND) == 1


def test_time_between_ticks_goes_on_being_watched() -> None:
    robot = Robot().stand()
    robot.now_ns += 10_000 * MS
    robot.sense()
    other = under_new_controller(robot)
    assert_safe(other.tick())
    assert other.count(Rule.CLOCK) == 1


STEPS = st.one_of(
    st.tuples(st.just("sense"), st.sampled_from([0.0, 0.01, 0.3, 2.0, math.nan])),
    st.tuples(st.just("silence"), st.integers(1, 4)),
    st.tuples(st.just("wait"), st.integers(1, 12)),
    st.tuples(st.just("ask"), st.sampled_from(["damp", "stand", "reset", "estop"])),
)


class Walked:
    """A robot to which steps happen; what it commanded and said."""

    def __init__(self, on_fault: OnFault) -> None:
        self.changes = {"safety.on_fault": on_fault.value}
        self.robot, self.found = Robot(self.changes), list[object]()

    def step(self, kind: str, value: Any) -> None:
        if kind == "sense":
            moved = np.add(self.robot.sensed["joint_pos"], value).tolist()
            self._tick(joint_pos=moved if math.isfinite(sum(moved)) else (math.nan, 0.8, -1.2))
            self.robot.sensed["joint_pos"] = DEFAULT if math.isnan(sum(moved)) else moved
        elif kind == "ask":
            asked = getattr(self.robot.controller, value)
            try:
                asked("pressed") if value == "estop" else asked()
            except RefusedError as error:
                self.found.append(str(error))
            self._tick()
        else:
            for _ in range(value):
                self._tick(silent=BOTH if kind == "silence" else ())

    def _tick(self, **more: Any) -> None:
        targets = self.robot.tick(**more)
        found = None if targets is None else {k: v.tolist() for k, v in vars(targets).items()}
        status = self.robot.controller.snapshot()
        self.found.append((found, status.mode, status.reason, status.latched, status.counters))


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("on_fault", OnFault)
@examples(0.6)
@given(before=st.lists(STEPS, max_size=12), after=st.lists(STEPS, min_size=1, max_size=12))
def test_commands_after_a_load_are_those_without_it(
    on_fault: OnFault, before: list[tuple[str, Any]], after: list[tuple[str, Any]]
) -> None:
    undisturbed, loaded = Walked(on_fault), Walked(on_fault)
    for each in (undisturbed, loaded):
        for step in before:
            each.step(*step)
    try:
        loaded.robot = under_new_controller(loaded.robot, loaded.changes)
    except RefusedError:
        return  # a robot that stands, and whose state is too old to go on
    for each in (undisturbed, loaded):
        for step in after:
            each.step(*step)
    assert repr(loaded.found) == repr(undisturbed.found)
