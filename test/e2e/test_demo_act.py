# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command of `make demo-act`: an arm with cameras under a chunk policy, over topics."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros


SHIPPED = Path(__file__).resolve().parents[2] / "config" / "bundles" / "so101_reach"


def demo_act(output: Path, *arguments: str, bundle: object = SHIPPED) -> tuple[int, str]:
    """Run the demo; return its status and what it printed."""
    command = [
        sys.executable,
        "-m",
        "examples.demos.act",
        "--bundle",
        str(bundle),
        "--output",
        str(output),
        *arguments,
    ]
    process = subprocess.run(command, capture_output=True, text=True)
    return process.returncode, process.stdout + process.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode",
    [
        "asynchronous",
        *(pytest.param(mode, marks=pytest.mark.acceptance) for mode in ("synchronous", "ensemble")),
    ],
)
def test_a_shipped_policy_reaches_within_its_nominal_in_lockstep(tmp_path: Path, mode: str) -> None:
    words = ["--mode", mode, "--episodes", "1", "--seed", "3001", "--no-images"]
    status, output = demo_act(tmp_path, *words)
    assert status == 0, output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["successes"] == summary["episodes"] == 1, output
    assert [result["seed"] for result in summary["results"]] == [3001]
    assert summary["chunks"] >= 1
    assert (summary["hold_ticks"], summary["ticks_missed_since_activation"]) == (0, 0)
    assert summary["guard_events"] == {}
    assert "`nominal`" not in (tmp_path / "act_policy_node.log").read_text()


@pytest.mark.acceptance
def test_real_time_chunking_runs_the_flow_policy_that_ships(tmp_path: Path) -> None:
    bundle = SHIPPED.with_name("so101_reach_flow")
    status, output = demo_act(
        tmp_path, "--mode", "rtc", "--episodes", "1", "--no-images", bundle=bundle
    )
    assert status == 0, output
    assert json.loads((tmp_path / "summary.json").read_text())["successes"] == 1
