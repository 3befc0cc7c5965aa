# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The driver's link process with LeRobot's own classes on an emulated servo bus, without ROS."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lerobot.motors.motors_bus import SerialMotorsBus

from lerobot_arm_driver.arms import HOLD, TORQUE_OFF, ArmSettings
from lerobot_arm_driver.frames import LIMP, ArmState
from lerobot_arm_driver.robot import ServoArm
from lerobot_arm_driver.servos import Servos
from robot_driver.interfaces import (
    F64,
    MODE_HOLD_MEASURED,
    POSITION,
    STIFFNESS,
    DriverError,
    DriverPhase,
    DriverReport,
    WireCommand,
)
from robot_driver.supervisor import LinkSupervisor

from .emulated_arm import DYNAMIXEL, FEETECH, JOINTS, EmulatedArm, patiently

# Alone: on a machine that is busy servos answer later than LeRobot waits.
pytestmark = pytest.mark.real_time
RUN = 3
WITHOUT_LEROBOT = str(Path(__file__).parents[2] / ".venv" / "bin" / "python")
SOON_S = 60.0
"""LeRobot takes seconds to import; more on a machine that is busy."""
ROBOTS = {FEETECH: "so101", DYNAMIXEL: "koch"}
MOVED = np.array([0.15, 0.0, 0.0, 0.0, 0.0, 0.1])


class Driver:
    """The link process of a driver, and what it reports. Close it."""

    def __init__(self, folder: Path, *arms: EmulatedArm, **changes: Any) -> None:
        robot = ROBOTS[arms[0].family]
        settings: dict[str, Any] = {
            "robot": robot if len(arms) == 1 else f"bi_{robot}",
            "port": arms[0].port,
            "right_port": arms[-1].port,
            "calibration_dir": str(folder),
            "state_timeout_s": 0.5,
            **changes,
        }
        self.states: list[ArmState] = []
        self.reports: list[DriverReport] = []
        self.answers: list[str] = []
        self.lost: list[str] = []
        self._sequence = 0
        self.link = LinkSupervisor(
            ServoArm(ArmSettings(**settings)),
            on_state=lambda state, _: self.states.append(state),
            on_report=self._on_report,
            on_lost=self.lost.append,
        )
        self.until(lambda: self.reports)

    @property
    def report(self) -> DriverReport:
        return self.reports[-1]

    def _on_report(self, report: DriverReport) -> None:
        self.reports.append(report)
        if report.answer is not None:
            self.answers.append(report.answer.message)

    def until(self, condition: Callable[[], object]) -> None:
        end_s = time.monotonic() + SOON_S
        while not condition():
            assert time.monotonic() < end_s, self.reports[-1:]
            time.sleep(0.005)

    def is_in(self, phase: DriverPhase) -> None:
        self.until(lambda: self.reports and self.report.phase is phase)

    def takes(self) -> None:
        self.until(lambda: self.reports and self.states and not self.report.obstacles)
        self.link.take()
        self.is_in(DriverPhase.DAMPING)

    def goes(self, goal: F64, stiffness: float = 17.8) -> bool:
        """Send a command once more; return whether goals are followed."""
        follows = self.report.phase is DriverPhase.FOLLOWING
        self._sequence += 1
        at = self.states[-1].joint_pos
        values = np.zeros((len(at), 5))
        # Step by step, as a policy does.
        values[:, POSITION] = at + np.clip(goal - at, -0.2, 0.2) if follows else at
        values[:, STIFFNESS] = stiffness
        self.link.follow(
            WireCommand(
                sequence=self._sequence,
                mode=RUN if follows else MODE_HOLD_MEASURED,
                valid_for_ns=500_000_000,
                values=values,
                effort_limit=np.full(len(at), 1.91),
                received_ns=time.monotonic_ns(),
            )
        )
        time.sleep(0.02)
        return follows

    def moves_by(self, way: F64) -> F64:
        """Let the arm go so far from where it is; return the goal."""
        goal = self.states[-1].joint_pos + way
        self.until(
            lambda: self.goes(goal) and np.abs(self.states[-1].joint_pos - goal).max() < 0.08
        )
        return goal


