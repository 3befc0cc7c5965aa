# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The motion host follows the sender in control, folds, damps and reports the true state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lite3_driver import wire
from robot_sim.errors import SimError
from robot_sim.figures import LITE3
from robot_sim.lite3_host import FOLDED_RAD, Lite3Fault, Lite3FaultPlan
from robot_sim.world import Pose
from testkit.wording import check_wording, refusal

from .host_robot import DRIVER, INTRUDER, Robot, holding_frame

OCCUPIED = Lite3Fault(kind="occupied", target="host")


@pytest.fixture
def packets(shared_data: Path) -> Path:
    """Return the folder of datagrams from the vendor's client, and of frames it accepted."""
    return shared_data / "legged" / "lite3" / "udp"


@pytest.fixture
def lying_host() -> Robot:
    return Robot()


@pytest.fixture
def host_in_control(lying_host: Robot) -> Robot:
    lying_host.send(wire.request(wire.TAKE_CONTROL))
    return lying_host


class TestState:
    def test_frame_shows_the_world(self) -> None:
        assert LITE3.joint_names == wire.JOINT_NAMES
        assert LITE3.foot_names == wire.FOOT_NAMES
        robot = Robot(pose="standing")
        robot.host.world.push([60.0, 40.0, 0.0], 0.1)
        state, truth = robot.run(0.15), robot.host.world.sense()
        np.testing.assert_allclose(state.joint_pos, truth.joint_pos, atol=1e-6)
        np.testing.assert_allclose(state.joint_vel, truth.joint_vel, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(state.joint_effort, truth.joint_effort, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(state.ang_vel, truth.ang_vel_body, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(state.lin_acc, truth.lin_acc_body, rtol=1e-6, atol=1e-5)
        np.testing.assert_array_equal(state.contact_force, truth.foot_force_world)
        assert abs(state.rpy[0]) > 0.01
        np.testing.assert_allclose(_quat_of_rpy(state.rpy), truth.quat_xyzw, atol=1e-6)

    def test_angular_velocity_may_come_in_degrees(self) -> None:
        rates = []
        for unit in ("rad/s", "deg/s"):
            robot = Robot(angular_velocity_unit=unit)
            robot.host.world.turn(np.pi / 2, 2.0)
            rates.append(robot.run(1.0).ang_vel)
        np.testing.assert_allclose(rates[1], np.degrees(rates[0]), rtol=1e-5)

    def test_unknown_unit_and_odd_watchdog_are_refused(self) -> None:
        with refusal(SimError):
            Robot(angular_velocity_unit="rpm")
        with refusal(SimError):
            Robot(watchdog_s=0.0)


def _quat_of_rpy(rpy: np.ndarray) -> np.ndarray:
    """Return the quaternion [x, y, z, w] of a rotation about z, then y, then x."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy / 2), np.sin(rpy / 2)
    return np.array(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ]
    )


class TestFolding:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "pose", ["lying", pytest.param("standing", marks=pytest.mark.acceptance)]
    )
    def test_legs_fold_slowly_within_seven_seconds_and_stay_until_the_first_command(
        self, pose: Pose
    ) -> None:
        robot = Robot(pose=pose)
        if pose == "standing":
            robot.run(1.0)
        robot.send(wire.request(wire.FOLD))
        fastest = max(np.abs(robot.run(0.01).joint_vel).max() for _ in range(700))
        assert fastest < 1.0
        np.testing.assert_allclose(robot.run(0.01).joint_pos, FOLDED_RAD, atol=0.1)
        state = robot.run(2.0)
        np.testing.assert_allclose(state.joint_pos, FOLDED_RAD, atol=0.1)
        assert np.abs(state.joint_vel).max() < 0.1
        assert robot.happened == ["folding"]
        robot.send(wire.request(wire.TAKE_CONTROL))
        np.testing.assert_allclose(robot.run(0.5).joint_pos, FOLDED_RAD, atol=0.1)
        state = robot.run(1.0, wire.damping_command(5.0))
        assert np.abs(state.joint_effort).max() < 1.0

    def test_nothing_folds_while_a_host_has_control(self, host_in_control: Robot) -> None:
        host_in_control.send(wire.request(wire.FOLD))
        host_in_control.send(wire.request(wire.FOLD), INTRUDER)
        host_in_control.run(0.5, wire.damping_command(5.0))
        assert host_in_control.happened == ["control_taken"]
        assert host_in_control.host.ignored["not_in_control"] == 2


class TestControl:
    def test_commands_count_from_the_controller_alone(self, lying_host: Robot) -> None:
        lying_host.run(0.1, holding_frame(LITE3.standing_rad))
        assert lying_host.host.world.damped
        lying_host.send(wire.request(wire.TAKE_CONTROL))
        lying_host.send(holding_frame(LITE3.standing_rad), INTRUDER)
        lying_host.run(0.1)
        assert lying_host.host.world.damped
        lying_host.run(0.1, holding_frame(LITE3.standing_rad))
        assert not lying_host.host.world.damped
        assert lying_host.happened == ["control_taken", "following"]

    def test_control_is_given_to_one_at_a_time(self, host_in_control: Robot) -> None:
        host_in_control.send(wire.request(wire.TAKE_CONTROL))
        host_in_control.send(wire.request(wire.TAKE_CONTROL), INTRUDER)
        assert host_in_control.host.controller == DRIVER
        assert host_in_control.happened == ["control_taken", "control_refused"]
        host_in_control.send(wire.request(wire.GIVE_BACK), INTRUDER)
        assert host_in_control.host.controller == DRIVER
        host_in_control.send(wire.request(wire.GIVE_BACK))
        host_in_control.send(wire.request(wire.TAKE_CONTROL), INTRUDER)
        assert host_in_control.host.controller == INTRUDER

    def test_giving_back_damps_and_nothing_is_followed(self, host_in_control: Robot) -> None:
        host_in_control.run(0.1, holding_frame(LITE3.standing_rad))
        host_in_control.send(wire.request(wire.GIVE_BACK))
        host_in_control.run(0.1, holding_frame(LITE3.standing_rad))
        assert host_in_control.host.world.damped
        assert host_in_control.happened[-2:] == ["control_given_back", "damped"]

    @pytest.mark.parametrize("watchdog_s", [1.0, 0.05])
    def test_silence_ends_control_and_it_must_be_asked_for_again(self, watchdog_s: float) -> None:
        robot = Robot(watchdog_s=watchdog_s)
        robot.send(wire.request(wire.TAKE_CONTROL))
        robot.run(0.1, holding_frame(LITE3.standing_rad))
        silent_ns = robot.host.world.time_ns - 2_000_000
        robot.run(watchdog_s - 0.003)
        assert not robot.host.world.damped
        robot.run(0.01)
        assert robot.host.world.damped
        watchdog = next(event for event in robot.events if event.what == "watchdog")
        assert watchdog.time_ns - silent_ns == round(watchdog_s * 1e9)
        robot.run(0.1, holding_frame(LITE3.standing_rad))
        assert robot.host.world.damped
        robot.send(wire.request(wire.TAKE_CONTROL))
        robot.run(0.1, holding_frame(LITE3.standing_rad))
        assert not robot.host.world.damped

    @pytest.mark.parametrize("column", [0, 4])
    def test_commands_that_are_no_numbers_are_ignored(
        self, host_in_control: Robot, column: int
    ) -> None:
        host_in_control.run(0.01, holding_frame(LITE3.standing_rad))
        values = np.zeros((12, 5))
        values[3, column] = np.nan
        host_in_control.send(wire.command(values))
        assert host_in_control.host.ignored["unfit_command"] == 1
        host_in_control.run(0.01)
        assert not host_in_control.host.world.damped

    @pytest.mark.parametrize(
        ("data", "kind"),
        [
            (b"\0", "no_header"),
            (wire.request(wire.TAKE_CONTROL)[:11], "no_header"),
            (bytes(12), "unknown_code"),
            (wire.request(0x21010C0E), "unknown_code"),
            (holding_frame(LITE3.standing_rad)[:-1], "wrong_form"),
            (wire.request(wire.FOLD) + b"\0", "wrong_form"),
            (holding_frame(LITE3.standing_rad), "not_in_control"),
            (wire.request(wire.GIVE_BACK), "not_in_control"),
        ],
        ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
    )
    def test_what_it_does_not_obey_changes_nothing_and_is_counted_and_reported_once(
        self, lying_host: Robot, data: bytes, kind: str
    ) -> None:
        for _ in range(3):
            lying_host.send(data)
        lying_host.run(0.01)
        assert lying_host.host.world.damped
        assert {name: n for name, n in lying_host.host.ignored.items() if n} == {kind: 3}
        (event,) = lying_host.events
        assert event.what == "ignored"
        check_wording(event.who)
        assert event.who.endswith("from 127.0.0.1:43897")


class TestAnotherController:
    def test_it_keeps_control_and_holds_the_legs(self, lying_host: Robot) -> None:
        lying_host.host.adopt(Lite3FaultPlan([OCCUPIED]))
        lying_host.host.act()
        lying_host.run(7.0)
        lying_host.send(wire.request(wire.TAKE_CONTROL))
        state = lying_host.run(1.0, wire.damping_command(5.0))
        assert np.abs(state.joint_effort).max() > 3.0
        assert lying_host.happened == ["folding", "control_taken", "control_refused"]
        lying_host.host.adopt(Lite3FaultPlan())
        lying_host.send(wire.request(wire.TAKE_CONTROL))
        assert lying_host.host.controller == DRIVER

    def test_it_takes_control_from_no_other_host(self, host_in_control: Robot) -> None:
        host_in_control.host.adopt(Lite3FaultPlan([OCCUPIED]))
        host_in_control.host.act()
        host_in_control.host.adopt(Lite3FaultPlan())
        assert host_in_control.host.controller == DRIVER


def test_a_host_that_is_off_is_silent_deaf_and_damps_and_begins_again_at_tick_0(
    host_in_control: Robot,
) -> None:
    host_in_control.run(0.1, holding_frame(LITE3.standing_rad))
    host_in_control.host.stop()
    host_in_control.send(wire.request(wire.TAKE_CONTROL))
    assert host_in_control.host.step() is None
    assert host_in_control.host.world.damped
    assert host_in_control.host.controller is None
    host_in_control.host.start()
    assert host_in_control.run(0.003, holding_frame(LITE3.standing_rad)).tick == 3
    assert host_in_control.host.world.damped
    assert host_in_control.happened[-3:] == ["stopped", "damped", "started"]


@pytest.mark.real_data
def test_control_sequence_of_the_vendors_client(packets: Path) -> None:
    robot = Robot()

    def send(name: str) -> None:
        robot.send((packets / f"{name}.bin").read_bytes())

    send("cmd_31010c05_zero")
    robot.run(7.0)
    send("cmd_0114_control_sdk")
    send("cmd_0114_control_sdk")
    send("cmd_0111_standing")
    state = robot.run(0.05)
    assert robot.host.target == pytest.approx(LITE3.standing_rad, abs=1e-6)
    assert np.abs(state.joint_effort).max() > 10.0
    send("cmd_0111_damping")
    robot.run(0.9)
    send("cmd_0113_control_robot")
    assert robot.happened == [
        "folding",
        "control_taken",
        "following",
        "damped",
        "control_given_back",
    ]


@pytest.mark.real_data
def test_numbers_without_sense_go_no_further_than_the_torque_limit(
    host_in_control: Robot, packets: Path
) -> None:
    host_in_control.send((packets / "cmd_0111_ramp.bin").read_bytes())
    assert np.abs(host_in_control.run(0.002).joint_effort).max() <= 36.0
