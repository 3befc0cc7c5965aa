# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `robot_sim_demo_act`: a simulated SO-101 reaches for a cube under a chunk policy.

    robot_sim_demo_act --episodes 2 --no-images --output out/demo-act

Arm and policy are two processes that communicate over topics, in lockstep. In each episode the
cube lies elsewhere. The folder gets summary.json, which --json prints, and the recorded motion.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from policy_inference.command_line import (
    CommandParser,
    add_backend_options,
    add_json,
    number_within,
)
from robot_sim.arm_episodes import ArmTrace
from robot_sim.arm_render import write_ends, write_episodes
from robot_sim.demo.act.performance import TRACE, DemoOptions, perform
from robot_sim.demo.act.plots import write_arm_plots
from robot_sim.demo.act.summary import summarise, table, verdict
from robot_sim.demo.processes import SUMMARY, DemoOutcome, add_output, run_demo

VIDEO, ENDS, PLOTS = "episodes.mp4", "ends.png", "plots.png"
FIRST_SEED = 1001
"""First seed of episodes outside the training: tools/train_arm uses seeds from 100 000 on."""
_log = logging.getLogger("robot_sim_demo")


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo.

    Returns:
        0; 1 if no episode succeeded or a fault ended one; 4 if a node ended or refused; 130 after
        Ctrl-C.
    """
    given, files = _parse(args), (TRACE, SUMMARY, VIDEO, ENDS, PLOTS)
    return run_demo("robot_sim_demo_act", given, files, _demonstrate)


def _demonstrate(given: argparse.Namespace) -> DemoOutcome:
    performed = perform(
        given.output,
        DemoOptions(
            bundle=given.bundle,
            backend=given.backend,
            backend_options=",".join(given.backend_option),
            mode=given.mode,
            episodes=given.episodes,
            seed=given.seed,
            lockstep=not given.real_time,
        ),
    )
    summary = summarise(performed)
    (given.output / SUMMARY).write_text(f"{json.dumps(summary, indent=2)}\n", encoding="utf-8")
    if given.images:
        _draw(performed.trace, given.output, performed.image_size)
    _log.info(
        "%s: %s",
        given.output,
        ", ".join(
            name for name in (SUMMARY, TRACE, PLOTS, ENDS, VIDEO) if (given.output / name).exists()
        ),
    )
    return summary, table(summary), verdict(summary)


def _draw(trace: ArmTrace, folder: Path, image_size: tuple[int, int]) -> None:
    """Write plots, images and a video; OpenGL works here, since the cameras needed it."""
    if (trace.episode >= 0).any():
        write_arm_plots(trace, folder / PLOTS)
    write_ends(trace, folder / ENDS, image_size=image_size)
    write_episodes(trace, folder / VIDEO, image_size=image_size)


def _parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(prog="robot_sim_demo_act", description=__doc__)
    parser.add_version("robot-sim")
    add_json(parser)
    add = parser.add_argument
    add(
        "--bundle",
        help="folder of a bundle, or name of an installed one (default: so101_reach, an ACT; with "
        "--mode rtc so101_reach_flow, since an ACT cannot be guided)",
    )
    add("--backend", default="onnx", help="backend, or several in order of preference: a,b")
    add_backend_options(parser)
    add(
        "--mode",
        choices=("synchronous", "asynchronous", "ensemble", "rtc"),
        default="synchronous",
        help="how chunks are executed (default: %(default)s)",
    )
    add(
        "--episodes",
        type=number_within(1, 99_999),
        default=10,
        help="how many (default: %(default)s)",
    )
    add(
        "--seed",
        type=number_within(1, 99_999),
        default=FIRST_SEED,
        help="of the first episode; the others count up (default: %(default)s)",
    )
    add_output(parser, Path("out/demo-act"))
    add(
        "--real-time",
        action="store_true",
        help="by the clock, instead of simulated time that waits for each command",
    )
    add("--no-images", action="store_false", dest="images", help="write no plots and no video")
    given = parser.parse_args(args)
    if given.bundle is None:
        given.bundle = "so101_reach_flow" if given.mode == "rtc" else "so101_reach"
    return given
