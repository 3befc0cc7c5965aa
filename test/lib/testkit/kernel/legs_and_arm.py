# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A walker with an arm on its back, in simulated time: a joint policy and a chunk policy at once.

The model of the legs returns what a test sets; a chunk is what `chunk` makes of the number of its
inference, from 0.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from policy_core.interfaces import F64
from policy_core.members.chunk.controller import camera_input
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.observation.images import read_frame
from policy_core.sets.chunk_member import ChunkMember, ChunkRunner
from policy_core.sets.controller import SetRequests
from policy_inference.kinds.chunk_worker import make_worker
from testkit.edits import with_edits
from testkit.kernel.arms import ScriptedGraph
from testkit.kernel.chunk_contracts import HEIGHT, WIDTH, chunk_bundle_of
from testkit.kernel.contracts import DEFAULT, bundle_of, contract_of
from testkit.kernel.cores import maker
from testkit.kernel.messages import plain, rgb8
from testkit.kernel.robots import Robot, ScriptedBackend
from testkit.kernel.walkers import (
    WALK_AND_CROUCH,
    Changes,
    opened_set,
    resolved,
    resting_sensors,
    set_bundle_of,
)

LEGS, ARM = slice(0, 3), slice(3, 6)
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
        self, changes: Changes | None = None, arm: Changes | None = None, **settings: Any
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
            worker=make_worker(
                Inference(arm_bundle.contract, graphs, self._settings).answer,
                self.clock,
                self._settings,
                inline=True,
            ),
            settings=self._settings,
            expected_s=0.0,
            longest_hold_ns=round(arm_bundle.contract.safety.damp_after_s * 1e9),
        )
        self.bundle = set_bundle_of(contract, {"legs": bundle_of(legs), "arm": arm_bundle})
        self.policy, self.controller = opened_set(
            self.bundle,
            {"legs": self.backend, "arm": runner},
            self.clock,
            make=maker({"legs": self.backend}),
        )
        self.arm = cast(ChunkMember, self.policy.members["arm"])
        self.requests = SetRequests(contract, self.controller, self.policy)
        self.blind = set[str]()
        self.sensed = with_arm_at_rest()

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
                frame = read_frame(rgb8(plain(10, 20, 30, HEIGHT, WIDTH)), buffer.camera)
                buffer.add(frame, self.now_ns)

    @property
    def state(self) -> str:
        return self.policy.report.state

    def follow(self, ticks: int) -> F64:
        return np.stack([self.commanded().position for _ in range(ticks)])


def with_arm_at_rest() -> dict[str, Sequence[float]]:
    """Return what a walker that rests measures, with the three joints of its arm at 0."""
    arm = {"joint_pos": (*DEFAULT, 0.0, 0.0, 0.0), "joint_vel": (0.0,) * 6}
    return {**resting_sensors(), **arm}
