# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Accept a walking policy on the simulated robot, without ROS and faster than real time.

    python -m tools.acceptance --bundle config/bundles/lite3_walk --output out/acceptance

Writes `gates.md`, `cases.md`, `figures.json`, and of the ten minutes `ten_minutes.json` and
pictures. The exit status is 1 when a gate does not hold.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from policy_inference.bundle.load import load_bundle
from policy_inference.errors import PolicyError
from robot_sim.errors import SimError
from tools.acceptance import report
from tools.acceptance.accept import REPORT, accept, record

_log = logging.getLogger("acceptance")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="acceptance", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--beside", type=Path, nargs="*", default=[],
                        help="folders of bundles with a report, for columns beside it")
    parser.add_argument("--record", action="store_true",
                        help="write the figures into the bundle, as its report")
    parser.add_argument("--processes", type=int, default=2, help="cases tried at a time")
    given = parser.parse_args(args)
    given.output.mkdir(parents=True, exist_ok=True)
    try:
        outcomes = accept(given.bundle, given.output, processes=given.processes)
        others = {path.name: report.read_figures(path / REPORT) for path in given.beside}
    except (PolicyError, SimError, OSError) as error:
        _log.error("acceptance: %s", error)
        return 1
    if given.record:
        record(given.bundle, outcomes)
    gates = report.gates_table({load_bundle(given.bundle).contract.name: outcomes} | others)
    report.write_figures(outcomes, given.output / "figures.json")
    (given.output / "gates.md").write_text(gates + "\n", "utf-8")
    (given.output / "cases.md").write_text(report.cases_table(outcomes) + "\n", "utf-8")
    _log.info("\n%s\n\nresults in %s", gates, given.output)
    return 0 if all(outcome.passed is not False for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
