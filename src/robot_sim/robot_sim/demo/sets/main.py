# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `robot_sim_demo_set`: a simulated Lite3 switches between the policies of a set.

    robot_sim_demo_set --switches 12 --no-images --output out/demo-set

It walks and turns by random commands, is pushed, and is asked for random switches; each round has
another friction and another latency. In a last round a member of the set fails. Simulator and
policy node are two processes that communicate over topics, in lockstep. The folder gets
summary.json, which --json prints.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from policy_inference.command_line import CommandParser, add_json, number_within
from robot_sim.demo.processes import SUMMARY, DemoOutcome, add_output, run_demo
from robot_sim.demo.sets.performance import SetDemoOptions, perform
from robot_sim.demo.sets.summary import summarise, table, verdict
from robot_sim.demo.sets.timeline import TIMELINE, VIDEO, write_timeline, write_walk

_log = logging.getLogger("robot_sim_demo")


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo.

    Returns:
        0; 1 if the robot fell or a step was too large; 4 if a node ended or refused; 130 after
        Ctrl-C.
    """
    return run_demo("robot_sim_demo_set", _parse(args), (SUMMARY, TIMELINE, VIDEO), _demonstrate)


def _demonstrate(given: argparse.Namespace) -> DemoOutcome:
    performed = perform(
        given.output,
        SetDemoOptions(
            bundle=given.bundle, backend=given.backend, switches=given.switches, seed=given.seed
        ),
    )
    summary = summarise(performed)
    (given.output / SUMMARY).write_text(f"{json.dumps(summary, indent=2)}\n", encoding="utf-8")
    if given.images:
        write_timeline(performed, given.output / TIMELINE)
        write_walk(performed.rounds[0], given.output / VIDEO)
    made = [name for name in (SUMMARY, TIMELINE, VIDEO) if (given.output / name).exists()]
    _log.info("%s: %s", given.output, ", ".join(made))
    return summary, table(summary), verdict(summary)


def _parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(prog="robot_sim_demo_set", description=__doc__)
    parser.add_version("robot-sim")
    add_json(parser)
    add = parser.add_argument
    add(
        "--bundle",
        default="lite3_gaits",
        help="folder of a policy set, or name of an installed one (default: %(default)s)",
    )
    add("--backend", default="onnx", help="backend, or several in order of preference: a,b")
    add(
        "--switches",
        type=number_within(1, 99_999),
        default=48,
        help="how many, in all (default: %(default)s)",
    )
    add(
        "--seed",
        type=number_within(1, 99_999),
        default=1,
        help="of all that is random (default: %(default)s)",
    )
    add_output(parser, Path("out/demo-set"))
    add("--no-images", action="store_false", dest="images", help="write no image and no video")
    return parser.parse_args(args)