@pytest.fixture
def starts(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    with ExitStack() as stack:

        def start(*arms: EmulatedArm, **changes: Any) -> Driver:
            driver = Driver(tmp_path, *arms, **changes)
            stack.callback(driver.link.close)
            return driver

        yield start


@pytest.fixture
def so101(tmp_path: Path) -> Iterator[EmulatedArm]:
    with EmulatedArm(tmp_path) as arm:
        yield arm


def test_two_arms_are_one_robot(tmp_path: Path, starts: Callable[..., Driver]) -> None:
    with (
        EmulatedArm(tmp_path, arm=1, name="follower_left") as left,
        EmulatedArm(tmp_path, arm=2, name="follower_right") as right,
    ):
        driver = starts(left, right)
        driver.takes()
        driver.moves_by(np.concatenate([MOVED, -MOVED]) * np.array([1] * 11 + [-1]))

        both = np.concatenate([left.joint_pos, right.joint_pos])
        assert both == pytest.approx(driver.states[-1].joint_pos, abs=0.05)
        assert left.joint_pos[0] > 0.05
        assert right.joint_pos[0] < -0.05
        driver.link.close()


@pytest.mark.parametrize(
    ("faults", "changes", "obstacle"),
    [
        (["silent:elbow_flex"], {}, "elbow_flex (ID 3): [TxRxResult] There is no status packet!"),
        (["baud:all=115200"], {}, "check power, cable and baud rate"),
        (["checksum:all"], {}, "Incorrect status packet!"),
        (["swap:wrist_roll=4"], {}, "a different arm or calibration: homing_offset of wrist"),
        (["overload:elbow_flex"], {}, "elbow_flex (ID 3): [RxPacketError] Overload error!"),
        (["voltage:all=3.5"], {}, "Input voltage error!"),
        ([], {"calibration_id": "nobody"}, "nobody.json, found none"),
        ([], {"lerobot_python": WITHOUT_LEROBOT}, WITHOUT_LEROBOT),
    ],
)
def test_control_is_refused_and_says_why(
    so101: EmulatedArm,
    starts: Callable[..., Driver],
    faults: list[str],
    changes: dict[str, str],
    obstacle: str,
) -> None:
    so101.fails(*faults)

    driver = starts(so101, **changes)

    driver.until(lambda: any(obstacle in text for text in driver.report.obstacles))
    driver.link.take()
    driver.until(lambda: driver.answers)
    assert obstacle in driver.answers[0]
    assert driver.report.phase is DriverPhase.LISTENING


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("overload:elbow_flex", "elbow_flex reports an error: overload"),
        ("restart:elbow_flex+0.2", "the servo of elbow_flex has no torque"),
        ("silent:all+0.7", "no recent state from the robot"),
    ],
)
def test_an_arm_that_fails_under_control_is_held(
    so101: EmulatedArm, starts: Callable[..., Driver], fault: str, reason: str
) -> None:
    driver = starts(so101)
    driver.takes()
    driver.moves_by(MOVED)

    so101.fails(fault)

    def held() -> bool:
        driver.goes(driver.states[-1].joint_pos)
        return any(reason in report.reason for report in driver.reports)

    driver.until(held)


@pytest.mark.parametrize("way_out", [HOLD, TORQUE_OFF])
def test_a_node_that_ends_leaves_an_arm_that_holds_or_is_let_go(
    so101: EmulatedArm, starts: Callable[..., Driver], way_out: str
) -> None:
    driver = starts(so101, way_out=way_out)
    driver.takes()

    driver.link.close()

    assert so101.limp() is (way_out == TORQUE_OFF)


def test_a_bus_that_comes_back_is_connected_again(
    so101: EmulatedArm, starts: Callable[..., Driver]
) -> None:
    driver = starts(so101)
    driver.takes()

    so101.fails("silent:all")
    driver.is_in(DriverPhase.LISTENING)
    driver.until(
        lambda: any("There is no status packet!" in text for text in driver.report.obstacles)
    )
    so101.fails()

    driver.until(lambda: not driver.report.obstacles)
    driver.takes()


