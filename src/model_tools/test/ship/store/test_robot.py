# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What runs as root on a robot needs NumPy, YAML and cryptography beside Python, nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..conftest import MakeVersion
from ..stores import NAME

ALLOWED = {"policy_store", "policy_core", "numpy", "yaml", "_yaml", "cryptography", "_cffi_backend"}
CHILD = """
import importlib.abc, os, sys
allowed = {allowed} | set(sys.stdlib_module_names)
class Bare(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"a robot has no {{name}}", name=name)
sys.meta_path.insert(0, Bare())
for refused in ("cv2", "model_tools", "onnxruntime", "policy_inference", "rclpy", "rich"):
    try:
        __import__(refused)
        sys.exit(f"{{refused}} was found")
    except ModuleNotFoundError:
        pass
from policy_store.commands import main as cli
sys.argv[0] = "policy_store"
for args in {commands}:
    if cli.main(args):
        sys.exit(f"{{args}} failed")
"""


def run_as_robot(commands: Sequence[Sequence[str]]) -> None:
    """Run commands in a process that has what a robot has; each must end with 0."""
    code = CHILD.format(allowed=ALLOWED, commands=[list(command) for command in commands])
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_versions_are_managed_with_what_a_robot_has(
    tmp_path: Path, make_version: MakeVersion
) -> None:
    trial = tmp_path / "trial.yaml"
    trial.write_text("run_time_s: 60")
    first, second = (str(make_version(version)) for version in ("1.0.0", "1.1.0"))
    commands = [
        ["install", first, "--activate"],
        ["install", second],
        ["activate", NAME, "1.1.0"],
        ["list"],
        ["list", "--json"],
        ["rollback", NAME],
        ["activate", NAME, "1.1.0", "--trial", str(trial)],
        ["trial", "status", NAME],
        ["trial", "end", NAME],
        ["verify"],
        ["prune", NAME, "--keep", "1", "--force"],
    ]
    run_as_robot([[*command, "--root", str(tmp_path)] for command in commands])
    assert (tmp_path / NAME / "current").readlink() == Path("1.0.0")
