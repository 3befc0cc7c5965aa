# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded values put into the robot's own code: sensors, back end, and the order of joints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.replaying.recorded_ticks import Info, RecordedTick
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.contract import JointContract, Term
from policy_inference.bundle.state_fields import COMMAND, fields_of, is_per_joint, velocity_of
from policy_inference.bundle.terms import term_names
from policy_inference.comparison.open_loop import joints
from policy_inference.core.command import CommandFader
from policy_inference.core.limits import Limits, input_timeouts_ns
from policy_inference.core.messages import state_reader
from policy_inference.core.state import EXTERNAL, RobotState
from policy_inference.errors import RobotError
from policy_inference.interfaces import F64, Backend, Tensor

_ROUNDING_NS = 1_000
"""Ages are recorded in seconds."""
COMMAND_ROWS = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")


class Recorded:
    """Which values of a recording are which of a bundle's.

    Attributes:
        joints: Places of the bundle's joints among the recorded ones.
        back: Places of the recorded joints among the bundle's.
        fields: Fields of the state that were recorded; another one is the policy's own, or comes
            from a message.
    """

    def __init__(self, bundle: JointBundle, info: Info, state: RobotState) -> None:
        """Find everything by name.

        Raises:
            ToolError: The bundle is for other joints or sensors.
        """
        names = bundle.contract.joints.on_robot()
        if sorted(info.joints) != sorted(names):
            raise ToolError(
                f"{bundle.path}: expected a policy for the joints of the recording "
                f"({', '.join(info.joints)}), found one for {', '.join(names)}"
            )
        self.joints = [info.joints.index(name) for name in names]
        self.back = [names.index(name) for name in info.joints]
        self.fields = [name for name in info.fields if name in state.slices]
        self._joint_pos = info.fields.get("joint_pos")
        places, sources = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
        for name in self.fields:
            part, own = info.fields[name], state.slices[name]
            if part.stop - part.start != own.stop - own.start:
                raise ToolError(
                    f"{bundle.path}: {name}: expected {part.stop - part.start} values, "
                    f"as recorded, found {own.stop - own.start}; it is a policy for "
                    "other joints or sensors"
                )
            source = np.arange(part.start, part.stop)
            sources.append(source[self.joints] if is_per_joint(name) else source)
            places.append(np.arange(own.start, own.stop))
        self._to, self._from = np.concatenate(places), np.concatenate(sources)

    def write(self, tick: RecordedTick, flat: F64) -> None:
        """Write the recorded state of a tick where it is in `RobotState.flat`."""
        flat[self._to] = tick.state[self._from]

    def command(self, tick: RecordedTick) -> F64 | None:
        """Return the command of a tick [6, joints]; None where nothing was commanded."""
        return None if tick.command is None else tick.command[:, self.joints]

    def joint_pos(self, tick: RecordedTick) -> F64 | None:
        """Return the measured positions of a tick [joints]; None where they are not recorded."""
        part = self._joint_pos
        return None if part is None else tick.state[part][self.joints]


class SensedState:
    """Writes what each tick sampled into the state, with the robot's own readers."""

    def __init__(self, contract: JointContract, state: RobotState, limits: Limits) -> None:
        """Read for the inputs that the contract needs."""
        self._state, self._slow = state, input_timeouts_ns(contract)
        self._readers = {
            name: state_reader(name, contract.joints.on_robot(), state)
            for name in state.inputs
            if name != COMMAND
        }
        self._command = CommandFader(
            state.get("velocity_command"), contract.velocity_command, limits
        )
        self.forget()

    def forget(self) -> None:
        """Know nothing of messages before; each input is unknown until the next of it."""
        self._seen = set[str]()
        self._before: RecordedTick | None = None
        self._command.reset()

    def take(self, tick: RecordedTick) -> None:
        """Write the state of a tick's sensors."""
        for name, message in tick.messages.items():
            if name in self._state.inputs and self._was_taken(name, tick):
                self._read(name, message, tick)
        self._before = tick
        if COMMAND in self._seen:
            self._command.update(tick.time_ns)
        self._state.derive()

    def known(self, tick: RecordedTick) -> set[str]:
        """Return the fields that messages of the recording, or their absence, say."""
        seen = self._seen | {name for name, age_ns in tick.ages_ns.items() if age_ns is None}
        return {field for name in seen for field in _fields(name)}

    @property
    def required(self) -> set[str]:
        """The fields of inputs that must not be older than the robot's state may be."""
        return {
            field
            for name in self._state.inputs
            if name not in self._slow
            for field in _fields(name)
        }

    def _was_taken(self, name: str, tick: RecordedTick) -> bool:
        """Return whether the robot took a message up: else the input only grew older.

        A stamp may be repeated, a value may be none that a joint can have.
        """
        before, age_ns = self._before, tick.ages_ns.get(name, 0)
        if before is None or age_ns is None or (then_ns := before.ages_ns.get(name)) is None:
            return age_ns is not None
        return abs(age_ns - then_ns - tick.time_ns + before.time_ns) > _ROUNDING_NS

    def _read(self, name: str, message: Any, tick: RecordedTick) -> None:
        try:
            if name != COMMAND:
                self._readers[name].read(message)
            elif not self._command.set(
                velocity_of(message), tick.time_ns - (tick.ages_ns.get(name) or 0)
            ):
                return
        except RobotError:
            return  # nothing was written, as on the robot
        self._seen.add(name)


