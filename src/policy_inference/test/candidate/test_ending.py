# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A run whose trial has had its time ends without a fall."""

import json
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from policy_core.bundle.store import TRIALS_FILE
from policy_core.errors import RefusedError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import Mode
from policy_core.latency import LatencyWindow
from policy_inference.candidate.running import RunEnding, RunningTrial
from policy_store.trial_file import TrialSettings
from policy_store.trial_record import put_on_record
from testkit.kernel.contracts import DEFAULT, quat_xyzw
from testkit.kernel.robots import Robot
from testkit.kernel.walkers import SetRobot
from testkit.wording import check_wording


def ending_of(robot: Robot) -> RunEnding:
    limits = limits_in_force(robot.contract, StricterLimits())
    return RunEnding(robot.contract, limits)


def show(ending: RunEnding, robot: Robot) -> None:
    """Show the last tick, and do what is asked for, as a node does."""
    verdict = ending.observe(robot.controller.latest_tick)
    if verdict is not None:
        stand = robot.requests.stand if isinstance(robot, SetRobot) else robot.controller.stand
        with suppress(RefusedError):
            robot.controller.end_run(verdict, stand)


def test_walking_robot_slows_down_rests_and_stands() -> None:
    robot = Robot().run()
    ending, commands = ending_of(robot), list[float]()
    while robot.is_in(Mode.RUN):
        robot.controller.command.set((0.8, 0.0, 0.0), robot.now_ns)
        robot.tick()
        commands.append(float(robot.controller.state["velocity_command"][0]))
        show(ending, robot)
    assert robot.is_in(Mode.STAND)
    # A ramp of 0.5 s and 1 s at rest, at 50 Hz.
    assert len(commands) == 76
    assert commands[0] == 0.8
    assert commands[26:] == [0.0] * 50
    steps = [before - after for before, after in pairwise(commands)]
    assert max(steps) < 0.04
    robot.run().controller.command.set((0.8, 0.0, 0.0), robot.now_ns)
    robot.tick()
    assert robot.controller.state["velocity_command"][0] == 0.8


def test_robot_that_may_not_stand_damps_after_a_while() -> None:
    robot = Robot().run()
    ending, ticks = ending_of(robot), 0
    far = (DEFAULT[0] + 1.7, *DEFAULT[1:])  # beyond the limit of 1.5 rad
    while robot.is_in(Mode.RUN):
        robot.tick(joint_pos=far)
        show(ending, robot)
        ticks += 1
    assert robot.is_in(Mode.DAMP)
    check_wording(robot.reason)
    assert 170 < ticks < 180


def test_arm_holds_what_is_measured_at_once() -> None:
    terms = {"observations": {"obs": {"terms": [{"term": "joint_pos_rel"}]}}}
    holds = {"safety": {"on_fault": "hold_measured"}, "velocity_command": None}
    robot = Robot({**terms, **holds})
    robot.tick()
    robot.controller.damp()
    robot.run()
    ending = ending_of(robot)
    robot.tick()
    show(ending, robot)
    assert robot.is_in(Mode.DAMP)
    assert not robot.controller.snapshot().latched


def ended_set(wait_s: float) -> SetRobot:
    """Return a set that runs in the state crouch, from which the way back may wait so long."""
    when = {"tilt_rad": 0.2}
    to_walk = {"blend_s": 0.1, "otherwise": "wait", "timeout_s": wait_s, "when": when}
    robot = SetRobot({"states.crouch.to": {"walk": to_walk}}).walking()
    robot.requests.switch("crouch")
    robot.ticks(7)
    assert robot.state == "crouch"
    return robot


def ticks_to_the_end(robot: SetRobot, tilt_rad: float) -> int:
    limits = limits_in_force(robot.set_contract, StricterLimits())
    ending = RunEnding(robot.set_contract, limits)
    count = 0
    while robot.is_in(Mode.RUN):
        robot.tick(quat_xyzw=quat_xyzw(tilt_rad, 0.0, 0.0))
        robot.requests.tick(robot.now_ns)
        show(ending, robot)
        count += 1
    return count


def test_set_goes_the_way_back_and_stands() -> None:
    robot = ended_set(1.0)
    ticks_to_the_end(robot, 0.0)
    assert robot.policy.report.last[:2] == ("crouch", "walk")
    assert robot.is_in(Mode.STAND)


def test_set_whose_way_back_stays_shut_is_damped_in_the_end() -> None:
    robot = ended_set(3.0)
    # It comes to rest in 1.5 s, may take 3.1 s for the way back, and 2 s to stand.
    assert ticks_to_the_end(robot, 0.3) == pytest.approx(6.6 * 50, abs=2)
    assert robot.is_in(Mode.DAMP)
    assert robot.state == "crouch"


@pytest.mark.parametrize("ticks", [0, 5])
def test_run_is_on_record_from_before_it_is_granted_until_a_tick_has_seen_its_end(
    tmp_path: Path, ticks: int
) -> None:
    file = tmp_path / TRIALS_FILE
    file.touch()
    settings, hashes = TrialSettings(run_time_s=60.0), {"bundle_sha256": "a", "trial_sha256": "b"}
    versions = {"version": "1.1.0", "version_before": "1.0.0"}
    given = {**versions, **{name: each * 64 for name, each in hashes.items()}}
    trial = put_on_record(tmp_path, settings, **given)
    robot = Robot().stand()
    tick = robot.controller.latest_tick
    limits, latency = limits_in_force(robot.contract, StricterLimits()), LatencyWindow()
    running = RunningTrial(trial, robot.contract, tick, latency, limits, simulated_time=True)
    with running.run(robot.controller.mode):
        # The control thread goes on while the request waits for the disk.
        robot.tick()
        running.observe(tick)
        robot.controller.run()
    for _ in range(ticks):
        robot.tick()
        running.observe(tick)
    assert robot.is_in(Mode.RUN)
    robot.controller.damp()
    robot.tick()
    running.observe(tick)
    running.close()
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert [event["event"] for event in events] == ["begun", "run_began", "run_ended"]
    assert events[-1]["counts"]["ticks"] == ticks
