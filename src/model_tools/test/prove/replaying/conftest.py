# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy, and a recording of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy_inference.bundle.bundle import JointBundle

from .small_flights import SmallFlight
from .small_policies import seeing


@pytest.fixture
def bundle(tmp_path: Path) -> JointBundle:
    return seeing(tmp_path / "tiny")


@pytest.fixture
def flown(tmp_path: Path, bundle: JointBundle) -> Path:
    """Return a recording of a policy that stands up and runs for 30 ticks, 81 in all."""
    flight = SmallFlight(bundle)
    flight.stand_and_run(30)
    return flight.save(tmp_path / "flown")
