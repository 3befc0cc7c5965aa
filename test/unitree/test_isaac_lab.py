# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""docs/isaac_lab.md with the files of a real training: imported, it walks as the page says."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/isaac_lab.md"
ANSWERS = "examples/go2_isaac_lab/answers.yaml"
WALK_S = 12.0
pytestmark = [pytest.mark.real_data, pytest.mark.ros, pytest.mark.slow]


def documented_import(run: Path, imported_go2: Path) -> list[str]:
    """Return the page's command with the files of a run."""
    text = PAGE.read_text("utf-8").replace("\\\n", " ")
    (line,) = (line for line in text.splitlines() if line.startswith("model_tools import"))
    places = {
        "$RUN/params/deploy.yaml": str(run / "deploy.yaml"),
        "$RUN/exported/policy.onnx": str(run / "policy.onnx"),
        ANSWERS: str(ROOT / ANSWERS),
        "go2_mine": str(imported_go2),
    }
    return [places.get(word, word) for word in shlex.split(line)]


def go2_demo(imported_go2: Path, output: Path, *arguments: str) -> dict[str, Any]:
    words = ["--bundle", str(imported_go2), "--seconds", str(WALK_S), "--no-images"]
    ran = subprocess.run(
        [sys.executable, "-m", "examples.demos.walk", *words, "--output", str(output), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    summary: dict[str, Any] = json.loads((output / "summary.json").read_text("utf-8"))
    return summary


@pytest.fixture(scope="module")
def imported_go2(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a Go2 policy of unitree_rl_lab, made as the page says."""
    folder = tmp_path_factory.mktemp("go2") / "go2_mine"
    command = documented_import(shared_data / "legged" / "go2_isaaclab", folder)
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


@pytest.mark.acceptance
def test_the_documented_import_asks_nothing_more_and_measures_a_healthy_walk(
    imported_go2: Path,
) -> None:
    contract = yaml.safe_load((imported_go2 / "policy.yaml").read_text("utf-8"))
    assert contract["joints"]["names"][:4] == [
        f"{leg}_hip_joint" for leg in ("FL", "FR", "RL", "RR")
    ]
    assert contract["nominal"]["ticks"] > 10_000
    assert "robot_sim, Go2" in contract["nominal"]["source"]


@pytest.mark.acceptance
@pytest.mark.real_time
def test_it_walks_through_driver_and_emulator(imported_go2: Path, tmp_path: Path) -> None:
    pytest.importorskip("cyclonedds", reason="cyclonedds is not installed (no wheel of it)")
    if shutil.which("go2_driver") is None:
        pytest.skip("unitree_driver is not built")
    summary = go2_demo(imported_go2, tmp_path, "--robot", "go2_emulator")
    assert (summary["bundle"], summary["falls"]) == ("go2_mine", 0)
    assert summary["distance_m"] > 2.0
