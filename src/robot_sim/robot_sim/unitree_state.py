# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""State messages of an emulated Unitree robot, the robot models, and their faults."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from robot_sim import unitree_messages as messages
from robot_sim.faults import Streams
from robot_sim.figures import Array
from robot_sim.host_faults import HostFault
from robot_sim.rotation import roll_pitch_yaw
from robot_sim.unitree_messages import Record
from robot_sim.world import Sensors, World

_HALF_BYTES = {"go": 4 + 76 + 48 * 10, "hg": 4 + 68 + 56 * 17}
"""Size of a LowState that ends after half of its motors."""
_CHARGE, _VOLT, _AMPERE, _IMU_C = 85, 29.5, 1.5, 40
_WAYS = {
    "forward": ("ly", 1.0),
    "back": ("ly", -1.0),
    "left": ("lx", -1.0),
    "right": ("lx", 1.0),
    "turn_left": ("rx", -1.0),
    "turn_right": ("rx", 1.0),
}
"""Stick and sign for each direction of the remote control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitreeModel:
    """Data about one kind of robot.

    Attributes:
        family: Message family, `go` or `hg`.
        motors: The joint of each motor, in slot order; the remaining slots are empty.
        feet: The foot to which each force in LowState belongs.
        stiffness, damping: Gains with which the robot's own controller holds each motor: N m/rad
            and N m s/rad.
        mode_machine: Value in the robot's LowState, also required in a LowCmd to it (`hg`).
        torso: Body that carries the second IMU; empty if there is none.
    """

    family: str
    motors: tuple[str, ...]
    feet: tuple[str, ...] = ()
    stiffness: tuple[float, ...]
    damping: tuple[float, ...]
    mode_machine: int = 0
    torso: str = ""


_LEGS = ("FR", "FL", "RR", "RL")
_LEG = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")
_ARM = (
    *("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow"),
    *("wrist_roll", "wrist_pitch", "wrist_yaw"),
)
MODELS = {
    "go2": UnitreeModel(
        family="go",
        motors=tuple(f"{leg}_{part}_joint" for leg in _LEGS for part in ("hip", "thigh", "calf")),
        feet=tuple(f"{leg}_foot" for leg in _LEGS),
        stiffness=(60.0, 80.0, 80.0) * 4,
        damping=(5.0, 4.0, 4.0) * 4,
    ),
    "g1": UnitreeModel(
        family="hg",
        motors=(
            *(f"{side}_{part}_joint" for side in ("left", "right") for part in _LEG),
            *(f"waist_{part}_joint" for part in ("yaw", "roll", "pitch")),
            *(f"{side}_{part}_joint" for side in ("left", "right") for part in _ARM),
        ),
        stiffness=(*(100.0, 100.0, 100.0, 150.0, 40.0, 40.0) * 2, *(200.0,) * 3, *(40.0,) * 14),
        damping=(*(2.0, 2.0, 2.0, 4.0, 2.0, 2.0) * 2, *(5.0,) * 3, *(10.0,) * 14),
        mode_machine=5,
        torso="torso_link",
    ),
}
"""Models, by name of the robot's data folder. The gains are those that the vendor's deployment code
uses while the robot stands up (unitree_rl_lab e72a072).
"""


class StateMessages:
    """The messages that a robot publishes.

    Attributes:
        model: The kind of robot.
        joints: Index of each motor's joint.
    """

    def __init__(self, model: UnitreeModel, world: World) -> None:
        self.model, self._world = model, world
        self.joints = np.array([world.joint_names.index(name) for name in model.motors])
        self._feet = np.array([world.foot_names.index(name) for name in model.feet], int)
        self._last_tick, self._lost = 0, 0

    def low_state(
        self,
        streams: Streams,
        *,
        tick: int,
        temperature_c: Array,
        faults: Sequence[HostFault],
    ) -> bytes | None:
        """Return the current LowState, as modified by the faults; None if a sensor is silent.

        Args:
            streams: The sensor output.
            tick: Time since the robot's computer was last switched on, ms.
            temperature_c: Temperatures of the drives [n], in the order of the joints.
            faults: The active faults.
        """
        joints, imu, contact = streams.joint_states, streams.imu, streams.contact
        if joints is None or imu is None or contact is None:
            return None
        family, active = self.model.family, {fault.kind: fault for fault in faults}
        state = messages.blank(f"{family}.LowState")
        self._write_motors(state["motor_state"], joints, temperature_c, faults)
        self._write_imu(state["imu_state"], imu, active)
        if "tick" not in active:
            self._last_tick = tick
        state["tick"] = self._last_tick
        state["wireless_remote"] = np.frombuffer(_remote(faults), np.uint8)
        if family == "go":
            state["head"], state["level_flag"] = messages.HEAD, messages.LEVEL_FLAG
            state["bms_state"]["soc"] = _charge(faults)
            state["bms_state"]["current"] = -round(1000 * _AMPERE)
            state["power_v"], state["power_a"] = _VOLT, _AMPERE
            force_n = np.linalg.norm(contact.foot_force_world[self._feet], axis=1)
            state["foot_force"] = np.nan_to_num(force_n)
            state["foot_force_est"] = state["foot_force"]
        else:
            state["mode_machine"] = self.model.mode_machine
            if "machine" in active:
                state["mode_machine"] = round(active["machine"].value)
        messages.seal(state)
        if "crc" in active:
            state["crc"] ^= 1
        data = messages.encode(f"{family}.LowState", state)
        return data[: _HALF_BYTES[family]] if "length" in active else data

    def _write_motors(
        self,
        motors: Record,
        joints: Sensors,
        temperature_of_joints_c: Array,
        faults: Sequence[HostFault],
    ) -> None:
        """Write the motors' values; if there is no new joint sample, count a lost sample."""
        if joints.time_ns != self._world.time_ns:
            self._lost += 1
        count = len(self.joints)
        for fault in faults:
            if fault.kind == "motors":
                count = min(count, round(fault.value))
        places, reported = self.joints[:count], motors[:count]
        reported["mode"] = 1
        reported["q"] = joints.joint_pos[places]
        reported["dq"] = joints.joint_vel[places]
        reported["tau_est"] = joints.joint_effort[places]
        temperature_c = temperature_of_joints_c[places]
        if self.model.family == "go":
            reported["q_raw"], reported["dq_raw"] = reported["q"], reported["dq"]
            reported["temperature"], reported["lost"] = temperature_c, self._lost
        else:
            reported["temperature"] = temperature_c[:, np.newaxis]
            reported["vol"] = _VOLT
        for fault in faults:
            if fault.kind == "motor_off":
                motors["mode"][self.model.motors.index(fault.target)] = 0

    def _write_imu(self, message: Record, imu: Sensors, active: dict[str, HostFault]) -> None:
        quat_wxyz = np.roll(imu.quat_xyzw, 1)
        if "not_unit" in active:
            quat_wxyz = 1.1 * quat_wxyz
        scale = math.degrees(1.0) if "degrees" in active else 1.0
        message["quaternion"] = imu.quat_xyzw if "xyzw" in active else quat_wxyz
        message["gyroscope"] = scale * imu.ang_vel_body
        message["accelerometer"] = imu.lin_acc_body
        if np.isfinite(imu.quat_xyzw).all():
            message["rpy"] = roll_pitch_yaw(imu.quat_xyzw)
        message["temperature"] = _IMU_C

    def secondary_imu(self) -> bytes:
        message = messages.blank("hg.IMUState")
        quat_xyzw, message["gyroscope"], message["accelerometer"] = self._world.sense_body(
            self.model.torso
        )
        message["quaternion"], message["rpy"] = np.roll(quat_xyzw, 1), roll_pitch_yaw(quat_xyzw)
        message["temperature"] = _IMU_C
        return messages.encode("hg.IMUState", message)

    def battery(self, faults: Sequence[HostFault]) -> bytes:
        """Return the battery message, for a robot whose LowState has no battery data."""
        message = messages.blank("hg.BmsState")
        message["soc"], message["soh"] = _charge(faults), 100
        message["bmsvoltage"][0] = round(1000 * _VOLT)
        message["current"] = -round(1000 * _AMPERE)
        return messages.encode("hg.BmsState", message)


