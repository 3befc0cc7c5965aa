# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command of `make demo`, as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros


def demo(output: Path, *arguments: str) -> subprocess.Popen[str]:
    command = ["robot_sim_demo", "--lockstep", "--no-pictures", "--output", str(output)]
    return subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)  # fmt: skip


def test_the_demo_walks_and_writes_its_summary(tmp_path: Path) -> None:
    process = demo(tmp_path, "--seconds", "15")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["bundle"], summary["backend"], summary["falls"]) == ("lite3_walk", "onnx", 0)
    assert summary["duration_s"] > 14.0
    assert summary["distance_m"] > 3.0
    assert summary["ticks"] > 750
    assert "walked" in output


def test_the_demo_says_why_a_node_died_and_fails(tmp_path: Path) -> None:
    process = demo(tmp_path, "--bundle", "no_such_bundle")
    output, _ = process.communicate()
    assert process.returncode == 1
    assert "joint_policy_node: ended with status 2" in output
    assert "expected a bundle folder, found nothing" in output


def test_ctrl_c_ends_the_demo_and_its_nodes(tmp_path: Path) -> None:
    process = demo(tmp_path, "--seconds", "1000")
    assert process.stdout is not None
    while "stand up" not in process.stdout.readline():
        assert process.poll() is None
    nodes = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(nodes) == 2
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 130, output
    assert not any(Path("/proc", node).exists() for node in nodes)
