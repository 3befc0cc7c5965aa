# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Record a policy's inputs and outputs while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from policy_core.interfaces import F64, Backend, Tensor

if TYPE_CHECKING:  # not needed without a recorder
    from policy_core.native_controller import NativeController
    from policy_inference.flight.ring import Ring
    from policy_inference.flight.worker_tap import WorkerTap


class PolicyTap:
    """Records a policy's runs in a ring.

    Attributes:
        state: State fields as the policy sees them; None to record the controller's current fields.
        inputs, outputs: Arrays used in every run; their addresses do not change.
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
        """Record each run in this ring from now on; None to stop."""
        self._ring = ring
        for worker in self.workers:
            worker.show(ring)


class Tap(PolicyTap):
    """A back end that forwards everything to another back end and records each run in a ring.

    The controller's behavior does not change.
    """

    def __init__(self, backend: Backend) -> None:
        """Wrap an opened back end; the caller closes it."""
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
    """Records, in a ring, the ticks of a policy that runs in C++.

    The arrays of all models are included (for set members, named MEMBER.TENSOR); if a member does
    not run in a tick, its arrays keep the values of an earlier tick.
    """

    def __init__(self, controller: NativeController, workers: Sequence[WorkerTap] = ()) -> None:
        seen = controller.seen.items()
        super().__init__(
            dict(tensors_by_name((name, given) for name, (given, _) in seen)),
            dict(tensors_by_name((name, made) for name, (_, made) in seen)),
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


def tensors_by_name(
    models: Iterator[tuple[str, Mapping[str, Tensor]]],
) -> Iterator[tuple[str, Tensor]]:
    """Yield models' tensors, named MODEL.TENSOR, or TENSOR for a single model."""
    for name, tensors in models:
        yield from ((f"{name}.{tensor}".lstrip("."), array) for tensor, array in tensors.items())
