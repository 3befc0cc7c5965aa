# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check a policy set in simulation: does the robot survive each transition, under pushes?

    model_tools set-check my_gaits
    model_tools set-check my_go2_gaits --robot-model go2 --tries 100

Each transition, including those to a fallback, is tried with random velocity commands and a push
soon after the switch, at two frictions and two latencies. The exit status is 1 if, after a switch,
the robot falls or the guard stops it, or if a transition is never granted.
"""
# run: short: --tries 1

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from model_tools.commands.arguments import number_above_0, progress_bar
from policy_store.command_line import CommandResult, add_bundle
from policy_store.report import Table

if TYPE_CHECKING:
    from model_tools.prove.set_check import SetTransitionResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, "folder of the policy set, or name of an installed one")
    parser.add_argument(
        "--robot-model",
        default="lite3",
        metavar="ROBOT",
        help="robot to simulate: lite3 (default), go2, g1 or a folder of figures",
    )
    parser.add_argument(
        "--tries",
        type=number_above_0,
        default=40,
        metavar="NUMBER",
        help="tries per transition (default %(default)d)",
    )
    parser.add_argument(
        "--backend", default="onnx", help="back end that runs all members (default %(default)s)"
    )


def run(given: argparse.Namespace) -> CommandResult[Sequence[SetTransitionResult]]:
    """Check the set; the exit status is 1 if a transition fails.

    Returns:
        An array with the result of each transition.
    """
    from model_tools.prove.set_check import check_set
    from model_tools.simulation.controlled import joint_members
    from model_tools.simulation.robot import SimulatedRobot
    from policy_core.bundle.load import bundle_folder, load_bundle
    from policy_core.bundle.set_bundle import SetBundle
    from policy_inference.backends.registry import open_models

    bundle = load_bundle(bundle_folder(given.bundle), kind=SetBundle)
    robot = SimulatedRobot(figures=given.robot_model)
    with ExitStack() as opened, progress_bar("transitions") as shown:
        backends = {
            name: opened.enter_context(open_models(member.models, [given.backend])).first
            for name, member in joint_members(bundle).items()
        }
        found = check_set(bundle, backends, robot, given.tries, shown)
    return CommandResult(
        document=found,
        text=[_table(found), *_sentences(found)],
        status=0 if all(result.holds for result in found) else 1,
    )


def _table(found: Sequence[SetTransitionResult]) -> Table:
    return Table(
        header=("transition", "tried", "made", "failed", "fails at most, %", "tilt, rad", "step"),
        rows=[
            (
                str(one.edge),
                one.tries,
                one.granted,
                one.failed,
                *(
                    (100 * one.fails_at_most, one.tilt_rad, one.step_ratio)
                    if one.granted
                    else (None, None, None)
                ),
            )
            for one in found
        ],
    )


def _sentences(found: Sequence[SetTransitionResult]) -> Iterator[str]:
    """Yield the cause of each failed transition, and what may help."""
    for one in found:
        if not one.granted:
            yield f"{one.edge}: never granted; the most frequent reason: {one.refusal}"
        if one.failed:
            remedy = (
                "choose another fallback, or none, so that the guard stops the robot"
                if one.edge.is_fallback
                else "try stricter conditions (`when`), a longer `blend_s`, or no such transition"
            )
            yield (
                f"{one.edge}: the robot failed after {one.failed} of {one.granted} switches: "
                f"{one.failure}; {remedy}"
            )
