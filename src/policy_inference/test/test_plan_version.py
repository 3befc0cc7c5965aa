# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A plan whose keys change gets a new version, so that an old one is refused with its remedy."""

import hashlib
import re
from pathlib import Path

from policy_core.plan import MAGIC, read_plan
from policy_inference.commands.main import main

BUNDLES = Path(__file__).resolve().parents[1] / "config" / "bundles"
NAMES = ("lite3_walk", "lite3_stairs", "lite3_gaits", "lite3_motions", "so101_reach")
VERSION, KEYS_SHA256 = b"3", "129e62408ae203aa5363396fbaf71cec3244d09b0bb661e24b83e9ec6dc577ee"


def test_plans_with_other_keys_have_another_version(tmp_path: Path) -> None:
    keys = set[str]()
    for name in NAMES:
        plan = tmp_path / name
        assert main(["controller-plan", str(BUNDLES / name), "--output", str(plan)]) == 0
        keys.update(re.sub(r"\.\d+", ".N", key) for key in read_plan(plan.read_bytes(), plan)[1])
    found = hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()
    # If this fails, raise the version in plan.py and table.cpp, unless the one here is unreleased.
    assert (MAGIC[-1:], found) == (VERSION, KEYS_SHA256)
