# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Driver for a Unitree robot: connects its low-level DDS messages to ROS 2 topics.

Publishes (reliable, depth 1): `joint_states` (sensor_msgs/JointState), `imu/data`
(sensor_msgs/Imu); `estop` (std_msgs/Bool) while L2+B on the robot's wireless remote are held;
`joy` (sensor_msgs/Joy), the state of that remote, if `joy_rate_hz` is above 0; `battery_state`
(sensor_msgs/BatteryState) if LowState contains the battery; `~/status` (policy_msgs/RobotStatus,
reliable, transient local), `/diagnostics`.
Subscribes (reliable): `joint_command` (policy_msgs/JointCommand, depth 1), `estop` (std_msgs/Bool).
Serves (std_srvs/Trigger): `~/take_control`, `~/release_control`, which answer when done,
`~/damp`, and `~/reset`, which releases the e-stop. Nothing is sent to the robot before
`~/take_control`. Control is given back on any exit.
"""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from rclpy.serialization import serialize_message
from sensor_msgs.msg import BatteryState, Joy
from std_msgs.msg import Bool, Header

from policy_inference.nodes.parameters import Spec, refuse_arguments
from policy_inference.nodes.process import run_node
from robot_driver.interfaces import NS_PER_S
from robot_driver.nodes.driver_node import COMMON_PARAMETERS, IMU_RATE, DriverNode
from robot_driver.nodes.sensors import SensorTopic, imu_topic, joint_states_topic
from unitree_driver.figures import UnitreeFigures
from unitree_driver.nodes.robots import G1, H1, Go2, H1Two
from unitree_driver.reception import UnitreeState
from unitree_driver.robot import STOP_KEYS, UnitreeRobot
from unitree_driver.wire import GO

_MAX_DOMAIN = 232
_BUTTONS = ("A", "B", "X", "Y", "L1", "R1", "select", "start", "F1", "F2")
"""Buttons of the remote, in joy_node's order for an Xbox controller."""
_RELEASED = 1.0
"""Value of a released Xbox controller trigger; a pressed one is -1."""


_BATTERY = Spec(
    name="battery_rate_hz",
    type=float,
    default=1.0,
    minimum=0.0,
    maximum=10.0,
    doc="Rate of battery_state, Hz; 0: no such topic",
)
_HUNG = Spec(
    name="hung",
    type=bool,
    default=False,
    doc="True if the robot hangs from a hoist, so its joints can safely go limp",
)


def parameters(model: UnitreeFigures) -> tuple[Spec, ...]:
    defaults = model.defaults
    return (
        *([_BATTERY] if model.family is GO else []),
        *([_HUNG] if model.lying is None else []),
        Spec(
            name="network_interface",
            type=str,
            default=defaults.network_interface,
            doc="Network interface in the robot's network, such as eth0; empty: the interface "
            "that the environment sets for DDS",
        ),
        Spec(
            name="domain_id",
            type=int,
            default=defaults.domain_id,
            minimum=0,
            maximum=_MAX_DOMAIN,
            doc="DDS domain of the robot, independent of ROS_DOMAIN_ID",
        ),
        Spec(
            name="command_rate_hz",
            type=float,
            default=defaults.command_rate_hz,
            minimum=200.0,
            maximum=1000.0,
            doc="Steady rate of LowCmd messages while in control, Hz",
        ),
        Spec(
            name="joint_state_rate_hz",
            type=float,
            default=defaults.joint_state_rate_hz,
            minimum=100.0,
            maximum=500.0,
            doc="Highest rate of joint_states, Hz",
        ),
        IMU_RATE,
        Spec(
            name="estop_rate_hz",
            type=float,
            default=50.0,
            minimum=10.0,
            maximum=500.0,
            doc="Rate at which estop is published while the remote's L2 and B are held, Hz",
        ),
        Spec(
            name="joy_rate_hz",
            type=float,
            default=0.0,
            minimum=0.0,
            maximum=100.0,
            doc="Rate of joy (the robot's remote as a joystick), Hz; 0: no such topic",
        ),
        Spec(
            name="remote_required",
            type=bool,
            default=defaults.remote_required,
            doc="True to refuse control until a button press on the remote has been received",
        ),
        Spec(
            name="restore_mode",
            type=bool,
            default=defaults.restore_mode,
            doc="Select the robot's own controller again when control is given back",
        ),
        Spec(
            name="lowcmd_publishers",
            type=int,
            default=defaults.lowcmd_publishers,
            minimum=0,
            maximum=10,
            doc="Number of the robot's own publishers on lowcmd, excluding ROS nodes, when it is "
            "released",
        ),
        Spec(
            name="release_timeout_s",
            type=float,
            default=defaults.release_timeout_s,
            minimum=5.0,
            maximum=120.0,
            doc="Time for the robot to lie down and to be released, s",
        ),
        Spec(
            name="damping",
            type=float,
            default=defaults.damping,
            minimum=0.5,
            maximum=10.0,
            doc="Damping of the drives while no command is followed, N m s/rad",
        ),
        Spec(
            name="obeyed_torque_nm",
            type=float,
            default=defaults.obeyed_torque_nm,
            minimum=0.0,
            maximum=50.0,
            doc="Largest torque of a damped drive at rest, N m; a larger torque shows that "
            "another controller commands the drive; 0: no check",
        ),
        *COMMON_PARAMETERS,
    )


