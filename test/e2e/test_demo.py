# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command of `make demo`, as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from policy_inference.backends.rknn_toolkit.python import VARIABLE

pytestmark = pytest.mark.ros


def start_demo(output: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "examples.demos.walk",
        "--lockstep",
        "--no-images",
        "--output",
        str(output),
    ]
    return subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("robot", ["lite3", "go2"])
def test_the_demo_walks_and_writes_its_summary(robot: str, tmp_path: Path) -> None:
    process = start_demo(tmp_path, "--robot", robot, "--seconds", "15")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    summary = json.loads((tmp_path / "summary.json").read_text())
    found = summary["bundle"], summary["backend"], summary["falls"]
    assert found == (f"{robot}_walk", "onnx", 0)
    assert summary["duration_s"] > 14.0
    assert summary["distance_m"] > 3.0
    assert summary["ticks_since_activation"] > 750
    assert "walked" in output


@pytest.mark.slow
def test_the_demo_ends_with_the_back_end_that_did_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "no_python"))
    process = start_demo(tmp_path, "--seconds", "1", "--backend", "rknn_sim,onnx")
    output, _ = process.communicate()
    summary = json.loads((tmp_path / "summary.json").read_text())
    (reason,) = summary["fallback"]
    assert summary["backend"] == "onnx"
    assert reason.startswith("rknn_sim: ")
    assert f"walk: ran on onnx, not on {reason}" in output.splitlines()[-2:]


@pytest.mark.acceptance
def test_ctrl_c_ends_the_demo_and_its_nodes(tmp_path: Path) -> None:
    process = start_demo(tmp_path, "--seconds", "1000")
    assert process.stdout is not None
    while "stand up" not in process.stdout.readline():
        assert process.poll() is None
    nodes = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(nodes) == 2
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 130, output
    assert not any(Path("/proc", node).exists() for node in nodes)
