# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The stage in simulation walks the simulated robot, and finds what is wrong with a policy."""

import json
import shutil
from pathlib import Path

import pytest

from model_tools.ship.release.release_file import read_release
from testkit.edits import reword
from testkit.store import make_keys, tool, tool_refused
from testkit.wording import check_wording

LITE3 = Path(__file__).parents[5] / "config/bundles/lite3_walk"


def begin_release(tmp_path: Path, *changes: tuple[str, str]) -> tuple[Path, Path]:
    """Return a signed bundle of a Lite3, changed, and its release, with short walks."""
    private, _ = make_keys(tmp_path)
    bundle, file = tmp_path / "bundle", tmp_path / "lite3_walk.release.yaml"
    shutil.copytree(LITE3, bundle)
    contract = reword(bundle / "policy.yaml", ('version: "0.2.1"', 'version: "0.3.0"'), *changes)
    text = contract.read_text("utf-8")
    contract.write_text(text[: text.index("reports:")], "utf-8")  # about the version before
    assert tool("sign", bundle, "--key", private) == 0
    assert tool("release", "new", bundle, "--baseline", LITE3, "--output", file) == 0
    return bundle, reword(file, ("walk_s: 20.0", "walk_s: 3.5"))


@pytest.mark.slow
def test_walking_policy_passes_beside_its_baseline(tmp_path: Path) -> None:
    bundle, file = begin_release(tmp_path)
    record = ("release", "record", file, "simulation", "--bundle", bundle)
    assert tool(*record, "--baseline", LITE3) == 0
    report = json.loads((tmp_path / "lite3_walk.simulation.json").read_text("utf-8"))
    check_wording(report["ran"])
    assert (report["robot"], report["walk_s"]) == ("robot_sim", 3.5)
    assert all(check["holds"] for check in report["checks"])
    assert tool("release", "promote", file, "--by", "Ada") == 0
    assert read_release(file).stage == "shadow"


@pytest.mark.slow
def test_wrong_scale_is_found_in_simulation(tmp_path: Path) -> None:
    scale = ("{term: joint_vel, scale: 0.05}", "{term: joint_vel, scale: 0.5}")
    bundle, file = begin_release(tmp_path, scale)
    assert tool("release", "record", file, "simulation", "--bundle", bundle) == 1
    assert tool("release", "promote", file, "--by", "Ada") == 1


def test_another_bundle_is_not_walked(tmp_path: Path) -> None:
    _, file = begin_release(tmp_path)
    tool_refused("release", "record", file, "simulation", "--bundle", LITE3)
    assert tool("release", "record", file, "shadow", "--bundle", LITE3) == 4
