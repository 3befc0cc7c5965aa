# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Each gate is exceeded at its limit, after its time, and at nothing else."""

import json
import math
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest

from policy_core.guard.bounds import Rule
from policy_core.interfaces import JointTargets, Mode
from policy_core.latency import LatencyWindow
from policy_inference.candidate.gates import GateResult
from policy_inference.candidate.running import UNKNOWN_VELOCITY, TrialJudge
from policy_store.trial_file import TrialGate, TrialGates, TrialSettings
from testkit.kernel.contracts import DEFAULT, quat_xyzw
from testkit.kernel.robots import PERIOD_NS, Robot
from testkit.wording import check_wording

NO_GATES = dict.fromkeys(each.name for each in fields(TrialGates))


class Tried(Robot):
    def __init__(
        self, gate: str = "", limit: float = 0.0, after_s: float = 0.0, simulated_time: bool = False
    ) -> None:
        super().__init__()
        chosen = {gate: TrialGate(limit=limit, after_s=after_s)} if gate else {}
        self.latency = LatencyWindow()
        settings = TrialSettings(run_time_s=10.0, gates=TrialGates(**{**NO_GATES, **chosen}))
        seen = (self.controller.latest_tick, self.latency, dict[str, float]())
        self.judge = TrialJudge(settings, self.contract, *seen, simulated_time=simulated_time)
        self.missed, self.duration_ns = 0, 1_000_000
        self.off = 0.0
        self.broken: GateResult | None = None

    def tick(self, *args: object, **given: object) -> object:  # type: ignore[override]
        found = super().tick(*args, **given)  # type: ignore[arg-type]
        sent = JointTargets(3)
        if found is not None:
            for name in ("position", "velocity", "effort", "stiffness", "damping"):
                getattr(sent, name)[:] = getattr(found, name)
            sent.position += self.off
        self.latency.add(self.duration_ns)
        tick = self.controller.latest_tick
        tick.send(sent, 0, stamp_ns=self.now_ns, duration_ns=self.duration_ns, missed=self.missed)
        self.broken = self.broken or self.judge.observe(tick)
        return found


def test_only_run_time_counts() -> None:
    robot = Tried()
    robot.stand()
    assert robot.judge.run_time_s == 0.0
    robot.controller.run()
    for _ in range(51):
        robot.tick()
    assert robot.judge.run_time_s == pytest.approx(50 * PERIOD_NS * 1e-9)
    robot.controller.damp()
    for _ in range(10):
        robot.tick()
    assert robot.judge.run_time_s == pytest.approx(1.0)
    assert not robot.judge.running


def test_good_run_breaks_nothing() -> None:
    robot = Robot().run()
    settings, tick = TrialSettings(run_time_s=10.0), robot.controller.latest_tick
    judge = TrialJudge(settings, robot.contract, tick, LatencyWindow(), {}, simulated_time=True)
    for _ in range(1000):
        robot.tick()
        assert judge.observe(robot.controller.latest_tick) is None


def tilt(robot: Tried) -> None:
    robot.tick(quat_xyzw=quat_xyzw(0.0, 0.29, 0.0))
    assert robot.broken is None
    robot.tick(quat_xyzw=quat_xyzw(0.0, 0.31, 0.0))


def miss_ticks(robot: Tried) -> None:
    robot.missed = 3
    robot.tick()


def heat(robot: Tried) -> None:
    robot.judge.temperature_c = 81.0
    robot.tick()


def lag(robot: Tried) -> None:
    while not robot.broken:
        robot.tick(joint_pos=(DEFAULT[0], DEFAULT[1] + 0.5, DEFAULT[2]))
    # 0.5 rad squared, filtered with 5 s, reach 0.3 rad squared after 2.2 s.
    assert robot.judge.run_time_s == pytest.approx(2.2, abs=0.2)


def press(robot: Tried) -> None:
    while not robot.broken:
        robot.tick(joint_pos=(DEFAULT[0] + 0.5, DEFAULT[1], DEFAULT[2]))  # 30 N m/rad of 20 N m


@pytest.mark.parametrize(
    ("gate", "limit", "act", "value"),
    [
        ("tilt_rad", 0.3, tilt, 0.31),
        ("missed_ticks_share", 0.1, miss_ticks, 3 / 9),
        ("temperature_c", 80.0, heat, 81.0),
        ("tracking_error_rad", 0.3, lag, 0.3),
        ("torque_share", 0.5, press, 0.5),
    ],
)
def test_figure_beyond_its_limit_breaks_its_gate(
    gate: str, limit: float, act: Callable[[Tried], None], value: float
) -> None:
    robot = Tried(gate, limit)
    robot.run(5)
    assert robot.broken is None
    act(robot)
    assert robot.broken is not None
    assert (robot.broken.figure, robot.broken.limit) == (gate, limit)
    assert robot.broken.value == pytest.approx(value, abs=0.01)
    check_wording(str(robot.broken))


