# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments for verbs that make or simulate bundles: golden rows, nominal figures, robot."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from model_tools.commands.arguments import add_topics
from model_tools.errors import ToolError

if TYPE_CHECKING:
    from model_tools.make.complete import Completion, Measure
    from model_tools.simulation.robot import SimulatedRobot


def add_completion_arguments(parser: argparse.ArgumentParser) -> None:
    sources = parser.add_mutually_exclusive_group()
    sources.add_argument(
        "--simulate",
        action="store_true",
        help="measure nominal figures in walks of the simulated robot, a Lite3 "
        "or the one from --robot-model",
    )
    sources.add_argument(
        "--rollout",
        type=Path,
        metavar="NPZ",
        help="measure nominal figures in a recorded run with one row per tick: the model's inputs "
        "(or obs), joint_pos, joint_vel",
    )
    sources.add_argument(
        "--bag", type=Path, help="measure nominal figures in a rosbag2 recording of a healthy robot"
    )
    add_robot(parser)
    add_topics(parser)
    parser.add_argument(
        "--golden",
        type=Path,
        metavar="NPZ",
        help="golden rows to check and use, instead of rows of the measured run",
    )
    parser.add_argument(
        "--rows-output",
        type=Path,
        metavar="NPZ",
        help="save all rows of the measured run, for calibration and comparison",
    )


def read_completion(given: argparse.Namespace) -> Completion:
    """Return how a bundle is to be completed, according to the arguments."""
    from model_tools.make.complete import Completion

    recording = given.rollout or given.bag
    for read in (recording, given.golden):
        if read and given.rows_output and given.rows_output.resolve() == read.resolve():
            raise ToolError(f"--rows-output: expected a file other than {read}, which is an input")
    measure = _measure(given)
    if measure is None and given.rows_output is not None:
        raise ToolError(
            "--rows-output saves the rows of a measured run, but there is none; pass --simulate, "
            "--rollout or --bag"
        )
    return Completion(
        measure=measure, golden=given.golden, rows_output=given.rows_output, force=given.force
    )


def find_suspicions(bundle: Path) -> Sequence[str]:
    """Return the suspicious values that `inspect` finds in a new bundle."""
    from model_tools.prove.inspect.registry import inspect_path

    report = inspect_path(bundle)
    return [*report.problems, *report.suspicions]


def _measure(given: argparse.Namespace) -> Measure | None:
    robot = read_robot(given, "--simulate")
    if given.simulate:
        from model_tools.make.unrecorded import simulated_walks

        return functools.partial(simulated_walks, robot=robot)
    recording = given.rollout or given.bag
    if recording is None:
        return None
    from model_tools.make.nominal import recorded_runs

    return functools.partial(recorded_runs, file=recording, topics=dict(given.topic))


def add_robot(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that select the simulated robot."""
    parser.add_argument(
        "--robot-model",
        type=Path,
        metavar="ROBOT",
        help="simulate this robot instead of a Lite3: go2, g1, a folder of figures, or a file, "
        "MJCF or URDF",
    )
    parser.add_argument(
        "--robot-imu",
        default="",
        metavar="NAME",
        help="site or body of --robot-model whose frame is the IMU's (default: the base)",
    )


def read_robot(given: argparse.Namespace, asked_by: str) -> SimulatedRobot:
    """Return the robot selected by the arguments of `add_robot`.

    Args:
        given: The arguments.
        asked_by: The option that requests a simulation.
    """
    simulates = getattr(given, asked_by.removeprefix("--").replace("-", "_"))
    if given.robot_model is not None and not simulates:
        raise ToolError(
            f"--robot-model: expected {asked_by} (which simulates the robot), found none"
        )
    from model_tools.simulation.robot import SimulatedRobot
    from robot_sim.figures import figures_file

    model = given.robot_model
    has_figures = model is not None and figures_file(model).is_file()
    if given.robot_imu and (model is None or has_figures):
        raise ToolError("--robot-imu: expected --robot-model (the model with this IMU), found none")
    if has_figures:
        return SimulatedRobot(figures=str(model))
    return SimulatedRobot(model=model, imu=given.robot_imu)


def output_folder(
    given: argparse.Namespace, marker: str, *owned: str
) -> AbstractContextManager[Path | None]:
    """Return a context for the output's temporary folder; errors occur before the work starts.

    `marker` and `owned` are those of `new_folder`. Without `--output`, the context yields None.
    """
    from model_tools.files.outputs import new_folder

    if given.output is None:
        return nullcontext()
    return new_folder(given.output, marker=marker, owned=owned, force=given.force)
