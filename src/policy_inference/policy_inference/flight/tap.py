# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Records the inputs and outputs of a policy while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from policy_core.control_state import Stateful, Tree
from policy_core.interfaces import F64, Backend, Tensor

if TYPE_CHECKING:  # not needed without a recorder
    from policy_core.native_controller import NativeController
    from policy_core.sets.policy import PolicySet
    from policy_inference.flight.ring import Ring
    from policy_inference.flight.worker_tap import WorkerTap


class PolicyTap:
    """Forwards to a policy's backend, and records into a ring.

    Attributes:
        state: State fields as the policy saw them; None for their values while it runs.
        inputs, outputs: Arrays of each run; they keep their address.
        workers: Workers of the chunk policies in a set.
    """

    def __init__(
        self,
        inputs: Mapping[str, Tensor],
        outputs: Mapping[str, Tensor],
        workers: Sequence[WorkerTap] = (),
        state: F64 | None = None,
    ) -> None:
        self.inputs, self.outputs, self.workers, self.state = inputs, outputs, workers, state
        self._ring: Ring | None = None

    def show(self, ring: Ring | None) -> None:
        """Record each run into this ring from now on; None to stop."""
        self._ring = ring
        for worker in self.workers:
            worker.show(ring)


class Tap(PolicyTap):
    """A backend that forwards everything, and records each run into a ring.

    The behaviour of the controller does not change.
    """

    def __init__(self, backend: Backend) -> None:
        """Wrap an opened backend; the caller closes it."""
        super().__init__(backend.inputs, backend.outputs)
        self._backend, self.name, self.details = backend, backend.name, backend.details

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


class NativeTap(PolicyTap):
    """Records the ticks of a policy that runs in C++ into a ring.

    The arrays are those of all models, for members of a set by MEMBER.TENSOR; if a member does not
    run in a tick, they are from an earlier one.
    """

    def __init__(self, controller: NativeController, workers: Sequence[WorkerTap] = ()) -> None:
        seen = controller.seen.items()
        super().__init__(
            dict(_named((name, given) for name, (given, _) in seen)),
            dict(_named((name, made) for name, (_, made) in seen)),
            workers,
            controller.seen_state,
        )
        self._set = controller.policy_set
        controller.asked = self._asked

    def _asked(self, has_answered: bool) -> None:
        if self._ring is not None:
            if self.workers and self._set is not None:
                self._ring.take_time(self._set.asked_ns)
            else:
                self._ring.take_inputs()
            if has_answered:
                self._ring.take_outputs()


class SetTap(PolicyTap, Stateful):
    """A policy set that forwards everything, and records each tick into a ring.

    The arrays are those of all members, by MEMBER.TENSOR; if a member does not run in a tick, they
    are from an earlier one.
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
            backends: Opened model of each joint policy; the caller closes them.
            workers: Workers of its chunk policies.
        """
        super().__init__(
            dict(_named((name, backend.inputs) for name, backend in backends.items())),
            dict(_named((name, backend.outputs) for name, backend in backends.items())),
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


def _named(
    models: Iterator[tuple[str, Mapping[str, Tensor]]],
) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of models, by MODEL.TENSOR; of a single model by TENSOR."""
    for name, tensors in models:
        yield from ((f"{name}.{tensor}".lstrip("."), array) for tensor, array in tensors.items())
