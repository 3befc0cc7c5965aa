# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Measure how large an error in base_lin_vel a policy survives in simulated walks.

    model_tools sensitivity my_policy --output out/sensitivity --record

The walks of an `evaluate` plan, or 60 walks of 10 s with mixed commands, run with each error added
to base_lin_vel (docs/estimation.md). The survived error is the largest error up to which the lower
end of every success rate's interval reaches the plan's `required_success` (default 0.9). The output
folder contains trials.jsonl, sensitivity.json and sensitivity.html. --record stores the result in
the bundle; `install` then refuses a contract with a larger `estimation.error_mps`. The exit status
is 1 if a trial has no result, if the policy does not survive the error in its contract, or if it
fails even without an error.
"""
# run: short: --errors 0.1 --plan plan.yaml

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_tools.commands.evaluate import add_trials, run_trials
from model_tools.errors import ToolError
from policy_store.command_line import CommandResult, add_bundle

ERRORS_MPS = "0,0.05,0.1,0.2,0.4"
JSON_FILE, HTML_FILE = "sensitivity.json", "sensitivity.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder of the bundle, or name of an installed one", type=Path)
    parser.add_argument(
        "--plan", type=Path, metavar="YAML", help="plan of the walks, as for `evaluate`"
    )
    parser.add_argument(
        "--errors",
        type=_errors,
        default=_errors(ERRORS_MPS),
        metavar="A,B",
        help="velocity errors to try, RMS magnitude, m/s; they replace the plan's "
        f"velocity_error_mps; 0 and the contract's error are always tried (default {ERRORS_MPS})",
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="store the result in the bundle, where `policy_store install` checks it",
    )
    parser.add_argument("--force", action="store_true", help="replace the bundle's existing report")
    add_trials(parser)


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Measure the survived error; the exit status is 1 if it is below the error in the contract.

    Returns:
        The content of sensitivity.json.
    """
    from model_tools.files.contract_text import keep_report, require_room
    from model_tools.files.report_page import write_page
    from model_tools.prove.evaluation.plan import load_plan
    from model_tools.prove.evaluation.sensitivity import (
        sensitivity,
        sensitivity_report,
        survives,
        usual_plan,
        with_errors,
    )
    from policy_core.bundle.body import SENSITIVITY
    from policy_core.bundle.load import bundle_folder, load_bundle
    from policy_core.errors import PolicyError

    bundle = load_bundle(bundle_folder(str(given.bundle)))
    plan = usual_plan(bundle) if given.plan is None else load_plan(given.plan)
    if given.record:
        for backend in plan.backends:
            key = SENSITIVITY + backend
            require_room(bundle, key, f"{key}.json", force=given.force)
    estimation = bundle.contract.estimation
    stated_mps = [] if estimation is None else [estimation.error_mps]
    found = run_trials(given, with_errors(plan, [*given.errors, *stated_mps]), [bundle])
    figures = sensitivity(found, None if estimation is None else estimation.error_mps)
    report = sensitivity_report(figures)
    report.write_json(given.output / JSON_FILE)
    write_page(report, given.output / HTML_FILE)
    text, backend = [*report.parts, f"report in {given.output}"], figures["backend"]
    error: PolicyError | OSError | None = None
    if given.record and figures["not_done"]:
        error = ToolError(
            f"{given.output}: expected a result for every trial, found none for "
            f"{figures['not_done']}; nothing was recorded"
        )
    elif given.record:
        try:
            kept = keep_report(
                bundle.path,
                backend,
                f"{SENSITIVITY}{backend}.json",
                report.write_json,
                sha256=figures["model_sha256"],
                force=given.force,
                key=SENSITIVITY + backend,
            )
            text.append(f"report kept as {kept}")
        except (PolicyError, OSError) as failed:  # show the figures in any case
            error = failed
    good = survives(figures) and not figures["not_done"]
    return CommandResult(document=report.document, text=text, status=0 if good else 1, error=error)


def _errors(text: str) -> list[float]:
    try:
        errors = [float(word) for word in text.split(",")]
    except ValueError:
        errors = [-1.0]
    if not all(0.0 <= error < float("inf") for error in errors):
        raise argparse.ArgumentTypeError(f"expected errors of 0 m/s or more, found {text!r}")
    return errors
