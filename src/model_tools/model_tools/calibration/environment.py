# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows from an environment of the user, in which the bundle's own model acts, or theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from model_tools.calibration.source import Row
from model_tools.local_loop.environment import Observations, opened
from model_tools.local_loop.loop import Fed, in_turn, input_sizes
from model_tools.local_loop.policy import UsersPolicy
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.load import Bundle
from policy_inference.interfaces import F32


class EnvironmentSource:
    """As many steps in an environment as are asked for, episode after episode."""

    def __init__(
        self, bundle: Bundle, environment: str, *, steps: int, policy: str | None = None,
        seed: int | None = None,
    ) -> None:  # fmt: skip
        """Prepare; nothing runs before `rows`.

        Args:
            bundle: Its reference model gets every observation, and acts where nobody else does.
            environment: `module:function` that makes it.
            steps: To take.
            policy: `module:Class` of what acts instead of the model.
            seed: Of the environment's first episode.
        """
        self.name = environment if policy is None else f"{environment} under {policy}"
        self.count: int | None = steps
        self._steps = steps
        self._bundle, self._environment = bundle, environment
        self._policy, self._seed = policy, seed

    def rows(self, wanted: Sequence[int] | None) -> Iterator[Row]:
        """Yield the rows; see `Source.rows`, `in_turn` and `UsersPolicy`."""
        bundle, contract = self._bundle, self._bundle.contract
        users = None if self._policy is None else UsersPolicy(self._policy, contract)
        backend, _ = open_backend(bundle, ["onnx"])
        try:
            model = Fed(bundle, backend)

            def act(observations: Observations, inputs: Observations, begins: bool) -> F32:
                action = model.run(inputs, begins)
                return action if users is None else users.act(observations)

            numbers = None if wanted is None else set(wanted)
            tensors = {name: array[0] for arrays in (backend.inputs, backend.outputs)
                       for name, array in arrays.items()}
            with opened(self._environment, input_sizes(contract)) as environment:
                moments = in_turn(environment, bundle, act, self._seed)
                for number in range(self._steps):
                    moment = next(moments)
                    if numbers is None or number in numbers:
                        yield Row(number=number, time_s=number * contract.period_ns * 1e-9,
                                  begins=moment.begins, tensors=tensors, sensed={})
        finally:
            backend.close()
