# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robot's state from the messages of its sensors, as the robot read them."""

from __future__ import annotations

from typing import Any

from model_tools.replaying.ticks import Tick
from policy_inference.bundle.contract import JointContract
from policy_inference.core.command import CommandFader
from policy_inference.core.freshness import Input
from policy_inference.core.limits import Limits, input_timeouts_ns
from policy_inference.core.messages import COMMAND, stamp_ns, state_reader, velocity_of
from policy_inference.core.state import RobotState
from policy_inference.errors import RobotError

_FIELDS = {"joint_states": ("joint_pos", "joint_vel"),
           "imu/data": ("quat_xyzw", "ang_vel_body", "gravity_body"),
           "odom": ("lin_vel_body",), COMMAND: ("velocity_command",)}  # fmt: skip


class SensedState:
    """Writes what each tick sampled into the state, with the robot's own readers."""

    def __init__(self, contract: JointContract, state: RobotState, limits: Limits) -> None:
        """Read for the inputs that the contract needs."""
        self._state, self._slow = state, input_timeouts_ns(contract)
        self._readers = {name: state_reader(name, contract.joints.names, state)
                         for name in state.inputs if name != COMMAND}  # fmt: skip
        self._command = CommandFader(state.get("velocity_command"), contract.velocity_command,
                                     limits)
        self.forget()

    def forget(self) -> None:
        """Know nothing of messages before; each input is unknown until the next of it."""
        self._inputs = {name: Input(name, None) for name in self._state.inputs}
        self._seen = set[str]()
        self._command.reset()

    def take(self, tick: Tick) -> None:
        """Write the state of a tick's sensors."""
        for name, message in tick.messages.items():
            stamp = stamp_ns(message)
            if name in self._inputs and self._inputs[name].is_new(stamp, tick.time_ns):
                self._read(name, message, stamp, tick)
        if COMMAND in self._seen:
            self._command.update(tick.time_ns)
        self._state.derive()

    def known(self, tick: Tick) -> set[str]:
        """Return the fields that messages of the recording, or their absence, say."""
        seen = self._seen | {name for name, age_ns in tick.ages_ns.items() if age_ns is None}
        return {field for name in seen for field in _fields(name)}

    @property
    def required(self) -> set[str]:
        """The fields of inputs that must not be older than the robot's state may be."""
        return {field for name in self._inputs if name not in self._slow
                for field in _fields(name)}  # fmt: skip

    def _read(self, name: str, message: Any, stamp: int | None, tick: Tick) -> None:
        try:
            if name != COMMAND:
                self._readers[name].read(message)
            elif not self._command.set(velocity_of(message),
                                       tick.time_ns - (tick.ages_ns.get(name) or 0)):
                return
        except RobotError:
            return  # nothing was written, as on the robot
        self._inputs[name].accept(tick.time_ns, stamp, tick.stamp_ns)
        self._seen.add(name)


def _fields(name: str) -> tuple[str, ...]:
    return _FIELDS.get(name, (f"external:{name}",))
