# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Joystick and keys to velocity and requests, step by step, on a clock of the test's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from robot_operator.pilot import (
    ASKING,
    NO_BUTTON,
    STILL,
    JoystickLayout,
    Pilot,
    PilotSettings,
    Velocity,
    VelocityLimits,
    read_keys,
)
from robot_operator.requests import MOVING, OF_SET, OperatorRequest
from testkit.wording import check_wording

PERIOD_NS = 50_000_000
DEADMAN = 4
BUTTONS: Mapping[OperatorRequest, int] = {
    OperatorRequest.STAND: 0,
    OperatorRequest.ESTOP: 1,
    OperatorRequest.DAMP: 2,
    OperatorRequest.RUN: 3,
    OperatorRequest.RELEASE_CONTROL: 6,
    OperatorRequest.TAKE_CONTROL: 7,
    OperatorRequest.RESET: NO_BUTTON,
}
LIMITS = VelocityLimits(
    max_vx_mps=0.5,
    max_vy_mps=0.3,
    max_wz_radps=0.8,
    acceleration_mps2=1.0,
    deceleration_mps2=4.0,
    acceleration_radps2=2.0,
    deceleration_radps2=8.0,
)
LAYOUT = JoystickLayout(
    axis_vx=1,
    axis_vy=0,
    axis_wz=3,
    inverted=(False, False, False),
    deadband=0.1,
    button_deadman=DEADMAN,
    buttons=BUTTONS,
)
SETTINGS = PilotSettings(
    limits=LIMITS,
    layout=LAYOUT,
    joy_timeout_s=0.5,
    joy_unchanged_s=10.0,
    estop_if_lost=False,
    key_timeout_s=0.6,
    key_share=0.5,
)


class Operated:
    """A pilot, a joystick in use, and time."""

    def __init__(self, settings: PilotSettings = SETTINGS) -> None:
        self.pilot, self.now_ns = Pilot(settings), 0
        self.axes, self.pressed = [0.0] * 6, set[int]()
        self.joystick_speaks = True
        self.asked: list[OperatorRequest] = []

    def step(self, *, driving: bool = True) -> Velocity:
        self.now_ns += PERIOD_NS
        if self.joystick_speaks:
            self.speak()
        self.asked += self.pilot.lost(self.now_ns)[1]
        return self.pilot.step(self.now_ns, driving=driving)

    def speak(self) -> None:
        buttons = [int(index in self.pressed) for index in range(11)]
        self.asked += self.pilot.hear_joystick(self.axes, buttons, self.now_ns)

    def steps(self, duration_s: float, *, driving: bool = True) -> Velocity:
        for _ in range(round(duration_s * 1e9 / PERIOD_NS)):
            velocity = self.step(driving=driving)
        return velocity

    def holds(self, *buttons: int) -> None:
        self.pressed = {*buttons}

    def holds_deadman(self) -> None:
        """Press the switch with the sticks in the middle."""
        self.holds(DEADMAN)
        self.speak()

    def takes_the_switch(self) -> None:
        """Press the switch, which was seen released before."""
        self.step()
        self.holds_deadman()

    def presses(self, key: str) -> list[OperatorRequest]:
        return self.pilot.press(key, self.now_ns)

    def drives_by_key(self, key: str, duration_s: float) -> Velocity:
        """Hold a key that repeats itself at each step."""
        for _ in range(round(duration_s * 1e9 / PERIOD_NS)):
            self.presses(key)
            velocity = self.step()
        return velocity

    def drives_forward(self) -> Operated:
        """Be at the largest velocity ahead."""
        self.takes_the_switch()
        self.axes[LAYOUT.axis_vx] = 1.0
        assert self.steps(1.0) == (0.5, 0.0, 0.0)
        return self


@pytest.fixture
def operated() -> Operated:
    return Operated()


