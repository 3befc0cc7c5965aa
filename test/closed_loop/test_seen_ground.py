# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy with a height scan in lockstep: what it sees is the simulated ground."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from model_tools.simulation.controlled import ControlledPolicy, RecordingBackend
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import Mode
from policy_inference.backends.registry import open_backend
from robot_sim.ground import LEVEL, Ground
from robot_sim.mapper import MapFault, Mapper
from robot_sim.walk import walk
from robot_sim.world import World
from testkit.perceiving import OWN, write_perceiving_bundle

STAIRS = Ground(terrain="stairs", step_m=0.1)


@pytest.fixture(scope="module")
def blind_but_shown(tmp_path_factory: pytest.TempPathFactory) -> JointBundle:
    """The policy that walks, under a contract with a scan, which its model ignores."""
    folder = write_perceiving_bundle(tmp_path_factory.mktemp("seen") / "bundle")
    return load_bundle(folder, kind=JointBundle)


@pytest.fixture
def recorder(blind_but_shown: JointBundle) -> Iterator[RecordingBackend]:
    backend, _ = open_backend(blind_but_shown, ["onnx"])
    recording = RecordingBackend(backend)
    yield recording
    recording.close()


@pytest.mark.parametrize("ground", [LEVEL, STAIRS])
def test_policy_sees_the_simulated_ground(
    blind_but_shown: JointBundle, recorder: RecordingBackend, ground: Ground
) -> None:
    policy = ControlledPolicy(blind_but_shown, recorder, mapper=Mapper(ground))
    trace = walk(World(ground=ground), policy, [], duration_s=4.0, until=None)
    assert policy.controller.mode is Mode.RUN
    seen = recorder.recorded()["seen"][:, OWN:].astype(np.float64)
    place = trace.pos_world[-len(seen) :]
    there = np.array([0.2, 0.0]) if ground is STAIRS else np.zeros(2)
    np.testing.assert_allclose(seen, there - place[:, 2:], atol=1e-5)


def test_without_a_map_the_robot_does_not_stand_up(
    blind_but_shown: JointBundle, recorder: RecordingBackend
) -> None:
    late = Mapper(LEVEL)
    late.faults = MapFault.parse_all(["latency:elevation_map=1.0"])
    policy = ControlledPolicy(blind_but_shown, recorder, mapper=late)
    walk(World(), policy, [], duration_s=0.5, until=None)
    assert policy.controller.mode is Mode.DAMP
    assert "perception/ground" in policy.refusal
