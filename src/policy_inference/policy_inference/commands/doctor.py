# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Examine whether this machine can run a policy, and what it lacks.

    policy_inference doctor my_bundle --backend tensorrt,onnx

Opens no device and starts no ROS. The exit status is 0 if at least one of the back ends can run.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_store.command_line import CommandResult, add_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    add_bundle(
        parser,
        "folder of a bundle, or name of an installed one: whether its files fit this machine",
        nargs="?",
    )
    parser.add_argument(
        "--backend",
        metavar="A,B",
        help="back ends to examine; default: those "
        "that the bundle has a model for; without a bundle, all",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="file for the findings, JSON")
    parser.add_argument("--force", action="store_true", help="replace a file that exists")


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Do it.

    Returns:
        As in the file.
    """
    # Not before signals are handled: this takes a while.
    from policy_inference.commands.examination import examine

    return examine(given)