@pytest.mark.parametrize(
    ("axes", "inverted", "velocity"),
    [
        ({1: 1.0, 0: -1.0, 3: 1.0}, (False, False, False), (0.5, -0.3, 0.8)),
        ({1: 1.7}, (False, False, False), (0.5, 0.0, 0.0)),  # beyond its range
        ({1: 1.0, 3: 1.0}, (True, False, True), (-0.5, 0.0, -0.8)),
        ({1: 0.1}, (False, False, False), STILL),  # the deadband
        ({1: 0.55}, (False, False, False), (0.25, 0.0, 0.0)),  # from zero on behind it
    ],
)
def test_pushed_stick_is_a_velocity_within_the_limits(
    axes: Mapping[int, float], inverted: tuple[bool, bool, bool], velocity: Velocity
) -> None:
    operated = Operated(replace(SETTINGS, layout=replace(LAYOUT, inverted=inverted)))
    operated.takes_the_switch()
    for axis, push in axes.items():
        operated.axes[axis] = push
    assert operated.steps(2.0) == pytest.approx(velocity)


def test_joystick_that_repeats_the_very_same_drives_no_longer(operated: Operated) -> None:
    operated.drives_forward()

    assert operated.steps(8.9) == (0.5, 0.0, 0.0)
    assert operated.steps(0.5) == STILL
    assert "joy_unchanged_s" in operated.pilot.joystick.trouble
    operated.axes[LAYOUT.axis_vx] = 0.9
    assert operated.steps(0.5) == STILL
    operated.holds()
    operated.speak()
    operated.axes[LAYOUT.axis_vx] = 0.0
    operated.holds_deadman()
    operated.axes[LAYOUT.axis_vx] = 1.0
    assert operated.steps(1.0) == (0.5, 0.0, 0.0)


def test_joystick_may_be_held_still_in_the_middle_and_moved_on_the_way(operated: Operated) -> None:
    operated.takes_the_switch()
    operated.steps(20.0)

    for push in (1.0, 0.98, 1.0):
        operated.axes[LAYOUT.axis_vx] = push
        assert operated.steps(9.0)[0] > 0.45
    assert operated.pilot.joystick.trouble == ""


def test_velocity_rises_by_the_acceleration_and_falls_by_the_deceleration(
    operated: Operated,
) -> None:
    operated.takes_the_switch()
    operated.axes[1] = 1.0
    assert [round(operated.step()[0], 6) for _ in range(3)] == [0.05, 0.1, 0.15]
    operated.steps(1.0)
    operated.axes[1] = 0.0
    assert [round(operated.step()[0], 6) for _ in range(4)] == [0.3, 0.1, 0.0, 0.0]


def test_reversal_brakes_to_zero_before_it_accelerates(operated: Operated) -> None:
    operated.drives_forward()
    operated.axes[1] = -1.0
    seen = [round(operated.step()[0], 6) for _ in range(5)]
    assert seen == [0.3, 0.1, 0.0, -0.05, -0.1]


def test_released_deadman_brakes_to_zero_though_the_stick_is_pushed(operated: Operated) -> None:
    operated.drives_forward()
    operated.holds()
    assert operated.steps(0.2) == STILL


@pytest.mark.parametrize("since", ["before the start", "before the joystick was lost"])
def test_deadman_counts_only_once_it_was_seen_released(operated: Operated, since: str) -> None:
    if since == "before the start":
        operated.holds_deadman()
        operated.axes[1] = 1.0
    else:
        operated.drives_forward()
        operated.joystick_speaks = False
        operated.steps(1.0)
        operated.joystick_speaks = True
    assert operated.steps(1.0) == STILL
    operated.holds()
    assert operated.step() == STILL
    operated.axes[1] = 0.0
    operated.holds_deadman()
    operated.axes[1] = 1.0
    assert operated.steps(1.0)[0] == 0.5


