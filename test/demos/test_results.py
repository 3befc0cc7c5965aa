# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the demo says about a walk, and what it draws."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from examples.demos.act import main as act_main
from examples.demos.plots import GREY, write_arm_plots, write_plots
from examples.demos.walk import ReportedTiming, main, measured, shown, summarise, table, walked
from robot_sim.arm_episodes import ArmTrace
from robot_sim.arm_figures import SO101
from robot_sim.errors import SimError
from robot_sim.figures import LITE3, load_robot
from robot_sim.trace import Trace
from robot_sim.walk import walk
from robot_sim.world import World, position_command
from testkit.wording import check_wording, refusal

KEYS = [
    "backend",
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
DRAW = """
import sys
from pathlib import Path
from examples.demos.plots import draw_walk
from robot_sim.trace import Trace
draw_walk(Trace.load(Path(sys.argv[1], "trace.npz")), Path(sys.argv[1]))
"""
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


def stood(name: str) -> Trace:
    """Another robot that stands for a second, in RUN."""
    robot = load_robot(name)
    command = position_command(
        robot.standing_rad, stiffness=400.0, damping=8.0, joint_names=robot.joint_names
    )
    trace = walk(World(robot, pose="standing"), lambda *_: command, [], duration_s=1.0)
    return dataclasses.replace(trace, mode=np.full(50, 3.0))


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


def test_a_walk_without_run_is_an_error(standing_trace: Trace) -> None:
    with refusal(SimError):
        walked(standing_trace.rows(slice(0, 100)), left_run=False)


def test_images_begin_shortly_before_the_robot_moves(standing_trace: Trace) -> None:
    np.testing.assert_allclose(shown(standing_trace).time_s[0], 0.5)


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


def test_the_plots_are_an_image(standing_trace: Trace, tmp_path: Path) -> None:
    write_plots(standing_trace, tmp_path / "plots.png")
    with Image.open(tmp_path / "plots.png") as image:
        assert image.width > 1000
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 100


@pytest.mark.parametrize("name", ["go2", "g1"])
def test_other_robots_are_measured_and_drawn_by_their_own_figures(
    name: str, tmp_path: Path
) -> None:
    robot, trace = load_robot(name), stood(name)
    metrics = measured(trace, REPORTED, robot)
    assert list(summarise(metrics, REPORTED)) == KEYS
    assert metrics.falls == 0
    assert measured(sunk(trace), dataclasses.replace(REPORTED, left_run=True), robot).falls == 1
    write_plots(trace, tmp_path / "plots.png", robot)
    with Image.open(tmp_path / "plots.png") as image:
        assert image.width > 1000


@pytest.mark.parametrize(
    ("demo", "words"),
    [
        (main, ["--robot", "g1"]),
        (main, ["--robot", "lite4"]),
        (main, ["--robot", "so101"]),
        *((main, ["--seconds", text]) for text in ("0", "-1", "nan", "4000", "ten")),
        *((act_main, ["--episodes", text]) for text in ("0", "1.5", "ten")),
    ],
)
def test_a_demo_that_cannot_be_is_refused(
    demo: Callable[[list[str]], object], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        demo(words)
    check_wording(capsys.readouterr().err.splitlines()[-1])


@pytest.mark.parametrize("mode", [RUN, HOLD])
def test_the_plots_of_an_arm_are_an_image(tmp_path: Path, mode: int) -> None:
    ticks = 40
    episode = np.repeat([-1, 0, -1, 1], ticks // 4)
    pose = np.linspace(0.0, 1.0, ticks)[:, None] * np.ones(13)
    target = pose[:, :6] + 0.1
    target[0] = np.nan  # before the first command
    trace = ArmTrace(
        time_s=np.arange(ticks) / 30,
        pose=pose,
        target=target,
        mode=np.full(ticks, float(mode)),
        episode=episode,
        seed=np.array([7, 8]),
        succeeded=np.array([True, False]),
        closest_m=np.array([0.01, 0.1]),
        took_s=np.array([1.0, 2.0]),
    )

    write_arm_plots(trace, tmp_path / "plots.svg")

    drawn = (tmp_path / "plots.svg").read_text("utf-8")
    assert all(
        f"<!-- {text} -->" in drawn
        for text in (*SO101.joint_names, "measured", "command", "seed 7", "seed 8")
    )
    assert (f"fill: {GREY}" in drawn) == (mode == HOLD)


@pytest.mark.slow
def test_without_opengl_the_plots_are_drawn_and_the_remedy_is_named(
    standing_trace: Trace, tmp_path: Path
) -> None:
    standing_trace.save(tmp_path / "trace.npz")
    result = subprocess.run(
        [sys.executable, "-c", DRAW, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "PYTHONPATH": f"{_broken_opengl(tmp_path / 'broken')}:{os.environ['PYTHONPATH']}",
        },
    )
    assert (tmp_path / "plots.png").exists()
    assert not (tmp_path / "walk.mp4").exists()
    assert "libosmesa6" in result.stderr


def _broken_opengl(folder: Path) -> Path:
    """Return a folder whose OpenGL module stands before the real one, and does not load."""
    folder.mkdir()
    (folder / "OpenGL.py").write_text("raise ImportError('libEGL.so.1: not found')\n")
    return folder
