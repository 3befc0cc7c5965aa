# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A person takes over from the policy that ships, a hundred times, on the simulated arm."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest

from model_tools.simulation.arm import raw_frame
from model_tools.simulation.controlled import drive_command
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import bundle_folder, load_bundle
from policy_core.bundle.state_fields import LEADER_POS
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Mode
from policy_core.members.chunk.controller import chunk_controller
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.takeover import Driver
from policy_inference.backends.registry import open_models
from policy_inference.kinds.chunk_worker import worker_of
from policy_inference.messages.readers import JointOrder
from robot_sim.arm_world import ArmWorld

_log = logging.getLogger(__name__)
HANDOVER_S, TOLERANCE_RAD, TIMES = 0.3, 0.15, 100
REST_TICKS = 10
"""So long the arm rests at least before a person gets it."""


class Corrected:
    """The simulated arm under the policy, in lockstep, and a leader where a test puts it."""

    def __init__(self) -> None:
        self.bundle = load_bundle(bundle_folder("so101_reach"), kind=ChunkBundle)
        contract = self.contract = self.bundle.contract
        self.models = open_models(self.bundle.models, ["onnx"], {})
        settings = ChunkSettings(
            simulated_latency_s=0.05, handover_s=HANDOVER_S, leader_tolerance_rad=TOLERANCE_RAD
        )
        answer = Inference(contract, self.models, settings).answer
        worker = worker_of(answer, self.clock, settings, inline=True)
        limits = limits_in_force(contract, StricterLimits())
        self.world = ArmWorld(seed=1)
        self.runtime = chunk_controller(self.bundle, worker, limits, self.clock, settings)
        self.controller = self.runtime.controller
        assert self.runtime.requests.person is not None
        self.takeover = self.runtime.requests.person
        self._names = contract.joints.on_robot()
        self._order = JointOrder(self._names)
        self.leader: F64 = contract.stand.position.copy()
        self.command: F64 = self.leader
        self.largest_step_rad = 0.0

    def clock(self) -> int:
        return self.world.time_ns

    def tick(self) -> None:
        """Sense, tick, command, and let a period pass."""
        controller, sensed = self.controller, self.world.sense()
        now_ns = sensed.time_ns
        self._order.take(sensed.joint_names, sensed.joint_pos, controller.state["joint_pos"])
        controller.state[LEADER_POS][:] = self.leader
        for entry in controller.inputs.values():
            entry.accept(now_ns, now_ns or None, now_ns)
        for name, buffer in self.runtime.frames.items():
            buffer.add(raw_frame(self.world.render(name)), now_ns)
        targets = controller.tick(now_ns, now_ns + self.contract.period_ns)
        self.runtime.chunks.clear()
        if targets is not None:
            if controller.mode in (Mode.RUN, Mode.HOLD):
                step = float(np.abs(targets.position - self.command).max())
                self.largest_step_rad = max(self.largest_step_rad, step)
            self.command = targets.position.copy()
            self.world.apply(drive_command(self._names, targets))
        self.world.step(self.contract.period_ns)

    def go_on(self, ticks: int) -> None:
        for _ in range(ticks):
            self.tick()

    def runs(self) -> None:
        self.go_on(30)
        self.controller.stand()
        while self.controller.mode is not Mode.READY:
            self.tick()
        self.controller.run()
        self.go_on(10)


@pytest.fixture
def taken_arm() -> Iterator[Corrected]:
    taken_arm = Corrected()
    yield taken_arm
    taken_arm.runtime.close()
    taken_arm.models.close()
    taken_arm.world.close()


@pytest.mark.acceptance
def test_two_hundred_handovers_of_the_policy_that_ships_are_without_a_jump(
    taken_arm: Corrected,
) -> None:
    random, contract = np.random.default_rng(3), taken_arm.contract
    low, high = contract.joints.position_min, contract.joints.position_max
    taken_arm.runs()
    waits = policy_moves = 0
    for seed in range(TIMES):
        taken_arm.world.move_cube(seed)
        taken_arm.go_on(8)
        before = taken_arm.command.copy()
        taken_arm.tick()
        policy_moves += bool(np.abs(taken_arm.command - before).max() > 0.005)
        taken_arm.leader = np.clip(
            taken_arm.command + random.uniform(-0.3, 0.3, len(low)), low, high
        )
        taken_arm.tick()
        taken_arm.runtime.requests.take_over()
        taken_arm.go_on(REST_TICKS + 2)
        if taken_arm.takeover.driver is Driver.HANDOVER:
            waits += 1
            taken_arm.leader = taken_arm.command + random.uniform(-0.1, 0.1, len(low))
        taken_arm.go_on(2)
        assert taken_arm.takeover.person_drives
        # A hand that is quicker than any healthy run.
        goal = np.clip(taken_arm.command + random.uniform(-0.6, 0.6, len(low)), low, high)
        for _ in range(8):
            taken_arm.leader = taken_arm.leader + np.clip(goal - taken_arm.leader, -0.2, 0.2)
            taken_arm.tick()
        taken_arm.runtime.requests.hand_back()
        taken_arm.go_on(14)
        assert taken_arm.takeover.driver is Driver.POLICY, taken_arm.controller.snapshot().reason
    allowed = float(contract.joints.velocity_limit.max()) / contract.rate_hz
    _log.info("%d handovers: %.4f of %.4f rad", 2 * TIMES, taken_arm.largest_step_rad, allowed)
    assert taken_arm.largest_step_rad <= allowed + 1e-9
    assert waits > TIMES // 2, "most leaders matched at once, so little was tried"
    assert policy_moves > TIMES // 4, "the policy hardly moved when it was taken over from"
    assert taken_arm.controller.mode is Mode.RUN
    counters = taken_arm.controller.snapshot().counters
    assert not any(counters[rule] for rule in ("clipped_too_long", "not_finite", "internal"))
