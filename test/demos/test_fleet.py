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

from examples.demos.fleet.__main__ import EXPECTED, verdict
from examples.demos.fleet.candidates import LIMPING, WRONG_SCALE, Workshop
from examples.demos.fleet.robot import MARK, RobotView, kill_marked
from examples.demos.fleet.timeline import Timeline, TimelineEvent, draw
from policy_core.bundle.load import bundle_folder
from robot_sim.errors import SimError
from testkit.wording import check_wording, refusal


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


def test_a_change_that_matches_nothing_is_an_error(workshop: Workshop) -> None:
    with refusal(SimError):
        workshop.make("bad", "1.1.0", {"no such line": ""})


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


def test_the_verdict_names_all_that_went_wrong() -> None:
    good = {"robots": 6, **EXPECTED, "robots_on_known_version": 6, "robots_walking": 6}
    assert verdict(good) is None
    found = verdict({**good, "limping": "production", "robots_walking": 5})
    assert found is not None
    check_wording(found)


def test_the_image_shows_a_robot_without_power_too(tmp_path: Path) -> None:
    timeline = Timeline([])
    timeline.spans["lite3_1"] = [
        (0.0, RobotView(version="1.0.0", mode="RUN", stage="production")),
        (0.1, RobotView()),
        (0.2, RobotView(version="1.1.0", mode="RUN", stage="canary")),
    ]
    timeline.events.append(TimelineEvent(at_s=0.1, kind="power", robot="lite3_1", text=""))
    timeline.events.append(TimelineEvent(at_s=0.2, kind="stopped", robot="", text="1.1.0 stopped"))
    image = tmp_path / "timeline.png"
    draw(timeline, {"1.0.0": "first", "1.1.0": "second"}, image)
    assert image.read_bytes().startswith(b"\x89PNG")
