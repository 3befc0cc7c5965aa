# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of an opened model: each holds the inputs and outputs for one robot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policy_core.guard.bounds import Rule, joint_limits
from policy_core.interfaces import F64, Tensor
from policy_core.members.joint import ActionDecoder, RawAction
from policy_inference.backends.base import BackendBase
from policy_inference.service.batching import Axes
from policy_inference.service.policy import ServedPolicy


class Lane:
    """One row of an opened model, as views of the back end's arrays.

    Attributes:
        inputs: Inputs that an observation fills, by name, each as an array [size].
        action: Reads the output row.
        plain: The output row itself, if the action is a plain copy of it; otherwise None.
        state: For each recurrent pair, its row in the input and in the output.
    """

    def __init__(self, policy: ServedPolicy, backend: BackendBase, axes: Axes, row: int) -> None:
        def part(name: str, array: Tensor) -> Tensor:
            axis = axes.get(name)
            return array if axis is None else np.moveaxis(array, axis, 0)[row]

        contract = policy.contract
        self.inputs = tuple(
            (one, part(one.name, backend.inputs[one.name]).reshape(-1)) for one in policy.inputs
        )
        output = part(policy.output, backend.outputs[policy.output]).reshape(-1)
        self.state = tuple(
            (
                part(pair.input, backend.inputs[pair.input]),
                part(pair.output, backend.outputs[pair.output]),
            )
            for pair in (contract.state if contract else ())
        )
        bounds = [term.clip for term in contract.action.terms] if contract else []
        is_plain = output.dtype == np.float32 and not any(bounds) and not self.state
        self.plain = output.data if is_plain else None
        self.action = RawAction(output)
        self._decoder: ActionDecoder | None = None
        if contract:
            self.action = self._decoder = ActionDecoder(contract, output)
            self._low, self._high = joint_limits(contract, self._decoder)
            self._command: F64 = np.zeros(self._low.size)

    def is_finite(self) -> bool:
        """Read a run's output; return True if the output and the recurrent state are finite."""
        for _, out in self.state:
            if not np.isfinite(out).all():
                return False
        return self.action.read()

    def put_state(self, state: Sequence[Tensor]) -> None:
        """Write a robot's state, one array per recurrent pair, to the row."""
        for mine, (into, _) in zip(state, self.state, strict=True):
            into[...] = mine

    def take_state(self, state: Sequence[Tensor]) -> None:
        """After a run, copy the recurrent state to a robot's state."""
        for mine, (_, out) in zip(state, self.state, strict=True):
            mine[...] = out

    def bounded(self) -> tuple[F64, tuple[str, ...]]:
        """Return the action [actions], and the guard rules that changed it."""
        action = self.action.bounded()
        return action, self.action.clipped

    def target(self) -> tuple[F64, tuple[str, ...]]:
        """Return the command [joints] for the action, and the rules that changed it.

        The command comes from `ActionDecoder`, clipped to the joint limits.
        """
        assert self._decoder is not None  # a session that asks for it is refused
        command = self._decoder.decode()
        np.clip(command, self._low, self._high, out=self._command)
        acted = self._decoder.clipped
        if (self._command != command).any():
            acted = (*acted, Rule.POSITION_LIMIT.value)
        return self._command, acted


def make_lanes(
    policy: ServedPolicy, backend: BackendBase, axes: Axes, rows: int
) -> tuple[Lane, ...]:
    """Return all rows of an opened model; `axes` is empty if its arrays hold one row."""
    return tuple(Lane(policy, backend, axes, row) for row in range(rows))