def test_gate_is_not_judged_before_its_time() -> None:
    robot = Tried("tilt_rad", 0.3, after_s=0.5)
    robot.run(20)
    robot.tick(quat_xyzw=quat_xyzw(0.0, 0.4, 0.0))
    assert robot.broken is None
    for _ in range(10):
        robot.tick()
    assert robot.broken is not None


@pytest.mark.parametrize("gate", ["tilt_rad", "latched_faults"])
def test_robot_that_does_not_run_is_not_judged(gate: str) -> None:
    robot = Tried(gate)
    robot.stand()
    robot.tick(quat_xyzw=quat_xyzw(0.0, 1.2, 0.0))
    assert robot.controller.mode is Mode.DAMP
    robot.tick()
    assert robot.broken is None


@pytest.mark.parametrize("gate", ["falls", "latched_faults"])
def test_fall_counts_once(gate: str) -> None:
    robot = Tried(gate)
    robot.run(5)
    for _ in range(5):
        robot.tick(quat_xyzw=quat_xyzw(0.0, 1.2, 0.0))
    assert robot.controller.mode is Mode.DAMP
    assert robot.broken is not None
    assert robot.broken.value == 1
    check_wording(str(robot.broken))
    assert (robot.judge.counts["falls"], robot.judge.counts["latched_faults"]) == (1, 1)


@pytest.mark.parametrize(("gate", "latched"), [("falls", 1), ("latched_faults", 0)])
def test_fault_that_is_no_fall_and_an_estop_break_no_other_gate(gate: str, latched: int) -> None:
    robot = Tried(gate)
    robot.run(5)
    if gate == "falls":
        robot.controller.fault(Rule.INTERNAL, "an error")
    else:
        robot.controller.estop("by a person")
    for _ in range(3):
        robot.tick()
    assert robot.broken is None
    assert robot.judge.counts["latched_faults"] == latched


def test_hold_counts_as_its_share() -> None:
    robot = Tried("hold_share", 0.2)
    robot.run(9)
    for _ in range(5):
        robot.tick(silent=("joint_states", "imu/data"))
    held = robot.judge.counts["hold_ticks"]
    assert 0 < held <= 4
    assert (robot.broken is not None) == (held / robot.judge.counts["ticks"] > 0.2)
    assert robot.judge.run_time_s > 0.2


def test_slow_ticks_break_the_latency_unless_time_is_simulated() -> None:
    for simulated in (False, True):
        robot = Tried("latency_share", 0.9, simulated_time=simulated)
        robot.duration_ns = 19_000_000
        robot.run(101)
        assert (robot.broken is not None) == (not simulated)


@pytest.mark.parametrize("off", [math.nan, 1e200])
def test_figure_that_is_no_number_any_more_breaks_its_gate(off: float) -> None:
    robot = Tried("tracking_error_rad", 0.9, after_s=0.1)
    with np.errstate(all="ignore"):
        robot.run(1)
        robot.off = off
        robot.tick()
        robot.tick()
        robot.off = 0.0
        for _ in range(20):
            robot.tick()
    assert robot.broken is not None
    json.dumps(robot.broken.value, allow_nan=False)  # it must go into the record


SIDEWAYS, FORWARD, TURN = (0.0, 0.5, 0.0), (0.6, 0.0, 0.0), (0.0, 0.0, 0.8)
REST, AT_REST = (0.0, 0.0, 0.0), (0.0, 0.0)


@pytest.mark.parametrize(
    ("command", "yaw_rate", "velocity_mps", "broken"),
    [
        (FORWARD, 0.0, AT_REST, True),
        (SIDEWAYS, 0.6, AT_REST, True),
        (REST, 0.0, (0.0, 0.4), True),
        (SIDEWAYS, 0.6, UNKNOWN_VELOCITY, True),
        (TURN, 0.0, UNKNOWN_VELOCITY, True),
        (FORWARD, 0.1, (0.5, 0.05), False),
        (TURN, 0.7, UNKNOWN_VELOCITY, False),
        (REST, 0.0, AT_REST, False),
        (FORWARD, 0.0, UNKNOWN_VELOCITY, False),  # the IMU alone does not show it
    ],
)
def test_motion_that_does_not_follow_the_command_breaks_its_gate(
    command: tuple[float, float, float],
    yaw_rate: float,
    velocity_mps: tuple[float, float],
    broken: bool,
) -> None:
    gate = TrialGates().motion_error_share
    assert gate is not None
    robot = Tried("motion_error_share", gate.limit, gate.after_s)
    robot.run(1)
    robot.judge.velocity_mps = velocity_mps
    while not robot.broken and robot.judge.run_time_s < 14.0:
        robot.controller.command.set(command, robot.now_ns)
        robot.tick(ang_vel_body=(0.0, 0.0, yaw_rate))
    assert (robot.broken is not None) is broken
    if robot.broken is not None:
        assert robot.broken.figure == "motion_error_share"
        check_wording(str(robot.broken))
