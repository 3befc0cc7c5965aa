# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the data of a quadruped with other names, masses and lengths than a Lite3."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from robot_sim.figures import FILE, LITE3, ROBOTS

LEG_NAMES = {"FL": "LF", "FR": "RF", "HL": "LH", "HR": "RH"}
PART_NAMES = {"HipX": "hip", "HipY": "thigh", "Knee": "calf"}
THIGH_M, SHANK_M = 0.24, 0.26
STANDING_M = (THIGH_M + SHANK_M) * float(np.cos(0.65)) + LITE3.feet[0].radius_m + 0.001


def name_in_other_quadruped(name: str) -> str:
    """Return the other robot's name for a part of the Lite3."""
    for names in (LEG_NAMES, PART_NAMES):
        for old, new in names.items():
            name = name.replace(f"{old}_", f"{new}_")
    return name


def write_other_quadruped(folder: Path, **changes: Any) -> Path:
    """Write the data file with these keys changed; None leaves a key out."""
    figures = yaml.safe_load((ROBOTS / "lite3" / FILE).read_text())
    figures["name"] = "Other"
    figures["bodies"][0] |= {"mass_kg": 9.0, "inertia": [0.05, 0.11, 0.14]}
    for body in figures["bodies"][1:]:
        body |= {key: name_in_other_quadruped(body[key]) for key in ("name", "parent")}
        joint = body["joint"]
        body["joint"] = joint | {
            "name": name_in_other_quadruped(joint["name"]),
            "effort_nm": 1.5 * joint["effort_nm"],
        }
        if body["name"].endswith("_thigh"):
            body["mass_kg"] = 1.3
        if body["name"].endswith("_shank"):
            body["pos"] = [0.0, 0.0, -THIGH_M]
    for foot in figures["feet"]:
        foot |= {key: name_in_other_quadruped(foot[key]) for key in ("name", "body")}
        foot["pos"] = [0.0, 0.0, -SHANK_M]
    figures["looks"] = []
    figures["poses"]["standing"]["height_m"] = STANDING_M
    figures |= changes
    kept = {key: value for key, value in figures.items() if value is not None}
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_text(yaml.safe_dump(kept))
    return folder
