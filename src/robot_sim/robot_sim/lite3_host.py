# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A Lite3 behind the UDP interface of its motion host, without sockets and in simulated time.

The vendor documents only part of how the robot's host handles datagrams, and no real host was
observed for this module. The following rules come from a careful reading of the sources that
`lite3_driver.wire` names.

- The host sends state frames from the start, with or without a controller.
- FOLD moves the legs to the folded pose and keeps them there, unless a controller has control.
- TAKE_CONTROL gives its sender control if no other sender has it; the legs stay as they are until
  the first command.
- The host follows only the sender in control, which loses control after `watchdog_s` of silence.
- After GIVE_BACK or a watchdog timeout, the drives damp, and nothing moves until FOLD.
- A datagram that is invalid, or comes from a sender without control, is ignored and counted.

Its faults are those in `robot_sim.host_faults`, and:

==========================  ======================================================================
`length:state`              frames lack their last byte
`firmware:state`            frames have the code of different firmware
`foreign:state`             a second sender also sends frames, with a different pose
`forged:state=ticks`        frames as in `foreign` come from the host's own address and port, this
                            many ticks ahead of the host's frames
`occupied:host`             another controller takes control, if control is free, and holds the legs
==========================  ======================================================================
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from lite3_driver import wire
from robot_sim.driven import NS_PER_S
from robot_sim.errors import SimError
from robot_sim.faults import Streams
from robot_sim.figures import LITE3, Array
from robot_sim.host_faults import HostFault, HostFaultPlan
from robot_sim.robot_host import RobotHost
from robot_sim.rotation import roll_pitch_yaw
from robot_sim.world import World

Address = tuple[str, int]
AngularVelocityUnit = Literal["rad/s", "deg/s"]
FOLDED_RAD: Array = np.tile([0.0, -1.35, 2.55], 4)
"""Leg pose after FOLD, in which the vendor's simulator starts (Lite3_rl_deploy 7871b47)."""
FOLD_NS = 5 * NS_PER_S
_FOLD_STIFFNESS, _FOLD_DAMPING = 100.0, 2.5
IGNORED = ("no_header", "unknown_code", "wrong_form", "not_in_control", "unfit_command")
"""Kinds of ignored datagrams: shorter than a header; unknown code; known code with wrong length,
type or size; from a sender not in control; command that no drive can follow.
"""
_HEAD = 12
"""Header bytes shown in the report of an ignored datagram."""
ANOTHER: Address = ("another controller", 0)
OTHER_CODE = 0x0A06
"""Code of state frames from different firmware; not a known code."""
_FOREIGN_AHEAD = 1000