@pytest.mark.parametrize("way_out", [HOLD, TORQUE_OFF])
def test_a_link_that_is_killed_leaves_an_arm_that_holds_or_is_let_go(
    so101: EmulatedArm, starts: Callable[..., Driver], way_out: str
) -> None:
    driver = starts(so101, way_out=way_out)
    driver.takes()
    driver.moves_by(MOVED)
    at = so101.joint_pos

    os.kill(driver.link.pid, signal.SIGKILL)

    driver.until(lambda: driver.lost)
    assert "SIGKILL" in driver.lost[0]
    driver.until(lambda: so101.limp() is (way_out == TORQUE_OFF))
    if way_out == HOLD:
        assert so101.joint_pos == pytest.approx(at, abs=0.1)


def test_a_leader_is_limp_in_a_hand_and_then_holds_where_it_is(
    starts: Callable[..., Driver], so101: EmulatedArm
) -> None:
    driver = starts(so101, leader=True)
    driver.takes()
    driver.moves_by(MOVED)

    driver.until(lambda: driver.goes(MOVED, 0.0) and not driver.states[-1].holds.any())
    for _ in range(20):
        assert driver.goes(MOVED, 0.0), driver.report.reason
    assert not driver.states[-1].configured
    driver.until(lambda: driver.goes(driver.states[-1].joint_pos) and driver.states[-1].holds.all())
    driver.moves_by(-MOVED)
    assert driver.report.phase is DriverPhase.FOLLOWING


HOLD_ALL = np.full(len(JOINTS), np.nan)
FALLEN_RAD = 1.2
"""Of the elbow, near its stop: it begins at 0.6 and falls where nothing holds it."""
NEAR = 30
"""Counts of a position, 0.05 rad."""


@pytest.fixture
def servos(so101: EmulatedArm, tmp_path: Path) -> Iterator[Servos]:
    """The servos of a leader, connected, without a link process."""
    servos = Servos(ArmSettings(port=so101.port, calibration_dir=str(tmp_path), leader=True))

    def connect() -> None:
        servos.close()
        servos.connect()

    patiently(connect)
    yield servos
    servos.close()


def falls(arm: EmulatedArm) -> None:
    """Wait until the limp arm lies elsewhere than its servos were commanded."""
    end_s = time.monotonic() + SOON_S
    while arm.joint_pos[2] < FALLEN_RAD:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    assert arm.limp()


def assert_holds_where_it_lies(arm: EmulatedArm) -> None:
    assert all(arm.get(name, "torque_on") for name in JOINTS)
    for name in JOINTS:
        assert arm.get(name, "goal") == pytest.approx(arm.get(name, "position"), abs=NEAR), name


def test_a_limp_leader_that_does_not_answer_stays_limp_and_then_holds_where_it_lies(
    so101: EmulatedArm, servos: Servos
) -> None:
    patiently(servos.prepare)
    patiently(lambda: servos.go(np.full(len(JOINTS), LIMP)))
    so101.fails("silent:all")
    falls(so101)

    with pytest.raises(DriverError, match="status packet"):
        servos.go(HOLD_ALL)
    assert so101.limp()
    so101.fails()
    patiently(lambda: servos.go(HOLD_ALL))
    assert_holds_where_it_lies(so101)


@pytest.mark.parametrize("begins", ["leader that was limp", "control that is taken"])
def test_torque_comes_on_after_each_servo_has_confirmed_its_goal(
    begins: str, so101: EmulatedArm, servos: Servos, monkeypatch: pytest.MonkeyPatch
) -> None:
    patiently(servos.prepare)
    patiently(lambda: servos.go(np.full(len(JOINTS), LIMP)))
    falls(so101)
    # What no servo answers to may be lost.
    monkeypatch.setattr(SerialMotorsBus, "sync_write", lambda *_, **__: None)

    taken = begins == "control that is taken"
    patiently(servos.prepare if taken else lambda: servos.go(HOLD_ALL))
    assert_holds_where_it_lies(so101)
