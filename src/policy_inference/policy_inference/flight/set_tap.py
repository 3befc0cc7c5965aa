# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Record the inputs and outputs of a policy set's members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from policy_core.control_state import Stateful, Tree
from policy_core.interfaces import F64, Backend
from policy_core.sets.policy import PolicySet
from policy_inference.flight.tap import PolicyTap, tensors_by_name
from policy_inference.flight.worker_tap import WorkerTap


class SetTap(PolicyTap, Stateful):
    """A wrapper of a policy set that forwards everything and records each tick in a ring.

    The arrays of all members are named MEMBER.TENSOR; if a member does not run in a tick, its
    arrays keep the values of an earlier tick.
    """

    def __init__(
        self,
        policy: PolicySet,
        backends: Mapping[str, Backend],
        workers: Sequence[WorkerTap] = (),
    ) -> None:
        """Wrap a set.

        Args:
            policy: The set.
            backends: Opened model for each joint policy; the caller closes them.
            workers: Workers of the set's chunk policies.
        """
        super().__init__(
            dict(tensors_by_name((name, backend.inputs) for name, backend in backends.items())),
            dict(tensors_by_name((name, backend.outputs) for name, backend in backends.items())),
            workers,
        )
        self._policy, self.action = policy, policy.action

    @property
    def begins(self) -> bool:
        return self._policy.begins

    @property
    def change(self) -> str:
        return self._policy.change

    def reset(self) -> None:
        self._policy.reset()

    def pause(self, duration_ns: int) -> None:
        self._policy.pause(duration_ns)

    def infer(self) -> bool:
        ring = self._ring
        if ring is None:
            return self._policy.infer()
        try:
            finite = self._policy.infer()
        finally:
            if self.workers:
                ring.take_time(self._policy.asked_ns)
            else:
                ring.take_inputs()
        ring.take_outputs()
        return finite

    def commit(self) -> F64:
        return self._policy.commit()

    def saved(self) -> dict[str, Any]:
        return dict(self._policy.saved())

    def restore(self, saved: Tree) -> None:
        self._policy.restore(saved)
