# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A controlled policy whose every tick is written as a flight recording, as a robot's would be."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from model_tools.simulation.controlled import ControlledPolicy
from model_tools.simulation.robot import LITE3, SimulatedRobot
from policy_core.bundle.bundle import JointBundle
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Backend
from policy_inference.flight.description import flight_of, settings_of
from policy_inference.flight.message_types import message_types
from policy_inference.flight.recording import Recording
from policy_inference.flight.ring import Ring, Wire
from policy_inference.flight.sensors import (
    CONTACT_FORCES,
    IMU,
    JOINT_STATES,
    ODOMETRY,
    TWIST,
    SensorMessages,
)
from policy_inference.flight.tap import Tap
from robot_sim.drives import DriveCommand
from robot_sim.world import Sensors

_TOPICS = (JOINT_STATES, IMU, ODOMETRY, TWIST, CONTACT_FORCES)
_RING = 256
"""Ticks that are written at a time."""


class RecordedPolicy(ControlledPolicy):
    """A `ControlledPolicy` with the flight recorder's ring and writer, on simulated time.

    Used as a context: the recording is there at its end, whole, or not at all where something was
    raised. What the sensors showed is in it as the messages that a robot would have got.
    """

    def __init__(
        self,
        bundle: JointBundle,
        backend: Backend,
        place: Path,
        reason: str,
        stricter_limits: StricterLimits | None = None,
        robot: SimulatedRobot = LITE3,
    ) -> None:
        """Begin a recording.

        Args:
            bundle: JointBundle whose contract holds.
            backend: Opened backend of the bundle; stays the caller's to close.
            place: The folder to be; a number is put behind its name where there is one.
            reason: Why it is written, for a person.
            stricter_limits: Operating limits; the contract's alone if absent.
            robot: What is simulated, by its figures.
        """
        tap = Tap(backend)
        super().__init__(bundle, tap, stricter_limits, robot)
        self._foot_names = robot.body.foot_names
        limits = limits_in_force(bundle.contract, stricter_limits or StricterLimits())
        types = message_types()
        flight = flight_of(bundle, tap, self.controller, _TOPICS, settings=settings_of(limits, tap))
        self._messages, self._ring = (
            SensorMessages(types),
            Ring(self.controller.latest_tick, tap, _RING),
        )
        tap.show(self._ring)
        self._ring.restart()
        self._recording, self._written = Recording(place, types, flight, reason), 0

    @property
    def place(self) -> Path:
        """Where the recording is, once it is finished."""
        return self._recording.place

    def __call__(self, sensors: Sensors, command: F64) -> DriveCommand:
        """Do what the policy does, and record it."""
        began_ns = time.perf_counter_ns()
        drive = super().__call__(sensors, command)
        duration_ns = time.perf_counter_ns() - began_ns
        tick = self.controller.latest_tick
        tick.send(self.targets, self._ring.end, stamp_ns=sensors.time_ns, duration_ns=duration_ns)
        self._ring.record(tick, self._wire(sensors, command))
        if self._ring.end - self._written == _RING:
            self._write()
        return drive

    def __enter__(self) -> RecordedPolicy:
        """Return the policy itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish the recording, or discard it after an error."""
        if error is not None:
            self._recording.discard()
            return
        with self._recording:
            self._write()

    def _write(self) -> None:
        ticks, _ = self._ring.copies(self._written, self._ring.end)
        self._recording.add(ticks)
        self._written = self._ring.end

    def _wire(self, sensors: Sensors, command: F64) -> Wire:
        make, stamp_ns = self._messages, sensors.time_ns
        return (
            make.joint_states(
                stamp_ns,
                sensors.joint_names,
                sensors.joint_pos,
                sensors.joint_vel,
                sensors.joint_effort,
            ),
            make.imu(stamp_ns, sensors.quat_xyzw, sensors.ang_vel_body, sensors.lin_acc_body),
            make.odometry(
                stamp_ns,
                sensors.pos_world,
                sensors.quat_xyzw,
                sensors.lin_vel_body,
                sensors.ang_vel_body,
            ),
            make.twist(command.tolist()),
            make.contact_forces(stamp_ns, self._foot_names, sensors.foot_force_world),
        )
