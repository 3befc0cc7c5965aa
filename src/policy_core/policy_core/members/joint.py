# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Joint policy: the model, the decoding of its outputs, and the control path."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from policy_core import words
from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import ActionTerm, JointContract, StatePair
from policy_core.bundle.state_fields import ODOMETRY
from policy_core.control.controller import Controller
from policy_core.control_state import Stateful, Tree
from policy_core.guard.bounds import Rule, healthy_range
from policy_core.guard.command import CommandFader, commanded_vectors
from policy_core.guard.limits import Limits, timeouts_in_force_ns
from policy_core.interfaces import F64, Backend, Command, Index, Kind, Tensor
from policy_core.observation.freshness import Input
from policy_core.observation.rows import ObservationBuilder
from policy_core.observation.state import LAST_OUTPUT, RobotState


class RawAction(Stateful):
    """The model output that commands joints, clipped as its terms define.

    `raw` [actions] is the latest output; `clipped` contains the clip's guard rule if the clip
    changed the output.
    """

    STATE: ClassVar[tuple[str, ...]] = ("clipped",)
    STATE_IN_PLACE: ClassVar[tuple[str, ...]] = ("raw",)

    def __init__(self, output: Tensor, terms: Sequence[ActionTerm] = ()) -> None:
        """Read from `output`, and clip as `terms` define; without terms, no value is clipped."""
        self._source_tensor = output.reshape(-1)
        self.raw: F64 = np.zeros(self._source_tensor.size)
        self.clipped: tuple[str, ...] = ()
        self._clipped = self.raw.copy()
        self._low, self._high = np.full((2, self.raw.size), np.inf)
        self._low *= -1.0
        start = 0
        for term in terms:
            end = start + len(term.joints)
            if term.clip is not None:
                self._low[start:end], self._high[start:end] = term.clip
            start = end
        self._clips = bool(np.isfinite([self._low, self._high]).any())

    def read(self) -> bool:
        """Copy the output to `raw`; return True if all its values are finite."""
        self.raw[...] = self._source_tensor
        return math.isfinite(self.raw.dot(self.raw))

    def bounded(self) -> F64:
        """Return `raw`, clipped [actions]; the next call overwrites the result."""
        if not self._clips:
            return self.raw
        np.clip(self.raw, self._low, self._high, out=self._clipped)
        self.clipped = (Rule.ACTION_CLIP.value,) if (self._clipped != self.raw).any() else ()
        return self._clipped


class GainOutputs(Stateful):
    """Gains that the model outputs; clipped to their bounds, they replace a command's gains.

    Stiffness is replaced for joints commanded by position, and damping for joints not commanded by
    effort; all other gains stay unchanged.
    """

    STATE_IN_PLACE = ("gains",)
    PLAN = ("outputs", "places", "_source", "_low", "_high")

    def __init__(
        self, contract: JointContract, command: Command, outputs: Mapping[str, Tensor]
    ) -> None:
        """Connect the model's `outputs` (by name) to the gains of `command`."""
        names, rows = contract.joints.names, ("stiffness", "damping")
        driven = [joint for term in contract.action.terms for joint in term.joints]
        self.gains = command.gains
        """Gains of the command [2, joints], which `write` changes."""
        self.outputs = [gain.output for gain in contract.action.gain_outputs.values()]
        """Output names, in the order of `raw`."""
        self._tensors = [outputs[name].reshape(-1) for name in self.outputs]
        self.raw: F64 = np.zeros(len(driven) * len(self._tensors))
        places, source, bounds = list[int](), list[int](), list[tuple[float, float]]()
        for row, (name, gain) in enumerate(contract.action.gain_outputs.items()):
            without = (Kind.EFFORT,) if name == "damping" else (Kind.EFFORT, Kind.VELOCITY)
            for i, joint in enumerate(driven):
                place = names.index(joint)
                if command.kinds[place] not in without:
                    places.append(rows.index(name) * len(names) + place)
                    source.append(row * len(driven) + i)
                    bounds.append((gain.min[i], gain.max[i]))
        self.places: Index = np.array(places, np.intp)
        """Index of each replaced value in the flattened `gains`."""
        self._source: Index = np.array(source, np.intp)
        self._low, self._high = np.array(bounds).reshape(-1, 2).T.copy()

    def read(self) -> bool:
        """Copy the outputs to `raw`; return True if all of them are finite."""
        np.concatenate(self._tensors, out=self.raw)
        return math.isfinite(self.raw.dot(self.raw))

    def fill(self) -> bool:
        """Write the gains to the command; return True if a bound changed any of them."""
        given = self.raw[self._source]
        bounded = np.clip(given, self._low, self._high)
        self.gains.reshape(-1)[self.places] = bounded
        return bool((bounded != given).any())


