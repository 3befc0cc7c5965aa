# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The demos: their processes, their results, and a fleet of them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from examples.demos.fleet.robot import MARK, kill_marked
from examples.demos.runner import (
    Processes,
    require_velocity_source,
    start_estimator,
    start_node,
)
from examples.demos.walk import ReportedTiming, measured, summarise, table, verdict, walked
from robot_sim.errors import SimError
from robot_sim.figures import LITE3
from robot_sim.trace import Trace
from robot_sim.walk import walk
from robot_sim.world import World, position_command
from testkit.wording import check_wording, refusal

KEYS = [
    "bundle",
    "duration_s",
    "distance_m",
    "mean_velocity_error_mps",
    "max_tilt_deg",
    "falls",
    "guard_events",
    "ticks_since_activation",
    "ticks_missed_since_activation",
    "latency_ms",
]
REPORTED = ReportedTiming(
    bundle="some_bundle",
    backend="onnx",
    runs_on="a runtime, CPU",
    fallback="",
    ticks=300,
    ticks_missed=1,
    latency_ms=(0.5, 1.0, 2.0),
    guard_events={"stale_command": 2, "effort": 1},
    left_run=False,
    reason="the policy runs",
)


DAMP, RUN, HOLD = 0, 3, 4


def policy_status_like(**changes: object) -> SimpleNamespace:
    counters = [SimpleNamespace(name="effort", count=2), SimpleNamespace(name="attitude", count=0)]
    return SimpleNamespace(
        **{
            "bundle": "/bundles/some",
            "backend": "onnx",
            "runs_on": "CPU",
            "fallback": "",
            "ticks": 9,
            "ticks_missed": 0,
            "latency_p50_s": 0.0,
            "latency_max_s": 0.0,
            "guard_counters": counters,
            **changes,
        }
    )


@pytest.fixture(scope="module")
def standing_trace() -> Trace:
    """A robot that stands for 5 s: DAMP, STAND and READY for a second each, then RUN, then DAMP."""
    command = position_command(LITE3.standing_rad, stiffness=100.0, damping=2.5)
    trace = walk(World(pose="standing"), lambda *_: command, [], duration_s=5.0)
    mode = np.repeat([0.0, 1.0, 2.0, 3.0, 0.0], 50)
    return dataclasses.replace(trace, mode=mode)


def sunk(trace: Trace) -> Trace:
    """The same robot on its belly in the last half second."""
    pos_world = trace.pos_world.copy()
    pos_world[-25:, 2] = 0.05
    return dataclasses.replace(trace, pos_world=pos_world)


def test_only_the_time_in_run_counts(standing_trace: Trace) -> None:
    np.testing.assert_allclose(walked(standing_trace, left_run=False).time_s[[0, -1]], [3.0, 3.98])


def test_lying_down_on_request_is_no_fall_and_sinking_after_a_fault_ends_the_walk(
    standing_trace: Trace,
) -> None:
    assert measured(sunk(standing_trace), REPORTED).falls == 0
    metrics = measured(sunk(standing_trace), dataclasses.replace(REPORTED, left_run=True))
    assert metrics.falls == 1
    assert metrics.duration_s == pytest.approx(0.98)


def test_a_hold_at_the_end_counts_as_walking(standing_trace: Trace) -> None:
    mode = standing_trace.mode.copy()
    mode[190:200] = 4.0
    held = dataclasses.replace(standing_trace, mode=mode)
    np.testing.assert_allclose(walked(held, left_run=False).time_s[[0, -1]], [3.0, 3.98])


def test_a_robot_that_is_down_when_the_policy_begins_has_fallen(standing_trace: Trace) -> None:
    pos_world = standing_trace.pos_world.copy()
    pos_world[:, 2] = 0.05
    assert measured(dataclasses.replace(standing_trace, pos_world=pos_world), REPORTED).falls == 1


@pytest.mark.parametrize("emulated", [False, True])
def test_lockstep_is_advised_only_where_it_is_accepted(
    standing_trace: Trace, emulated: bool
) -> None:
    metrics = measured(sunk(standing_trace), dataclasses.replace(REPORTED, left_run=True))
    failure = verdict(metrics, REPORTED, lockstep=False, emulated=emulated)
    assert failure is not None
    assert ("--lockstep" in failure) is not emulated


def test_a_walk_without_run_is_an_error(standing_trace: Trace) -> None:
    with refusal(SimError):
        walked(standing_trace.rows(slice(0, 100)), left_run=False)


def test_the_summary_has_the_promised_keys_and_is_json(standing_trace: Trace) -> None:
    summary = summarise(measured(standing_trace, REPORTED), REPORTED)
    assert list(summary) == KEYS
    assert summary["guard_events"] == {"stale_command": 2, "effort": 1}
    assert summary["latency_ms"] == {"p50": 0.5, "p99": 1.0, "max": 2.0}
    assert summary["duration_s"] == pytest.approx(0.98)
    assert summary["ticks_since_activation"] == 300
    assert summary["mean_velocity_error_mps"] is None  # too short to settle
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    check_wording(table(measured(standing_trace, REPORTED), REPORTED))


