# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy that walks through the wire of the motion host walks as it does without, in lockstep."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from lite3_driver import wire
from model_tools.simulation.controlled import ControlledPolicy
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.interfaces import Mode
from robot_sim.lite3_host import Address, MotionHost
from robot_sim.metrics import measure
from robot_sim.trace import Trace
from robot_sim.walk import walk
from robot_sim.world import DriveCommand, Sensors, World

BUNDLE = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"
DRIVER: Address = ("127.0.0.1", wire.STATE_PORT)
FORWARD = (0.5, 0.0, 0.0)
BEGIN_S, END_S = 6.0, 12.0


class BehindTheWire:
    """A world that is seen and commanded in nothing but datagrams, as `walk` needs it."""

    joint_names = wire.JOINT_NAMES

    def __init__(self) -> None:
        self.host = MotionHost(World())
        self.frame = self.host.step()
        self.host.receive(wire.request(wire.TAKE_CONTROL), DRIVER)

    @property
    def time_ns(self) -> int:
        return self.host.world.time_ns

    def sense(self) -> Sensors:
        """Return the newest frame; what is not in it is the world's own."""
        assert self.frame is not None
        state = wire.read_state(self.frame)
        assert isinstance(state, wire.Lite3State)
        return dataclasses.replace(
            self.host.world.sense(),
            time_ns=self.time_ns,
            joint_pos=state.joint_pos,
            joint_vel=state.joint_vel,
            joint_effort=state.joint_effort,
            quat_xyzw=_quat_of(state.rpy),
            ang_vel_body=state.ang_vel,
            lin_acc_body=state.lin_acc,
        )

    def apply(self, drive: DriveCommand) -> None:
        order = [drive.joint_names.index(name) for name in wire.JOINT_NAMES]
        columns = (getattr(drive, name)[order] for name in wire.COMMAND_FIELDS)
        self.host.receive(wire.command(np.stack(list(columns), axis=1)), DRIVER)

    def step(self, duration_ns: int) -> None:
        for _ in range(self.host.world.whole_steps(duration_ns)):
            self.frame = self.host.step()


def _quat_of(rpy: np.ndarray) -> np.ndarray:
    """Return the rotation about z, then y, then x as x, y, z, w."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy / 2), np.sin(rpy / 2)
    return np.array(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ]
    )


@pytest.fixture(scope="module")
def walks() -> tuple[Trace, Trace]:
    """The same walk, without the wire and through it: stand up, wait, go forward."""
    bundle = load_bundle(BUNDLE, kind=JointBundle)
    backend, _ = open_backend(bundle, ["onnx"])
    plain = World()
    plain.advance(1)
    traces = []
    for world in (plain, cast(World, BehindTheWire())):
        policy = ControlledPolicy(bundle, backend)
        traces.append(walk(world, policy, [(BEGIN_S, FORWARD)], duration_s=END_S, until=None))
        assert policy.controller.mode is Mode.RUN
        assert policy.altered_ticks <= 1
    backend.close()
    return traces[0], traces[1]


def test_until_the_robot_walks_only_the_rounding_differs(walks: tuple[Trace, Trace]) -> None:
    without, through = (trace.rows(slice(0, round(BEGIN_S * 50))) for trace in walks)
    np.testing.assert_allclose(through.joint_pos, without.joint_pos, atol=1e-5)
    np.testing.assert_allclose(through.target, without.target, atol=1e-5)


def test_walking_is_as_good(walks: tuple[Trace, Trace]) -> None:
    for trace in walks:
        metrics = measure(trace.rows(slice(round(BEGIN_S * 50), None)))
        assert metrics.falls == 0
        assert max(metrics.segments[0].error) <= 0.05
