# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows from an environment of the user, or from a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from model_tools.files.rows import Row
from model_tools.prove.local_loop.environment import Observations, UsersPolicy, opened
from model_tools.prove.local_loop.loop import Fed, in_turn, input_sizes
from policy_core.bundle.bundle import JointBundle
from policy_core.interfaces import F32, Tensor
from policy_inference.backends.registry import open_backend
from policy_inference.comparison.rows import Rows, play


class EnvironmentSource:
    """As many steps in an environment as are asked for, episode after episode."""

    def __init__(
        self,
        bundle: JointBundle,
        environment: str,
        *,
        steps: int,
        policy: str | None = None,
        seed: int | None = None,
    ) -> None:
        """Prepare; nothing runs before `rows`.

        Args:
            bundle: Its reference model gets every observation, and acts where no other model does.
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
        """Yield the rows; see `RowSource.rows`, `in_turn` and `UsersPolicy`."""
        bundle, contract = self._bundle, self._bundle.contract
        users = None if self._policy is None else UsersPolicy(self._policy, contract)
        backend, _ = open_backend(bundle, ["onnx"])
        try:
            model = Fed(bundle, backend)

            def act(observations: Observations, inputs: Observations, begins: bool) -> F32:
                action = model.run(inputs, begins)
                return action if users is None else users.act(observations)

            numbers = None if wanted is None else set(wanted)
            tensors = {
                name: array[0]
                for arrays in (backend.inputs, backend.outputs)
                for name, array in arrays.items()
            }
            with opened(self._environment, input_sizes(contract)) as environment:
                moments = in_turn(environment, bundle, act, self._seed)
                for number in range(self._steps):
                    moment = next(moments)
                    if numbers is None or number in numbers:
                        yield Row(
                            number=number,
                            time_s=number * contract.period_ns * 1e-9,
                            begins=moment.begins,
                            tensors=tensors,
                            sensed={},
                        )
        finally:
            backend.close()


class RowsFileSource:
    """The rows of a file as `read_rows` returns them; they are in memory as a whole."""

    def __init__(self, bundle: JointBundle, rows: Rows) -> None:
        """Compute what the file lacks."""
        self._rows, self._period_s = rows, bundle.contract.period_ns * 1e-9
        self.name, self.count = rows.source, len(rows) or None
        self._tensors: dict[str, Tensor] = {**self._rows.inputs, **self._rows.outputs}
        tensors = bundle.contract.model
        if not {*tensors.inputs, *tensors.outputs} <= self._tensors.keys():
            backend, _ = open_backend(bundle, ["onnx"])
            try:
                self._tensors = play(backend, self._rows, bundle.contract.state)
            finally:
                backend.close()

    def rows(self, wanted: Sequence[int] | None) -> Iterator[Row]:
        """Yield the rows; see `RowSource.rows`."""
        breaks = {0, *self._rows.breaks}
        for number in range(len(self._rows)) if wanted is None else wanted:
            yield Row(
                number=number,
                time_s=number * self._period_s,
                begins=number in breaks,
                tensors={name: array[number] for name, array in self._tensors.items()},
                sensed={name: array[number] for name, array in self._rows.sensed.items()},
            )
