# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a policy was given and what it answered, noted while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from policy_core.control_state import Stateful, Tree
from policy_core.interfaces import F64, Backend, Tensor

if TYPE_CHECKING:  # one that is not recorded needs no ring
    from policy_core.native_controller import NativeController
    from policy_core.sets.policy import PolicySet
    from policy_inference.flight.ring import Ring
    from policy_inference.flight.worker_tap import WorkerTap


class Tap:
    """A backend that passes everything on, and shows each run to a ring.

    A controller that is given a tap instead of its backend does what it did before.
    """

    def __init__(self, backend: Backend) -> None:
        """Wrap an opened backend, which stays the caller's to close."""
        self._backend = backend
        self.name = backend.name
        self.inputs: Mapping[str, Tensor] = backend.inputs
        self.outputs: Mapping[str, Tensor] = backend.outputs
        self.details = backend.details
        self.state: F64 | None = None
        self._ring: Ring | None = None

    def show(self, ring: Ring | None) -> None:
        self._ring = ring

    def run(self) -> None:
        ring = self._ring
        if ring is None:
            self._backend.run()
            return
        ring.take_inputs()
        self._backend.run()
        ring.take_outputs()

    def close(self) -> None:
        self._backend.close()


class NativeTap:
    """Shows the ticks of a policy that runs in C++ to a ring.

    The arrays are those of all models, of members of a set by MEMBER.TENSOR; of a member that does
    not run in a tick they are of an earlier one.
    """

    def __init__(self, controller: NativeController, workers: Sequence[WorkerTap] = ()) -> None:
        self._set, self._workers = controller.policy_set, workers
        self.state: F64 | None = controller.seen_state
        seen = controller.seen
        self.inputs, self.outputs = (
            {f"{name}.{tensor}".lstrip("."): array for name, tensor, array in each}
            for each in (
                [(name, *item) for name, (given, _) in seen.items() for item in given.items()],
                [(name, *item) for name, (_, made) in seen.items() for item in made.items()],
            )
        )
        self._ring: Ring | None = None
        controller.asked = self._asked

    def show(self, ring: Ring | None) -> None:
        self._ring = ring
        for worker in self._workers:
            worker.show(ring)

    def _asked(self, has_answered: bool) -> None:
        if self._ring is not None:
            if self._workers and self._set is not None:
                self._ring.take_time(self._set.asked_ns)
            else:
                self._ring.take_inputs()
            if has_answered:
                self._ring.take_outputs()


class SetTap(Stateful):
    """A policy set that passes everything on, and shows each tick to a ring.

    The arrays are those of all members, by MEMBER.TENSOR; of a member that does not run in a tick
    they are of an earlier one.
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
            backends: Opened model of each joint policy; they stay the caller's to close.
            workers: Of its chunk policies.
        """
        self._policy, self.workers = policy, workers
        self.state: F64 | None = None
        self.action = policy.action
        self.inputs: Mapping[str, Tensor] = {
            f"{name}.{tensor}": array
            for name, backend in backends.items()
            for tensor, array in backend.inputs.items()
        }
        self.outputs: Mapping[str, Tensor] = {
            f"{name}.{tensor}": array
            for name, backend in backends.items()
            for tensor, array in backend.outputs.items()
        }
        self._ring: Ring | None = None

    def show(self, ring: Ring | None) -> None:
        self._ring = ring
        for worker in self.workers:
            worker.show(ring)

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
