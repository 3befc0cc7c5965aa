# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Wheels of packages that need no ROS: built, installed apart from the workspace, and used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from sysconfig import get_path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("model_tools", "policy_core", "policy_inference", "policy_store", "robot_sim")
BUNDLE = ROOT / "config" / "bundles" / "lite3_walk"
_OF_THE_WORKSPACE = ("PYTHONPATH", "AMENT_PREFIX_PATH", "COLCON_PREFIX_PATH")


def run_apart(*words: str | Path, **environment: str) -> str:
    """Run a program that knows nothing of the workspace; return what it prints."""
    kept = {name: value for name, value in os.environ.items() if name not in _OF_THE_WORKSPACE}
    done = subprocess.run(
        [str(word) for word in words],
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def installed_wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the installed wheels; what they need comes from this environment."""
    place = tmp_path_factory.mktemp("wheels")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--isolated")
    for package in PACKAGES:
        # A copy, since a build writes beside its sources; of the folder alone, as the build farm
        # has it.
        source = shutil.copytree(ROOT / "src" / package, place / "src" / package, symlinks=True)
        options = ("--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", place)
        run_apart(*pip, "wheel", "--quiet", *options, source)
    wheels = sorted(place.glob("*-py3-none-any.whl"))
    assert [wheel.name.split("-")[0] for wheel in wheels] == list(PACKAGES)
    run_apart(
        *pip, "install", "--quiet", "--no-deps", "--no-index", "--target", place / "site", *wheels
    )
    return place / "site"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("policy_inference.commands.main", "--version"), " 0.1.0"),
        (("policy_inference.commands.main", "self-test", str(BUNDLE)), "nothing missing"),
        (("model_tools", "inspect", str(BUNDLE)), "lite3_walk"),
        (("policy_store", "install", str(BUNDLE), "--activate", "--root", "ROOT"), "is in use"),
    ],
    ids=["version", "self-test", "inspect", "install"],
)
def test_commands_work_without_a_workspace(
    installed_wheels: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    given = (str(tmp_path) if word == "ROOT" else word for word in words)
    assert said in run_apart(sys.executable, "-m", *given, PYTHONPATH=str(installed_wheels))


def test_robots_and_types_are_inside(installed_wheels: Path) -> None:
    assert (installed_wheels / "robot_sim" / "robots" / "lite3" / "figures.yaml").is_file()
    for package in PACKAGES:
        assert (installed_wheels / package / "py.typed").is_file()


def test_launch_files_and_bundles_are_inside(installed_wheels: Path) -> None:
    share = installed_wheels / "share" / "policy_inference"
    assert (share / "config" / "bundles" / "lite3_walk" / "policy.yaml").is_file()
    for file in (ROOT / "launch").glob("*.launch.py"):
        assert (share / "launch" / file.name).is_file()


def test_the_bundles_of_a_wheel_are_found_by_name(installed_wheels: Path, tmp_path: Path) -> None:
    target = tmp_path / "environment"
    run_apart(sys.executable, "-m", "venv", "--without-pip", target)
    shutil.copytree(
        installed_wheels / "share" / "policy_inference", target / "share" / "policy_inference"
    )
    words = ("-c", "from policy_core.bundle.load import shipped_names; print(shipped_names())")
    assert "lite3_walk" in run_apart(
        target / "bin" / "python",
        *words,
        PYTHONPATH=os.pathsep.join([str(installed_wheels), get_path("purelib")]),
    )
