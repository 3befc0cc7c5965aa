# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `robot_sim_demo`: a simulated robot walks under a policy bundle over real topics.

    robot_sim_demo --lockstep --no-images --bundle my_bundle --output out/my_walk

The folder gets summary.json, which --json prints, the recorded walk, plots and a video.
"""

import argparse
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_inference.command_line import CommandParser, add_backend_options, add_json
from robot_sim.demo.performance import EMULATED, PLAN_S, TRACE, perform
from robot_sim.demo.plots import IMAGE_FILES, draw
from robot_sim.demo.processes import SUMMARY, DemoOutcome, add_output, run_demo
from robot_sim.demo.summary import measured, shown, summarise, table, verdict
from robot_sim.errors import SimError
from robot_sim.figures import load_robot, robot_names

BUNDLES = {"lite3": "lite3_walk", "go2": "go2_walk"}
"""The policies that come with the suite."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo.

    Returns:
        0; 1 if the walk failed (see `verdict`); 4 if a node ended or the policy node refused; 130
        after Ctrl-C.
    """
    given, files = _parse(args), (TRACE, SUMMARY, *IMAGE_FILES)
    require_bundle = partial(_require_joints, robot=given.robot)
    return run_demo("robot_sim_demo", given, files, _demonstrate, require_bundle)


def _require_joints(bundle: str, robot: str) -> None:
    """Raise unless a robot has the joints of a bundle.

    Raises:
        SimError: It has not; names the robots that have.
        PolicyError: As of `load_bundle`.
    """
    joints = set(load_bundle(bundle, kind=JointBundle).contract.joints.on_robot())
    others = sorted(joints - {*load_robot(_simulated(robot)).joint_names})
    if not others:
        return
    fit = [f"--robot {name}" for name in robot_names() if joints <= {*load_robot(name).joint_names}]
    more = f" and {len(others) - 1} more" if others[1:] else ""
    raise SimError(
        f"{bundle}: expected a policy for the joints of {robot}, found {others[0]}{more} that it "
        f"does not have; {' or '.join(fit) or 'no robot here'} has all of them"
    )


def _simulated(robot: str) -> str:
    """Return the robot that is simulated, also behind its driver."""
    return EMULATED.get(robot, (robot,))[0]


def _demonstrate(given: argparse.Namespace) -> DemoOutcome:
    robot = load_robot(_simulated(given.robot))
    trace, reported = perform(
        given.output,
        robot=given.robot,
        bundle=given.bundle,
        backend=given.backend,
        backend_options=",".join(given.backend_option),
        seconds=given.seconds,
        lockstep=given.lockstep,
    )
    metrics = measured(trace, reported, robot)
    summary = summarise(metrics, reported)
    (given.output / SUMMARY).write_text(f"{json.dumps(summary, indent=2)}\n", encoding="utf-8")
    if given.images:
        draw(shown(trace), given.output, robot)
    failure = verdict(metrics, reported, lockstep=given.lockstep, robot=robot)
    return summary, table(metrics, reported), failure


def _parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(prog="robot_sim_demo", description=__doc__)
    parser.add_version("robot-sim")
    add_json(parser)
    add = parser.add_argument
    robot = add(
        "--robot",
        default="lite3",
        help="which robot: lite3, go2, g1 (with --bundle), go2_emulator (behind its driver), or a "
        "folder of figures (default: %(default)s)",
    )
    # argcomplete's own way to say what a shell offers.
    robot.completer = lambda **_: [*robot_names(), *EMULATED]  # type: ignore[attr-defined]
    add(
        "--bundle",
        help="folder of a bundle, or name of an installed one (default: that of the robot, "
        "lite3_walk or go2_walk)",
    )
    add("--backend", default="onnx", help="backend, or several in order of preference: a,b")
    add_backend_options(parser)
    add("--seconds", type=_positive, default=PLAN_S, help="how long to walk (default: %(default)g)")
    add_output(parser, Path("out/demo"))
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
    simulated = _simulated(given.robot)
    try:
        load_robot(simulated)
    except SimError as error:
        parser.error(f"--robot: {error}; {', '.join(EMULATED)} is a robot behind its driver")
    if given.bundle is None:
        if simulated not in BUNDLES:
            parser.error(
                f"--bundle: expected the bundle of a policy for {given.robot}, found none: only "
                f"{', '.join(BUNDLES)} have one that comes with the suite"
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
