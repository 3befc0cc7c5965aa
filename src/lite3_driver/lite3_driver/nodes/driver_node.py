# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Driver for a Lite3: connects the motion host's UDP interface to ROS 2 topics.

Publishes (reliable, depth 1): `joint_states` (sensor_msgs/JointState), `imu/data`
(sensor_msgs/Imu), `contact_forces` (policy_msgs/ContactForces); `~/status`
(policy_msgs/RobotStatus, reliable, transient local), `/diagnostics`. Subscribes (reliable):
`joint_command` (policy_msgs/JointCommand, depth 1), `estop` (std_msgs/Bool). Serves
(std_srvs/Trigger): `~/take_control` and `~/release_control`, which answer when done; `~/damp`;
`~/reset`, which releases the e-stop.

Nothing is sent to the robot before `~/take_control`. Control is given back at every exit.
"""

import sys
from collections.abc import Sequence

from policy_msgs.msg import ContactForces

from lite3_driver.figures import Lite3Settings
from lite3_driver.robot import Lite3
from lite3_driver.wire import FOOT_NAMES, JOINT_NAMES, Lite3State
from policy_inference.nodes.parameters import Spec, refuse_arguments
from policy_inference.nodes.process import run_node
from robot_driver.nodes.driver_node import COMMON_PARAMETERS, IMU_RATE, DriverNode
from robot_driver.nodes.sensors import (
    ContactTemplate,
    SensorTopic,
    imu_topic,
    joint_states_topic,
    quat_from_rpy,
)

_DEFAULT = Lite3Settings()
_MAX_PORT = 65535

PARAMETERS = (
    Spec(
        name="host_address",
        type=str,
        default=_DEFAULT.host_address,
        doc="IPv4 address of the motion host; frames from other addresses are counted as foreign",
    ),
    Spec(
        name="host_port",
        type=int,
        default=_DEFAULT.host_port,
        minimum=1,
        maximum=_MAX_PORT,
        doc="UDP port of the motion host",
    ),
    Spec(
        name="interface_address",
        type=str,
        default=_DEFAULT.interface_address,
        doc="local IPv4 address to receive on; 0.0.0.0 for all",
    ),
    Spec(
        name="state_port",
        type=int,
        default=_DEFAULT.state_port,
        minimum=1,
        maximum=_MAX_PORT,
        doc="UDP port to which the motion host is configured to send its state",
    ),
    Spec(
        name="command_rate_hz",
        type=float,
        default=_DEFAULT.command_rate_hz,
        minimum=500.0,
        maximum=1000.0,
        doc="Steady rate of command frames while in control, Hz",
    ),
    Spec(
        name="joint_state_rate_hz",
        type=float,
        default=_DEFAULT.joint_state_rate_hz,
        minimum=200.0,
        maximum=500.0,
        doc="Highest rate of joint_states, Hz",
    ),
    IMU_RATE,
    Spec(
        name="contact_rate_hz",
        type=float,
        default=100.0,
        minimum=1.0,
        maximum=500.0,
        doc="Rate of contact_forces, Hz; at most that of joint_states",
    ),
    Spec(
        name="angular_velocity_unit",
        type=str,
        default=_DEFAULT.angular_velocity_unit,
        choices=("rad/s", "deg/s"),
        doc="Unit of the host's angular velocities",
    ),
    Spec(
        name="angular_velocity_checked",
        type=bool,
        default=_DEFAULT.angular_velocity_checked,
        doc="True if angular_velocity_unit was confirmed on this robot; control may then be taken "
        "without turning the robot first",
    ),
    Spec(
        name="fold_s",
        type=float,
        default=_DEFAULT.fold_s,
        minimum=7.0,
        maximum=60.0,
        doc="Time for the robot to fold its legs, s",
    ),
    Spec(
        name="damping",
        type=float,
        default=_DEFAULT.damping,
        minimum=0.5,
        maximum=10.0,
        doc="Damping of the drives while no command is followed, N m s/rad",
    ),
    Spec(
        name="obeyed_torque_nm",
        type=float,
        default=_DEFAULT.obeyed_torque_nm,
        minimum=0.0,
        maximum=24.0,
        doc="Largest torque of a damped drive at rest, N m; a larger torque shows that "
        "another controller commands the drive; 0: no check",
    ),
    *COMMON_PARAMETERS,
)


class Lite3DriverNode(DriverNode):
    """Driver node for a Lite3."""

    def __init__(self) -> None:
        super().__init__("lite3_driver", Lite3, PARAMETERS, _sensor_topics())


def _sensor_topics() -> list[SensorTopic]:
    contact = ContactTemplate(FOOT_NAMES)

    def fill_contact(state: Lite3State, stamp_ns: int) -> bytes | None:
        return contact.fill(state.contact_force, stamp_ns)

    return [
        joint_states_topic(JOINT_NAMES),
        imu_topic(lambda state: quat_from_rpy(state.rpy)),
        SensorTopic(
            message=ContactForces, name="contact_forces", rate="contact_rate_hz", fill=fill_contact
        ),
    ]


def main(args: Sequence[str] | None = None) -> None:
    refuse_arguments("lite3_driver", __doc__, PARAMETERS, args)
    sys.exit(run_node(Lite3DriverNode, args))
