# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A rollout held against a reference: the difference, its limits, and the table of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.comparison.candidates import Candidate, candidate
from model_tools.prove.comparison.compare import measure_latency
from model_tools.prove.comparison.same_function import check_same_function
from model_tools.prove.local_loop.agreement import warn_of_unusual
from model_tools.prove.local_loop.environment import opened
from model_tools.prove.local_loop.loop import Rollout, input_sizes, roll_out
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.latency import Latency
from policy_inference.backends.registry import Options
from policy_inference.comparison.limits import Check, open_loop_limits
from policy_inference.comparison.open_loop import Difference, difference, joints, judge
from policy_store.report import Facts, Verdict

REFERENCE_BACKEND, REFERENCE_PRECISION = "onnx", "fp32"
LISTED = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JudgedRollout:
    """A rollout and what it is worth; its truth value says whether all limits hold.

    Attributes:
        environment: Name of the environment.
        model, reference: What acted, and what it was compared with.
        rollout: What happened.
        difference: Of the actions.
        checks: The difference against the limits of the model's artifact.
        latency: Of single runs of the model on this machine, s.
    """

    environment: str
    model: Candidate[JointBundle]
    reference: Candidate[JointBundle]
    rollout: Rollout
    difference: Difference
    checks: tuple[Check, ...]
    latency: Latency

    def __bool__(self) -> bool:
        """Return whether every limit holds."""
        return all(self.checks)


def artifacts(
    bundle: Path, backend: str, options: Options, reference: Path | None
) -> tuple[Candidate[JointBundle], Candidate[JointBundle]]:
    """Return what acts, and the ONNX of the reference bundle (the bundle itself if absent)."""
    instead = (
        "`model_tools compare` holds the graphs of chunk policies against the reference, on "
        "golden rows and datasets"
    )
    model = candidate(load_bundle(bundle, instead=instead, kind=JointBundle), backend, options)
    baseline = candidate(
        load_bundle(reference or bundle, instead=instead, kind=JointBundle), REFERENCE_BACKEND, {}
    )
    if baseline.entry.precision != REFERENCE_PRECISION:
        raise ToolError(
            f"{baseline.bundle.path}: expected a reference in {REFERENCE_PRECISION}, "
            f"found {baseline.entry.precision}, which would be held against itself; "
            "name the bundle with the reference model with --reference"
        )
    check_same_function(baseline.bundle, model.bundle)
    return model, baseline


def run_and_judge(
    model: Candidate[JointBundle],
    reference: Candidate[JointBundle],
    environment: str,
    steps: Iterable[object],
    seed: int | None,
) -> JudgedRollout:
    """Let a model act in the environment that `module:function` makes; see `roll_out`."""
    contract = model.bundle.contract
    limits = open_loop_limits(contract, model.backend, model.entry.precision)
    output = contract.action.output
    with model.opened() as acting_models, reference.opened() as asked_models:
        acting, asked = acting_models.first, asked_models.first
        with opened(environment, input_sizes(contract)) as env:
            rollout = roll_out(env, model.bundle, acting, asked, steps, seed)
        inputs = {name: rollout.tensors[name] for name in contract.model.inputs}
        latency = measure_latency(acting, inputs, runs=len(rollout.reward))
    warn_of_unusual(contract, inputs, environment)
    found = difference(output, joints(contract), rollout.acted, rollout.tensors[output])
    return JudgedRollout(
        environment=environment,
        model=model,
        reference=reference,
        rollout=rollout,
        difference=found,
        checks=judge(found, environment, limits),
        latency=latency,
    )


def rollout_facts(judged: JudgedRollout) -> Facts:
    """Return what was found, with the limits."""
    rollout, latency, found = judged.rollout, judged.latency, judged.difference
    step, joint = found.worst
    worst = f"{found.max_abs:.4g} at step {step}, action {found.names.index(joint)} ({joint})"
    return Facts(
        title=judged.environment,
        verdict=Verdict.of(judged),
        rows=[
            ("model", _artifact(judged.model)),
            ("compared with", _reference(judged)),
            ("observations", _observations(judged.model)),
            ("steps", len(rollout.reward)),
            ("episodes", _episodes(rollout)),
            ("return", _returns(rollout)),
            ("largest error", worst),
            ("mean absolute error", found.mae),
            ("RMSE", found.rmse),
            ("smallest cosine", float(found.cosine.min())),
            ("latency, us", f"p50 {latency.p50_s * 1e6:.1f}, p99 {latency.p99_s * 1e6:.1f}"),
        ],
    )


def _artifact(model: Candidate[JointBundle]) -> str:
    return (
        f"{model.bundle.path}, back end {model.backend}: {model.entry.file} "
        f"({model.entry.precision})"
    )


def _reference(judged: JudgedRollout) -> str:
    model, reference = judged.model, judged.reference
    if (model.backend, model.entry.sha256) != (reference.backend, reference.entry.sha256):
        return _artifact(reference)
    return (
        "the same file in a session of its own, which shows only that it is deterministic; "
        "--reference names another bundle"
    )


def _observations(model: Candidate[JointBundle]) -> str:
    """Say what was done to each observation that the environment gave."""
    said = []
    for name, observation in model.bundle.contract.observations.items():
        statistics = observation.normalisation
        bounds = (
            observation.clip,
            "normalised by " + statistics.file if statistics else None,
            statistics.clip if statistics else None,
        )
        done = [
            f"within ±{part:g}" if isinstance(part, float) else part
            for part in bounds
            if part is not None
        ]
        said.append(f"{name}: {', '.join(done) or 'as given'}")
    return "; ".join(said)


def _episodes(rollout: Rollout) -> str:
    lengths = np.bincount(rollout.episode)
    last = "" if rollout.ended[-1] else ", the last not ended"
    return f"{len(lengths)} of {_list(list(map(str, lengths)))} steps{last}"


def _returns(rollout: Rollout) -> str:
    returns = rollout.returns
    whole = returns[: rollout.ended.sum()]
    mean = f"; mean of those that ended {whole.mean():.4g}" if len(whole) else ""
    return _list([f"{one:.4g}" for one in returns]) + mean


def _list(entries: Sequence[str]) -> str:
    return ", ".join(entries[:LISTED]) + (", ..." if len(entries) > LISTED else "")