def _charge(faults: Sequence[HostFault]) -> int:
    stated = [fault.value for fault in faults if fault.kind == "battery"]
    return round(stated[-1]) if stated else _CHARGE


def _remote(faults: Sequence[HostFault]) -> bytes:
    """Return the 40 bytes of the remote control."""
    if any(fault.kind == "off" for fault in faults):
        return bytes(40)
    sticks: dict[str, float] = {}
    for fault in faults:
        if fault.kind == "stick":
            stick, sign = _WAYS[fault.target]
            sticks[stick] = sticks.get(stick, 0.0) + sign * fault.value
    return messages.remote_bytes({f.target for f in faults if f.kind == "press"}, sticks)


_OF_STATE = ("crc", "length", "tick", "motors", "machine", "battery")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitreeFault(HostFault):
    """A fault of the robot, its computer, its remote control or its network."""

    targets: ClassVar = {
        **HostFault.targets,
        **dict.fromkeys(_OF_STATE, ("state",)),
        **dict.fromkeys(("degrees", "not_unit", "xyzw"), ("imu",)),
        **dict.fromkeys(("returned", "stubborn", "turned", "hung"), ("host",)),
        "off": ("remote",),
        "press": messages.BUTTONS,
        "stick": tuple(_WAYS),
    }
    with_value: ClassVar = (*HostFault.with_value, "motors", "machine", "battery", "stick")
