# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Accept a walking policy on the simulated robot, without ROS and faster than real time.

    python -m tools.acceptance --bundle config/bundles/lite3_walk --output out/acceptance

Writes `gates.md`, `cases.md`, `figures.json`, and `ten_minutes`, a flight recording of the
10-minute walk. The recording is replayed through the bundle: `report.html` shows recording and
replay, and `replay.json` has the results. The exit status is 1 if a gate fails or the commands of
the replay differ.
"""
# run: ready: 1 of

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from model_tools.prove.replaying.replay_report import verdict as replay_verdict
from model_tools.simulation.robot import SimulatedRobot
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import PolicyError
from robot_sim.errors import SimError
from tools.acceptance.accept import PAGE, accept, record, replay_recording
from tools.acceptance.figures import write_figures
from tools.acceptance.tables import cases_table, gates_table, verdict
from tools.arguments import positive_count

_log = logging.getLogger("acceptance")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = _parser().parse_args(args)
    try:
        return _accept(given)
    except (PolicyError, SimError, OSError) as error:
        _log.error("acceptance: %s", error)
        return 1
    except KeyboardInterrupt:
        _log.error("acceptance: interrupted; nothing was recorded")
        return 130


def _accept(given: argparse.Namespace) -> int:
    bundle, output = load_bundle(given.bundle, kind=JointBundle), given.output
    output.mkdir(parents=True, exist_ok=True)
    robot = SimulatedRobot(figures=given.robot)
    outcomes = accept(given.bundle, output, robot=robot, processes=given.processes)
    gates = gates_table({str(given.bundle): outcomes})
    write_figures(outcomes, bundle, output / "figures.json")
    (output / "gates.md").write_text(gates + "\n", "utf-8")
    (output / "cases.md").write_text(cases_table(outcomes) + "\n", "utf-8")
    replayed = replay_recording(given.bundle, output)
    if given.record:
        record(bundle, outcomes)
    _log.info(
        "\n%s\n\n%s\nthe ten minutes, replayed: %s\n%s lists every case, %s shows the ten minutes",
        gates,
        verdict(outcomes),
        replay_verdict(replayed),
        output / "cases.md",
        output / PAGE,
    )
    return 0 if replayed and all(outcome.passed is not False for outcome in outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="acceptance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument(
        "--robot",
        default="lite3",
        help="robot of robot_sim: lite3 or go2 (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--record", action="store_true", help="write the figures into the bundle, as a report"
    )
    parser.add_argument(
        "--processes", type=positive_count, default=2, help="number of cases to run at a time"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
