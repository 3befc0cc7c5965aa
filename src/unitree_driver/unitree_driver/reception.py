# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Accepts or rejects LowState messages as the robot's state, and reads its other messages."""

import json
import math
from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from robot_driver.reception import Source, StateBounds, StateReception
from unitree_driver import wire
from unitree_driver.figures import OTHER_MACHINES, UnitreeFigures, UnitreeSettings
from unitree_driver.motion_service import MotionService
from unitree_driver.wire import F64, FAMILIES, HG, RobotTopic, WirelessRemote

GRAPH = "graph"
"""Source of the datagrams that contain the transport's PublisherNews."""
_LOWSTATE, _SWITCHER_RESPONSE, _BATTERY = (
    wire.TOPIC_NAMES[topic]
    for topic in (RobotTopic.LOWSTATE, RobotTopic.SWITCHER_RESPONSE, RobotTopic.BATTERY)
)
"""Topic names, which serve as the sources of the robot's messages."""
_UNIT = 0.02
"""Maximum deviation of a quaternion's norm from 1."""
_ANGLE_RAD, _STEEPEST_RAD = 0.1, 1.3
"""Maximum difference of roll, pitch and yaw from those of the quaternion, and maximum pitch at
which this is checked, since roll and yaw are undefined at a pitch of 90 degrees.
"""


class StateOddity(str, Enum):
    """Why a LowState is not a valid state of this kind of robot."""

    LENGTH = "wrong_length"
    ENCODING = "wrong_encoding"
    CRC = "wrong_crc"
    NOT_FINITE = "not_finite"
    QUATERNION = "quaternion"
    ANGLES = "rpy_disagrees"
    MOTORS = "wrong_motors"
    LINKAGE = "linkage_mode"
    MACHINE = "wrong_machine"


class BatteryCharge(NamedTuple):
    """Battery charge in percent, current in A (negative: discharging), voltage in V."""

    percent: float
    current_a: float
    voltage_v: float


class UnitreeState(NamedTuple):
    """A state from a LowState. Arrays are float64; joints are in the model's order.

    Attributes:
        tick: The robot's counter, interpreted as ms, modulo 2**32.
        quat_xyzw: Rotation from body to world [4]; in the message, w is first.
        rpy: Roll, pitch, yaw [3], rad: rotations about z, then y, then x.
        ang_vel, lin_acc: Angular velocity and acceleration, body frame [3], rad/s and m/s^2; at
            rest, the acceleration is about +9.81 along z.
        joint_pos, joint_vel, joint_effort: Joint states [n], rad, rad/s, N m.
        temperature_c: Motor temperatures [n], degrees Celsius; the higher of casing and winding.
        motor_errors: Error bits of the motors [n]; 0 if the messages have none.
        machine: `mode_machine`, which commands must repeat; 0 if the messages have none.
        remote: State of the wireless remote.
        battery: State of the battery; None if a separate message carries it.
    """

    tick: int
    quat_xyzw: F64
    rpy: F64
    ang_vel: F64
    lin_acc: F64
    joint_pos: F64
    joint_vel: F64
    joint_effort: F64
    temperature_c: F64
    motor_errors: npt.NDArray[np.uint32]
    machine: int
    remote: WirelessRemote
    battery: BatteryCharge | None


class PublisherNews(NamedTuple):
    """What DDS discovery found on the robot's topics.

    Attributes:
        commanders: Names of the other nodes that publish commands; "" for each publisher that is
            not a ROS node.
        state_types: Message types published on the state topic.
        standby: True if the standby process, which damps if the link process dies, is present.
    """

    commanders: tuple[str, ...]
    state_types: tuple[str, ...]
    standby: bool

    def pack(self) -> bytes:
        """Return the news as JSON, for a datagram from the source GRAPH."""
        return json.dumps(self).encode()


