# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of the nodes that a test starts."""

import os
from pathlib import Path


def whole_recordings() -> set[Path]:
    """Return what is there and whole."""
    folder = Path(os.environ["ROS_HOME"], "flights")
    return {path for path in folder.glob("*") if not path.name.startswith(".")}


def recorded_runs(before: set[Path]) -> list[Path]:
    """Return the recorded runs that were not there before.

    On a busy machine a rule may trip in between, which makes a recording of its own.
    """
    return [path for path in whole_recordings() - before if path.name.endswith("-run")]