class ActionDecoder(RawAction, Command):
    """Computes `command` [joints] = offset + scale x clip(output), in contract order.

    A joint without a term keeps its default position. Gains from the model replace the command's
    gains.
    """

    STATE = (*Command.STATE, "_gain_outputs")
    STATE_IN_PLACE = ("command", "raw")
    PLAN = (
        *Command.PLAN,
        "_source",
        "_driven",
        "_scale",
        "_offset",
        "_per_scale",
        "_low",
        "_high",
        "_clips",
        "_gain_outputs",
    )

    def __init__(
        self, contract: JointContract, output: Tensor, outputs: Mapping[str, Tensor] = {}
    ) -> None:
        """Connect the model's outputs.

        Args:
            contract: Defines how the output maps to commands.
            output: The model output that commands joints, read by `read`.
            outputs: All outputs of the model, from which `read` reads the gains; if omitted, the
                contract's gains apply.
        """
        joints, names = contract.joints, contract.joints.names
        driven = {joint: Kind(each.kind) for each in contract.action.terms for joint in each.joints}
        kinds = [driven.get(name, Kind.POSITION) for name in names]
        RawAction.__init__(self, output, contract.action.terms)
        Command.__init__(self, kinds, joints.stiffness, joints.damping, healthy_range(contract))
        default = joints.default_position
        self._source = np.zeros(len(names), dtype=np.intp)
        self._scale, self._offset = np.zeros(len(names)), default.copy()
        start = 0
        for term in contract.action.terms:
            self._add(term, start, contract)
            start += len(term.joints)
        self._per_scale = np.zeros(len(names))
        np.divide(1.0, self._scale, self._per_scale, where=self._scale != 0.0)
        self._inverse = np.zeros(len(names))
        self._driven = np.array([names.index(joint) for joint in driven])
        in_order = np.array_equal(self._source, np.arange(self.raw.size))
        self._gather = None if in_order else self._source
        self.command[:] = default
        has_gains = outputs and contract.action.gain_outputs
        self._gain_outputs = GainOutputs(contract, self, outputs) if has_gains else None

    def _add(self, term: ActionTerm, start: int, contract: JointContract) -> None:
        joints = [contract.joints.names.index(name) for name in term.joints]
        self._source[joints] = np.arange(start, start + len(joints))
        self._scale[joints] = term.scale
        self._offset[joints] = term.offset

    def read(self) -> bool:
        """Read the output and the gains; return True if all values are finite."""
        finite = super().read()
        return finite and (self._gain_outputs is None or self._gain_outputs.read())

    def decode(self) -> F64:
        """Return the command [joints] for `raw`; the next call overwrites the result."""
        raw, command = self.bounded(), self.command
        if self._gain_outputs is not None:
            self._fill_gains(self._gain_outputs)
        if self._gather is not None:
            raw = raw.take(self._gather, None, command, "clip")
        np.multiply(raw, self._scale, command)
        return np.add(command, self._offset, command)

    @property
    def steady_gains(self) -> F64:
        """`gains` [2, joints], with NaN for the gains that the model outputs."""
        steady = self.gains.copy()
        if self._gain_outputs is not None:
            steady.reshape(-1)[self._gain_outputs.places] = np.nan
        return steady

    def _fill_gains(self, outputs: GainOutputs) -> None:
        limited = outputs.fill()
        self.is_rescaled = True
        if not self._clips:
            self.clipped = ()
        if limited:
            self.clipped = (*self.clipped, Rule.GAIN_LIMIT.value)

    def invert_command(self, command: F64, into: F64) -> None:
        """Write the raw output [actions] that would produce this command [joints] to `into`.

        An output that has no effect, because its scale is 0, is set to 0.
        """
        np.subtract(command, self._offset, self._inverse)
        np.multiply(self._inverse, self._per_scale, self._inverse)
        self._inverse.take(self._driven, None, into, "clip")


