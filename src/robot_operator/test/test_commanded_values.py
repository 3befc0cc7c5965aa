# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The commanded values of a bundle that a status names, which may be any file."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from robot_operator.commanded_values import read_commanded_values

LITE3_WALK = Path(__file__).parents[3] / "config" / "bundles" / "lite3_walk"
SLOW = "stiffness: {'" + r"(\w+)+" * 12 + "!': 30.0}"
"""A pattern that takes forever."""


@pytest.mark.parametrize(
    "bundle", ["", "a" * 300, "a" * 100_000, "a\0b", "/dev/zero", "/proc/self", "x\ud800"]
)
def test_a_status_may_name_anything(bundle: str) -> None:
    assert read_commanded_values(bundle, "1" * 64) == {}


def test_a_contract_that_takes_forever_has_none(tmp_path: Path) -> None:
    content = (LITE3_WALK / "policy.yaml").read_text("utf-8").replace("stiffness: 30.0", SLOW)
    assert SLOW in content
    (tmp_path / "policy.yaml").write_text(content, "utf-8")
    digest = sha256(content.encode()).hexdigest()
    assert read_commanded_values(str(tmp_path), digest, cpu_s=2) == {}
