# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How long a model takes: as fast as it can, and at the policy's rate as a node runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.state_fields import STATE_FIELDS
from policy_inference.core.policy import JointPolicy
from policy_inference.core.state import RobotState
from policy_inference.interfaces import Backend, Tensor
from policy_inference.self_test.clock import Clock
from policy_inference.self_test.durations import Durations

RUNS, FEWEST_RUNS, FEWEST_TICKS = 5000, 100, 10
WARM_UP_TICKS = 10
"""Of the observation's code: the first call of most numpy functions is slow."""


def back_to_back(
    backend: Backend, rows: Mapping[str, Tensor], limit_s: float, clock: Clock
) -> Durations:
    """Run a model without a pause: `RUNS` times, or until the time is over.

    Args:
        backend: Opened backend, warm; its input arrays are overwritten.
        rows: Rows by model input [rows, ...], fed in turn.
        limit_s: Time after which it ends, once there are `FEWEST_RUNS`.
        clock: What times it.

    Raises:
        BackendError: The runtime failed.
    """
    durations_ns, count = list[int](), len(next(iter(rows.values())))
    end_ns = clock.now_ns() + round(limit_s * 1e9)
    for run in range(RUNS):
        for name, values in rows.items():
            backend.inputs[name][0] = values[run % count]
        began_ns = clock.now_ns()
        backend.run()
        ended_ns = clock.now_ns()
        durations_ns.append(ended_ns - began_ns)
        if ended_ns > end_ns and run + 1 >= FEWEST_RUNS:
            break
    return Durations(durations_ns)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paced:
    """Ticks at the policy's rate.

    Attributes:
        wall_s: How long it took.
        missed: Ticks that were left out, since the one before took too long.
        not_finite: Ticks whose output was NaN or infinite.
        preprocessing: From the robot's state to the model's inputs, for each tick.
        inference: The model, for each tick.
    """

    wall_s: float
    missed: int
    not_finite: int
    preprocessing: Durations
    inference: Durations


def paced(
    bundle: JointBundle,
    backend: Backend,
    duration_s: float,
    clock: Clock,
    between: Callable[[int], object] = id,
) -> Paced:
    """Run a policy at its rate on the state of a robot that stands still.

    Args:
        bundle: Of the policy.
        backend: Its opened backend.
        duration_s: How long; longer where that is less than `FEWEST_TICKS`.
        clock: What times and paces it.
        between: Called after each tick with the time, ns.

    Raises:
        BackendError: The runtime failed.
    """
    state, timed = _standing(bundle.contract), Timed(backend, clock)
    policy = JointPolicy(bundle, timed, state)
    policy.reset()
    for _ in range(WARM_UP_TICKS):
        _tick(policy, state)
    preprocessing, inference, missed, not_finite = list[int](), list[int](), 0, 0
    period_ns, start_ns = bundle.contract.period_ns, clock.now_ns()
    deadline_ns, end_ns = start_ns, start_ns + round(duration_s * 1e9)
    while deadline_ns < end_ns or len(inference) < FEWEST_TICKS:
        clock.sleep_until(deadline_ns)
        began_ns = clock.now_ns()
        not_finite += not _tick(policy, state)
        preprocessing.append(timed.began_ns - began_ns)
        inference.append(timed.ended_ns - timed.began_ns)
        between(clock.now_ns())
        late = max(0, (clock.now_ns() - deadline_ns) // period_ns)
        missed += late
        deadline_ns += (late + 1) * period_ns
    return Paced(
        wall_s=(clock.now_ns() - start_ns) * 1e-9,
        missed=missed,
        not_finite=not_finite,
        preprocessing=Durations(preprocessing),
        inference=Durations(inference),
    )


def _tick(policy: JointPolicy, state: RobotState) -> bool:
    """Do what a node does in a tick; return whether the output was finite."""
    state.derive()
    finite = policy.infer()
    if finite:
        policy.commit()
    return finite


def _standing(contract: JointContract) -> RobotState:
    """Return the state of a robot that stands upright in its default position, at rest."""
    state = RobotState(contract)
    state.flat[np.isnan(state.flat)] = 0.0
    for field in STATE_FIELDS.values():
        if field.at_rest and field.name in state.slices:
            state[field.name][:] = field.at_rest
    state["joint_pos"][:] = contract.joints.default_position
    return state


class Timed:
    """A backend that notes when its latest run began and ended, and the time of all together."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        """Time a backend by a clock."""
        self.name, self.details = backend.name, backend.details
        self.inputs, self.outputs = backend.inputs, backend.outputs
        self._backend, self._clock = backend, clock
        self.began_ns = self.ended_ns = self.total_ns = 0

    def run(self) -> None:
        """Run the backend, and time it."""
        self.began_ns = self._clock.now_ns()
        self._backend.run()
        self.ended_ns = self._clock.now_ns()
        self.total_ns += self.ended_ns - self.began_ns

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()
