# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Names of the values that a replay compares."""

from __future__ import annotations

import math
from collections.abc import Mapping

from policy_inference.bundle.contract import JointContract, Term
from policy_inference.bundle.terms import TERMS
from policy_inference.bundle.validate import term_names
from policy_inference.comparison.open_loop import joints

COMMAND_ROWS = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")
_PER_JOINT = ("joint_pos", "joint_vel")


def state_names(contract: JointContract, fields: Mapping[str, slice]) -> list[str]:
    """Return a name for each value of the robot's state: `joint_pos[knee]`, `quat_xyzw[3]`."""
    names = []
    for field, part in fields.items():
        size = part.stop - part.start
        of = (contract.joints.names if field in _PER_JOINT else
              joints(contract) if field == "last_action" else ())
        names += [f"{field}[{of[i] if len(of) == size else i}]" for i in range(size)]
    return names


def input_names(contract: JointContract, name: str) -> list[str]:
    """Return a name for each value of a model input: its term, joint or place, and age."""
    observation = contract.observations.get(name)
    if observation is None:
        size = math.prod(contract.model.inputs[name].shape)
        return [f"{name}[{i}]" for i in range(size)]
    length, newest_first = observation.history.length, observation.history.order != "oldest_first"
    terms = [(_term_names(term, contract), term.history_length or length)
             for term in observation.terms]  # fmt: skip
    if observation.history.layout == "per_frame":
        terms = [([each for names, _ in terms for each in names], length)]
    found = []
    for names, frames in terms:
        ages = range(frames) if newest_first else reversed(range(frames))
        found += [f"{name}: {each}{_age(age)}" for age in ages for each in names]
    return found


def output_names(contract: JointContract, name: str, size: int) -> list[str]:
    """Return a name for each value of a model output: its joint, or place."""
    if name == contract.action.output:
        return [f"{name}: {joint}" for joint in joints(contract)]
    return [f"{name}[{i}]" for i in range(size)]


def command_names(names: tuple[str, ...]) -> list[str]:
    """Return a name for each value of a command, row by row."""
    return [f"{row}[{name}]" for row in COMMAND_ROWS for name in names]


def _term_names(term: Term, contract: JointContract) -> list[str]:
    names = term_names(term, TERMS[term.term], contract)
    return [each if each.startswith(term.term) else f"{term.term}[{each}]" for each in names]


def _age(ticks: int) -> str:
    return f", {ticks} before" if ticks else ""
