# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The my_robot driver: translates between the robot's own messages and the common robot topics.

This file contains only what is specific to my_robot: its units, the order and ratings of its
motors, and how and when control is taken and given back. `robot_driver` does the rest.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from my_robot_msgs.msg import LowCommand, LowState
from rclpy.serialization import deserialize_message, serialize_message

from policy_inference.nodes.parameters import Spec, refuse_arguments
from policy_inference.nodes.process import run_node
from robot_driver.checks import Stillness
from robot_driver.interfaces import F64, MODE_DAMP, DriveFigures, DriverSettings
from robot_driver.nodes.driver_node import COMMON_PARAMETERS, DriverNode
from robot_driver.nodes.sensors import imu_topic, joint_states_topic
from robot_driver.nodes.topic_transport import TopicTransport, TypedTopic
from robot_driver.reception import Source, StateBounds, StateReception
from robot_driver.robot import RobotInterface

LEGS = ("FR", "FL", "HR", "HL")
# In wire order. The names are those in the policy's contract, which has its own order.
JOINT_NAMES = tuple(f"{leg}_{part}_joint" for leg in LEGS for part in ("HipX", "HipY", "Knee"))
G_M_S2 = 9.81


def each_leg(hip: float, thigh: float, knee: float) -> F64:
    """Repeat one leg's values for all four legs [12]."""
    return np.array([hip, thigh, knee] * len(LEGS))


FIGURES = DriveFigures(
    joint_names=JOINT_NAMES,
    lowest_rad=each_leg(-0.523, -2.67, 0.524),
    highest_rad=each_leg(0.523, 0.314, 2.792),
    position_margin_rad=0.1,
    fastest_rad_s=each_leg(26.2, 26.2, 17.3),
    largest_torque_nm=each_leg(24.0, 24.0, 36.0),
    largest_stiffness=300.0,
    largest_damping=20.0,
    first_torque_nm=5.0,
    demand_nm=10.0,
    foreign_nm=10.0,
    state_rate_hz=(100.0, 1000.0),
    watchdog_s=1.0,
    rest_mode=MODE_DAMP,
    rest_s=2.0,
)


class MyRobotState(NamedTuple):
    """The content of a LowState, in SI units; arrays are float64."""

    tick: int
    number: int
    joint_pos: F64
    joint_vel: F64
    joint_effort: F64
    temperature_c: F64
    quat_xyzw: F64
    ang_vel: F64
    lin_acc: F64


@dataclass(frozen=True, slots=True, kw_only=True)
class MyRobotSettings(DriverSettings):
    """Settings in addition to those of every driver; the node's parameters have the same names."""

    state_topic: str = "/my_robot/low_state"
    command_topic: str = "/my_robot/low_command"


def read_state(data: bytes) -> MyRobotState:
    """Return the content of a serialized LowState."""
    message = deserialize_message(data, LowState)
    w, x, y, z = message.orientation_wxyz.astype(np.float64)
    return MyRobotState(
        tick=message.tick_ms,
        number=message.number,
        joint_pos=np.radians(message.angle_deg, dtype=np.float64),
        joint_vel=np.radians(message.speed_deg_s, dtype=np.float64),
        joint_effort=message.torque_nm.astype(np.float64),
        temperature_c=message.temperature_c.astype(np.float64),
        quat_xyzw=np.array([x, y, z, w]),
        ang_vel=np.radians(message.gyro_deg_s, dtype=np.float64),
        lin_acc=message.acceleration_g.astype(np.float64) * G_M_S2,
    )


class MyRobotReception(StateReception[MyRobotState]):
    """Accepts states that are newer than the last, finite, possible, and from a working IMU.

    In `counts`, `missed` is the number of messages that never arrived.
    """

    def __init__(self, settings: MyRobotSettings) -> None:
        """Start without a state."""
        rejected = ["unreadable", "not_finite", "old", "implausible", "frozen_imu"]
        super().__init__(settings, ["missed", *rejected])
        self._topic = settings.state_topic
        self._bounds = StateBounds(FIGURES, [("angular velocity", 50.0), ("acceleration", 200.0)])

    def receive(self, data: bytes, source: Source, now_ns: int) -> MyRobotState | None:
        """Return the state in a message if it is acceptable and newer than the last."""
        try:
            state = read_state(data)
        except Exception as error:  # noqa: BLE001  # which one depends on the byte that is wrong
            return self.reject("unreadable", str(error))
        imu = (state.quat_xyzw, state.ang_vel, state.lin_acc)
        moving = (state.joint_pos, state.joint_vel, state.joint_effort, *imu)
        if not all(np.isfinite(values).all() for values in moving):
            return self.reject("not_finite")
        before = self.state if self.fresh(now_ns) else None
        older = self.state is not None and state.tick <= self.state.tick
        if before is not None and older:
            return self.reject("old")
        if problem := self._bounds.implausible(state, state.ang_vel, state.lin_acc):
            return self.reject("implausible", problem)
        if self.imu_stands_still(np.concatenate(imu).tobytes(), now_ns):
            return self.reject("frozen_imu")
        if before is not None:
            self.counts["missed"] += state.number - before.number - 1
        self.restarted = older
        return self.accept(state, now_ns)

    def silence(self, now_ns: int) -> str:
        """Return an error message that says that no state arrives, with a remedy."""
        instead = f"its frames are rejected as {self.instead}" if self.instead else "is it on?"
        return f"no state received from the robot on {self._topic}: {instead}"


