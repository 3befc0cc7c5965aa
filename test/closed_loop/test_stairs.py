# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy with a height scan climbs stairs that the blind one cannot, in lockstep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from model_tools.simulation.controlled import ControlledPolicy, ControlledRobot, ControlledSet
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.interfaces import Mode
from policy_inference.backends.registry import open_backend
from robot_sim.ground import Ground
from robot_sim.mapper import MapFault, Mapper
from robot_sim.walk import walk
from robot_sim.world import WalkingWorld, World

BUNDLES = Path(__file__).resolve().parents[2] / "config" / "bundles"
STAIRS = Ground(terrain="stairs", step_m=0.1)
UP_S, LONGEST_S = 5.0, 20.0
TOP_M = 2.1
"""Distance from the start behind the last of five steps."""
WORN_MAP = ("latency:elevation_map=0.2", "drift:elevation_map=0.05", "unknown:elevation_map=0.2")


class Climb(NamedTuple):
    """How a trial ended."""

    farthest_m: float
    fell: bool

    @property
    def arrived(self) -> bool:
        return self.farthest_m > TOP_M and not self.fell


def climb(robot: ControlledRobot, seed: int) -> Climb:
    """Let a robot stand up, and command 0.5 m/s ahead, nearly straight."""
    drawn = np.random.default_rng(seed)
    ahead = drawn.uniform(0.5, 0.5), *drawn.uniform(-0.1, 0.1, 2)
    world = World(ground=STAIRS, friction=drawn.uniform(0.6, 1.1))

    def ended(world: WalkingWorld) -> bool:
        up = world.time_ns > UP_S * 1e9
        return up and (world.fallen or bool(np.abs(world.sense().pos_world[:2]).max() > TOP_M))

    trace = walk(world, robot, [(UP_S, ahead)], duration_s=LONGEST_S, until=ended)
    return Climb(float(np.abs(trace.pos_world[:, :2]).max()), world.fallen)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def policy_of(name: str, opened: ExitStack, mapper: Mapper) -> ControlledPolicy:
    bundle = load_bundle(BUNDLES / name, kind=JointBundle)
    backend, _ = open_backend(bundle, ["onnx"])
    opened.callback(backend.close)
    return ControlledPolicy(bundle, backend, mapper=mapper)


def trials(opened: ExitStack, faults: Sequence[str] = ()) -> list[Climb]:
    found = []
    for seed in range(10):
        mapper = Mapper(STAIRS, seed=seed)
        mapper.faults = MapFault.parse_all(list(faults))
        found.append(climb(policy_of("lite3_stairs", opened, mapper), seed))
    return found


@pytest.mark.slow
def test_it_climbs_what_the_blind_policy_cannot(opened: ExitStack) -> None:
    seeing = policy_of("lite3_stairs", opened, Mapper(STAIRS))
    assert climb(seeing, seed=1).arrived
    assert climb(policy_of("lite3_walk", opened, Mapper(STAIRS)), seed=1).farthest_m < 0.6


@pytest.mark.acceptance
def test_it_arrives_in_nine_of_ten_trials(opened: ExitStack) -> None:
    assert sum(each.arrived for each in trials(opened)) >= 9


@pytest.mark.acceptance
def test_it_does_not_fall_with_a_late_shifted_map_with_holes(opened: ExitStack) -> None:
    assert sum(each.fell for each in trials(opened, WORN_MAP)) == 0


@pytest.mark.slow
def test_without_a_map_the_blind_policy_goes_on_without_a_fall(opened: ExitStack) -> None:
    bundle = load_bundle(BUNDLES / "lite3_terrain", kind=SetBundle)
    backends = {}
    for name, member in bundle.members.items():
        assert isinstance(member, JointBundle)
        backends[name], _ = open_backend(member, ["onnx"])
        opened.callback(backends[name].close)
    mapper = Mapper(STAIRS)
    mapper.faults = MapFault.parse_all(["drop:elevation_map@8"])
    robot = ControlledSet(bundle, backends, mapper=mapper)
    ended = climb(robot, seed=1)
    assert (robot.policy_set.report.state, ended.fell) == ("walk", False)
    assert robot.controller.mode is Mode.RUN
