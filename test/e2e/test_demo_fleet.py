# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command of `make demo-fleet`: releases end where they must, whatever interrupts them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.demos.fleet.__main__ import verdict
from examples.demos.fleet.robot import MARK
from examples.demos.fleet.servers import PACKAGES

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[2]


def demonstrated(output: Path, *arguments: str) -> dict[str, Any]:
    """Run the demo; return its summary."""
    missing = [name for name in PACKAGES if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    done = subprocess.run(
        [sys.executable, "-m", "examples.demos.fleet", "--output", str(output), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert not processes_of_a_demo()
    for name in ("timeline.png", "fleet.html"):
        assert (output / name).stat().st_size > 0
    found: dict[str, Any] = json.loads((output / "summary.json").read_text("utf-8"))
    return found


def processes_of_a_demo() -> list[str]:
    """Return the commands of all processes that a demo has left."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}=demo_".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.mark.acceptance
def test_after_forty_interruptions_every_robot_walks_with_a_whole_version(tmp_path: Path) -> None:
    summary = demonstrated(tmp_path, "--interruptions", "40")
    assert summary["interruptions"] == 40
    assert summary["robots_on_known_version"] == summary["robots_walking"] == 6
    assert (summary["wrong_scale"], summary["limping"], summary["good_candidate"]) == (
        "shadow",
        "canary",
        "production",
    )
    reasons = {name: one["stopped_because"] for name, one in summary["releases"].items()}
    assert "rms_ratio" in reasons["wrong_scale"]
    assert "torque_share" in reasons["limping"]


def test_only_releases_that_were_made_are_judged() -> None:
    summary = {"robots": 1, "robots_on_known_version": 1, "robots_walking": 1}
    assert verdict(summary | {"wrong_scale": "shadow"}) is None
    assert verdict(summary | {"wrong_scale": "canary"}) is not None


@pytest.mark.slow
def test_missing_programs_are_named_with_their_packages(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.demos.fleet", "--output", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PATH": "/nowhere"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 4
    packages = {"docker-registry", "prometheus", "ansible-core", "openssl"}
    assert packages <= {*done.stdout.split()}