class MyRobot(RobotInterface[MyRobotState]):
    """my_robot: the program that sends commands has control, without request or acknowledgement."""

    name = "my_robot"
    host = "my_robot's computer"
    figures = FIGURES
    settings_type = MyRobotSettings
    settings: MyRobotSettings

    def __init__(self, settings: Any) -> None:
        """Start without any data from the robot."""
        super().__init__(settings)
        self.reception = MyRobotReception(settings)
        self._stillness = Stillness()

    @property
    def place(self) -> str:
        """Topic of the robot's state."""
        return self.settings.state_topic

    def open(self) -> TopicTransport:
        """Join the robot's topics in the node process."""
        return self._transport(linked=False)

    def adopt(self, descriptors: Sequence[int]) -> TopicTransport:
        """Join the same topics in the link process, and receive messages there."""
        return self._transport(linked=True)

    def decode(self, data: bytes) -> MyRobotState:
        """Return the state from an accepted message."""
        return read_state(data)

    def encode(self, values: F64) -> bytes:
        """Return the LowCommand for values [12, 5]."""
        # contiguous columns: a message's array fields are copied as they are in memory
        columns = np.ascontiguousarray(values.T, dtype=np.float32)
        position, velocity, effort, stiffness, damping = columns
        return bytes(
            serialize_message(
                LowCommand(
                    mode=LowCommand.MODE_JOINTS,
                    angle_deg=np.degrees(position),
                    speed_deg_s=np.degrees(velocity),
                    torque_nm=effort,
                    stiffness=stiffness,
                    damping=damping,
                )
            )
        )

    def see(self, state: MyRobotState, now_ns: int) -> None:
        """Update the check for whether the robot is lying still."""
        self._stillness.see(state.joint_vel, state.ang_vel, now_ns)

    def obstacles(self, now_ns: int) -> list[str]:
        """Return an obstacle while the robot is moving, since taking control drops its legs."""
        return self._stillness.problems(now_ns)

    def give_back(self) -> list[bytes]:
        """Return the command that ends control."""
        return [bytes(serialize_message(LowCommand(mode=LowCommand.MODE_RELEASE)))]

    def _transport(self, *, linked: bool) -> TopicTransport:
        settings = self.settings
        state = TypedTopic(LowState, settings.state_topic)
        command = TypedTopic(LowCommand, settings.command_topic)
        return TopicTransport([state], [command], linked=linked)


DEFAULT = MyRobotSettings()


def number(name: str, default: float, minimum: float, maximum: float, doc: str) -> Spec:
    """Return a numeric parameter."""
    return Spec(name=name, type=float, default=default, minimum=minimum, maximum=maximum, doc=doc)


PARAMETERS = (
    Spec(name="state_topic", type=str, default=DEFAULT.state_topic, doc="Topic of LowState"),
    Spec(name="command_topic", type=str, default=DEFAULT.command_topic, doc="Topic of LowCommand"),
    number("command_rate_hz", 500.0, 100.0, 1000.0, "Commands while in control, Hz"),
    number("joint_state_rate_hz", 500.0, 50.0, 1000.0, "Highest rate of joint_states, Hz"),
    number("imu_rate_hz", 200.0, 1.0, 1000.0, "Rate of imu/data, Hz"),
    number("damping", 5.0, 0.5, 10.0, "Damping of the motors at rest, N m s/rad"),
    number(
        "obeyed_torque_nm",
        3.0,
        0.0,
        24.0,
        "Torque of another controller at rest, N m; 0: no check",
    ),
    *COMMON_PARAMETERS,
)


class MyRobotDriver(DriverNode):
    """The node `my_robot_driver`."""

    def __init__(self) -> None:
        topics = [
            joint_states_topic(JOINT_NAMES),
            imu_topic(lambda state: state.quat_xyzw.tolist()),
        ]
        super().__init__("my_robot_driver", MyRobot, PARAMETERS, topics)


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command `my_robot_driver`."""
    refuse_arguments("my_robot_driver", __doc__, PARAMETERS, args)
    sys.exit(run_node(MyRobotDriver, args))
