# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of verbs that simulate: which robot. Others' verbs need no simulator for theirs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from model_tools.errors import ToolError

if TYPE_CHECKING:
    from model_tools.closed_loop.simulated_robot import SimulatedRobot


def add_robot(parser: argparse.ArgumentParser) -> None:
    """Declare which robot is simulated."""
    parser.add_argument("--robot-model", type=Path, metavar="FILE",
                        help="simulate this robot, MJCF or URDF, instead of a Lite3")
    parser.add_argument("--robot-imu", default="", metavar="NAME",
                        help="site or body of that model whose frame is the IMU's (default: its "
                             "base)")


def robot_of(given: argparse.Namespace, asked_by: str) -> SimulatedRobot:
    """Return the robot that the arguments of `add_robot` name.

    Args:
        given: The arguments.
        asked_by: The option that simulates at all.

    Raises:
        ToolError: A model is named and nothing is simulated, or an IMU without a model.
    """
    simulates = getattr(given, asked_by.removeprefix("--").replace("-", "_"))
    if given.robot_model is not None and not simulates:
        raise ToolError(f"--robot-model: expected {asked_by}, which simulates it, found none")
    if given.robot_imu and given.robot_model is None:
        raise ToolError("--robot-imu: expected --robot-model, which has it, found none")
    from model_tools.closed_loop.simulated_robot import SimulatedRobot

    return SimulatedRobot(model=given.robot_model, imu=given.robot_imu)
