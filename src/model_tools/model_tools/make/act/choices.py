# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Choices for command-line options, in a module of their own so that --help loads fast."""

from __future__ import annotations

from pathlib import Path

UNITS = ("degrees", "range", "radians")
"""degrees: LeRobot's default since 0.4, with the gripper from 0 to 100; range: the default until
0.3, the calibrated range from -100 to 100, with the gripper from 0 to 100; radians: all joints in
rad.
"""
ROBOTS = Path(__file__).parent / "robots"
"""Folder of the robot descriptions in this package."""
KNOWN = tuple(sorted(file.stem for file in ROBOTS.glob("*.yaml")))
PATCH_POSITIONS = ("repeated", "counted")
"""Numbering of SmolVLA's image patches: `repeated` is 0, 0, 1, 2, ..., as transformers 4 numbers
them in float32; `counted` is 0, 1, 2, 3, ..., as transformers 5 does."""