@pytest.mark.parametrize(
    ("estop_if_lost", "was_there", "asked"),
    [
        (False, True, []),
        (True, True, [OperatorRequest.ESTOP]),
        (True, False, []),  # one that never was there is not lost
    ],
)
def test_lost_joystick_is_velocity_zero_and_one_estop_where_that_is_asked_for(
    estop_if_lost: bool, was_there: bool, asked: list[OperatorRequest]
) -> None:
    operated = Operated(replace(SETTINGS, estop_if_lost=estop_if_lost))
    if was_there:
        operated.drives_forward()
    operated.joystick_speaks = False
    assert operated.steps(0.5)[0] == (0.5 if was_there else 0.0)
    assert operated.steps(0.2) == STILL
    assert not operated.pilot.joystick.present
    operated.steps(2.0)
    assert operated.asked == asked


@pytest.mark.parametrize("request_", [one for one in BUTTONS if BUTTONS[one] != NO_BUTTON])
def test_button_asks_once_and_for_motion_only_with_the_deadman_held(
    operated: Operated, request_: OperatorRequest
) -> None:
    operated.step()
    operated.holds(BUTTONS[request_])
    operated.steps(0.3)
    assert operated.asked == ([] if request_ in MOVING else [request_])
    operated.asked.clear()
    operated.holds()
    operated.step()
    operated.holds(DEADMAN)
    operated.step()
    operated.holds(DEADMAN, BUTTONS[request_])
    operated.steps(0.3)
    assert operated.asked == [request_]


def test_button_held_since_before_the_start_asks_for_nothing_but_an_estop(
    operated: Operated,
) -> None:
    operated.holds(*BUTTONS.values())
    operated.steps(0.3)
    assert operated.asked == [OperatorRequest.ESTOP]
    operated.holds()
    operated.step()
    operated.holds(*range(11))
    operated.steps(0.3)
    assert OperatorRequest.RESET not in operated.asked  # it has no button


@pytest.mark.parametrize(
    ("axes", "buttons"),
    [([0.0, 0.0], [0] * 11), ([0.0] * 6, [0] * 5), ([0.0, math.nan, 0.0, 0.0], [0] * 11)],
    ids=["axis 3", "button 7 take_control", "NaN"],
)
def test_joystick_that_does_not_fit_says_so_and_only_its_estop_counts(
    operated: Operated, axes: list[float], buttons: list[int]
) -> None:
    operated.drives_forward()
    held = [int(index in (DEADMAN, *BUTTONS.values())) for index in range(len(buttons))]
    asked = operated.pilot.hear_joystick(axes, held, operated.now_ns)
    assert asked == [OperatorRequest.ESTOP]
    check_wording(operated.pilot.joystick.trouble)
    operated.joystick_speaks = False
    assert operated.steps(0.2) == STILL


@pytest.mark.parametrize(
    ("key", "velocity"),
    [
        ("up", (0.25, 0.0, 0.0)),
        ("down", (-0.25, 0.0, 0.0)),
        ("comma", (0.0, 0.15, 0.0)),
        ("full_stop", (0.0, -0.15, 0.0)),
        ("left", (0.0, 0.0, 0.4)),
        ("right", (0.0, 0.0, -0.4)),
    ],
)
def test_held_key_drives_and_its_silence_stops(
    operated: Operated, key: str, velocity: Velocity
) -> None:
    operated.joystick_speaks = False
    operated.step()
    assert operated.drives_by_key(key, 0.5) == pytest.approx(velocity)
    assert operated.steps(0.5) == pytest.approx(velocity)
    assert operated.steps(0.3) == STILL


def test_plus_and_minus_change_the_share_within_its_bounds(operated: Operated) -> None:
    for key, share in (("plus", 1.0), ("minus", 0.1)):
        for _ in range(20):
            operated.presses(key)
        assert operated.pilot.keys.share == pytest.approx(share)


def test_deadman_has_precedence_over_keys(operated: Operated) -> None:
    operated.step()
    operated.holds(DEADMAN)
    operated.presses("up")
    assert operated.steps(0.3) == STILL


@pytest.mark.parametrize("key", ["space", "d", "g"])
def test_stopping_key_ends_driving_by_stick_until_the_deadman_was_released(
    operated: Operated, key: str
) -> None:
    operated.drives_forward()
    operated.presses(key)
    assert operated.steps(0.2) == STILL
    assert operated.steps(1.0) == STILL


