# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Show what is in a bundle, a model, a recording or a run's file, and what is suspicious."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("path", type=Path,
                        help="bundle folder, ONNX file, rosbag2 recording, or YAML of a run")


def run(given: argparse.Namespace) -> int:
    """Show it; return 0 also where something is suspicious."""
    from model_tools.inspect.registry import inspect_path
    from model_tools.inspect.table import show

    show(inspect_path(given.path))
    return 0