class UnitreeDriverNode(DriverNode):
    """Driver node for any of the Unitree robots."""

    def __init__(self, name: str, robot_type: type[UnitreeRobot]) -> None:
        model = robot_type.model
        super().__init__(name, robot_type, parameters(model), _sensor_topics(robot_type))


def _sensor_topics(robot_type: type[UnitreeRobot]) -> list[SensorTopic]:
    topics = [
        joint_states_topic(robot_type.figures.joint_names),
        imu_topic(lambda state: state.quat_xyzw.tolist()),
        # every estop subscriber has a second reader, for publishers that keep old messages
        SensorTopic(
            message=Bool, name="estop", rate="estop_rate_hz", fill=_fill_estop, warns=False
        ),
        SensorTopic(message=Joy, name="joy", rate="joy_rate_hz", fill=_fill_joy),
    ]
    if robot_type.model.family is GO:
        topics.append(
            SensorTopic(
                message=BatteryState,
                name="battery_state",
                rate="battery_rate_hz",
                fill=_fill_battery,
            )
        )
    return topics


def _fill_estop(state: UnitreeState, stamp_ns: int) -> bytes | None:
    """Return an e-stop press while the keys are held, else None: only a reset ends an e-stop."""
    return _wire(Bool(data=True)) if state.remote.holds(*STOP_KEYS) else None


def _fill_joy(state: UnitreeState, stamp_ns: int) -> bytes:
    """Return the remote's state in joy_node's Xbox layout; left and up are positive."""
    remote = state.remote
    triggers = [-_RELEASED if remote.holds(key) else _RELEASED for key in ("L2", "R2")]
    axes = [-remote.lx, remote.ly, triggers[0], -remote.rx, remote.ry, triggers[1]]
    axes += [
        float(remote.holds("left")) - float(remote.holds("right")),
        float(remote.holds("up")) - float(remote.holds("down")),
    ]
    buttons = [int(remote.holds(key)) for key in _BUTTONS]
    return _wire(Joy(header=_header(stamp_ns), axes=axes, buttons=buttons))


def _fill_battery(state: UnitreeState, stamp_ns: int) -> bytes | None:
    battery = state.battery
    if battery is None:
        return None
    unknown = float("nan")
    return _wire(
        BatteryState(
            header=_header(stamp_ns),
            voltage=battery.voltage_v,
            current=battery.current_a,
            percentage=0.01 * battery.percent,
            temperature=unknown,
            charge=unknown,
            capacity=unknown,
            design_capacity=unknown,
            present=True,
        )
    )


def _header(stamp_ns: int) -> Header:
    header = Header()
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, NS_PER_S)
    return header


def _wire(message: Any) -> bytes:
    return bytes(serialize_message(message))


def _main(name: str, robot_type: type[UnitreeRobot], args: Sequence[str] | None) -> None:
    refuse_arguments(name, __doc__, parameters(robot_type.model), args)
    sys.exit(run_node(partial(UnitreeDriverNode, name, robot_type), args))


def go2(args: Sequence[str] | None = None) -> None:
    _main("go2_driver", Go2, args)


def g1(args: Sequence[str] | None = None) -> None:
    _main("g1_driver", G1, args)


def h1(args: Sequence[str] | None = None) -> None:
    _main("h1_driver", H1, args)


def h1_2(args: Sequence[str] | None = None) -> None:
    _main("h1_2_driver", H1Two, args)
