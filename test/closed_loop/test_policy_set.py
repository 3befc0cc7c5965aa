# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated Lite3 switches between policies while it walks, in lockstep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from model_tools.simulation.controlled import ControlledSet, joint_members
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.errors import BackendError, RefusedError
from policy_core.interfaces import F64, Backend, Mode
from policy_inference.backends.registry import open_backend
from robot_sim.drives import DriveCommand
from robot_sim.faults import Fault, FaultPlan
from robot_sim.rotation import roll_pitch_yaw
from robot_sim.walk import evenly_timed, walk
from robot_sim.world import Sensors, World

WALK = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"


class SwitchingRobot(ControlledSet):
    """A controlled set that is asked for switches at times since it runs."""

    def __init__(
        self, bundle: SetBundle, backends: Mapping[str, Backend], at_s: Mapping[float, str]
    ) -> None:
        super().__init__(bundle, backends)
        self._asked = sorted(at_s.items())
        self.refused = list[str]()
        self.ratios = list[float]()
        self._runs_s = 0.0

    def __call__(self, sensors: Sensors, command: F64) -> DriveCommand:
        drive = super().__call__(sensors, command)
        if self.controller.mode is Mode.RUN:
            self._runs_s += 0.02
        if self._asked and self._runs_s >= self._asked[0][0]:
            _, state = self._asked.pop(0)
            try:
                self.requests.switch(state)
            except RefusedError as error:
                self.refused.append(str(error))
        self.ratios.append(self.policy_set.report.step_ratio)
        return drive


@contextmanager
def opened_members(bundle: SetBundle) -> Iterator[dict[str, Backend]]:
    with ExitStack() as opened:
        found: dict[str, Backend] = {}
        for name, member in joint_members(bundle).items():
            found[name], _ = open_backend(member, ["onnx"])
            opened.callback(found[name].close)
        yield found


@pytest.fixture
def gaits() -> SetBundle:
    return load_bundle(WALK.with_name("lite3_gaits"), kind=SetBundle)


def randomly_switched(
    bundle: SetBundle, backends: Mapping[str, Backend], world: World, *, switches: int, seed: int
) -> SwitchingRobot:
    """Walk by random commands, pushed, with random switches; return the robot afterwards."""
    random = np.random.default_rng(seed)
    times_s = 1.0 + np.cumsum(random.uniform(1.2, 2.4, switches))
    states = [*bundle.contract.states]
    begin = states.index(bundle.contract.initial)
    # Each another one than that before.
    steps = begin + np.cumsum(random.integers(1, len(states), switches))
    asked = {
        float(at_s): states[step % len(states)]
        for at_s, step in zip(times_s, steps.tolist(), strict=True)
    }
    duration_s = float(times_s[-1]) + 8.0
    commands = random.uniform(-1.0, 1.0, (int(duration_s / 2.0), 3)) * (0.6, 0.4, 0.7)
    pushes = [
        Fault(
            kind="push",
            target=str(random.choice(["front", "rear", "left", "right"])),
            start_s=float(at_s),
            duration_s=0.1,
            value=60.0,
        )
        for at_s in np.arange(8.0, duration_s, 5.0)
    ]
    robot = SwitchingRobot(bundle, backends, asked)
    walk(
        world,
        robot,
        evenly_timed(commands.tolist(), each_s=2.0, first_s=4.0),
        duration_s=duration_s,
        faults=FaultPlan(pushes, seed=seed),
        until=None,  # it begins on the ground; after a fall it does not run again
    )
    return robot


@pytest.mark.acceptance
@pytest.mark.parametrize(("friction", "latency_ms"), [(0.4, 20), (1.0, 0)])
def test_a_lite3_that_has_walked_bows_and_walks_on(friction: float, latency_ms: int) -> None:
    bundle = load_bundle(WALK.with_name("lite3_motions"), kind=SetBundle)
    world = World(friction=friction)
    world.latency_ns = latency_ms * 1_000_000
    with opened_members(bundle) as backends:
        # Asked for while it walks: it waits until the robot stands.
        robot = SwitchingRobot(bundle, backends, {3.0: "bow"})
        schedule = [(0.0, (0.0, 0.0, 0.0)), (3.0, (0.5, 0.0, 0.0)), (7.0, (0.0, 0.0, 0.0))]
        trace = walk(
            world, robot, [*schedule, (15.0, (0.5, 0.0, 0.0))], duration_s=20.0, until=None
        )
    assert not world.fallen
    assert robot.refused == []
    report = robot.policy_set.report
    assert (report.state, report.switches, report.last[:2]) == ("walk", 2, ("bow", "walk"))
    assert robot.controller.mode is Mode.RUN
    assert robot.altered_ticks == 0
    assert max(robot.ratios) < 1.5
    pitch = np.array([roll_pitch_yaw(quat)[1] for quat in trace.quat_xyzw])
    assert pitch[400:700].max() > 0.3
    assert trace.lin_vel_body[-100:, 0].mean() > 0.4


MANY = [
    pytest.param(friction, latency_ms, 250, marks=pytest.mark.acceptance)
    for friction, latency_ms in ((1.0, 0), (0.4, 10), (1.0, 20), (0.4, 20))
]


@pytest.mark.slow
@pytest.mark.parametrize(("friction", "latency_ms", "switches"), [(0.4, 10, 8), *MANY])
def test_random_switches_lead_to_no_fall(
    gaits: SetBundle, friction: float, latency_ms: int, switches: int
) -> None:
    world = World(friction=friction)
    world.latency_ns = latency_ms * 1_000_000
    with opened_members(gaits) as backends:
        robot = randomly_switched(gaits, backends, world, switches=switches, seed=latency_ms)
    report = robot.policy_set.report
    assert not world.fallen
    assert robot.controller.mode is Mode.RUN
    assert report.switches + len(robot.refused) >= switches
    assert len(robot.refused) < 10
    assert max(robot.ratios) < 1.5


@pytest.mark.acceptance
@pytest.mark.parametrize("friction", [1.0, 0.4])
def test_a_member_that_fails_again_and_again_leads_to_no_fall(
    gaits: SetBundle, friction: float
) -> None:
    world, random = World(friction=friction), np.random.default_rng(1)
    with opened_members(gaits) as backends:
        backends["crouch"] = OftenFailingBackend(backends["crouch"], random)
        robot = randomly_switched(gaits, backends, world, switches=100, seed=2)
    report = robot.policy_set.report
    assert not world.fallen
    assert robot.controller.mode is Mode.RUN
    assert report.fallbacks > 10
    assert max(robot.ratios) < 1.5


class OftenFailingBackend:
    """A back end of whose runs one in fifty fails."""

    def __init__(self, backend: Backend, random: np.random.Generator) -> None:
        self._backend, self._random = backend, random
        self.name, self.details = backend.name, backend.details
        self.inputs, self.outputs = backend.inputs, backend.outputs

    def run(self) -> None:
        if self._random.random() <= 0.02:
            raise BackendError("the device is gone")
        self._backend.run()

    def close(self) -> None:
        self._backend.close()
