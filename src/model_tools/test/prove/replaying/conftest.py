# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy, and a recording of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle

from .small_arms import ArmFlight, arm_bundle
from .small_flights import SmallFlight, seeing


@pytest.fixture
def tiny_policy(tmp_path: Path) -> JointBundle:
    return seeing(tmp_path / "tiny")


@pytest.fixture
def flown(tmp_path: Path, tiny_policy: JointBundle) -> Path:
    """Return a recording of a policy that stands up and runs for 30 ticks, 81 in all."""
    flight = SmallFlight(tiny_policy, state_every=1000)
    flight.stand_and_run(30)
    return flight.save(tmp_path / "flown")


@pytest.fixture
def tiny_arm(tmp_path: Path) -> ChunkBundle:
    return arm_bundle(tmp_path / "arm")


@pytest.fixture
def arm_flown(tmp_path: Path, tiny_arm: ChunkBundle) -> Path:
    """Return a recording of an arm that stands up and runs for 60 ticks."""
    return ArmFlight(tiny_arm).runs(60).save(tmp_path / "flown")