class UnitreeReception(StateReception[UnitreeState]):
    """Accepts only LowState messages from this kind of robot that are newer than the last one.

    A message is accepted if its length, checksum, motors, quaternion and `mode_machine` are right,
    its tick is higher than that of the last accepted one, its joints are at plausible positions,
    and the IMU data has changed within the last 50 ms. After `state_timeout_s` without an accepted
    message, any tick is accepted, because the robot may have been restarted.

    Attributes:
        service: Requests to the robot's built-in controller, and its answers.
        news: What DDS discovery last found on the robot's topics.
        battery: Newest battery state, from LowState or a separate message; None before the first
            one.
    """

    def __init__(self, model: UnitreeFigures, settings: UnitreeSettings) -> None:
        own = ["missed", "old", "implausible", "frozen_imu"]
        super().__init__(settings, [*own, *(oddity.value for oddity in StateOddity)])
        self._model = model
        self._bounds = StateBounds(
            model.figures, [("angular velocity", 50.0), ("acceleration", 20.0 * 9.81)]
        )
        self.service = MotionService()
        self.news = PublisherNews((), (), False)
        self.battery: BatteryCharge | None = None

    def receive(self, data: bytes, source: Source, now_ns: int) -> UnitreeState | None:
        topic, _ = source
        if topic == GRAPH:
            commanders, types, standby = json.loads(data)
            self.news = PublisherNews(tuple(commanders), tuple(types), standby)
            return None
        if topic == _LOWSTATE:
            return self._take(data, now_ns)
        if topic == _SWITCHER_RESPONSE:
            answer = wire.read_response(data)
            if answer is not None:
                self.service.hear(answer)
        elif topic == _BATTERY:
            self.battery = read_battery(data) or self.battery
        return None

    def silence(self, now_ns: int) -> str:
        since = f" for {self.age_s(now_ns):.1f} s" if self.state is not None else ""
        begin = f"no state received from {a_robot(self._model)} on {_LOWSTATE}{since}: "
        if self.rejection:
            return begin + self.rejection
        expected = self._model.family.state.type_name
        others = [kind for kind in self.news.state_types if kind != expected]
        if others:
            return (
                f"{begin}the topic has {', '.join(others[:_SHOWN])}, expected {expected}: a "
                "different kind of robot, which needs its own driver"
            )
        return (
            f"{begin}check the cable, this machine's address, network_interface, domain_id "
            "and the firewall (docs/unitree.md)"
        )

    def _take(self, data: bytes, now_ns: int) -> UnitreeState | None:
        found = read_state(data, self._model)
        if not isinstance(found, UnitreeState):
            return self.reject(found[0].value, found[1])
        fresh = self.fresh(now_ns)
        ahead = (found.tick - self.state.tick) % wire.TICKS if self.state is not None else 1
        if ahead == 0 or (fresh and ahead >= wire.TICKS // 2):
            return self.reject("old", f"its tick {found.tick} is not higher than the previous one")
        problem = self._bounds.implausible(found, found.ang_vel, found.lin_acc)
        if fresh and not problem and self.state is not None:
            problem = self._bounds.jump(self.state.joint_pos, found.joint_pos, self.age_s(now_ns))
        if problem:
            return self.reject("implausible", problem)
        if self.imu_stands_still(_imu(data, self._model), now_ns):
            return self.reject("frozen_imu")
        self.restarted = ahead >= wire.TICKS // 2
        if fresh:
            # at 500 Hz, a message arrives every second tick; `missed` counts ticks
            self.counts["missed"] += max(0, ahead - _TICKS_BETWEEN)
        self.battery = found.battery or self.battery
        return self.accept(found, now_ns)


_TICKS_BETWEEN = 2
_SHOWN = 3
_IMU_BYTES = 4 * (4 + 3 + 3)
"""Size of the quaternion, gyroscope and accelerometer values, which are consecutive."""
_XYZW = np.array([1, 2, 3, 0])
"""Indices of x, y, z and w in messages, where w is first."""


def read_state(data: bytes, model: UnitreeFigures) -> UnitreeState | tuple[StateOddity, str]:
    """Return the state from a LowState, or why it is not valid for this kind of robot."""
    layout = model.family.state
    # DDS may append up to 3 bytes, to make the size a multiple of 4
    if not layout.wire_bytes <= len(data) < layout.wire_bytes + 4:
        return StateOddity.LENGTH, _length_text(len(data), layout.wire_bytes)
    if data[:2] != wire.HEADER[:2]:
        return StateOddity.ENCODING, f"expected little-endian CDR, found {data[:4].hex()}"
    record = layout.from_wire(data[: layout.wire_bytes])
    if wire.crc(record.tobytes()) != record["crc"]:
        return StateOddity.CRC, "its checksum does not match its content"
    problem = _problem(record, model)
    return _read_state(record, model) if problem is None else problem


def _imu(data: bytes, model: UnitreeFigures) -> bytes:
    """Return the bytes of the IMU's values in a LowState."""
    begin = len(wire.HEADER) + model.family.state.offset("imu")
    return data[begin : begin + _IMU_BYTES]


def decode_state(data: bytes, model: UnitreeFigures) -> UnitreeState:
    """Return the state from a LowState that `read_state` has accepted, without further checks."""
    layout = model.family.state
    return _read_state(layout.from_wire(data[: layout.wire_bytes]), model)


def _read_state(record: npt.NDArray[Any], model: UnitreeFigures) -> UnitreeState:
    motors, imu = record["motors"][list(model.slots)], record["imu"]
    is_hg = model.family is HG
    temperature = motors["temperature"].astype(np.float64)
    state = UnitreeState(
        tick=int(record["tick"]),
        quat_xyzw=imu["quaternion"][_XYZW].astype(np.float64),
        rpy=imu["rpy"].astype(np.float64),
        ang_vel=imu["gyroscope"].astype(np.float64),
        lin_acc=imu["accelerometer"].astype(np.float64),
        joint_pos=motors["q"].astype(np.float64),
        joint_vel=motors["dq"].astype(np.float64),
        joint_effort=motors["tau_est"].astype(np.float64),
        temperature_c=temperature.max(axis=1) if is_hg else temperature,
        motor_errors=motors["motorstate"].copy() if is_hg else np.zeros(len(motors), np.uint32),
        machine=int(record["mode_machine"]) if is_hg else 0,
        remote=wire.read_remote(record["wireless_remote"].tobytes()),
        battery=None if is_hg else _go_battery(record),
    )
    return _in_pelvis(state, model) if model.waist else state


def read_battery(data: bytes) -> BatteryCharge | None:
    """Return the battery state from a unitree_hg BmsState; None if the message is invalid."""
    if len(data) != len(wire.HEADER) + wire.BATTERY.itemsize or data[:2] != wire.HEADER[:2]:
        return None
    record = np.frombuffer(data, wire.BATTERY, offset=len(wire.HEADER))[0]
    return BatteryCharge(
        float(record["soc"]), 1e-3 * float(record["current"]), 1e-3 * float(record["bmsvoltage"][0])
    )


def _length_text(found: int, expected: int) -> str:
    others = [family.name for family in FAMILIES if family.state.wire_bytes == found]
    kind = f", the length of a {others[0]} LowState: a different kind of robot" if others else ""
    return f"expected {expected} bytes, found {found}{kind}"


def _problem(record: npt.NDArray[Any], model: UnitreeFigures) -> tuple[StateOddity, str] | None:
    """Return why a LowState is not valid for this kind of robot; None if it is."""
    motors, imu = record["motors"], record["imu"]
    numbers = np.stack([motors[name] for name in ("q", "dq", "tau_est")], axis=1)
    vectors = [imu[name] for name in ("quaternion", "rpy", "gyroscope", "accelerometer")]
    if not (np.isfinite(numbers).all() and np.isfinite(np.concatenate(vectors)).all()):
        return StateOddity.NOT_FINITE, "a motor or IMU value is not finite"
    quat_xyzw, rpy = imu["quaternion"][_XYZW], imu["rpy"]
    length = math.hypot(*quat_xyzw.tolist())
    if abs(length - 1.0) > _UNIT:
        return (
            StateOddity.QUATERNION,
            f"its quaternion has length {length:.3g}, expected 1",
        )
    of_quat = rpy_from_quat(quat_xyzw)
    differ = np.abs((rpy - of_quat + np.pi) % (2.0 * np.pi) - np.pi)
    if abs(of_quat[1]) < _STEEPEST_RAD and differ.max() > _ANGLE_RAD:
        return (
            StateOddity.ANGLES,
            f"its roll, pitch and yaw are {rpy.round(2).tolist()} rad, but "
            f"{of_quat.round(2).tolist()} rad according to its quaternion",
        )
    problem = _motor_problem(numbers, motors["temperature"], model)
    if problem:
        return StateOddity.MOTORS, problem
    if model.family is HG:
        if record["mode_pr"] != 0:
            return (
                StateOddity.LINKAGE,
                f"mode_pr is {record['mode_pr']}, expected 0 (ankles and waist as pitch and roll)",
            )
        return _machine_problem(int(record["mode_machine"]), model)
    return None


def _motor_problem(
    numbers: npt.NDArray[np.float32], temperature: npt.NDArray[Any], model: UnitreeFigures
) -> str:
    """Return which motors report though the robot lacks them, or are silent though it has them."""
    reports = numbers.any(axis=1) | temperature.reshape(len(numbers), -1).any(axis=1)
    expected = np.zeros(len(numbers), bool)
    expected[list(model.slots)] = True
    if (reports == expected).all():
        return ""
    silent, odd = np.flatnonzero(expected & ~reports), np.flatnonzero(reports & ~expected)
    name = a_robot(model)
    found = [
        f"motor{'s' * (len(which) > 1)} {_numbers(which)} {what[len(which) > 1]}"
        for which, what in (
            (silent, ("reports nothing", "report nothing")),
            (odd, (f"does not exist on {name}", f"do not exist on {name}")),
        )
        if len(which)
    ]
    return (
        f"{int(reports.sum())} of {len(numbers)} motors report, expected the {len(model.slots)} of "
        f"{name}: {'; '.join(found)}"
    )


def a_robot(model: UnitreeFigures) -> str:
    """Return the robot's name with the indefinite article, such as `a Go2` or `an H1`."""
    return f"{'an' if model.name.startswith('H') else 'a'} {model.name}"


def _numbers(which: Sequence[int] | npt.NDArray[np.intp]) -> str:
    return ", ".join(str(int(number)) for number in which)


def _machine_problem(machine: int, model: UnitreeFigures) -> tuple[StateOddity, str] | None:
    known = model.machines
    if machine in known or (machine and not known):
        return None
    found = OTHER_MACHINES.get(machine, "another kind")
    expected = " or ".join(f"{value} ({text})" for value, text in known.items()) or "more than 0"
    return StateOddity.MACHINE, f"mode_machine is {machine} ({found}), expected {expected}"


def _go_battery(record: npt.NDArray[Any]) -> BatteryCharge:
    battery = record["battery"]
    return BatteryCharge(
        float(battery["soc"]), 1e-3 * float(battery["current"]), float(record["power_v"])
    )


def _in_pelvis(state: UnitreeState, model: UnitreeFigures) -> UnitreeState:
    """Return the state with the IMU values transformed from the torso to the pelvis.

    The waist turns the torso about the z axis that torso and pelvis share, so the waist's velocity
    is subtracted.
    """
    joint = model.figures.joint_names.index(model.waist)
    angle, rate = float(state.joint_pos[joint]), float(state.joint_vel[joint])
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    x, y, z, w = state.quat_xyzw
    half_cos, half_sin = np.cos(0.5 * angle), np.sin(0.5 * angle)
    quat = np.array(
        [
            x * half_cos - y * half_sin,
            y * half_cos + x * half_sin,
            z * half_cos - w * half_sin,
            w * half_cos + z * half_sin,
        ]
    )
    return state._replace(
        quat_xyzw=quat,
        rpy=rpy_from_quat(quat),
        ang_vel=turn @ state.ang_vel - np.array([0.0, 0.0, rate]),
        lin_acc=turn @ state.lin_acc,
    )


def rpy_from_quat(quat_xyzw: F64) -> F64:
    """Return the roll, pitch and yaw [3], rad, of a quaternion [4].

    The rotations are intrinsic: about z, then y, then x.
    """
    x, y, z, w = quat_xyzw.tolist()
    pitch = math.asin(max(-1.0, min(1.0, 2.0 * (w * y - x * z))))
    roll = math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    yaw = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return np.array([roll, pitch, yaw])
