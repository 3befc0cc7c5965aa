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


def written(folder: Path) -> Path:
    """Write figures of a heavier robot with longer legs and other names."""
    figures = yaml.safe_load((ROBOTS / "lite3" / FILE).read_text())
    for leg in figures["legs"]:
        leg["name"] = LEG_NAMES[leg["name"]]
    for joint in figures["joints"]:
        joint["part"] = PART_NAMES[joint["part"]]
    figures["torso"]["mass_kg"] = 7.5
    figures |= {"name": "Other", "thigh_length_m": 0.24, "shank_length_m": 0.26, "looks": []}
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


def test_a_robot_of_another_folder_stands_under_the_policy_node(tmp_path: Path) -> None:
    robot = written(tmp_path / "other")
    bundle = str(bundle_for_it(tmp_path))
    with Rig(tmp_path, bundle=bundle, sim={"robot": str(robot)}) as rig:
        rig.operator.stand()
        rig.operator.wait(1.0)
        assert rig.operator.mode == "READY"
        assert rig.height_m == pytest.approx(STANDING_M, abs=0.05)
