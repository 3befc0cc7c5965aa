# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""All cases with one bundle, in parallel processes."""

from __future__ import annotations

import dataclasses
import functools
import logging
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

from policy_inference.backends.registry import open_backend
from policy_inference.bundle.load import CONTRACT_FILE, file_entry, load_bundle
from tools.acceptance import report
from tools.acceptance.cases import Case, all_cases
from tools.acceptance.trial import Outcome, try_case
from tools.contract_text import set_section

REPORT = Path("reports", "acceptance.json")
"""Where a bundle has its figures."""
_log = logging.getLogger("acceptance")


def accept(bundle: Path, recordings: Path, *, processes: int = 2) -> list[Outcome]:
    """Try all cases in parallel; write the recording of the ten minutes to `recordings`.

    Raises:
        PolicyError: The bundle cannot be loaded, or does not walk at all.
    """
    load_bundle(bundle)  # what is wrong with it is said here, once
    cases, outcomes = all_cases(), dict[str, Outcome]()
    # The longest first, so that all processes end together.
    queue = sorted(cases, key=lambda case: -case.duration_s)
    work = functools.partial(_try, bundle, recordings)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for outcome in pool.imap_unordered(work, queue):
            outcomes[outcome.name] = outcome
            _log.info("%d of %d: %s", len(outcomes), len(cases), report.case_row(outcome))
    return [outcomes[case.name] for case in cases]


def record(bundle: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the figures into a bundle, in the place of its former report."""
    file, contract = bundle / REPORT, bundle / CONTRACT_FILE
    file.parent.mkdir(exist_ok=True)
    report.write_figures(outcomes, file)
    entry = dataclasses.asdict(file_entry(file, bundle))
    text = set_section(contract.read_text("utf-8"), "reports", {"onnx": entry})
    contract.write_text(text, "utf-8")


def _try(folder: Path, recordings: Path, case: Case) -> Outcome:
    """Try one case, in a process of its own."""
    bundle = load_bundle(folder)
    backend, _ = open_backend(bundle, ["onnx"])
    try:
        outcome, trace = try_case(bundle, backend, case)
    finally:
        backend.close()
    if case.group == "long":
        report.write_recording(trace, recordings)
    return outcome
