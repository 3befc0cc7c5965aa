# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robot's state from the messages of its sensors, as the robot read them."""

from __future__ import annotations

from typing import Any

from model_tools.replaying.ticks import Tick
from policy_inference.bundle.contract import JointContract
from policy_inference.core.command import CommandFader
from policy_inference.core.limits import Limits, input_timeouts_ns
from policy_inference.core.messages import COMMAND, state_reader, velocity_of
from policy_inference.core.state import RobotState
from policy_inference.errors import RobotError

_FIELDS = {"joint_states": ("joint_pos", "joint_vel"),
           "imu/data": ("quat_xyzw", "ang_vel_body", "gravity_body"),
           "odom": ("lin_vel_body",), COMMAND: ("velocity_command",)}  # fmt: skip
_ROUNDING_NS = 1_000
"""Ages are recorded in seconds."""


class SensedState:
    """Writes what each tick sampled into the state, with the robot's own readers."""

    def __init__(self, contract: JointContract, state: RobotState, limits: Limits) -> None:
        """Read for the inputs that the contract needs."""
        self._state, self._slow = state, input_timeouts_ns(contract)
        self._readers = {name: state_reader(name, contract.joints.on_robot(), state)
                         for name in state.inputs if name != COMMAND}  # fmt: skip
        self._command = CommandFader(state.get("velocity_command"), contract.velocity_command,
                                     limits)
        self.forget()

    def forget(self) -> None:
        """Know nothing of messages before; each input is unknown until the next of it."""
        self._seen = set[str]()
        self._before: Tick | None = None
        self._command.reset()

    def take(self, tick: Tick) -> None:
        """Write the state of a tick's sensors."""
        for name, message in tick.messages.items():
            if name in self._state.inputs and self._was_taken(name, tick):
                self._read(name, message, tick)
        self._before = tick
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
        return {field for name in self._state.inputs if name not in self._slow
                for field in _fields(name)}  # fmt: skip

    def _was_taken(self, name: str, tick: Tick) -> bool:
        """Return whether the robot took a message up: else the input only grew older.

        A stamp may be repeated, a value may be none that a joint can have.
        """
        before, age_ns = self._before, tick.ages_ns.get(name, 0)
        if before is None or age_ns is None or (then_ns := before.ages_ns.get(name)) is None:
            return age_ns is not None
        return abs(age_ns - then_ns - tick.time_ns + before.time_ns) > _ROUNDING_NS

    def _read(self, name: str, message: Any, tick: Tick) -> None:
        try:
            if name != COMMAND:
                self._readers[name].read(message)
            elif not self._command.set(velocity_of(message),
                                       tick.time_ns - (tick.ages_ns.get(name) or 0)):
                return
        except RobotError:
            return  # nothing was written, as on the robot
        self._seen.add(name)


def _fields(name: str) -> tuple[str, ...]:
    return _FIELDS.get(name, (f"external:{name}",))
