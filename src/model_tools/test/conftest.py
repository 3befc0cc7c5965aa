# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle

from .tiny_bundle import make_bundle


@pytest.fixture
def tiny(tmp_path: Path) -> JointBundle:
    """A policy that sees hip, knee, their velocities, and its last action."""
    return load_bundle(make_bundle(tmp_path / "tiny"), kind=JointBundle)
