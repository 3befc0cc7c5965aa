# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot that holds its pose instead of damping, on a bus that answers only when it is asked."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from robot_driver import channel
from robot_driver.interfaces import (
    F64,
    MODE_DAMP,
    MODE_HOLD_MEASURED,
    POSITION,
    RELEASE,
    STIFFNESS,
    DriverError,
    DriverPhase,
    DriverReport,
    WireCommand,
)
from robot_driver.link import Link
from robot_driver.link_process import LinkLoop
from robot_driver.robot import Datagram, RobotTransport
from robot_driver.supervisor import LinkSupervisor
from testkit.wording import check_wording, refusal

from .holding_arm import RELAX, Arm, ArmSettings, HoldingArm, goal, state_frame

MS = 1_000_000
RUN = 3
PATIENCE_S = 30.0
MEASURED = np.array([0.1, 0.2, 0.3])


def arm_wire_command(
    sequence: int, mode: int, position: F64, now_ns: int, valid_ms: int
) -> WireCommand:
    values = np.zeros((3, 5))
    values[:, POSITION] = position
    values[:, STIFFNESS] = 10.0
    return WireCommand(
        sequence=sequence,
        mode=mode,
        valid_for_ns=valid_ms * MS,
        values=values,
        effort_limit=np.full(3, 3.0),
        received_ns=now_ns,
    )


class Bench:
    """A link in explicit time, with an arm that stands where it is put."""

    def __init__(self, arm_type: type[HoldingArm] = HoldingArm) -> None:
        self.arm = arm_type(ArmSettings(command_rate_hz=100.0))
        self.link = Link(self.arm, 0)
        self.position = MEASURED
        self.now_ms = 0
        self.sent: list[bytes] = []
        self._sequence = 0

    def phase(self) -> DriverPhase:
        return self.link.phase

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.hear_state()
            self.step()

    def hear_state(self) -> None:
        self.now_ms += 10
        frame = state_frame(self.position, self.now_ms)
        self.link.receive(frame, ("bus", 0), self.now_ms * MS)

    def step(self) -> None:
        self.sent += self.link.step(self.now_ms * MS)
        self.link.sent(self.now_ms * MS)

    def command(self, mode: int, position: F64) -> None:
        self._sequence += 1
        made = arm_wire_command(self._sequence, mode, position, self.now_ms * MS, 50)
        self.link.follow(made, self.now_ms * MS)
        self.step()

    def take(self) -> None:
        self.run(1.0)
        self.link.take((), self.now_ms * MS)
        self.step()
        self.run(0.6)


class SelfWilledArm(HoldingArm):
    """An arm that takes control back once there is a reason."""

    reason = ""

    def taken_back(self) -> str:
        return self.reason


@pytest.mark.parametrize(
    "phase", [DriverPhase.FOLLOWING, DriverPhase.DAMPING, DriverPhase.RELEASING]
)
def test_robot_that_takes_control_back_is_sent_nothing_more(phase: DriverPhase) -> None:
    bench = Bench(SelfWilledArm)
    assert isinstance(bench.arm, SelfWilledArm)
    bench.take()
    bench.link.answer_delivered()
    bench.command(MODE_HOLD_MEASURED, MEASURED)
    if phase is DriverPhase.DAMPING:
        bench.link.damp("requested", bench.now_ms * MS)
    elif phase is DriverPhase.RELEASING:
        bench.link.release("requested", bench.now_ms * MS)
    bench.step()
    assert bench.phase() is phase
    count = len(bench.sent)
    bench.arm.reason = "its button was pressed"
    bench.run(1.0)
    assert bench.phase() is DriverPhase.LISTENING
    assert len(bench.sent) == count
    check_wording(bench.link.reason)
    answer = bench.link.report(bench.now_ms * MS).answer
    assert answer is not None
    assert (answer.request, answer.success) == (RELEASE, True)
    bench.link.answer_delivered()
    bench.arm.reason = ""
    bench.take()
    assert bench.phase() is DriverPhase.DAMPING


