# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The built workspace: commands on the PATH, installed files, messages over DDS."""

from __future__ import annotations

import shutil
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("policy_inference", "robot_sim")

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("package", PACKAGES)
def test_every_command_of_a_package_is_on_the_path(package: str) -> None:
    commands = distribution(package).entry_points.select(group="console_scripts")
    found = {command.name: shutil.which(command.name) for command in commands}
    folder = ROOT / "install" / package / "lib" / package
    assert found
    assert found == {name: str(folder / name) for name in found}


@pytest.mark.parametrize("folder", ["launch", "config"])
def test_launch_files_and_configurations_are_installed(folder: str) -> None:
    share = ROOT / "install/policy_inference/share/policy_inference"
    patterns = ("launch/*.launch.py", "config/nodes/*.yaml", "config/bundles/**/*")
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    committed = {path.relative_to(ROOT) for path in found if path.is_file()}
    installed = {path.relative_to(share) for path in share.rglob("*") if path.is_file()}
    expected = {path for path in committed if path.parts[0] == folder}
    assert expected
    assert expected <= installed
