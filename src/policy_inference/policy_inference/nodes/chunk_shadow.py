# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The shadow of a node's chunk policy: given the observations whose chunks arrived."""

from __future__ import annotations

from typing import Any

from policy_core.control.tick import Tick
from policy_core.interfaces import Mode, ShadowMode
from policy_inference.kinds.opening import OpenedPolicy, OpenRequest
from policy_inference.nodes.shadow import NodeShadow
from policy_inference.shadow.chunk_shadow import ChunkTick, ShadowObservation
from policy_inference.shadow.chunk_slots import OBSERVATIONS
from policy_inference.shadow.shadow_process import ChunkExecution, ShadowProcess


class ChunkNodeShadow(NodeShadow):
    """A shadow that sees a tick before others take the chunks that arrived in it."""

    _waiting: tuple[ShadowObservation, ...] = ()
    """Whose chunks arrived since the policy commanded the robot last."""

    def start_process(
        self, policy: OpenedPolicy[Any], request: OpenRequest, mode: ShadowMode
    ) -> ShadowProcess:
        """Start the process of a shadow beside a policy."""
        simulated_time = bool(self._node.get_parameter("use_sim_time").value)
        execution = ChunkExecution(policy.chunks[0].settings, simulated_time)
        return ShadowProcess(request, policy.bundle, policy.controller.state, mode, execution)

    def give(self, process: ShadowProcess, number: int, tick: Tick) -> None:
        """Ask about a tick, with the observations whose chunks arrived in it."""
        (member,) = self._policy.chunks
        if tick.mode not in (Mode.RUN, Mode.HOLD):
            self._waiting = ()
            return
        arrived = map(ShadowObservation.of, member.policy.chunks)
        # More than the shadow has room for are missed anyway.
        self._waiting = (*self._waiting, *arrived)[: OBSERVATIONS + 1]
        if tick.mode is Mode.HOLD:
            return
        asked = ChunkTick(member.policy.tick, member.policy.target, self._waiting)
        process.give(number, tick.state.flat, tick.target, begins=tick.begins, asked=asked)
        self._waiting = ()
