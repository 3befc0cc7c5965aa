# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the figures of a quadruped that is no Lite3: other names, masses and lengths."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from robot_sim.figures import FILE, LITE3, ROBOTS

LEG_NAMES = {"FL": "LF", "FR": "RF", "HL": "LH", "HR": "RH"}
PART_NAMES = {"HipX": "hip", "HipY": "thigh", "Knee": "calf"}
THIGH_M, SHANK_M = 0.24, 0.26
STANDING_M = (THIGH_M + SHANK_M) * float(np.cos(0.65)) + LITE3.foot.radius_m + 0.001


def written(folder: Path, **changes: Any) -> Path:
    """Write the figures, with some keys changed or, where None is given, left out."""
    figures = yaml.safe_load((ROBOTS / "lite3" / FILE).read_text())
    figures["name"] = "Other"
    figures["torso"] |= {"mass_kg": 9.0, "inertia": [0.05, 0.11, 0.14]}
    for joint in figures["joints"]:
        joint |= {"part": PART_NAMES[joint["part"]], "effort_nm": 1.5 * joint["effort_nm"]}
    for leg in figures["legs"]:
        leg["name"] = LEG_NAMES[leg["name"]]
        leg["thigh"]["mass_kg"] = 1.3
    figures |= {"thigh_length_m": THIGH_M, "shank_length_m": SHANK_M, "looks": []}
    figures["poses"]["standing"]["height_m"] = STANDING_M
    figures |= changes
    kept = {key: value for key, value in figures.items() if value is not None}
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_text(yaml.safe_dump(kept))
    return folder
