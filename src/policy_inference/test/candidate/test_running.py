# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a running trial has on record, tick by tick."""

import json
from pathlib import Path

import pytest

from policy_core.bundle.store import TRIALS_FILE
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import Mode
from policy_core.latency import LatencyWindow
from policy_inference.candidate.running import RunningTrial
from policy_store.trial_file import TrialSettings
from policy_store.trial_record import put_on_record
from testkit.kernel.robots import Robot


@pytest.mark.parametrize("ticks", [0, 5])
def test_run_is_on_record_from_before_it_is_granted_until_a_tick_has_seen_its_end(
    tmp_path: Path, ticks: int
) -> None:
    file = tmp_path / TRIALS_FILE
    file.touch()
    trial = put_on_record(
        tmp_path,
        TrialSettings(run_time_s=60.0),
        version="1.1.0",
        version_before="1.0.0",
        bundle_sha256="a" * 64,
        trial_sha256="b" * 64,
    )
    robot = Robot().stand()
    tick = robot.controller.latest_tick
    running = RunningTrial(
        trial,
        robot.contract,
        tick,
        LatencyWindow(),
        limits_in_force(robot.contract, StricterLimits()),
        simulated_time=True,
    )
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
