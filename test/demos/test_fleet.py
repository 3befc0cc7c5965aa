# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of the demo of a fleet: its network, its candidates, its verdict, its image."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from examples.demos.fleet.candidates import LIMPING, WRONG_SCALE, Workshop
from examples.demos.fleet.robot import MARK, kill_marked
from policy_core.bundle.load import bundle_folder


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    return Workshop(bundle_folder("lite3_walk"), tmp_path)


@pytest.mark.parametrize("changes", [WRONG_SCALE, LIMPING], ids=["wrong scale", "limping"])
def test_a_bad_candidate_differs_in_one_value_and_the_version(
    workshop: Workshop, changes: dict[str, str]
) -> None:
    good = workshop.make("good", "1.0.0").folder / "policy.yaml"
    bad = workshop.make("bad", "1.1.0", changes).folder / "policy.yaml"
    lines = zip(good.read_text().splitlines(), bad.read_text().splitlines(), strict=True)
    assert sum(one != other for one, other in lines) == 2
    assert yaml.safe_load(bad.read_text())["version"] == "1.1.0"


def test_processes_are_found_by_their_mark_and_those_of_others_live_on() -> None:
    words = ["sleep", "1000"]
    marks = ("demo_test.one", "demo_test.one.more", "demo_test.other")
    running = [subprocess.Popen(words, env={**os.environ, MARK: mark}) for mark in marks]
    try:
        assert kill_marked("demo_test.one") == 2
        assert [process.wait(10.0) for process in running[:2]] == [-9, -9]
        assert running[2].poll() is None
    finally:
        for process in running:
            process.kill()
            process.wait()
