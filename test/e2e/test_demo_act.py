# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command of `make demo-act`: an arm with cameras under a chunk policy, over topics."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from robot_sim.arm_episodes import ArmTrace

from .reach_bundle import write_reach

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that reaches for what is red in its front camera."""
    return write_reach(tmp_path_factory.mktemp("bundles") / "red")


def demo(bundle: Path, output: Path, *arguments: str) -> tuple[int, str]:
    """Run the demo; return its status and what it printed."""
    command = ["robot_sim_demo_act", "--bundle", str(bundle), "--output", str(output), *arguments]
    process = subprocess.run(command, capture_output=True, text=True)
    return process.returncode, process.stdout + process.stderr


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_a_policy_that_sees_reaches_cubes_in_lockstep(
    bundle: Path, tmp_path: Path, mode: str
) -> None:
    status, output = demo(bundle, tmp_path, "--episodes", "3", "--mode", mode, "--no-images")
    assert status == 0, output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["successes"] == summary["episodes"] == 3, output
    assert [result["seed"] for result in summary["results"]] == [1001, 1002, 1003]
    assert summary["chunks"] >= 3
    assert (summary["hold_ticks"], summary["ticks_missed_since_activation"]) == (0, 0)
    assert summary["guard_events"] == {}


@pytest.mark.slow
def test_an_episode_in_lockstep_is_the_same_again(bundle: Path, tmp_path: Path) -> None:
    runs = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        status, output = demo(bundle, folder, "--episodes", "1", "--no-images")
        assert status == 0, output
        trace = ArmTrace.load(folder / "trace.npz")
        runs.append(trace.pose[trace.episode == 0])
    # When a service is answered depends on the machine; what the policy then does, does not.
    assert len(runs[0]) == len(runs[1])
    assert abs(runs[0] - runs[1]).max() < 0.01


@pytest.mark.slow
def test_images_are_written(bundle: Path, tmp_path: Path) -> None:
    status, output = demo(bundle, tmp_path, "--episodes", "1")
    assert status == 0, output
    assert f"{tmp_path}: summary.json, trace.npz, plots.png, ends.png, episodes.mp4" in output
    assert (tmp_path / "plots.png").stat().st_size > 10_000
    assert (tmp_path / "ends.png").stat().st_size > 10_000
    assert (tmp_path / "episodes.mp4").stat().st_size > 10_000
    assert "1 of 1 reached" in output


@pytest.mark.slow
def test_the_shipped_policy_stays_within_its_nominal(tmp_path: Path) -> None:
    status, output = demo(
        Path("so101_reach"), tmp_path, "--episodes", "1", "--seed", "3001", "--no-images"
    )
    assert status == 0, output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["successes"] == 1
    assert summary["guard_events"] == {}
    assert "has no `nominal`" not in (tmp_path / "act_policy_node.log").read_text()


@pytest.mark.slow
def test_real_time_chunking_runs_the_flow_policy_that_ships(tmp_path: Path) -> None:
    command = ["robot_sim_demo_act", "--mode", "rtc", "--episodes", "1", "--no-images"]
    process = subprocess.run(
        [*command, "--output", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["bundle"], summary["successes"]) == ("so101_reach_flow", 1)


@pytest.mark.slow
def test_a_policy_that_faults_fails_the_demo_and_each_episode_is_reported(tmp_path: Path) -> None:
    blind = write_reach(tmp_path / "blind", needs_red=2.0)
    status, output = demo(blind, tmp_path / "out", "--episodes", "2", "--no-images")
    assert status == 1
    assert "expected no fault, found 2: seed 1001: " in output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["successes"] == 0
    assert all("not_finite" in result["fault"] for result in summary["results"])


def test_a_camera_that_the_arm_lacks_is_named(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    text = (bundle / "policy.yaml").read_text(encoding="utf-8")
    contract = yaml.safe_load(text)
    contract["cameras"]["top"] = contract["cameras"].pop("wrist")
    (other / "policy.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    (other / "policy.onnx").write_bytes((bundle / "policy.onnx").read_bytes())
    status, output = demo(other, tmp_path / "out")
    assert status == 4
    assert "expected cameras among front, wrist" in output
    assert "it needs top" in output


def test_a_bundle_that_is_not_there_is_named(tmp_path: Path) -> None:
    status, output = demo(tmp_path / "no_such_bundle", tmp_path)
    assert status == 4
    assert "no_such_bundle" in output
