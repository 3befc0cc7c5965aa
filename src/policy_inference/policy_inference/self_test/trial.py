# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The runs of a self-test: as fast as possible, and at the rate that a robot needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from policy_core.bundle.bundle import Bundle, JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.contract import Artifact, JointContract
from policy_core.bundle.state_fields import STATE_FIELDS
from policy_core.members.chunk.graphs import ChunkGraphs, make_classifier
from policy_core.members.joint import JointPolicy
from policy_core.observation.state import RobotState
from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import OpenedModels
from policy_inference.comparison.chunks import noise_at, observation_at
from policy_inference.comparison.limits import Check, judged_by_walking
from policy_inference.comparison.rows import Rows
from policy_inference.self_test.measuring import (
    AtRate,
    Clock,
    DeviceLoad,
    Ran,
    Timed,
    TimedRuns,
    usage_of_processes,
)
from policy_inference.self_test.walked import walked

INFERENCE_LIMIT_MS, PREPROCESSING_LIMIT_MS = 5.0, 1.0
WARM_UP_TICKS = 10
Entries = Mapping[str, Artifact]
"""A back end's opened artifacts, by contract key of the model."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """Runs and checks for one kind of policy.

    Attributes:
        model: Back end whose device and process are observed.
        interval_ns: Interval between two runs on a robot.
        most_runs: Maximum number of runs without a pause.
        fewest_runs: Minimum number of runs without a pause, however long they take.
        fewest_ticks: Minimum number of runs at the rate, however long they take.
        warm_up_ticks: Ticks before the measurement, since the first call of most numpy functions is
            slow.
        ticks: Word used in messages for the runs at the rate: ticks or chunks.
        not_finite: Name of the figure that counts runs with NaN or infinity.
        runner: Returns a function that runs the policy on the golden rows in turn, one per call.
        ticker: Returns a function that runs the policy as on a robot.
        latency: Returns the checks on durations, without a pause and at the rate.
        walking: Returns the checks on the walking report, if the precision needs one.
        not_judged: Returns what cannot be judged for this kind of policy, with the reason.
    """

    model: BackendBase
    interval_ns: int
    most_runs: int
    fewest_runs: int
    fewest_ticks: int
    warm_up_ticks: int
    ticks: str
    not_finite: str
    runner: Callable[[], Callable[[], Ran]]
    ticker: Callable[[], Callable[[], Ran]]
    latency: Callable[[TimedRuns, AtRate], Sequence[Check]]
    walking: Callable[[type[BackendBase], str, Entries], Sequence[Check]] = lambda *_: ()
    not_judged: Callable[[Entries], Sequence[str]] = lambda _: ()


def joint_trial(bundle: JointBundle, models: OpenedModels, rows: Rows, clock: Clock) -> Trial:
    """Return the trial for a joint policy, whose model must answer in each period."""
    model, interval_ns = models.first, bundle.contract.period_ns

    def runner() -> Callable[[], Ran]:
        timed, runs = Timed(model, clock), 0

        def run() -> Ran:
            nonlocal runs
            for name, values in rows.inputs.items():
                timed.inputs[name][0] = values[runs % len(rows)]
            timed.run()
            runs += 1
            is_finite = all(np.isfinite(array).all() for array in timed.outputs.values())
            return Ran(0, timed.ended_ns - timed.began_ns, is_finite, {})

        return run

    def ticker() -> Callable[[], Ran]:
        """Return a function that does the work of a node's tick for a robot standing still."""
        state, timed = _standing(bundle.contract), Timed(model, clock)
        policy = JointPolicy(bundle, timed, state)
        policy.reset()

        def tick() -> Ran:
            began_ns = clock.now_ns()
            state.derive()
            is_finite = policy.infer()
            if is_finite:
                policy.commit()
            return Ran(timed.began_ns - began_ns, timed.ended_ns - timed.began_ns, is_finite, {})

        return tick

    def walking(cls: type[BackendBase], name: str, entries: Entries) -> Sequence[Check]:
        (entry,) = entries.values()
        return walked(bundle, cls, name, entry) if judged_by_walking(entry.precision) else ()

    return Trial(
        model=model,
        interval_ns=interval_ns,
        most_runs=5000,
        fewest_runs=100,
        fewest_ticks=10,
        warm_up_ticks=WARM_UP_TICKS,
        ticks="ticks",
        not_finite="ticks with NaN or infinite outputs",
        runner=runner,
        ticker=ticker,
        latency=partial(_joint_latency, interval_ns),
        walking=walking,
    )