def _fields(name: str) -> list[str]:
    return [field.name for field in fields_of(name)] or [f"{EXTERNAL}{name}"]


class RecordedBackend:
    """Passes everything on, but for what is recorded.

    Attributes:
        given: Inputs to run the model on, in the place of those that were built.
        said: Outputs to go on with, in the place of those that the model answers.
        built, answered: What these replaced.
    """

    def __init__(self, backend: Backend) -> None:
        """Wrap an opened backend; it stays the caller's to close."""
        self._backend = backend
        self.name, self.details = backend.name, backend.details
        self.inputs, self.outputs = backend.inputs, backend.outputs
        self.built = {name: array.copy() for name, array in self.inputs.items()}
        self.answered = {name: array.copy() for name, array in self.outputs.items()}
        self.given: Mapping[str, Tensor] = {}
        self.said: Mapping[str, Tensor] = {}

    def run(self) -> None:
        """Keep the inputs, replace those that are given, run; the same for the outputs."""
        for name, array in self.inputs.items():
            self.built[name][...] = array
        for name, values in self.given.items():
            self.inputs[name][...] = values
        self._backend.run()
        for name, array in self.outputs.items():
            self.answered[name][...] = array
        for name, values in self.said.items():
            self.outputs[name][...] = values

    def close(self) -> None:
        """Close the wrapped backend."""
        self._backend.close()


def fit(
    found: Mapping[str, Tensor], arrays: Mapping[str, Tensor], *, or_none: bool = False
) -> bool:
    """Return whether recorded tensors are those of a model, or, where allowed, there are none."""
    if or_none and not found:
        return True
    return {name: each.shape for name, each in found.items()} == {
        name: each.shape for name, each in arrays.items()
    }


def shapes(tensors: Mapping[str, Tensor]) -> str:
    """Return names and shapes in words."""
    return ", ".join(f"{name}{list(each.shape)}" for name, each in tensors.items()) or "none"


def state_names(contract: JointContract, fields: Mapping[str, slice]) -> list[str]:
    """Return a name for each value of the robot's state: `joint_pos[knee]`, `quat_xyzw[3]`."""
    names = []
    for field, part in fields.items():
        size = part.stop - part.start
        of = (
            contract.joints.names
            if is_per_joint(field)
            else joints(contract)
            if field == "last_action"
            else ()
        )
        names += [f"{field}[{of[i] if len(of) == size else i}]" for i in range(size)]
    return names


def input_names(contract: JointContract, name: str) -> list[str]:
    """Return a name for each value of a model input: its term, joint or place, and age."""
    observation = contract.observations.get(name)
    if observation is None:
        size = math.prod(contract.model.inputs[name].shape)
        return [f"{name}[{i}]" for i in range(size)]
    length, newest_first = observation.history.length, observation.history.order != "oldest_first"
    terms = [
        (_term_names(term, contract), term.history_length or length) for term in observation.terms
    ]
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
    names = term_names(term, contract)
    return [each if each.startswith(term.term) else f"{term.term}[{each}]" for each in names]


def _age(ticks: int) -> str:
    return f", {ticks} before" if ticks else ""
