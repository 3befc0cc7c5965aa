# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The gates of the policy that ships, through driver and emulated host in real time.

The limits are those of `tools.acceptance`, errors + 0.05: the loop has delays that lockstep has
not. What depends on the policy alone (other loads, other grounds) is accepted there.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from model_tools.simulation.robot import WalkLimits, mixed
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from robot_sim.metrics import WalkMetrics, measure
from robot_sim.trace import Trace
from robot_sim.walk import Schedule, evenly_timed
from tools.acceptance.cases import LONG_SEED, steady_cases
from tools.robot_faults.lite3 import Lite3Stack
from tools.robot_faults.stack import Stack

from . import bare_loop as bare

pytestmark = [pytest.mark.acceptance, pytest.mark.real_time, pytest.mark.ros]

MORE = 0.05
"""Added to the errors' limits."""
RUNS = 3
BUNDLE = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"
STRICT_WATCHDOG_S = 0.05
"""Of the documents' figures for the host (1 s, 50 ms, 5 ms), one that Python can keep."""
ALTERING = ("target_step", "effort", "position_limit")
_log = logging.getLogger("lite3_acceptance")


def drive(robot: Stack, schedule: Schedule, duration_s: float) -> None:
    """Command velocities by the clock; end where the robot no longer walks."""
    ends = [*(at_s for at_s, _ in schedule[1:]), duration_s]
    began_ns = robot.operator.now_ns
    for (_, velocity), end_s in zip(schedule, ends, strict=True):
        robot.operator.move(*velocity)
        robot.operator.wait(end_s - (robot.operator.now_ns - began_ns) / 1e9)
        if robot.operator.mode not in ("RUN", "HOLD"):
            pytest.fail(f"after {end_s:g} s: {robot.operator.mode}: {robot.operator.status.reason}")


def altered_share(robot: Stack) -> float:
    """Return the share of ticks in which the guard changed a target, at most."""
    status = robot.operator.status
    counts = {entry.name: entry.count for entry in status.guard_counters}
    return float(sum(counts.get(name, 0) for name in ALTERING) / status.ticks)


def damped_walk(robot: Stack) -> Trace:
    """Damp the robot; return the walk from the first velocity to that."""
    robot.operator.demand("damp")
    robot.wait_until(lambda: robot.events()[-1].event == "damped", "the robot to be damped")
    ended_s = robot.events()[-1].time_s
    trace = robot.trace()
    first = int(np.flatnonzero(trace.command.any(axis=1))[0])
    return trace.rows(slice(first, int(np.searchsorted(trace.time_s, ended_s)) - 1))


def figures(robot: Stack) -> WalkMetrics:
    contract = load_bundle(BUNDLE, kind=JointBundle).contract
    (term,) = contract.action.terms
    return measure(damped_walk(robot), action_scale=term.scale)


def limits_of(case: int) -> WalkLimits:
    limits = steady_cases()[case].limits
    assert limits is not None
    return limits


def test_steady_walks_hold_the_gates(tmp_path: Path) -> None:
    cases = steady_cases()
    velocities = [case.schedule[0][1] for case in cases]
    errors, tilts, shares, changes = [], [], [], []
    for run in range(RUNS):
        folder = tmp_path / str(run)
        folder.mkdir()
        with Lite3Stack(folder) as robot:
            robot.walk(0.0, for_s=1.0)
            drive(robot, evenly_timed(velocities, each_s=20.0), 20.0 * len(velocities))
            altered = altered_share(robot)
            found = figures(robot)
        assert [segment.command for segment in found.segments] == velocities
        assert found.falls == 0
        errors.append([segment.error for segment in found.segments])
        tilts.append(found.max_tilt_deg)
        shares.append((found.torque_limit_share, altered))
        changes.append(found.segments[-1].mean_action_change)
        _log.info(
            "run %d: errors %s, tilt %.1f, torque limit and guard %s, standing %.4f",
            run,
            np.round(errors[-1], 3).tolist(),
            tilts[-1],
            shares[-1],
            changes[-1],
        )
    limits, still = limits_of(0), limits_of(-1)
    assert np.median(errors, axis=0).max() <= limits.error + MORE
    assert np.median(tilts) <= limits.tilt_deg
    torque_limit_share, guarded = np.median(shares, axis=0)
    assert torque_limit_share <= limits.torque_limit_share
    assert guarded <= limits.altered_share
    assert np.median(changes) <= still.action_change


def test_ten_minutes_leak_nothing_lose_nothing_and_never_wake_a_watchdog(tmp_path: Path) -> None:
    with Lite3Stack(tmp_path) as robot, bare_loop() as largest_gap_s:
        endure(robot, largest_gap_s)


def endure(robot: Stack, largest_gap_s: Callable[[], float]) -> None:
    """Walk for ten minutes, and look at what that has cost."""
    robot.walk(0.0, for_s=1.0)
    # A recording, as a moment's HOLD brings it about, loads what only recordings need.
    robot.operator.record()
    calm = [
        (at_s, (0.6 * vx, 0.6 * vy, 0.6 * wz)) for at_s, (vx, vy, wz) in mixed(600.0, LONG_SEED)
    ]
    drive(robot, calm[:15], 60.0)
    # The emulator keeps the rows of its trace: 540 s of 50 rows of some 130 numbers in arrays.
    allowed_mib = {
        robot.emulator.pid: 80.0,
        robot.driver.pid: 4.0,
        robot.link_pid(): 4.0,
        robot.policy.pid: 4.0,
    }
    before = [used(pid) for pid in allowed_mib]
    drive(robot, [(at_s - 60.0, velocity) for at_s, velocity in calm[15:]], 540.0)
    bare_gap_s = largest_gap_s()
    after = [used(pid) for pid in allowed_mib]
    details, status = robot.details(), robot.driver_status
    assert status is not None
    _log.info(
        "MiB and descriptors after 1 and 10 minutes: %s, %s; longest gap %.1f ms, of a bare "
        "loop %.1f ms; %s",
        before,
        after,
        1e3 * status.largest_gap_s,
        1e3 * bare_gap_s,
        details,
    )
    assert [event.event for event in robot.events()][3:] == []
    for (memory_mib, files), (later_mib, later_files), more_mib in zip(
        before, after, allowed_mib.values(), strict=True
    ):
        assert later_files <= files
        assert later_mib - memory_mib < more_mib
    assert details["dropped"] == "0"
    # A machine that stands still is no fault of the driver's.
    assert status.largest_gap_s < max(STRICT_WATCHDOG_S, 1.5 * bare_gap_s)


@contextmanager
def bare_loop() -> Iterator[Callable[[], float]]:
    """Run a loop of 500 Hz beside; yield what ends it and returns its longest gap, s."""
    loop = subprocess.Popen(
        [sys.executable, bare.__file__, "500"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with loop:
        yield lambda: float(loop.communicate()[0])


def used(pid: int) -> tuple[float, int]:
    """Return resident memory, MiB, and the number of open files of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (resident,) = (line.split()[1] for line in lines if line.startswith("VmRSS"))
    return int(resident) / 1024.0, len(list(Path(f"/proc/{pid}/fd").iterdir()))
