# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot that is a folder of figures stands under the policy node, and nothing else is changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from robot_sim.figures import FILE, ROBOTS

from .rig import Rig

pytestmark = pytest.mark.ros
BUNDLES = Path(__file__).resolve().parents[2] / "config" / "bundles"
LEG_NAMES = {"FL": "LF", "FR": "RF", "HL": "LH", "HR": "RH"}
PART_NAMES = {"HipX": "hip", "HipY": "thigh", "Knee": "calf"}
STANDING_M = 0.415


def other_name(name: str) -> str:
    """Return what the other robot calls a part of the Lite3."""
    for names in (LEG_NAMES, PART_NAMES):
        for old, new in names.items():
            name = name.replace(f"{old}_", f"{new}_")
    return name


def written(folder: Path) -> Path:
    """Write figures of a heavier robot with longer legs and other names."""
    figures = yaml.safe_load((ROBOTS / "lite3" / FILE).read_text())
    figures["bodies"][0]["mass_kg"] = 7.5
    for body in figures["bodies"][1:]:
        body |= {key: other_name(body[key]) for key in ("name", "parent")}
        body["joint"] = body["joint"] | {"name": other_name(body["joint"]["name"])}
        if body["name"].endswith("_shank"):
            body["pos"] = [0.0, 0.0, -0.24]
    for foot in figures["feet"]:
        foot |= {key: other_name(foot[key]) for key in ("name", "body")}
        foot["pos"] = [0.0, 0.0, -0.26]
    figures |= {"name": "Other", "looks": []}
    folder.mkdir()
    (folder / FILE).write_text(yaml.safe_dump(figures))
    return folder


def bundle_for_it(folder: Path) -> Path:
    """Write the bundle of the Lite3 with the names of the other robot's joints."""
    bundle = Path(shutil.copytree(BUNDLES / "lite3_walk", folder / "other_walk"))
    contract = bundle / "policy.yaml"
    text = contract.read_text()
    for old, new in PART_NAMES.items():
        text = text.replace(f"_{old}_joint", f"_{new}_joint")
    for old, new in LEG_NAMES.items():
        text = text.replace(f"{old}_", f"{new}_")
    contract.write_text(text)
    return bundle


@pytest.mark.slow
def test_a_robot_of_another_folder_stands_under_the_policy_node(tmp_path: Path) -> None:
    robot = written(tmp_path / "other")
    bundle = str(bundle_for_it(tmp_path))
    with Rig(tmp_path, bundle=bundle, sim={"robot": str(robot)}) as rig:
        rig.operator.stand()
        rig.operator.wait(1.0)
        assert rig.operator.mode == "READY"
        assert rig.height_m == pytest.approx(STANDING_M, abs=0.05)
