# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluate policies in many simulated trials: success rates and figures, with confidence intervals.

    model_tools evaluate my_bundle my_older_bundle --plan plan.yaml --output out/evaluation

Each trial runs the real controller on a simulated robot; the plan states the robot, the conditions
and the number of repetitions. The first bundle is compared with each of the others, trial by trial
under the same conditions. The output folder contains trials.jsonl, with one line per finished
trial, and at the end summary.json and report.html. --resume continues an interrupted evaluation, or
one whose plan has been extended. The results do not depend on the number of workers. The exit
status is 1 if a trial has no result, or if the lower end of the success rate's interval is below
the required rate.
"""
# run: model_tools evaluate: {short: --videos 0}

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_tools.commands.arguments import number_above_0, progress_bar
from policy_store.command_line import CommandResult, add_backend_options, seconds

if TYPE_CHECKING:
    from model_tools.prove.evaluation.evaluate import Evaluated
    from model_tools.prove.evaluation.plan import Plan
    from model_tools.prove.evaluation.pool import TaskPool
    from model_tools.prove.evaluation.trials import EvaluatedPolicy, TrialRow, TrialTask
    from policy_core.bundle.bundle import AnyBundle

SUMMARY, PAGE = "summary.json", "report.html"
_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bundles", type=Path, nargs="+", help="folders of bundles, or names of installed ones"
    )
    parser.add_argument("--plan", type=Path, required=True, metavar="YAML", help="trial plan")
    add_trials(parser)
    parser.add_argument(
        "--videos",
        type=int,
        default=2,
        metavar="N",
        help="number of videos of the worst trials in the report (default %(default)d)",
    )


def add_trials(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments for where trials run, what limits them, and where their results go."""
    parser.set_defaults(left="results so far are kept; the same command with --resume continues")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="folder for the results"
    )
    parser.add_argument(
        "--workers",
        type=number_above_0,
        metavar="N",
        help="parallel trials on this machine (default: one per core)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="run the trials on the Ray cluster at this address, HOST:PORT, instead; needs the ray "
        "package (model_tools[ray])",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="keep the results in the output folder, and run only the remaining trials",
    )
    parser.add_argument(
        "--trial-limit-s",
        type=seconds,
        default=600.0,
        metavar="SECONDS",
        help="time limit of a trial; a trial that takes longer has no result (default %(default)g)",
    )
    add_backend_options(parser)


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Evaluate; the exit status is 1 if a trial has no result or a required rate is not reached.

    Returns:
        The content of summary.json.
    """
    from model_tools.files.report_page import write_page
    from model_tools.prove.evaluation.evaluation_report import evaluation_report
    from model_tools.prove.evaluation.plan import load_plan
    from model_tools.prove.evaluation.summary import holds
    from policy_core.bundle.load import bundle_folder, load_bundle

    plan = load_plan(given.plan)
    bundles = [load_bundle(bundle_folder(str(bundle))) for bundle in given.bundles]
    found = run_trials(given, plan, bundles)
    with progress_bar("videos of the worst trials") as shown:
        report = evaluation_report(found, given.videos, shown)
    report.write_json(given.output / SUMMARY)
    write_page(report, given.output / PAGE)
    return CommandResult(
        document=report.document,
        text=[*report.parts, f"report in {given.output}"],
        status=0 if holds(found) else 1,
    )


def run_trials(given: argparse.Namespace, plan: Plan, bundles: Sequence[AnyBundle]) -> Evaluated:
    """Run a plan with the arguments of `add_trials`."""
    from model_tools.prove.evaluation.evaluate import evaluate, evaluated_policies, trial_store
    from policy_inference.backends.registry import parse_options

    policies = evaluated_policies(plan, bundles, parse_options(given.backend_option))
    pool = _pool(given, policies)
    _require_new(given.output, given.resume)
    with trial_store(given.output) as store:
        before, began_s = len(store.rows), time.monotonic()
        with progress_bar("trials") as shown:
            found = evaluate(plan, policies, store, pool, shown)
    if others := store.rows.keys() - {task.key for task in found.tasks}:
        _log.warning(
            "%d results in %s belong to other policies or plans; the report leaves them out",
            len(others),
            given.output,
        )
    if trials := len(store.rows) - before:
        took_s = time.monotonic() - began_s
        _log.info("%d trials in %.1f s, %.2f per second", trials, took_s, trials / took_s)
    return found


def _pool(
    given: argparse.Namespace, policies: list[EvaluatedPolicy]
) -> TaskPool[TrialTask, TrialRow]:
    from model_tools.prove.evaluation.trials import run_trial

    if given.ray is not None:
        from model_tools.prove.evaluation.ray_pool import RayPool

        return RayPool(given.ray, policies, time_limit_s=given.trial_limit_s)
    from model_tools.prove.evaluation.pool import LocalPool

    workers = given.workers or len(os.sched_getaffinity(0))
    return LocalPool(run_trial, workers, time_limit_s=given.trial_limit_s)


def _require_new(folder: Path, resume: bool) -> None:
    from model_tools.errors import ToolError
    from model_tools.prove.evaluation.evaluate import ROWS

    if not resume and folder.exists() and any(folder.iterdir()):
        remedy = (
            "--resume continues the evaluation"
            if (folder / ROWS).exists()
            else "choose another --output"
        )
        raise ToolError(
            f"{folder}: expected a path that does not exist yet, found a folder with files; "
            f"{remedy}"
        )
