# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What runs as root on a robot needs NumPy, YAML, cryptography and urllib3 beside Python."""

from __future__ import annotations

from pathlib import Path

from testkit.store import NAME, MakeVersion, run_as_robot


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
