# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command of `make demo-set`: random switches over topics, a member that fails, replays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testkit.replays import replayed_from_states

pytestmark = pytest.mark.ros


def demo_set(output: Path, *arguments: str) -> tuple[int, str]:
    """Run the demo; return its status and what it printed."""
    command = [
        sys.executable,
        "-m",
        "examples.demos.policy_set",
        "--no-images",
        "--output",
        str(output),
        *arguments,
    ]
    process = subprocess.run(command, capture_output=True, text=True)
    return process.returncode, process.stdout + process.stderr


def assert_replayed(found: dict[str, Any], states: str) -> None:
    """Replay the recording of a round, bit for bit; see `replayed_from_states`."""
    replayed = replayed_from_states(Path(found["recording"]), states)
    assert all(stage.judged > 50 for stage in replayed.replayer.stages.values())


# The demo asks for switches by the clock, and the first of them while the member fails.
@pytest.mark.real_time
@pytest.mark.slow
def test_a_switch_and_a_member_that_fails_over_topics(tmp_path: Path) -> None:
    status, output = demo_set(tmp_path, "--switches", "1")
    assert status == 0, output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["members"].keys() == {*summary["states"]}
    assert (summary["falls"], len(summary["rounds"])) == (0, 1)
    assert summary["switches"] + summary["refused"] >= 1
    assert summary["largest_step_ratio"] < 1.5
    failing = summary["failing"]
    assert (failing["refused"], failing["fallbacks"], failing["fault"]) == (1, 1, None)
    assert "not finite" in failing["events"][0]["why"]
    for found in (*summary["rounds"], failing):
        assert_replayed(found, "some")
