# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Versions of the walking policy that ships: the same one, and one that limps under payload."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"
PAYLOAD_KG = 5.0
WALKING_MPS = 0.8


def renumbered_bundle(bundle: Path, folder: Path, version: str) -> Path:
    """Copy a bundle and give it another version; return the folder."""
    shutil.copytree(bundle, folder)
    _change(folder, r"^version: .*$", f'version: "{version}"')
    return folder


def limping_bundle(folder: Path, version: str) -> Path:
    """Write the policy that ships for weak knees, whose torque is enough without payload only."""
    renumbered_bundle(SHIPPED, folder, version)
    _change(folder, r"^(  effort_limit: .*_Knee_joint: )36.0}$", r"\g<1>14.0}")
    return folder


def _change(bundle: Path, old: str, new: str) -> None:
    file = bundle / "policy.yaml"
    text, count = re.subn(old, new, file.read_text("utf-8"), count=1, flags=re.MULTILINE)
    assert count == 1
    file.write_text(text, "utf-8")