@pytest.mark.parametrize(
    ("running", "latched", "left"),
    [(RUN, False, False), (HOLD, False, False), (RUN, True, True), (DAMP, False, True)],
    ids=["run", "hold", "latched since the newest status", "damped by someone else"],
)
def test_only_damp_that_was_not_asked_for_ends_run(running: int, latched: bool, left: bool) -> None:
    before = policy_status_like(mode=running, latched=False, reason="before", latency_p99_s=0.002)
    after = policy_status_like(mode=DAMP, latched=latched, reason="after", latency_p99_s=0.0)
    reported = ReportedTiming.of(before, after)
    assert reported.left_run is left
    assert reported.reason == "after"
    assert reported.latency_ms[1] == pytest.approx(2.0)
    assert reported.guard_events == {"effort": 2}


BUNDLES = Path(__file__).resolve().parents[2] / "config" / "bundles"


def moving_bundle(folder: Path, source: str | None) -> str:
    """Copy a policy that observes the base velocity, with this source of it."""
    shutil.copytree(BUNDLES / "lite3_velocity", folder)
    file = folder / "policy.yaml"
    contract = yaml.safe_load(file.read_text("utf-8"))
    if source != "estimator":
        del contract["estimation"]
        contract["observations"]["obs"]["terms"][-1]["source"] = source
    for key in ("reports", "limits"):
        contract.pop(key, None)
    file.write_text(yaml.safe_dump(contract), "utf-8")
    return str(folder)


@pytest.mark.parametrize(
    ("source", "lockstep", "driver"),
    [("estimator", True, None), ("measured", False, "go2_driver"), (None, False, "go2_driver")],
)
def test_a_base_velocity_that_the_demo_lacks_is_refused(
    tmp_path: Path, source: str | None, lockstep: bool, driver: str | None
) -> None:
    with refusal(SimError):
        bundle = moving_bundle(tmp_path / "moving", source)
        require_velocity_source(bundle, lockstep=lockstep, driver=driver)


@pytest.mark.parametrize(
    ("source", "warnings"), [("estimator", 0), ("measured", 0), (None, 1)], ids=str
)
def test_the_simulators_true_velocity_is_used_only_if_stated_or_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, source: str | None, warnings: int
) -> None:
    require_velocity_source(moving_bundle(tmp_path / "moving", source), lockstep=False)
    assert len(caplog.messages) == warnings
    if warnings:
        check_wording(*caplog.messages)


@pytest.mark.parametrize(("source", "is_started"), [("estimator", True), ("measured", False)])
def test_an_estimated_velocity_comes_from_the_estimator_and_not_from_the_simulator(
    tmp_path: Path, source: str, is_started: bool
) -> None:
    started = list[str]()
    nodes: Any = SimpleNamespace(start=lambda command, *_: started.append(command))
    remappings = start_estimator(nodes, moving_bundle(tmp_path / "moving", source), tmp_path)
    assert started == ["velocity_estimator_node"] * is_started
    assert remappings == ({"odom": "perception/odom"} if is_started else {})


def test_processes_are_found_by_their_mark_and_those_of_others_live_on() -> None:
    words = ["sleep", "1000"]
    marks = ("demo_test.one", "demo_test.one.more", "demo_test.other")
    running = [subprocess.Popen(words, env={**os.environ, MARK: mark}) for mark in marks]
    try:
        assert kill_marked("demo_test.one") == 2
        assert [process.wait(10.0) for process in running[:2]] == [-9, -9]
        assert running[2].poll() is None
    finally:
        for process in running:
            process.kill()
            process.wait()


MakeCommand = Callable[[str, str], str]
FOREVER = "while true; do sleep 0.01; done"


def made_fifo(folder: Path) -> Path:
    """Return a pipe whose reader waits for a writer."""
    os.mkfifo(folder / "ready")
    return folder / "ready"


@pytest.fixture
def make_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeCommand:
    """Return what puts a bash script on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name: str, script: str) -> str:
        file = folder / name
        file.write_text(f"#!/bin/bash\n{script}\n")
        file.chmod(0o755)
        return name

    return make


def test_a_process_that_ends_is_reported_with_the_end_of_its_log(
    make_command: MakeCommand, tmp_path: Path
) -> None:
    command = make_command("node", "echo no such bundle >&2; exit 2")
    with Processes() as nodes:
        process = nodes.start(command, {}, tmp_path / "node.log")
        process.wait()
        with refusal(SimError):
            nodes.check()


def test_a_process_that_does_not_listen_is_killed(
    make_command: MakeCommand, tmp_path: Path
) -> None:
    ready = made_fifo(tmp_path)
    script = f"trap '' INT TERM; echo > {ready}; {FOREVER}"
    process = start_node(make_command("node", script), {}, tmp_path / "log")
    ready.read_text()
    process.stop(0.1)
    assert process.status == -signal.SIGKILL