def chunk_trial(bundle: ChunkBundle, models: OpenedModels, rows: Rows, clock: Clock) -> Trial:
    """Return the trial for a chunk policy.

    A chunk must arrive before the previous one is used up, and before waiting for it becomes a
    fault.
    """
    contract = bundle.contract
    interval_ns = contract.chunk.steps * contract.period_ns

    def runner() -> Callable[[], Ran]:
        timed, runs = {key: Timed(model, clock) for key, model in models.items()}, 0
        graphs, classifier = ChunkGraphs(contract, timed), make_classifier(contract, timed)
        given = [(observation_at(rows, row), noise_at(rows, row)) for row in range(len(rows))]

        def run() -> Ran:
            nonlocal runs
            for one in timed.values():
                one.total_ns = 0
            began_ns = clock.now_ns()
            observation, noise = given[runs % len(given)]
            chunk = graphs.run(observation, noise)
            if classifier is not None:
                classifier.probability(observation)
            took_ns = clock.now_ns() - began_ns
            runs += 1
            graphs_ns = {key.removeprefix("graphs."): one.total_ns for key, one in timed.items()}
            is_finite = bool(np.isfinite(chunk).all())
            return Ran(took_ns - sum(graphs_ns.values()), took_ns, is_finite, graphs_ns)

        return run

    return Trial(
        model=models[f"graphs.{contract.policy_graph}"],
        interval_ns=interval_ns,
        most_runs=1000,
        fewest_runs=5,
        fewest_ticks=5,
        warm_up_ticks=0,
        ticks="chunks",
        not_finite="chunks with NaN or infinite values",
        runner=runner,
        ticker=runner,
        latency=partial(_chunk_latency, interval_ns * 1e-6, 1e3 * contract.safety.damp_after_s),
        not_judged=_task_not_judged,
    )


TRIALS: Mapping[type[Bundle], Callable[[Any, OpenedModels, Rows, Clock], Trial]] = {
    JointBundle: joint_trial,
    ChunkBundle: chunk_trial,
}
"""Functions that return the trial for a policy, by policy kind."""


def back_to_back(trial: Trial, limit_s: float, clock: Clock) -> TimedRuns:
    """Run a policy without a pause, `most_runs` times or until a time limit.

    Args:
        trial: The policy's trial.
        limit_s: Time limit, after at least `fewest_runs`.
        clock: Clock for the durations.
    """
    run, ran, end_ns = trial.runner(), list[Ran](), clock.now_ns() + round(limit_s * 1e9)
    while len(ran) < trial.most_runs:
        ran.append(run())
        if clock.now_ns() > end_ns and len(ran) >= trial.fewest_runs:
            break
    return TimedRuns.of(ran)


def at_rate(trial: Trial, duration_s: float, clock: Clock) -> AtRate:
    """Run a policy at the rate that a robot needs, and monitor the device and processes.

    Args:
        trial: The policy's trial.
        duration_s: Duration; longer if needed for `fewest_ticks`.
        clock: Clock for the durations and the rate.
    """
    load, before = DeviceLoad(trial.model.telemetry), usage_of_processes(trial.model)
    tick, ran, missed = trial.ticker(), list[Ran](), 0
    for _ in range(trial.warm_up_ticks):
        tick()
    start_ns = deadline_ns = clock.now_ns()
    end_ns = start_ns + round(duration_s * 1e9)
    while deadline_ns < end_ns or len(ran) < trial.fewest_ticks:
        clock.sleep_until(deadline_ns)
        ran.append(tick())
        load.sample(clock.now_ns())
        late = max(0, (clock.now_ns() - deadline_ns) // trial.interval_ns)
        missed += late
        deadline_ns += (late + 1) * trial.interval_ns
    wall_s = (clock.now_ns() - start_ns) * 1e-9
    after = usage_of_processes(trial.model)
    usage = {each: after[each].since(before[each]) for each in before if each in after}
    return AtRate(runs=TimedRuns.of(ran), wall_s=wall_s, missed=missed, load=load, usage=usage)


def _joint_latency(interval_ns: int, quick: TimedRuns, rate: AtRate) -> Sequence[Check]:
    period_ms, runs = interval_ns * 1e-6, rate.runs
    limit_ms = min(INFERENCE_LIMIT_MS, period_ms)
    figures = {
        "inference, p99, back to back, ms": (quick.inference, limit_ms),
        "inference, p99, at the policy's rate, ms": (runs.inference, limit_ms),
        "preprocessing, p99, ms": (runs.preprocessing, PREPROCESSING_LIMIT_MS),
        "preprocessing and inference, p99, ms": (
            runs.preprocessing.plus(runs.inference),
            period_ms,
        ),
    }
    return [
        durations.p99_check(what, limit, "the policy's period" if limit == period_ms else "")
        for what, (durations, limit) in figures.items()
    ]


def _chunk_latency(
    lasts_ms: float, patience_ms: float, quick: TimedRuns, rate: AtRate
) -> Sequence[Check]:
    limit_is = (
        "the time that a chunk is executed" if lasts_ms <= patience_ms else "safety.damp_after_s"
    )
    return [
        runs.inference.p99_check(what, min(lasts_ms, patience_ms), limit_is, "chunks")
        for what, runs in (
            ("a chunk, p99, back to back, ms", quick),
            ("a chunk, p99, as often as one is needed, ms", rate.runs),
        )
    ]


def _task_not_judged(entries: Entries) -> Sequence[str]:
    """For coarse precisions, return a note that success at the task is not measured."""
    if not any(judged_by_walking(entry.precision) for entry in entries.values()):
        return ()
    return ("closed loop: how often the task succeeds with this precision is not measured here",)


def _standing(contract: JointContract) -> RobotState:
    """Return the state of a robot at rest, upright in the default position."""
    state = RobotState(contract)
    state.flat[np.isnan(state.flat)] = 0.0
    for field in STATE_FIELDS.values():
        if field.at_rest and field.name in state.slices:
            state[field.name][:] = field.at_rest
    state["joint_pos"][:] = contract.joints.default_position
    return state