class JointPolicy(Stateful):
    """Runs a bundle's model on the robot state; implements `Policy`.

    `infer` and `commit` are separate: a late result is not committed, and so leaves the history,
    last action and recurrent state unchanged.
    """

    STATE = ("action", "_remembering", "_recurrent", "_tick", "begins")
    PLAN = ("action", "_observations")
    change = ""

    def __init__(self, bundle: JointBundle, backend: Backend, state: RobotState) -> None:
        """Connect the state, the observations, the back end's arrays and the action."""
        contract = self._contract = bundle.contract
        output = backend.outputs[contract.action.output]
        self.action = ActionDecoder(contract, output, backend.outputs)
        self._state = state
        if bundle.clip is not None:
            state.play(bundle.clip)
        self._backend = backend
        self._observations = [
            ObservationBuilder(
                observation, contract, state, backend.inputs[name], bundle.statistics.get(name)
            )
            for name, observation in contract.observations.items()
        ]
        self._remembering = [each for each in self._observations if each.remembers]
        self._recurrent = RecurrentState(contract.state, backend, bundle.initial_state)
        self._fed_back = [
            each for each in (self._recurrent, LastOutputs(state, backend)) if each.pairs
        ]
        self._last_action = state["last_action"]
        self.remembers = bool(self._remembering) or state.keeps_time
        """True if `watch` has any effect."""
        self._tick = 0
        self.begins = True
        """True if history, last action and recurrent state were empty at the last `infer`."""

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core: each part, with the tensors it uses."""
        plan, contract = super().plan(), self._contract
        plan["action"]["output"] = contract.action.output
        for name, observation in zip(contract.observations, plan["observations"], strict=True):
            observation["input"] = name
        plan["recurrent"] = [
            {
                "input": each.input,
                "output": each.output,
                "initial": self._recurrent.initial_numbers(each.input),
            }
            for each in contract.state
        ]
        plan["last_outputs"] = [
            {"field": f"{LAST_OUTPUT}{name}", "output": name} for name in self._state.last_outputs
        ]
        return plan

    def reset(self) -> None:
        """Clear the history, last action, recurrent state, phase and reference motion."""
        self._tick = 0
        self._state.restart()
        self._recurrent.reset()
        for observation in self._remembering:
            observation.reset()

    def pause(self, duration_ns: int) -> None:
        """Do nothing, since the policy counts ticks and does not measure time."""

    def watch(self) -> None:
        """Observe a tick without running the model: advance the history and the clocks.

        The last action, observed outputs and recurrent state do not change.
        """
        for observation in self._remembering:
            observation.write()
        self._next()

    def infer(self) -> bool:
        """Write the observations and run the model; return True if the model's output is finite.

        Raises:
            BackendError: The runtime failed.
        """
        self.begins = self._tick == 0
        for observation in self._observations:
            observation.write()
        self._backend.run()
        if not self.action.read():
            return False
        return not self._fed_back or all(each.is_finite() for each in self._fed_back)

    def commit(self) -> F64:
        """Use the inference result in this tick, and return the command [joints]."""
        self._last_action[...] = self.action.raw
        for outputs in self._fed_back:
            outputs.advance()
        self._next()
        return self.action.decode()

    def _next(self) -> None:
        """Advance to the next tick of the run."""
        self._tick += 1
        self._state.advance()
        for observation in self._remembering:
            observation.advance()


class RecurrentState(Stateful):
    """Feeds each recurrent state from its output back to its input, tick by tick."""

    def __init__(
        self,
        pairs: Sequence[StatePair],
        backend: Backend,
        initial: Mapping[str, Tensor] = {},
    ) -> None:
        """Start with the initial state.

        Args:
            pairs: The contract's `state` section.
            backend: Opened back end with the inputs and outputs.
            initial: Initial values by input name; zeros for inputs not listed.
        """
        self.initial = initial
        self.pairs = [(backend.inputs[pair.input], backend.outputs[pair.output]) for pair in pairs]
        """Input and output arrays of each pair; may be empty."""
        self._inputs = {pair.input: backend.inputs[pair.input] for pair in pairs}
        self.reset()

    def initial_numbers(self, name: str) -> F64 | None:
        """Return the initial values of an input [size]; None for zeros."""
        initial = self.initial.get(name)
        return None if initial is None else initial.astype(np.float64).reshape(-1)

    def reset(self) -> None:
        for name, into in self._inputs.items():
            into[...] = self.initial.get(name, 0)

    def saved(self) -> dict[str, Any]:
        """Return a copy of the recurrent states, by input name."""
        return {name: into.copy() for name, into in self._inputs.items()}

    def restore(self, saved: Tree) -> None:
        """Restore recurrent states that were saved by the same model."""
        for name, into in self._inputs.items():
            into[...] = np.reshape(saved[name], into.shape)  # the native core has no shapes

    def is_finite(self) -> bool:
        """Return True if the outputs of this tick are finite."""
        return all(np.isfinite(out).all() for _, out in self.pairs)

    def advance(self) -> None:
        """Copy this tick's outputs to the next tick's inputs."""
        for into, out in self.pairs:
            into[...] = out


class LastOutputs:
    """Writes the model outputs that `last_output` terms observe to the state, for the next tick.

    Unlike recurrent state, these values are scaled, clipped and kept in the history, like any
    observation. `RobotState.restart` sets them to zero; a dropped result leaves them unchanged.
    """

    def __init__(self, state: RobotState, backend: Backend) -> None:
        """Connect observed outputs to their state fields."""
        self.pairs = [
            (field, backend.outputs[name].reshape(-1)) for name, field in state.last_outputs.items()
        ]
        """State field and output array of each observed output; may be empty."""

    def is_finite(self) -> bool:
        """Return True if the outputs of this tick are finite."""
        return all(np.isfinite(out).all() for _, out in self.pairs)

    def advance(self) -> None:
        """Copy this tick's outputs to the fields that the next tick observes."""
        for field, out in self.pairs:
            field[:] = out


