# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
r"""Run a bundle's model in an environment, and check it step by step against the reference ONNX.

    model_tools run my_bundle_int8 --env my_envs:make --reference my_bundle --output rows.npz

`make` takes no arguments and returns an environment for one robot with gymnasium's API, or gym's
old API. The environment's observations are as in training: scaled, not normalized; the bundle's
statistics and bounds are applied as on the robot. Its actions are the model's raw outputs. The keys
in a dict of observations are the names of the model's inputs; a single entry may have any key.
Signs that an observation differs from the contract (in the last action or gravity, or joints beyond
their limits) are errors; values far from a healthy run's are warnings.

The rows of --output are for calibration (`compile --rows`) and for `compare --rows`: inputs of the
model, outputs of the reference, and `acted`, `reward`, `episode`. The exit status is 1 if a limit
is exceeded: the bundle's or, if it has none, the default for its precision.
"""
# run: short: --steps 50

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError
from policy_store.command_line import CommandResult, add_backend_options, add_bundle
from policy_store.report import checks_table, plain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder or name of the bundle", type=Path)
    parser.add_argument(
        "--env",
        required=True,
        metavar="MODULE:FUNCTION",
        help="function that returns the environment; its module is in the current folder or "
        "installed",
    )
    parser.add_argument("--steps", type=int, default=512, help="number of steps (default 512)")
    parser.add_argument("--backend", default="onnx", help="back end that acts (default onnx)")
    add_backend_options(parser)
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="BUNDLE",
        help="bundle whose ONNX is the baseline (default: the bundle itself)",
    )
    parser.add_argument("--seed", type=int, help="seed of the first episode")
    parser.add_argument(
        "--output", type=Path, metavar="NPZ", help="file to write, with one row per step"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing output")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Run the model; the exit status is 1 if a limit is exceeded.

    Returns:
        environment, bundle, backend and precision of the model that acted, reference (the bundle
        whose ONNX the model was compared with), steps, returns (sum of rewards of each episode),
        difference of the actions (same keys as in comparison.json), checks (each figure with its
        limit), holds (no limit is exceeded), latency_p50_s, latency_p99_s, rows (file with a row
        per step; null without --output).
    """
    from rich.console import Console
    from rich.progress import track

    from model_tools.files.outputs import new_file
    from model_tools.prove.local_loop.loop import artifacts, rollout_facts, run_and_judge
    from policy_core.bundle.load import bundle_folder
    from policy_inference.backends.registry import parse_options
    from policy_inference.comparison.plain_json import check_figures, difference_figures

    if given.steps < 1:
        raise ToolError(f"--steps: expected 1 or more, found {given.steps}")
    bundle = bundle_folder(str(given.bundle))
    reference_bundle = bundle_folder(str(given.reference)) if given.reference else None
    model, reference = artifacts(
        bundle, given.backend, parse_options(given.backend_option), reference_bundle
    )
    console = Console(stderr=True)
    steps = track(
        range(given.steps),
        given.env,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with ExitStack() as outputs:
        growing = (
            outputs.enter_context(new_file(given.output, force=given.force))
            if given.output
            else None
        )
        judged = run_and_judge(model, reference, given.env, steps, given.seed)
        if growing:
            judged.rollout.save(growing)
    result = {
        "environment": judged.environment,
        "bundle": judged.model.bundle.path,
        "backend": judged.model.backend,
        "precision": judged.model.entry.precision,
        "reference": judged.reference.bundle.path,
        "steps": len(judged.rollout.reward),
        "returns": judged.rollout.returns.tolist(),
        "difference": plain(difference_figures(judged.difference), 6),
        "checks": plain(check_figures(judged.checks), 6),
        "holds": bool(judged),
        "latency_p50_s": judged.latency.p50_s,
        "latency_p99_s": judged.latency.p99_s,
        "rows": given.output,
    }
    return CommandResult(
        document=result,
        text=[
            rollout_facts(judged),
            checks_table(judged.checks),
            *([f"rows in {given.output}"] if given.output else ()),
        ],
        status=0 if judged else 1,
    )