class MotionHost(RobotHost):
    """The robot's onboard computer. Each `step` is one physics step of the world.

    Additional events: `folding`, `control_taken`, `control_refused`, `control_given_back`.

    Attributes:
        controller: Sender in control; None if the host itself is in control.
    """

    plan: "Lite3FaultPlan"

    def __init__(
        self,
        world: World,
        *,
        watchdog_s: float = 1.0,
        angular_velocity_unit: AngularVelocityUnit = "rad/s",
    ) -> None:
        """Switch on; control is free, and the drives damp.

        Args:
            world: The robot; only this host may command it.
            watchdog_s: Duration of silence after which the sender in control loses control.
            angular_velocity_unit: Unit of the IMU's angular velocity in state frames.
        """
        if not watchdog_s > 0.0:
            raise SimError(f"watchdog_s: expected a time > 0, found {watchdog_s}")
        if angular_velocity_unit not in ("rad/s", "deg/s"):
            raise SimError(
                f"angular_velocity_unit: expected rad/s or deg/s, found '{angular_velocity_unit}'"
            )
        super().__init__(world, ignores=IGNORED, watchdog_s=watchdog_s, plan=Lite3FaultPlan())
        self.controller: Address | None = None
        self._rate_scale = 1.0 if angular_velocity_unit == "rad/s" else np.degrees(1.0)

    def receive(self, data: bytes, source: Address) -> None:
        if not self._on:
            return
        values = wire.read_command(data)
        if values is not None:
            self._follow(values.astype(np.float64), source)
            return
        request = wire.read_request(data)
        if request == wire.FOLD:
            self._begin_to_fold(source)
        elif request == wire.TAKE_CONTROL:
            self._hand_over(source)
        elif request == wire.GIVE_BACK and source == self.controller:
            self._damp("control_given_back", _text(source))
        elif request == wire.GIVE_BACK:
            self._ignore("not_in_control", "a hand-back request", _text(source))
        else:
            what = f"{len(data)} byte{'s' * (len(data) != 1)} {data[:_HEAD].hex(' ')}"
            self._ignore(_invalid_kind(data), what, _text(source))

    def step(self) -> bytes | None:
        """Advance by one physics step.

        Returns:
            The state frame after the step; None while the host is off or a sensor is silent.
        """
        streams = self._advance()
        return None if streams is None else self._frame(streams)

    def _begin(self, fault: HostFault) -> None:
        """Begin a fault of the host; for `occupied`, another controller folds and takes control."""
        super()._begin(fault)
        if fault.kind == "occupied" and self.controller is None:
            self._begin_to_fold(ANOTHER)
            self._hand_over(ANOTHER)

    def _end(self, fault: HostFault) -> None:
        """End a fault of the host; after `occupied`, the other controller gives control back."""
        super()._end(fault)
        if fault.kind == "occupied" and self.controller == ANOTHER:
            self._damp("control_given_back", _text(ANOTHER))

    def _hand_over(self, source: Address) -> None:
        if self.controller is None:
            self.controller = source
            self._heard_ns = None if source == ANOTHER else self.world.time_ns
            self._say("control_taken", _text(source))
        elif source != self.controller:
            self._say("control_refused", f"{_text(source)}: {_text(self.controller)} has control")

    def _on_silence(self) -> None:
        assert self.controller is not None
        self._damp("watchdog", _text(self.controller))

    def _damp(self, what: str, who: str) -> None:
        """Damp; any sender can then take control."""
        self.controller = None
        super()._damp(what, who)

    def _follow(self, values: Array, source: Address) -> None:
        if source != self.controller:
            self._ignore("not_in_control", "a joint command", _text(source))
            return
        position, velocity, effort, stiffness, damping = values.T.copy()
        try:
            self._command(
                position=position,
                velocity=velocity,
                effort=effort,
                stiffness=stiffness,
                damping=damping,
                who=_text(source),
            )
        except SimError as error:
            self._ignore("unfit_command", str(error), _text(source))

    def _begin_to_fold(self, source: Address) -> None:
        if self.controller is not None:
            self._ignore("not_in_control", "a request to fold", _text(source))
            return
        self._move(FOLDED_RAD, FOLD_NS, stiffness=_FOLD_STIFFNESS, damping=_FOLD_DAMPING)
        self._say("folding", _text(source))

    def _frame(self, streams: Streams) -> bytes | None:
        joints, imu, contact = streams.joint_states, streams.imu, streams.contact
        if joints is None or imu is None or contact is None:
            return None
        return wire.write_state(
            wire.Lite3State(
                tick=(joints.time_ns - self._started_ns) // 1_000_000,
                imu_stamp_ms=(imu.time_ns - self._started_ns) // 1_000_000,
                rpy=roll_pitch_yaw(imu.quat_xyzw),
                ang_vel=imu.ang_vel_body * self._rate_scale,
                lin_acc=imu.lin_acc_body,
                joint_pos=joints.joint_pos,
                joint_vel=joints.joint_vel,
                joint_effort=joints.joint_effort,
                temperature_c=self._temperature_c,
                contact_force=contact.foot_force_world,
            )
        )


_TARGETS = {
    **dict.fromkeys(("length", "firmware", "foreign", "forged"), ("state",)),
    "occupied": ("host",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lite3Fault(HostFault):
    """A fault of the robot, of its motion host, or of the network."""

    targets: ClassVar = {**HostFault.targets, **_TARGETS}
    with_value: ClassVar = (*HostFault.with_value, "forged")


class Lite3FaultPlan(HostFaultPlan[bytes, tuple[bytes, Address]]):
    """Planned faults of a robot, its motion host and its network."""

    def __init__(self, faults: Iterable[Lite3Fault] = (), *, seed: int = 0) -> None:
        super().__init__(faults, seed=seed, joint_names=LITE3.joint_names)

    def spoil(self, frame: bytes, now_ns: int) -> bytes:
        """Return a state frame as modified by the faults."""
        for fault in self.active(now_ns):
            if fault.kind == "length":
                frame = frame[:-1]
            elif fault.kind == "firmware":
                frame = struct.pack("<I", OTHER_CODE) + frame[4:]
        return frame

    def foreign(self, frame: bytes, now_ns: int) -> bytes | None:
        """Return a frame with a newer tick, for a foreign sender to send with this one, or None."""
        if not any(fault.kind == "foreign" for fault in self.active(now_ns)):
            return None
        return _false_frame(frame, _FOREIGN_AHEAD)

    def forged(self, frame: bytes, now_ns: int) -> bytes | None:
        """Return the forged frame to send from the host's address after this frame, or None."""
        for fault in self.active(now_ns):
            if fault.kind == "forged":
                return _false_frame(frame, round(fault.value))
        return None


def _false_frame(frame: bytes, ahead: int) -> bytes:
    """Return a state frame for a later tick and a robot in a different pose."""
    state = wire.read_state(frame)
    if not isinstance(state, wire.Lite3State):
        return frame
    return wire.write_state(state._replace(tick=state.tick + ahead, joint_pos=LITE3.standing_rad))


def _invalid_kind(data: bytes) -> str:
    """Return the kind under which an invalid datagram is counted."""
    code = wire.read_code(data)
    if code is None:
        return "no_header"
    known = (wire.FOLD, wire.TAKE_CONTROL, wire.GIVE_BACK, wire.COMMAND)
    return "wrong_form" if code in known else "unknown_code"


def _text(source: Address) -> str:
    return source[0] if source == ANOTHER else f"{source[0]}:{source[1]}"