@pytest.mark.parametrize("key", ["space", "d", "g"])
def test_held_key_that_drives_must_be_let_go_after_a_stop(operated: Operated, key: str) -> None:
    operated.joystick_speaks = False
    assert operated.drives_by_key("up", 1.0)[0] == 0.25
    operated.presses(key)
    assert operated.steps(0.1) == STILL
    assert operated.drives_by_key("up", 2.0) == STILL
    assert operated.pilot.keys.barred(operated.now_ns)
    operated.steps(0.7)
    assert operated.drives_by_key("up", 1.0)[0] == 0.25


@pytest.mark.parametrize("late", ["at once", "after a step", "in the terminal"])
def test_keys_typed_while_the_pilot_was_held_up_do_not_drive(operated: Operated, late: str) -> None:
    operated.joystick_speaks = False
    assert operated.drives_by_key("up", 1.0)[0] == 0.25
    if late == "in the terminal":  # they stood still on their way, and come at once
        operated.steps(2.0)
    else:
        operated.now_ns += 5_000_000_000
    if late == "after a step":
        operated.step()
    for _ in range(60 if late == "in the terminal" else 5):
        operated.presses("up")
    assert operated.steps(1.0) == STILL
    assert operated.drives_by_key("up", 1.0)[0] == 0.25


def test_estop_typed_while_the_pilot_was_held_up_counts(operated: Operated) -> None:
    operated.step()
    operated.now_ns += 5_000_000_000
    assert operated.presses("e") == [OperatorRequest.ESTOP]


@pytest.mark.parametrize("key", ASKING)
def test_key_asks_whatever_caps_lock_says_and_for_motion_only_with_enter(key: str) -> None:
    request = ASKING[key]
    for typed in {key, key.upper() if len(key) == 1 else key}:
        operated = Operated()
        operated.step()
        asked = operated.presses(typed)
        assert asked == ([] if request in MOVING else [request])
        operated.steps(0.2)
        asked += operated.presses("enter")
        assert asked == [request]
        assert operated.presses("enter") == []
    assert read_keys(OperatorRequest.ESTOP) == "e"
    assert {*ASKING.values()} == {*OperatorRequest} - OF_SET


@pytest.mark.parametrize("between", ["nothing", "another key", "too long", "a stop"])
def test_motion_is_not_asked_for_by_what_was_pasted_or_is_old(
    operated: Operated, between: str
) -> None:
    operated.step()
    operated.presses("w")
    assert operated.pilot.keys.wish(operated.now_ns) is OperatorRequest.RUN
    if between != "nothing":
        operated.steps(6.0 if between == "too long" else 0.2)
    if between == "another key":
        operated.presses("x")
    if between == "a stop":
        operated.pilot.stop(operated.now_ns)
    if between != "nothing":
        assert operated.pilot.keys.wish(operated.now_ns) is None
    assert operated.presses("enter") == []


def test_velocity_is_zero_at_once_while_the_robot_follows_none_and_ramps_up_afterwards(
    operated: Operated,
) -> None:
    operated.drives_forward()
    assert operated.step(driving=False) == STILL
    assert operated.steps(1.0, driving=False) == STILL
    operated.axes[1] = 0.0
    assert operated.step() == STILL
    operated.axes[1] = 1.0
    assert operated.step()[0] == pytest.approx(0.05)


@pytest.mark.parametrize("pushed_since", ["before the switch", "before the robot follows"])
def test_pushed_stick_drives_only_after_it_was_in_the_middle(
    operated: Operated, pushed_since: str
) -> None:
    operated.step()
    if pushed_since == "before the switch":
        operated.axes[1] = 1.0
        operated.holds(DEADMAN)
    else:
        operated.drives_forward()
        operated.steps(0.5, driving=False)
    assert operated.steps(1.0) == STILL
    check_wording(operated.pilot.joystick.hint)
    operated.axes[1] = 0.0
    operated.step()
    operated.axes[1] = 1.0
    assert operated.steps(1.0)[0] == 0.5
    assert operated.pilot.joystick.hint == ""
