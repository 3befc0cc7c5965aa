# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Subscribe to all inputs of a contract, and pass their newest messages to the controller."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rclpy.node import Node

from policy_core.bundle.state_fields import COMMAND, TWIST_STAMPED, read_velocity
from policy_core.control.controller import Controller
from policy_core.errors import RobotError
from policy_core.observation.freshness import Input
from policy_core.observation.state import StateVector
from policy_inference.messages.readers import (
    MessageReader,
    message_types,
    stamp_ns,
    state_reader,
    velocity_plan,
)
from policy_inference.nodes.sampling import Sampled, SampleGroup, message_class

if TYPE_CHECKING:
    from policy_inference.nodes.control_loop import DueTick


def subscribe(
    node: Node, group: SampleGroup, names: Iterable[str], *, stamped_command: bool
) -> dict[str, Sampled[Any]]:
    """Subscribe to inputs (best effort, depth 1); return the subscriptions by input name.

    Args:
        node: Node that subscribes.
        group: Callback group that keeps the executor away from the subscriptions.
        names: Names of the inputs: topics of `STATE_FIELDS`; all others are external vectors.
        stamped_command: True if `cmd_vel` is a TwistStamped.
    """
    types = {name: message_types(name)[0] for name in names}
    if stamped_command and COMMAND in types:
        types[COMMAND] = TWIST_STAMPED
    return {name: Sampled(node, group, message_class(kind), name) for name, kind in types.items()}


class Sampler:
    """At each tick, passes the newest message of each input to one controller."""

    def __init__(
        self, topics: Mapping[str, Sampled[Any]], controller: Controller, names: Sequence[str]
    ) -> None:
        """Prepare a reader for each input.

        Args:
            topics: Subscription to each input.
            controller: Controller with the state to write.
            names: The robot's names for the contract's joints, in the contract's order.
        """
        self._controller, self._topics, self._names = controller, topics, names
        self._states: list[tuple[Input, Sampled[Any], MessageReader]] = []
        self._command: tuple[Input, Sampled[Any]] | None = None
        for name in topics:
            entry = controller.inputs[name]
            if name == COMMAND:
                self._command = entry, topics[name]
            else:
                reader = state_reader(name, names, controller.state, controller.joint_check)
                self._states.append((entry, topics[name], reader))

    def sample(self, tick: DueTick) -> None:
        for entry, sampled, reader in self._states:
            try:
                self._sample_state(entry, sampled, reader, tick)
            except RobotError as error:
                entry.reject(str(error))
        if self._command:
            self._sample_command(*self._command, tick)

    def _sample_state(
        self, entry: Input, sampled: Sampled[Any], reader: MessageReader, tick: DueTick
    ) -> None:
        message = sampled.take()
        if message is None:
            return
        stamp = stamp_ns(message)
        # Until the first command, simulated time stands still, and the first sample is repeated.
        if entry.is_new(stamp, tick.now_ns) or tick.repeated:
            reader.read(message, tick.now_ns)
            entry.accept(tick.now_ns, stamp, tick.ros_now_ns)

    def _sample_command(self, entry: Input, sampled: Sampled[Any], tick: DueTick) -> None:
        try:
            message = sampled.take()
            if message is None or not entry.is_new(stamp := stamp_ns(message), tick.now_ns):
                return
            velocity = _finite_velocity(message)
        except RobotError as error:
            entry.reject(str(error))
            self._controller.reject_command()
        else:
            entry.accept(tick.now_ns, stamp, tick.ros_now_ns)
            self._controller.command.set(velocity, tick.now_ns - (entry.age_ns(tick.now_ns) or 0))

    def plan(self) -> list[dict[str, Any]]:
        """Return the native core's plan for the same sampling, in the order of `sample`."""
        plans = [{"input": entry.name, **reader.plan()} for entry, _, reader in self._states]
        if self._command:
            entry, sampled = self._command
            plans.append({"input": entry.name, **velocity_plan(sampled.type_name)})
        return plans

    def why_refused(self, name: str, data: bytes) -> str:
        """Return why an input's message cannot be used, without writing it anywhere.

        Args:
            name: Input name.
            data: The serialized message.
        """
        sampled, state = self._topics[name], self._controller.state
        if not data:  # the native core does not keep a message that is far too long
            return f"{name}: a message that is too long for this input"
        try:
            message = sampled.decode(data)
            if name == COMMAND:
                _finite_velocity(message)
            else:
                sizes = {field: each.stop - each.start for field, each in state.slices.items()}
                copy = StateVector(sizes, state.perceived)
                state_reader(name, self._names, copy).read(message)
        except RobotError as error:
            return str(error)
        return f"{name}: a message that could not be used"

    def restart(self) -> None:
        """Reset ages and stamps, and stop trusting the last pose, after the clock was set back."""
        self._controller.joint_check.forget()
        for entry in self._controller.inputs.values():
            entry.reset()


def _finite_velocity(message: Any) -> tuple[float, float, float]:
    velocity = read_velocity(message)
    if not all(map(math.isfinite, velocity)):
        raise RobotError("expected finite numbers, found NaN or infinity")
    return velocity
