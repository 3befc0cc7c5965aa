# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A rollout held against a reference: the difference, its limits, and how long the model takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from model_tools.comparison.artifacts import Candidate, candidate
from model_tools.comparison.latency import measure_latency
from model_tools.comparison.same_function import check_same_function
from model_tools.errors import ToolError
from model_tools.local_loop.agreement import warn_of_unusual
from model_tools.local_loop.environment import opened
from model_tools.local_loop.loop import Rollout, input_sizes, roll_out
from policy_inference.backends.registry import Options
from policy_inference.bundle.load import load_bundle
from policy_inference.comparison.limits import Check, open_loop_limits
from policy_inference.comparison.open_loop import Difference, difference, joints, judge
from policy_inference.core.latency import Latency

REFERENCE_BACKEND, REFERENCE_PRECISION = "onnx", "fp32"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
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
    model: Candidate
    reference: Candidate
    rollout: Rollout
    difference: Difference
    checks: tuple[Check, ...]
    latency: Latency

    def __bool__(self) -> bool:
        """Return whether every limit holds."""
        return all(self.checks)


def artifacts(
    bundle: Path, backend: str, options: Options, reference: Path | None
) -> tuple[Candidate, Candidate]:
    """Return what acts, and the ONNX of the reference bundle (the bundle itself if absent).

    Raises:
        BundleError, BackendError: A bundle cannot be loaded or lacks its artifact.
        ToolError: The reference is not in fp32, or they are not the same function.
    """
    instead = ("`model_tools compare` holds the graphs of chunk policies against the reference, on "
               "golden rows and datasets")
    model = candidate(load_bundle(bundle, instead=instead), backend, options)
    baseline = candidate(load_bundle(reference or bundle, instead=instead), REFERENCE_BACKEND, {})
    if baseline.entry.precision != REFERENCE_PRECISION:
        raise ToolError(f"{baseline.bundle.path}: expected a reference in {REFERENCE_PRECISION}, "
                        f"found {baseline.entry.precision}, which would be held against itself; "
                        "name the bundle with the reference model with --reference")
    check_same_function(baseline.bundle, model.bundle)
    return model, baseline


def run_and_judge(
    model: Candidate, reference: Candidate, environment: str, steps: Iterable[object],
    seed: int | None,
) -> Judged:  # fmt: skip
    """Let a model act in the environment that `module:function` makes; see `roll_out`.

    Raises:
        ToolError: The environment does not fit, or no limit is known for the model's precision.
        BackendError: A runtime does not open, or failed.
    """
    contract = model.bundle.contract
    limits = open_loop_limits(contract, model.backend, model.entry.precision)
    output = contract.action.output
    with model.opened() as acting, reference.opened() as asked:
        with opened(environment, input_sizes(contract)) as env:
            rollout = roll_out(env, model.bundle, acting, asked, steps, seed)
        inputs = {name: rollout.tensors[name] for name in contract.model.inputs}
        latency = measure_latency(acting, inputs, runs=len(rollout.reward))
    warn_of_unusual(contract, inputs, environment)
    found = difference(output, joints(contract), rollout.acted, rollout.tensors[output])
    return Judged(environment=environment, model=model, reference=reference, rollout=rollout,
                  difference=found, checks=judge(found, environment, limits), latency=latency)
