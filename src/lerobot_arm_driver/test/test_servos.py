# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What servos are sent where what they answer cannot be true; a fake stands for LeRobot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lerobot_arm_driver import servos
from lerobot_arm_driver.arms import ArmSettings
from lerobot_arm_driver.servos import Servos
from robot_driver.interfaces import F64, DriverError
from testkit.wording import check_wording

PERIOD_S = 1.0 / 60
JOINTS = ArmSettings().arm.joint_names
ELBOW = JOINTS.index("elbow_flex")
BODY = slice(0, 5)
LATE_LOAD_DEG = -170.0
"""What a load of 114 looks like that is taken for a position."""
MODEL = "sts3215"


class FakeRobot:
    """LeRobot's robot: joints go to their goals at 3 rad/s, and may be misread."""

    def __init__(self, clock: SimpleNamespace) -> None:
        self._clock, self.calibration, self.bus = clock, dict[str, Any](), self
        self.motors = {
            joint: SimpleNamespace(id=number, model=MODEL) for number, joint in enumerate(JOINTS, 1)
        }
        self.model_number_table = {MODEL: 777}
        self.port_handler = SimpleNamespace()
        self.packet_handler = SimpleNamespace(rxPacket=lambda number: ([0xFF, 0xFF, number], 0))
        self.asked, self.is_late = list[str](), False
        self.pos = np.zeros(6)
        """In degrees, the gripper in percent."""
        self.goal = self.pos.copy()
        self.misread: Mapping[int, float] = {}
        self.sent = list[F64]()

    def let_pass(self, periods: int = 1) -> None:
        self._clock.now_s += periods * PERIOD_S
        self.pos += np.clip(self.goal - self.pos, -172.0 * PERIOD_S, 172.0 * PERIOD_S)

    def connect(self, *, handshake: bool) -> None:
        self.misread = {}

    def read_calibration(self) -> dict[str, Any]:
        return {}

    def ping(self, joint: str, *, num_retry: int, raise_on_error: bool) -> int:
        return self.model_number_table[MODEL]

    def sync_read(self, name: str, joints: Sequence[str], *, normalize: bool) -> dict[str, float]:
        answering, self.asked = (self.asked if self.is_late else joints), list(joints)
        for joint in answering:
            self.packet_handler.rxPacket(self.motors[joint].id)
        if name != "Present_Position":
            return dict.fromkeys(joints, 1.0 if name == "Torque_Enable" else 0.0)
        seen = self.pos.copy()
        for index, off in self.misread.items():
            seen[index] += off
        return dict(zip(JOINTS, seen.tolist(), strict=True))

    def write(self, name: str, joint: str, value: float, *, num_retry: int) -> None:
        assert name == "Goal_Position"

    def configure(self) -> None:
        self.goal = self.pos.copy()

    def send_action(self, action: Mapping[str, float]) -> None:
        self.goal = np.array([action[f"{joint}.pos"] for joint in JOINTS])
        self.sent.append(self.goal)


class Held:
    """An arm that is configured, and shall stay at 0."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, reach_rad: float) -> None:
        clock = SimpleNamespace(now_s=100.0, sleep=lambda s: None)
        clock.monotonic = lambda: clock.now_s
        monkeypatch.setattr(servos, "time", clock)
        self.robot = FakeRobot(clock)
        monkeypatch.setattr(Servos, "_made", lambda *_: self.robot)
        self.servos = Servos(ArmSettings(max_relative_target_rad=reach_rad))
        self.servos.connect()
        self.servos.prepare()
        self.doubts = list[str]()

    def go_on(self, periods: int, goal: float = 0.0) -> None:
        for _ in range(periods):
            self.robot.let_pass()
            try:
                self.servos.read()
            except DriverError as error:
                self.doubts.append(str(error))
            self.servos.go(np.full(6, goal))


@pytest.fixture(params=[0.05, 0.5])
def held_servos(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Held:
    arm = Held(monkeypatch, request.param)
    arm.go_on(3)
    return arm


@pytest.mark.parametrize("periods", [1, 3, 120])
def test_a_joint_that_is_misread_by_a_radian_does_not_move(held_servos: Held, periods: int) -> None:
    held_servos.robot.misread = {ELBOW: np.rad2deg(1.0)}
    largest = 0.0
    for _ in range(periods):
        held_servos.go_on(1)
        largest = max(
            largest, *np.abs(held_servos.robot.goal[BODY]), *np.abs(held_servos.robot.pos[BODY])
        )
    assert largest < 1e-9
    assert len(held_servos.doubts) == periods
    assert all(JOINTS[ELBOW] in doubt for doubt in held_servos.doubts)
    check_wording(held_servos.doubts[0])


def test_an_arm_goes_on_once_it_is_read_rightly_again(held_servos: Held) -> None:
    held_servos.robot.misread = {ELBOW: np.rad2deg(1.0)}
    held_servos.go_on(3, goal=0.1)
    held_servos.robot.misread = {}
    held_servos.go_on(60, goal=0.1)
    assert len(held_servos.doubts) == 3
    assert np.deg2rad(held_servos.robot.pos[BODY]) == pytest.approx(0.1, abs=1e-6)


def test_answers_to_another_question_make_no_goals(held_servos: Held) -> None:
    held_servos.robot.misread = dict.fromkeys(range(5), LATE_LOAD_DEG)
    sent = len(held_servos.robot.sent)
    held_servos.go_on(1)
    assert len(held_servos.robot.sent) == sent
    assert np.abs(held_servos.robot.pos[BODY]).max() < 1e-9


def test_an_arm_that_is_pushed_while_no_servo_answers_is_believed(held_servos: Held) -> None:
    held_servos.robot.goal[ELBOW] = held_servos.robot.pos[ELBOW] = np.rad2deg(0.5)
    held_servos.robot.let_pass(6)
    held_servos.go_on(1)
    assert not held_servos.doubts


def test_late_answers_to_an_earlier_question_are_no_state(held_servos: Held) -> None:
    held_servos.robot.is_late = True
    held_servos.go_on(3)
    assert len(held_servos.doubts) == 3
    held_servos.robot.is_late = False
    held_servos.go_on(3)
    assert len(held_servos.doubts) == 3
