# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An arm under a chunk policy, and a shadow that is handed its ticks as a node does it."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Mode, ShadowMode
from policy_core.members.chunk.observation_sync import Snapshot
from policy_inference.flight.ring import ShadowAnswer
from policy_inference.shadow.chunk_shadow import ChunkShadow
from policy_inference.shadow.shadowed_member import ChunkTick, ShadowObservation, ShadowQuestion
from testkit.edits import Edits
from testkit.kernel.arms import Arm
from testkit.kernel.chunk_contracts import STEPS, chunk_contract_of

LATE_S = 0.3
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "synchronous": {"mode": "synchronous"},
    "synchronous, slow": {"mode": "synchronous", "simulated_latency_s": LATE_S},
    "asynchronous": {"steps": STEPS},
    "asynchronous, slow": {"steps": STEPS, "simulated_latency_s": LATE_S},
    "realigned": {"steps": STEPS, "realign": True},
    "ensemble": {"mode": "ensemble", "ensemble_coeff": 0.1},
}


class ShadowedArm:
    """The arm, in RUN, and its shadow, which answers what the arm's policy does, plus `offset`.

    Attributes:
        offset: Added to each chunk of the active policy [steps, actions], rad.
        order: Column of the active policy's action for each of the shadow's.
        error: Raised by the next inference of the shadow.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        mode: ShadowMode = ShadowMode.FOLLOWED,
        changes: Edits | None = None,
        shadow: Edits | None = None,
    ) -> None:
        self.arm = Arm(changes, **settings)
        contract = chunk_contract_of(changes if shadow is None else shadow)
        state = self.arm.controller.state
        self.shadow = ChunkShadow(
            contract,
            self._run,
            limits_in_force(contract, StricterLimits()),
            self.arm.contract,
            {name: state[name].size for name in state.slices},
            self.arm.settings,
            mode,
        )
        random = np.random.default_rng(5)
        size, actions = self.arm.contract.chunk.size, len(self.arm.contract.action.joints)
        self.arm.answer = lambda run: random.uniform(-0.5, 0.5, (1, size, actions))
        self.offset: F64 | float = 0.0
        self.order = [0, 1, 2]
        self.error: Exception | None = None
        self.seen = list[Snapshot]()
        self.late = False
        self.answers = list[ShadowAnswer]()
        self._chunks: dict[int, F64] = {}
        self._waiting = list[ShadowObservation]()
        self._tick, self._lost, self._begins = 0, 0, False
        self.arm.run()

    def _run(self, sensed: Snapshot) -> F64:
        self.seen.append(sensed)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return (self._chunks[sensed.time_ns] + self.offset)[:, self.order]

    def runs_again(self) -> None:
        self.arm.controller.damp()
        self.arm.controller.reset()
        self.tick()
        self.arm.run()

    def tick(self, count: int = 1, *, lost: bool = False, silent: Collection[str] = ()) -> None:
        """Tick, and ask the shadow, unless the tick is lost to it."""
        for _ in range(count):
            self.arm.tick(silent)
            self._tick += 1
            chunks, policy = self.arm.runtime.chunks, self.arm.runtime.policy
            self._chunks |= {chunk.time_ns: chunk.targets for chunk in chunks}
            self._waiting += map(ShadowObservation.of, chunks)
            chunks.clear()
            if self.arm.controller.latest_tick.mode is not Mode.RUN:
                continue
            run = self.arm.controller.latest_tick
            if run.begins:
                self._begins, self._lost = True, 0
            asked = ChunkTick(policy.tick, policy.target, tuple(self._waiting))
            self._waiting.clear()
            if lost:
                self._lost += 1
                continue
            self.answers.append(
                self.shadow.answer(
                    self._tick,
                    ShadowQuestion(
                        self.arm.controller.state.flat, run.target, self._begins, self._lost, asked
                    ),
                    late=self.late,
                )
            )
            self._begins, self._lost = False, 0
