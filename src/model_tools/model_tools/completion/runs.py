# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a healthy robot did under a policy, from which nominal figures are measured."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from model_tools.completion.replayed import replayed
from model_tools.errors import ToolError
from model_tools.row_files import read_rows
from model_tools.terms import term_columns
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.load import Bundle
from policy_inference.bundle.validate import term_places
from policy_inference.comparison.rows import Rows
from policy_inference.interfaces import F64

MOST_BREAKS, SHORTEST_S = 0.1, 10.0
_STILL = 1e-3
_log = logging.getLogger("model_tools")


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
    if not {"joint_pos", "joint_vel"} <= set(rows.sensed):
        raise ToolError(f"{file}: expected the measured joints, joint_pos and joint_vel [rows, "
                        f"{len(bundle.contract.joints.names)}], since the torque that targets ask "
                        "for depends on them, found none; record them, or give a bag")
    whole, ends = replayed(bundle, rows), [0, *rows.breaks, len(rows)]
    _require_a_run(rows, bundle.contract.rate_hz)
    measured = Measured(source=f"{file.name}, {len(rows)} ticks",
                        runs=[HealthyRun(rows=whole.part(first, end), begin=None)
                              for first, end in pairwise(ends)])  # fmt: skip
    for axis in unmoved(bundle.contract, whole):
        _log.warning("%s: the command never changed %s: nominal figures, golden rows and what is "
                     "calibrated with these rows know nothing of it", file, axis)
    return measured


def _require_a_run(rows: Rows, rate_hz: float) -> None:
    """Raise unless these are the ticks of a robot at work, one after another."""
    if len(rows.breaks) > MOST_BREAKS * len(rows):
        raise ToolError(f"{rows.source}: expected rows of ticks that follow one another, "
                        f"{1.0 / rate_hz:g} s apart, each with the action of the one before, found "
                        f"{len(rows.breaks)} of {len(rows)} that do not; such rows hold no steps")
    if len(rows) < SHORTEST_S * rate_hz:
        raise ToolError(f"{rows.source}: expected {SHORTEST_S:g} s or more of a healthy robot, "
                        f"found {len(rows) / rate_hz:.1f} s; record it with commands on every axis")


def unmoved(contract: JointContract, rows: Rows) -> list[str]:
    """Return the axes of the velocity command that never changed, in words."""
    words, found = ("forward", "sideways", "turning"), dict[int, bool]()
    terms = [(name, term) for name in contract.observations
             for term in term_columns(contract, name) if term.term.term == "velocity_command"]
    for name, columns in terms:
        command = rows.inputs[name].reshape(len(rows), -1)[:, columns.where].astype(np.float64)
        for place, axis in enumerate(term_places(columns.term, contract)):
            still = bool(np.ptp(command[:, place]) < _STILL)
            found[axis] = found.get(axis, True) and still
    return [words[axis] for axis, still in sorted(found.items()) if still]
