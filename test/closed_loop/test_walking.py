# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers of the whole control path in closed loop: the product's controller, no ROS, lockstep."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.load import Bundle, load_bundle
from policy_inference.core.controller import Snapshot
from policy_inference.interfaces import Mode
from robot_sim.faults import FaultPlan
from robot_sim.metrics import WalkMetrics, measure
from robot_sim.walk import walk
from robot_sim.world import World
from tools.closed_loop import ControlledPolicy

BUNDLES = Path(__file__).resolve().parents[2] / "config" / "bundles"
ACTION_SCALE = [0.125, 0.25, 0.25] * 4
STAND_S, WALK_S = 4.0, 20.0
PUSHED_AT_S = 9.0
Velocity = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A walk and what the controller made of it."""

    metrics: WalkMetrics
    snapshot: Snapshot
    altered_share: float
    torque_limit_share: float


class Walker:
    """A bundle that can be sent for a walk."""

    def __init__(self, bundle: Bundle, backend: BackendBase) -> None:
        self._bundle, self._backend = bundle, backend

    def walk(
        self, velocity: Velocity, *, duration_s: float = WALK_S, faults: Sequence[str] = (),
        friction: float = 1.0, latency_s: float = 0.0,
    ) -> Result:  # fmt: skip
        world = World(friction=friction)
        world.latency_ns = round(latency_s * 1e9)
        policy = ControlledPolicy(self._bundle, self._backend)
        trace = walk(
            world, policy, [(STAND_S, velocity)], duration_s=STAND_S + duration_s,
            faults=FaultPlan.parse(faults), stop_when_fallen=False,
        )  # fmt: skip
        return Result(
            metrics=measure(trace, action_scale=ACTION_SCALE),
            snapshot=policy.controller.snapshot(),
            altered_share=policy.altered_ticks / len(trace.time_s),
            torque_limit_share=world.saturated_share,
        )


@pytest.fixture(scope="module")
def ours() -> Iterator[Walker]:
    """The policy that ships with the suite."""
    bundle = load_bundle(BUNDLES / "lite3_walk")
    backend, _ = open_backend(bundle, ["onnx"])
    yield Walker(bundle, backend)
    backend.close()


@pytest.fixture
def vendors(shared_data: Path, tmp_path: Path) -> Iterator[Walker]:
    """The robot maker's policy under the contract that ships with the suite."""
    folder = shutil.copytree(BUNDLES / "lite3_deeprobotics", tmp_path / "bundle")
    shutil.copyfile(shared_data / "legged" / "lite3" / "policy.onnx", folder / "policy.onnx")
    bundle = load_bundle(folder)
    backend, _ = open_backend(bundle, ["onnx"])
    yield Walker(bundle, backend)
    backend.close()


@pytest.mark.parametrize(
    "velocity", [(0.8, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.8), (0.0, 0.0, 0.0)]
)
def test_our_policy_follows_every_command(ours: Walker, velocity: Velocity) -> None:
    result = ours.walk(velocity)
    assert result.snapshot.mode is Mode.RUN
    assert result.metrics.falls == 0
    segment = result.metrics.segments[-1]
    assert segment.command == velocity
    assert max(segment.error) <= 0.04
    assert segment.max_tilt_deg <= 8.0
    assert result.torque_limit_share <= 0.005


def test_our_policy_stands_still(ours: Walker) -> None:
    assert ours.walk((0.0, 0.0, 0.0)).metrics.segments[-1].mean_action_change <= 0.002


def test_the_guard_leaves_healthy_walks_alone(ours: Walker) -> None:
    assert ours.walk((0.8, 0.0, 0.0)).altered_share <= 0.001
    assert ours.walk((-0.5, 0.2, 0.6), friction=0.6, latency_s=0.005).altered_share <= 0.001


@pytest.mark.parametrize("side", ["front", "rear", "left", "right"])
@pytest.mark.parametrize("velocity", [(0.0, 0.0, 0.0), (0.5, 0.0, 0.0)])
def test_our_policy_survives_pushes(ours: Walker, velocity: Velocity, side: str) -> None:
    push = f"push:{side}@{PUSHED_AT_S}+0.1=100"
    result = ours.walk(velocity, duration_s=10.0, faults=[push])
    assert result.snapshot.mode is Mode.RUN
    assert result.metrics.falls == 0


@pytest.mark.real_data
def test_the_vendors_policy_walks_as_it_does_elsewhere(vendors: Walker) -> None:
    result = vendors.walk((0.8, 0.0, 0.0))
    segment = result.metrics.segments[-1]
    assert result.metrics.falls == 0
    assert max(segment.error) <= 0.055
    assert segment.max_tilt_deg <= 4.5
