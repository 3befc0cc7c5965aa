# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Mapping between a recording's values and a bundle's, and names for the values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.replaying.recording import COMMAND_ROWS, Info, RecordedTick
from policy_core.bundle.bundle import Bundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.state_fields import is_per_joint
from policy_core.bundle.terms import term_names
from policy_core.control_state import ControlState
from policy_core.interfaces import F64, Tensor
from policy_core.observation.state import StateVector
from policy_inference.comparison.open_loop import joints

_PER_JOINT = ("stand", "safe", "step", "held", "joint_check", "run")
"""Parts of a controller's state whose arrays have a value per joint."""


class Recorded:
    """Mapping between a recording's values and a bundle's.

    Attributes:
        policy: Name of the bundle's policy.
        joints: Indices of the bundle's joints among the recorded ones.
        back: Indices of the recorded joints among the bundle's.
        fields: Recorded fields of the state; other fields are computed by the policy itself, or
            come from messages.
    """

    def __init__(self, bundle: Bundle, info: Info, state: StateVector) -> None:
        names = bundle.contract.joints.on_robot()
        if sorted(info.joints) != sorted(names):
            raise ToolError(
                f"{bundle.path}: expected a policy for the joints of the recording "
                f"({', '.join(info.joints)}), found one for {', '.join(names)}"
            )
        self.policy = bundle.contract.name
        self.joints = [info.joints.index(name) for name in names]
        self.back = [names.index(name) for name in info.joints]
        self.fields = [name for name in info.fields if name in state.slices]
        places, sources = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
        for name in self.fields:
            part, own = info.fields[name], state.slices[name]
            if part.stop - part.start != own.stop - own.start:
                raise ToolError(
                    f"{bundle.path}: {name}: expected {part.stop - part.start} values "
                    f"(as recorded), found {own.stop - own.start}; this bundle is for "
                    "other joints or sensors"
                )
            source = np.arange(part.start, part.stop)
            sources.append(source[self.joints] if is_per_joint(name) else source)
            places.append(np.arange(own.start, own.stop))
        self._to, self._from = np.concatenate(places), np.concatenate(sources)

    def write(self, tick: RecordedTick, flat: F64) -> None:
        flat[self._to] = tick.state[self._from]

    def command(self, tick: RecordedTick) -> F64 | None:
        return None if tick.command is None else tick.command[:, self.joints]

    def target(self, tick: RecordedTick) -> F64 | None:
        return None if tick.target is None else tick.target[self.joints]

    def in_order(self, state: ControlState) -> ControlState:
        """Return a recorded state with its joints in the bundle's order."""
        return ControlState(
            tree={
                name: self._in_order(part) if name in _PER_JOINT else part
                for name, part in state.tree.items()
            }
            | {
                "state": {
                    name: self._in_order(values) if is_per_joint(name) else values
                    for name, values in state.tree["state"].items()
                }
            }
        )

    def _in_order(self, part: Any) -> Any:
        if isinstance(part, Mapping):
            return {name: self._in_order(each) for name, each in part.items()}
        if isinstance(part, np.ndarray) and part.shape[-1:] == (len(self.joints),):
            return part[..., self.joints]
        return part


def fit(found: Mapping[str, Tensor], arrays: Mapping[str, Tensor]) -> bool:
    return {name: each.shape for name, each in found.items()} == {
        name: each.shape for name, each in arrays.items()
    }


def require_tensors(
    policy: str, tick: RecordedTick, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> None:
    """Raise ToolError unless a tick has a model's inputs, and all or none of its outputs."""
    for found, ours in ((tick.inputs, inputs), (tick.outputs or outputs, outputs)):
        if not fit(found, ours):
            raise ToolError(
                f"{policy}: tick {tick.number}: expected the model's tensors ({_shapes(ours)}), "
                f"found {_shapes(found)}"
            )


def _shapes(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name}{list(each.shape)}" for name, each in tensors.items()) or "none"


def state_names(
    names: Sequence[str], fields: Mapping[str, slice], actions: Sequence[str] = ()
) -> list[str]:
    """Return a name for each value of the robot's state: `joint_pos[knee]`, `quat_xyzw[3]`.

    Args:
        names: Names of the joints.
        fields: Slice of each field.
        actions: Joints of the last action.
    """
    found = []
    for field, part in fields.items():
        size = part.stop - part.start
        of = names if is_per_joint(field) else actions if field == "last_action" else ()
        found += [f"{field}[{of[i] if len(of) == size else i}]" for i in range(size)]
    return found


def input_names(contract: JointContract, name: str) -> list[str]:
    """Return a name for each value of a model input: term, joint or index, and age."""
    observation = contract.observations.get(name)
    if observation is None:
        size = math.prod(contract.model.inputs[name].shape)
        return [f"{name}[{i}]" for i in range(size)]
    length, newest_first = observation.history.length, observation.history.order != "oldest_first"
    terms = [
        (
            [
                each if each.startswith(term.term) else f"{term.term}[{each}]"
                for each in term_names(term, contract)
            ],
            term.history_length or length,
        )
        for term in observation.terms
    ]
    if observation.history.layout == "per_frame":
        terms = [([each for names, _ in terms for each in names], length)]
    found = []
    for names, frames in terms:
        ages = range(frames) if newest_first else reversed(range(frames))
        found += [
            f"{name}: {each}{f', frame -{age}' if age else ''}" for age in ages for each in names
        ]
    return found


def output_names(contract: JointContract, name: str, size: int) -> list[str]:
    """Return a name for each value of a model output: joint or index."""
    if name == contract.action.output:
        return [f"{name}: {joint}" for joint in joints(contract)]
    return [f"{name}[{i}]" for i in range(size)]


def command_names(names: tuple[str, ...]) -> list[str]:
    return [f"{row}[{name}]" for row in COMMAND_ROWS for name in names]
