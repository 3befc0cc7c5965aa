# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `robot_sim_demo`: a simulated robot walks under a policy bundle over real topics."""

import argparse
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path

from policy_inference.command_line import CommandParser
from robot_sim.demo.performance import EMULATED, PLAN_S, TRACE, perform
from robot_sim.demo.plots import IMAGE_FILES, draw
from robot_sim.demo.processes import SUMMARY, run_demo
from robot_sim.demo.summary import measured, shown, summarise, table, verdict
from robot_sim.figures import load_robot

BUNDLES = {"lite3": "lite3_walk", "go2": "go2_walk"}
"""The policies that come with the suite."""
_log = logging.getLogger("robot_sim_demo")


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo.

    Returns:
        0; 1 if the walk failed (see `verdict`); 4 if a node ended or the policy node refused; 130
        after Ctrl-C.
    """
    given, files = _parse(args), (TRACE, SUMMARY, *IMAGE_FILES)
    return run_demo("robot_sim_demo", given, files, _demonstrate)


def _demonstrate(given: argparse.Namespace) -> str | None:
    robot = load_robot(EMULATED.get(given.robot, (given.robot,))[0])
    trace, reported = perform(
        given.output,
        robot=given.robot,
        bundle=given.bundle,
        backend=given.backend,
        backend_options=given.backend_options,
        seconds=given.seconds,
        lockstep=given.lockstep,
    )
    metrics = measured(trace, reported, robot)
    summary = json.dumps(summarise(metrics, reported), indent=2)
    (given.output / SUMMARY).write_text(f"{summary}\n", encoding="utf-8")
    _log.info("\n%s\n", table(metrics, reported))
    if given.images:
        draw(shown(trace), given.output, robot)
    return verdict(metrics, reported, lockstep=given.lockstep, robot=robot)


def _parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(prog="robot_sim_demo", description=__doc__)
    parser.add_version("robot-sim")
    add = parser.add_argument
    add(
        "--robot",
        default="lite3",
        help="which robot: lite3, go2, g1, go2_emulator (behind its driver), or a folder of "
        "figures (default: %(default)s)",
    )
    add(
        "--bundle",
        help="folder of a bundle, or name of an installed one (default: that of the robot, "
        "lite3_walk or go2_walk)",
    )
    add("--backend", default="onnx", help="backend, or several in order of preference: a,b")
    add(
        "--backend-options",
        default="",
        metavar="LIST",
        help="options of backends: rknn_sim.target=rk3576,tensorrt.build=yes",
    )
    add("--seconds", type=_positive, default=PLAN_S, help="how long to walk (default: %(default)g)")
    add("--output", type=Path, default=Path("out/demo"), help="folder for results")
    add(
        "--lockstep",
        action="store_true",
        help="let simulated time wait for each command, instead of real time",
    )
    add(
        "--no-images",
        action="store_false",
        dest="images",
        help="write no plots and no video; the video takes longer than the walk",
    )
    given = parser.parse_args(args)
    if given.lockstep and given.robot in EMULATED:
        parser.error(f"--lockstep: expected a simulator, found {given.robot}: it runs in real time")
    simulated = EMULATED.get(given.robot, (given.robot,))[0]
    if given.bundle is None:
        if simulated not in BUNDLES:
            parser.error(
                f"--bundle: expected a policy of {given.robot}, for which none comes along"
            )
        given.bundle = BUNDLES[simulated]
    return given


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= 3600.0:
        raise argparse.ArgumentTypeError(f"expected a number in (0, 3600], found {text}")
    return value