def describe_missing(name: str, contracts: Sequence[AnyContract]) -> str:
    """Return how to describe an input without a message, with the remedy if it is known.

    Args:
        name: Name of the input.
        contracts: Contracts of the policies that read it.
    """
    terms = {
        term.term
        for contract in contracts
        if isinstance(contract, JointContract)
        for observation in contract.observations.values()
        for term in observation.terms
    }
    if name != ODOMETRY.name or "base_lin_vel" not in terms:
        return words.NO_MESSAGE
    is_estimated = any(contract.estimation is not None for contract in contracts)
    return words.NO_ESTIMATE if is_estimated else words.NO_VELOCITY


def joint_controller(
    bundle: JointBundle,
    backend: Backend,
    limits: Limits,
    clock: Callable[[], int],
    state: RobotState | None = None,
    make: Callable[..., Controller] = Controller,
) -> Controller:
    """Return the controller of a joint policy.

    Args:
        bundle: Bundle with a valid contract.
        backend: Opened back end for the bundle; the caller closes it.
        limits: Limits in force.
        clock: Same as for `Controller`.
        state: Receives the measurements; None creates one.
        make: Creates the controller; takes the arguments of `Controller`.
    """
    contract = bundle.contract
    state = state or RobotState(contract, orientation=limits.max_tilt_rad is not None)
    timeouts_ns = timeouts_in_force_ns(contract, limits, state.inputs)
    inputs = {
        name: Input(name, timeout_ns, no_message=describe_missing(name, [contract]))
        for name, timeout_ns in timeouts_ns.items()
    }
    vectors = commanded_vectors(contract.commanded, state, inputs, limits)
    velocity = state.get("velocity_command")
    command = CommandFader(velocity, contract.velocity_command, limits, vectors)
    policy = JointPolicy(bundle, backend, state)
    return make(contract, policy, state, inputs, command, limits, clock)
