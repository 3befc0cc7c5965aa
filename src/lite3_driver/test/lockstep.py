# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A link, its host and its policy in explicit time; nothing here waits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lite3_driver import wire
from lite3_driver.figures import Lite3Settings
from lite3_driver.robot import Lite3
from lite3_driver.wire import F64, Lite3State
from robot_driver.interfaces import DriverAnswer, DriverPhase, WireCommand
from robot_driver.link import Link

MS = 1_000_000
HOST = "10.0.0.1"
PORT = 43893
DAMP, STAND, RUN, TORQUE_OFF = 0, 1, 3, 6
"""Modes of policy_msgs/JointCommand."""
FOLDED, STANDING = (np.tile(leg, 4) for leg in ([0.0, -1.35, 2.55], [0.0, -0.65, 1.3]))
OUTSIDE = np.where(np.arange(12) == 5, 3.0, FOLDED)
"""FR_Knee_joint is beyond its range."""
FRAME_MS, STEP_MS = 4, 2
FOLD_S = 0.6
"""Of the robots here, unless a test is about that; no real one folds so soon."""

LYING = Lite3State(
    tick=0,
    imu_stamp_ms=0,
    rpy=np.zeros(3),
    ang_vel=np.zeros(3),
    lin_acc=np.array([0.0, 0.0, 9.81]),
    joint_pos=FOLDED,
    joint_vel=np.zeros(12),
    joint_effort=np.zeros(12),
    temperature_c=np.arange(30.0, 42.0),
    contact_force=np.zeros((4, 3)),
)


def lite3_command(
    sequence: int,
    mode: int,
    received_ns: int,
    *,
    position: F64 = FOLDED,
    velocity: float = 0.0,
    effort: float = 0.0,
    stiffness: float | F64 | None = None,
    damping: float = 1.0,
    effort_limit: float = 24.0,
    valid_for_ns: int = 100 * MS,
) -> WireCommand:
    """Return a command; unless it is given, one in MODE_DAMP has no stiffness."""
    values = np.zeros((12, 5))
    values[:, 0] = position
    values[:, 1], values[:, 2] = velocity, effort
    values[:, 3] = (0.0 if mode == DAMP else 30.0) if stiffness is None else stiffness
    values[:, 4] = damping
    return WireCommand(
        sequence=sequence,
        mode=mode,
        valid_for_ns=valid_for_ns,
        values=values,
        effort_limit=np.full(12, effort_limit),
        received_ns=received_ns,
    )


class Lockstep:
    """A link with a host that sends `state` and, while `mode` is set, a policy of 50 Hz.

    Attributes:
        noise_rad: Of the encoders; those of a robot whose command moves are broken without any.
        sent: Time in ms and datagram of all that was sent.
        answers: To requests, as they ended.
    """

    def __init__(self, **settings: object) -> None:
        """Begin with a robot that lies folded, without a sender of commands."""
        settings = {
            "host_address": HOST,
            "angular_velocity_checked": True,
            "fold_s": FOLD_S,
            **settings,
        }
        self.link = Link(Lite3(replace(Lite3Settings(), **settings)), 0)  # type: ignore[arg-type]
        self.now_ms = 0
        self.state: Lite3State | None = LYING
        self.noise_rad = 0.0
        self.mode: int | None = None
        self.position: F64 = FOLDED
        self.sequence = 0
        self.sent: list[tuple[int, bytes]] = []
        self.answers: list[DriverAnswer] = []

    @property
    def now_ns(self) -> int:
        return self.now_ms * MS

    def phase(self) -> DriverPhase:
        return self.link.phase

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 1000 / STEP_MS)):
            self.now_ms += STEP_MS
            if self.state is not None and self.now_ms % FRAME_MS == 0:
                noise = self.noise_rad * np.sin(0.37 * self.now_ms)
                self.tell(self.state._replace(joint_pos=self.state.joint_pos + noise))
            if self.mode is not None and self.now_ms % 20 == 0:
                self.command(self.mode, position=self.position)
            self.step()

    def tell(self, state: Lite3State, source: tuple[str, int] = (HOST, PORT)) -> Lite3State | None:
        """Let the host send a frame, with the tick of the current time."""
        frame = wire.write_state(state._replace(tick=self.now_ms, imu_stamp_ms=self.now_ms))
        return self.link.receive(frame, source, self.now_ns)

    def command(self, mode: int, **numbers: object) -> None:
        """Let the policy command once."""
        self.sequence += 1
        made = lite3_command(self.sequence, mode, self.now_ns, **numbers)  # type: ignore[arg-type]
        self.link.follow(made, self.now_ns)
        self.step()

    def step(self) -> None:
        """Let the link send what is due."""
        out = self.link.step(self.now_ns)
        self.sent += [(self.now_ms, data) for data in out]
        self.link.sent(self.now_ns)
        while self.link.answers_wait:
            answer = self.link.report(self.now_ns).answer
            assert answer is not None
            self.answers.append(answer)
            self.link.answer_delivered()

    def take(self) -> None:
        """Ask for control, of a robot that has been seen for a second."""
        self.run(1.0)
        self.link.take((), self.now_ns)
        self.step()

    def in_control(self, mode: int | None = None) -> None:
        """Take control and, where a mode is given, let the policy go through MODE_DAMP to it."""
        self.take()
        self.run(FOLD_S + 0.6)
        assert self.phase() is DriverPhase.DAMPING, self.link.reason
        if mode is not None:
            self.mode = DAMP
            self.run(0.1)
            self.mode = mode
            self.run(0.1)
            assert self.phase() is DriverPhase.FOLLOWING, self.link.reason
        self.sent.clear()
        self.answers.clear()

    @property
    def newest(self) -> F64:
        """The newest command frame's values [12, 5]."""
        frames = [wire.read_command(data) for _, data in self.sent]
        values = [frame for frame in frames if frame is not None][-1]
        return values.astype(np.float64)

    @property
    def requests(self) -> list[tuple[int, int]]:
        """Time in ms and code of what was asked of the host."""
        codes = [(at_ms, wire.read_request(data)) for at_ms, data in self.sent]
        return [(at_ms, code) for at_ms, code in codes if code is not None]

    def command_times_ms(self) -> list[int]:
        return [at_ms for at_ms, data in self.sent if wire.read_command(data) is not None]


def braking(values: F64, damping: float = 5.0) -> bool:
    """Return whether a command frame brakes all joints, and does nothing else."""
    expected = np.zeros((12, 5))
    expected[:, 4] = damping
    return bool((values == expected).all())
