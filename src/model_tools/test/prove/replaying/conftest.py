# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy, and a recording of it."""

from pathlib import Path

import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle

from .small_arms import ArmFlight, arm_bundle
from .small_flights import SmallFlight, seeing


@pytest.fixture(scope="module")
def tiny_flight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording of a policy in RUN for 30 of 81 ticks; tests do not change it."""
    place = tmp_path_factory.mktemp("flight")
    flight = SmallFlight(seeing(place / "tiny"), state_every=1000)
    flight.stand_and_run(30)
    return flight.save(place / "flown")


@pytest.fixture
def tiny_policy(tmp_path: Path) -> JointBundle:
    return seeing(tmp_path / "tiny")


@pytest.fixture
def flown(tmp_path: Path, tiny_policy: JointBundle) -> Path:
    """Return a recording of `tiny_policy` like `tiny_flight`; a test may change both."""
    flight = SmallFlight(tiny_policy, state_every=1000)
    flight.stand_and_run(30)
    return flight.save(tmp_path / "flown")


@pytest.fixture
def tiny_arm(tmp_path: Path) -> ChunkBundle:
    return arm_bundle(tmp_path / "arm")


@pytest.fixture(scope="module")
def arm_flown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording of an arm that stands up and runs for 60 ticks; tests do not change it."""
    place = tmp_path_factory.mktemp("arm_flight")
    return ArmFlight(arm_bundle(place / "arm")).runs(60).save(place / "flown")