def test_control_is_taken_at_once_where_nothing_has_to_be_prepared() -> None:
    bench = Bench()
    bench.run(1.0)
    bench.link.take((), bench.now_ms * MS)
    bench.step()
    assert bench.phase() is DriverPhase.DAMPING
    assert [goal(frame).tolist() for frame in bench.sent] == [MEASURED.tolist()]


def test_commands_are_followed_from_its_own_mode_of_rest_on() -> None:
    bench = Bench()
    bench.take()
    bench.command(RUN, MEASURED + 0.1)
    bench.command(MODE_DAMP, MEASURED)
    bench.command(RUN, MEASURED + 0.1)
    assert bench.phase() is DriverPhase.DAMPING
    check_wording(bench.link.reason)
    bench.command(MODE_HOLD_MEASURED, MEASURED)
    bench.command(RUN, MEASURED + 0.1)
    assert bench.phase() is DriverPhase.FOLLOWING
    assert goal(bench.sent[-1]) == pytest.approx(MEASURED + 0.1)


def test_an_arm_whose_command_has_expired_stays_where_it_was_then() -> None:
    bench = Bench()
    bench.take()
    bench.command(MODE_HOLD_MEASURED, MEASURED)
    bench.command(RUN, MEASURED + 0.1)
    bench.position = MEASURED + 0.07
    bench.run(0.1)
    bench.position = MEASURED - 0.5
    bench.run(0.5)
    assert bench.phase() is DriverPhase.DAMPING
    assert goal(bench.sent[-1]) == pytest.approx(MEASURED + 0.07)


def test_control_is_given_back_after_its_own_time_of_rest() -> None:
    bench = Bench()
    bench.take()
    bench.link.release("asked", bench.now_ms * MS)
    bench.run(0.29)
    assert bench.phase() is DriverPhase.RELEASING
    bench.run(0.02)
    assert bench.phase() is DriverPhase.LISTENING
    assert bench.sent[-1] == RELAX


@pytest.fixture
def arm_on_bus(tmp_path: Path) -> Iterator[Arm]:
    with closing(Arm(tmp_path)) as arm:
        yield arm


def test_start_of_the_process_is_given_up_where_the_caller_is_to_end(
    arm_on_bus: Arm, tmp_path: Path
) -> None:
    with refusal(DriverError):
        HoldingArm(ArmSettings(bus=str(tmp_path / "nowhere"))).open()
    with refusal(DriverError):
        LinkSupervisor(
            HoldingArm(arm_on_bus.settings),
            on_state=lambda *_: None,
            on_report=lambda _: None,
            on_lost=lambda _: None,
            ends=lambda: True,
        )
    HoldingArm(arm_on_bus.settings).open().close()  # nothing of it keeps another one out


def test_state_that_is_no_number_is_no_state() -> None:
    arm = HoldingArm(ArmSettings())
    data = state_frame(np.array([0.1, np.nan, 0.3]), 1)
    assert arm.reception.receive(data, ("bus", 0), 1) is None
    check_wording(arm.reception.instead)


class Flood(RobotTransport):
    """Says the robot's state faster than it can be heard, for as long as the test may take."""

    def __init__(self) -> None:
        self.counts = {}
        self.ends_s = time.monotonic() + PATIENCE_S

    @property
    def descriptors(self) -> Sequence[int]:
        return ()

    def watched(self) -> Sequence[int]:
        return ()

    def receive(self, ready: Collection[int]) -> Iterator[Datagram]:
        while time.monotonic() < self.ends_s:
            yield Datagram(state_frame(MEASURED, 1), ("bus", 0), time.time_ns())

    def send(self, data: bytes) -> None:
        pass

    def keep_sending_half(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_flood_of_states_keeps_neither_reports_nor_the_end_waiting() -> None:
    node, links = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    flood = Flood()
    loop = threading.Thread(
        target=LinkLoop(HoldingArm(ArmSettings()), links, flood).run, daemon=True
    )
    loop.start()
    reports = 0
    with closing(node):
        while reports < 3:
            news = channel.read_news(node.recv(channel.LARGEST_BYTES))
            reports += isinstance(news, DriverReport)
    loop.join(PATIENCE_S)
    assert not loop.is_alive()
    assert time.monotonic() < flood.ends_s
