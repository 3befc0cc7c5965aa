# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A walker with an arm on its back, in simulated time: a joint policy and a chunk policy at once.

The model of the legs returns what a test sets; a chunk is what `chunk` makes of the number of its
inference, from 0.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_core.bundle.set_bundle import SetBundle
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Backend
from policy_core.members.chunk.controller import camera_input
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.observation.images import frame_of
from policy_core.sets.chunk_member import ChunkMember, ChunkRunner
from policy_core.sets.controller import (
    SensedState,
    SetRequests,
    policy_set_of,
    set_controller,
    set_inputs,
)
from policy_inference.kinds.chunk_worker import worker_of
from testkit.edits import with_edits
from testkit.kernel.arms import ScriptedGraph
from testkit.kernel.chunk_contracts import HEIGHT, STEPS, WIDTH, chunk_bundle_of
from testkit.kernel.contracts import DEFAULT, bundle_of, contract_of
from testkit.kernel.cores import maker
from testkit.kernel.messages import plain, rgb8
from testkit.kernel.robots import Robot, ScriptedBackend
from testkit.kernel.walkers import WALK_AND_CROUCH, Changes, resolved, resting_sensors

LEGS, ARM = slice(0, 3), slice(3, 6)
CAMERAS = ("laptop", "phone")
SET: Changes = {
    "on_fault": "damp",
    "members": {
        "legs": {"bundle": "../legs", "sha256": "0" * 64},
        "arm": {"bundle": "../arm", "sha256": "0" * 64},
    },
    "initial": "both",
    "states": {
        "both": {
            "members": ["legs", "arm"],
            "stand": True,
            "to": {"alone": {"blend_s": 0.1}},
            "fallback": "alone",
        },
        "alone": {
            "members": ["legs"],
            "held": ["pan", "lift", "gripper"],
            "stand": True,
            "to": {"both": {"blend_s": 0.1}},
        },
    },
}


class LegsAndArm(Robot):
    """Feeds the controller of the set with sensors and images."""

    def __init__(
        self,
        changes: Changes | None = None,
        arm: Changes | None = None,
        **settings: Any,
    ) -> None:
        """Drive the set with keys replaced, and the arm's contract with keys replaced."""
        legs = contract_of({"safety.blend_s": 0.0})
        arm_bundle = chunk_bundle_of(arm)
        contract, problems = resolved(
            with_edits(WALK_AND_CROUCH, {**SET, **(changes or {})}),
            {"legs": legs, "arm": arm_bundle.contract},
        )
        assert contract is not None, problems
        self.set_contract = contract
        self.backend = ScriptedBackend(legs)
        self.answer(0.0, 0.0, 0.0)
        self.now_ns = 1_000_000_000
        self._settings = ChunkSettings(**settings)
        graphs = {key: ScriptedGraph(graph) for key, graph in arm_bundle.contract.models.items()}
        self.transformer = graphs["graphs.transformer"]
        self.chunk: Callable[[int], npt.ArrayLike] = lambda run: 0.0
        self.transformer.during_run = self._predict
        runner = ChunkRunner(
            worker=worker_of(
                Inference(arm_bundle.contract, graphs, self._settings).answer,
                self.clock,
                self._settings,
                inline=True,
            ),
            settings=self._settings,
            expected_s=0.0,
            longest_hold_ns=round(arm_bundle.contract.safety.damp_after_s * 1e9),
        )
        self.bundle = bundle = SetBundle(
            path=Path(),
            contract=contract,
            content=b"",
            members={"legs": bundle_of(legs), "arm": arm_bundle},
        )
        limits = limits_in_force(contract, StricterLimits())
        state = SensedState(contract, limits)
        inputs = set_inputs(contract, state, limits)
        runners: Mapping[str, Backend | ChunkRunner] = {"legs": self.backend, "arm": runner}
        policy = policy_set_of(bundle, runners, state, inputs, self.clock)
        arm_member = policy.members["arm"]
        assert isinstance(arm_member, ChunkMember)
        self.arm = arm_member
        make = maker({"legs": self.backend})
        self.controller = set_controller(
            contract, policy, state, inputs, limits, self.clock, make=make
        )
        self.policy = getattr(self.controller, "policy_set", policy)
        self.requests = SetRequests(contract, self.controller, self.policy)
        self.blind = set[str]()
        self.sensed = {
            **resting_sensors(),
            "joint_pos": (*DEFAULT, 0.0, 0.0, 0.0),
            "joint_vel": (0.0,) * 6,
        }

    def clock(self) -> int:
        return self.now_ns

    def _predict(self) -> None:
        self.transformer.outputs["Actions"][...] = self.chunk(self.transformer.runs - 1)

    def sense(
        self,
        sensed: Mapping[str, Any] | None = None,
        *,
        silent: Collection[str] = (),
        **fields: Any,
    ) -> None:
        blind = {camera_input(name) for name in self.blind}
        super().sense(sensed, silent={*silent, *blind}, **fields)
        for name, buffer in self.arm.frames.items():
            if name not in self.blind:
                frame = frame_of(rgb8(plain(10, 20, 30, HEIGHT, WIDTH)), buffer.camera)
                buffer.add(frame, self.now_ns)

    @property
    def state(self) -> str:
        return self.policy.report.state

    def follow(self, ticks: int) -> F64:
        return np.stack([self.commanded().position for _ in range(ticks)])


def steps_of_chunks(run: int) -> F64:
    """Return a chunk [1, steps, joints] that shows run and step: 0.1 run + 0.01 step."""
    values = 0.1 * run + 0.01 * np.arange(STEPS)
    return np.repeat(values[np.newaxis, :, np.newaxis], 3, axis=2)
