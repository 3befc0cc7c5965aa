# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""All cases with one bundle, in parallel processes."""

from __future__ import annotations

import functools
import logging
import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from model_tools.bundle_reports import keep_report
from model_tools.closed_loop.case import Case
from model_tools.closed_loop.trial import Outcome, try_case
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.load import REPORT_FOLDER, load_bundle
from tools.acceptance.cases import all_cases
from tools.acceptance.figures import write_figures
from tools.acceptance.recording import write_recording
from tools.acceptance.tables import case_row

REPORT = Path(REPORT_FOLDER, "acceptance.json")
"""Where a bundle has its figures."""
_log = logging.getLogger("acceptance")


def accept(bundle: Path, recordings: Path, *, processes: int = 2) -> list[Outcome]:
    """Try all cases in parallel; write the recording of the ten minutes to `recordings`.

    Raises:
        PolicyError: The bundle cannot be loaded, or does not fit the robot.
        BrokenProcessPool: A process was killed.
    """
    load_bundle(bundle)  # what is wrong with it is said here, once
    cases, outcomes = all_cases(), dict[str, Outcome]()
    # The longest first, so that all processes end together.
    queue = sorted(cases, key=lambda case: -case.duration_s)
    work = functools.partial(_try, bundle, recordings)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _leave_interrupts_to_the_parent) as pool:
        try:
            for future in as_completed([pool.submit(work, case) for case in queue]):
                outcome = future.result()
                outcomes[outcome.name] = outcome
                _log.info("%d of %d: %s", len(outcomes), len(cases), case_row(outcome))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [outcomes[case.name] for case in cases]


def record(bundle: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the figures into a bundle, in the place of its former report; other reports stay."""
    contract = load_bundle(bundle).contract
    keep_report(bundle, "onnx", REPORT.name, functools.partial(write_figures, outcomes, contract),
                sha256=contract.model.artifacts["onnx"].sha256, force=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _try(folder: Path, recordings: Path, case: Case) -> Outcome:
    """Try one case, in a process of its own."""
    bundle = load_bundle(folder)
    backend, _ = open_backend(bundle, ["onnx"])
    try:
        outcome, trace = try_case(bundle, backend, case)
    finally:
        backend.close()
    if case.group == "long":
        write_recording(trace, recordings)
    return outcome
