# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A joint policy in a self-test: a model that must answer in each period, beside its own report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import Artifact, JointContract
from policy_core.bundle.state_fields import STATE_FIELDS
from policy_core.members.joint import JointPolicy
from policy_core.observation.state import RobotState
from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import OpenedModels
from policy_inference.comparison.limits import Check, judged_by_walking
from policy_inference.comparison.rows import Rows
from policy_inference.self_test.clock import Clock
from policy_inference.self_test.durations import Durations
from policy_inference.self_test.trial import AtRate, Ran, Timed, TimedRuns
from policy_inference.self_test.verdict import p99
from policy_inference.self_test.walked import walked

INFERENCE_LIMIT_MS, PREPROCESSING_LIMIT_MS = 5.0, 1.0
WARM_UP_TICKS = 10


class JointTrial:
    """Runs the model of a joint policy, and the whole of it for a robot that stands still."""

    most_runs, fewest_runs, fewest_ticks, warm_up_ticks = 5000, 100, 10, WARM_UP_TICKS
    ticks, not_finite = "ticks", "ticks with NaN or infinite outputs"

    def __init__(self, bundle: JointBundle, models: OpenedModels, rows: Rows, clock: Clock) -> None:
        """Run an opened model, whose arrays are overwritten, on golden rows."""
        self._bundle, self._rows, self._clock = bundle, rows, clock
        self.model, self.interval_ns = models.first, bundle.contract.period_ns

    def runner(self) -> Callable[[], Ran]:
        """Return what runs the model on one golden row after another."""
        timed, rows, runs = Timed(self.model, self._clock), self._rows, 0

        def run() -> Ran:
            nonlocal runs
            for name, values in rows.inputs.items():
                timed.inputs[name][0] = values[runs % len(rows)]
            timed.run()
            runs += 1
            is_finite = all(np.isfinite(array).all() for array in timed.outputs.values())
            return Ran(0, timed.ended_ns - timed.began_ns, is_finite, {})

        return run

    def ticker(self) -> Callable[[], Ran]:
        """Return what does in a tick what a node does."""
        state, timed = _standing(self._bundle.contract), Timed(self.model, self._clock)
        policy = JointPolicy(self._bundle, timed, state)
        policy.reset()

        def tick() -> Ran:
            began_ns = self._clock.now_ns()
            state.derive()
            is_finite = policy.infer()
            if is_finite:
                policy.commit()
            return Ran(timed.began_ns - began_ns, timed.ended_ns - timed.began_ns, is_finite, {})

        return tick

    def walking(
        self, cls: type[BackendBase], name: str, entries: Mapping[str, Artifact]
    ) -> Sequence[Check]:
        """Return the checks of the report on walking, where the precision needs one."""
        (entry,) = entries.values()
        if not judged_by_walking(entry.precision):
            return ()
        return walked(self._bundle, cls, name, entry)

    def not_judged(self, entries: Mapping[str, Artifact]) -> Sequence[str]:
        """Return nothing: all is judged."""
        return ()

    def latency(self, quick: TimedRuns, rate: AtRate) -> Sequence[Check]:
        """Return the checks of 99 runs of 100."""
        period_ms, runs = self.interval_ns * 1e-6, rate.runs
        limit_ms = min(INFERENCE_LIMIT_MS, period_ms)
        figures: dict[str, tuple[Durations, float]] = {
            "inference, p99, back to back, ms": (quick.inference, limit_ms),
            "inference, p99, at the policy's rate, ms": (runs.inference, limit_ms),
            "preprocessing, p99, ms": (runs.preprocessing, PREPROCESSING_LIMIT_MS),
            "preprocessing and inference, p99, ms": (
                runs.preprocessing.plus(runs.inference),
                period_ms,
            ),
        }
        return [
            p99(what, durations, limit, "the policy's period" if limit == period_ms else "")
            for what, (durations, limit) in figures.items()
        ]

    def remarks(self, rate: AtRate) -> Sequence[str]:
        """Return nothing."""
        return ()


def _standing(contract: JointContract) -> RobotState:
    """Return the state of a robot that stands upright in its default position, at rest."""
    state = RobotState(contract)
    state.flat[np.isnan(state.flat)] = 0.0
    for field in STATE_FIELDS.values():
        if field.at_rest and field.name in state.slices:
            state[field.name][:] = field.at_rest
    state["joint_pos"][:] = contract.joints.default_position
    return state
