# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a healthy robot did under a policy, from which nominal figures are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from model_tools.completion.replayed import replayed
from model_tools.errors import ToolError
from model_tools.row_files import read_rows
from model_tools.rows import Rows
from policy_inference.bundle.load import Bundle
from policy_inference.interfaces import F64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HealthyRun:
    """Ticks in RUN that follow one another.

    Attributes:
        rows: All tensors of the model, and the measured joints, of every tick.
        begin: Command before the first tick [joints]; None where it is not known.
    """

    rows: Rows
    begin: F64 | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Runs of a healthy robot, and in words where they are from."""

    source: str
    runs: Sequence[HealthyRun]


def recorded(bundle: Bundle, file: Path, topics: Mapping[str, str] | None = None) -> Measured:
    """Return the runs that a rollout file or a bag holds.

    Args:
        bundle: Of the policy that ran.
        file: As `model_tools.row_files.read_rows` takes it.
        topics: Topics of a bag by input, where they have other names.

    Raises:
        ToolError: It cannot be used: no such rows, no measured joints, or actions that are not
            those of the bundle's model.
        PolicyError: The model does not run.
        OSError: The file cannot be read.
    """
    rows = read_rows(file, bundle, topics)
    if rows.joint_pos is None or rows.joint_vel is None:
        raise ToolError(f"{file}: expected the measured joints, joint_pos and joint_vel [rows, "
                        f"{len(bundle.contract.joints.names)}], since the torque that targets ask "
                        "for depends on them, found none; record them, or give a bag")
    whole, ends = replayed(bundle, rows), [0, *rows.breaks, len(rows)]
    return Measured(source=f"{file.name}, {len(rows)} ticks",
                    runs=[HealthyRun(rows=whole.part(first, end), begin=None)
                          for first, end in pairwise(ends)])
