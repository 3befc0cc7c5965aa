# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tries all cases with one bundle, in parallel processes."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.bags.bag import METADATA
from model_tools.files.contract_text import keep_report
from model_tools.files.outputs import new_file, new_folder
from model_tools.files.report_page import write_page
from model_tools.prove.evaluation.pool import LocalPool, NotDone
from model_tools.prove.replaying.replay import ReplayedFlight, replay
from model_tools.prove.replaying.replay_report import replay_report
from model_tools.prove.trial import WalkOutcome, try_case
from model_tools.simulation.robot import LITE3, SimulatedRobot, WalkCase
from policy_core.bundle.bundle import REPORT_FOLDER, JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import Backend
from policy_inference.backends.registry import open_backend
from policy_inference.flight.message_types import message_types
from tools.acceptance.cases import all_cases
from tools.acceptance.figures import write_figures
from tools.acceptance.tables import case_row

RECORDING, PAGE, REPLAYED = "ten_minutes", "report.html", "replay.json"
REPORT = Path(REPORT_FOLDER, "acceptance.json")
"""Path of the acceptance figures in a bundle."""
_log = logging.getLogger("acceptance")


def accept(
    bundle: Path, recordings: Path, *, robot: SimulatedRobot = LITE3, processes: int = 2
) -> list[WalkOutcome]:
    """Try all cases in parallel; write a flight recording of the 10-minute walk to `recordings`."""
    # errors in the bundle or missing parts are reported here, once
    load_bundle(bundle, kind=JointBundle)
    message_types()
    cases, outcomes = all_cases(), dict[str, WalkOutcome]()
    # the longest first, so that all processes end at about the same time
    queue = sorted(cases, key=lambda case: -case.duration_s)
    work = functools.partial(_try, bundle, recordings, robot)
    with closing(LocalPool(work, processes, time_limit_s=math.inf).run(queue)) as done:
        for case, outcome in done:
            if isinstance(outcome, NotDone):
                raise ToolError(f"{case.name}: expected a walk, found none: {outcome.reason}")
            outcomes[case.name] = outcome
            _log.info("%d of %d: %s", len(outcomes), len(cases), case_row(outcome))
    return [outcomes[case.name] for case in cases]


def replay_recording(bundle: Path, folder: Path) -> ReplayedFlight:
    """Replay the recorded 10-minute walk; write the report next to the recording.

    Returns:
        The result, which is true if the commands are the same.
    """
    found = replay(folder / RECORDING, bundle, "", {})
    report = replay_report(found)
    with new_file(folder / REPLAYED, force=True) as growing:
        report.write_json(growing)
    with new_file(folder / PAGE, force=True) as growing:
        write_page(report, growing)
    return found


def record(bundle: JointBundle, outcomes: Sequence[WalkOutcome]) -> None:
    """Write the figures into a bundle, replacing only its previous acceptance report.

    Args:
        bundle: The bundle, as loaded before the walks.
        outcomes: Results of the walks.
    """
    keep_report(
        bundle.path,
        "onnx",
        REPORT.name,
        functools.partial(write_figures, outcomes, bundle),
        sha256=bundle.contract.model.artifacts["onnx"].sha256,
        force=True,
    )


def _try(folder: Path, recordings: Path, robot: SimulatedRobot, case: WalkCase) -> WalkOutcome:
    """Try one case, in its own process."""
    bundle = load_bundle(folder, kind=JointBundle)
    backend, _ = open_backend(bundle, ["onnx"])
    try:
        if case.group == "long":
            return try_recorded(bundle, backend, case, recordings / RECORDING, robot)
        return try_case(bundle, backend, case, robot=robot)[0]
    finally:
        backend.close()


def try_recorded(
    bundle: JointBundle,
    backend: Backend,
    case: WalkCase,
    place: Path,
    robot: SimulatedRobot = LITE3,
) -> WalkOutcome:
    """Try a case and record it, replacing an earlier recording."""
    with new_folder(place, marker=METADATA, owned=(METADATA, "*.mcap"), force=True) as growing:
        growing.rmdir()  # the recording creates its own folder
        return try_case(bundle, backend, case, growing, robot)[0]
