# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Driver for LeRobot's arms: connects a servo bus to ROS 2 topics.

Publishes (reliable, depth 1): `joint_states` (sensor_msgs/JointState, rad; velocities from position
differences, efforts from the servos' load estimates); `~/status` (policy_msgs/RobotStatus,
reliable, transient local), `/diagnostics`. Subscribes (reliable): `joint_command`
(policy_msgs/JointCommand, depth 1), whose positions go to the servos; `estop` (std_msgs/Bool).
Serves (std_srvs/Trigger): `~/take_control`, `~/release_control`, which answer when done; `~/damp`,
after which the arm holds its position, and `~/reset`, which releases the e-stop.

Run a leader arm's driver with the parameter `leader`, in the namespace `leader`: a policy node
follows its `joint_states` when a person takes over, and moves the leader to the arm's pose through
`joint_command` (policy_inference, `nodes.takeover`).

Nothing moves before `~/take_control`: until then, the servos are only read. At every exit, they
hold their positions or become limp (`way_out`).
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

from lerobot_arm_driver.arms import ARMS, HOLD, TORQUE_OFF, ArmSettings
from lerobot_arm_driver.robot import ServoArm
from policy_inference.nodes.parameters import Spec, refuse_arguments
from policy_inference.nodes.process import run_node
from robot_driver.nodes.driver_node import COMMON_PARAMETERS, DriverNode
from robot_driver.nodes.sensors import SensorTopic, joint_states_topic

_DEFAULT = ArmSettings()
_HIGHEST_GAIN = 16383

PARAMETERS = (
    Spec(
        name="robot",
        type=str,
        default=_DEFAULT.robot,
        choices=tuple(ARMS),
        doc="Kind of arm; bi_...: two arms, whose joint names begin with left_ and right_",
    ),
    Spec(
        name="port",
        type=str,
        default=_DEFAULT.port,
        doc="Serial port of the servo bus; for two arms, that of the left arm",
    ),
    Spec(
        name="right_port",
        type=str,
        default=_DEFAULT.right_port,
        doc="Serial port of the right arm's servo bus",
    ),
    Spec(
        name="calibration_id",
        type=str,
        default=_DEFAULT.calibration_id,
        doc="LeRobot's --robot.id: the calibration is ID.json, for two arms ID_left.json and "
        "ID_right.json",
    ),
    Spec(
        name="calibration_dir",
        type=str,
        default=_DEFAULT.calibration_dir,
        doc="Calibration folder; empty: LeRobot's default",
    ),
    Spec(
        name="lerobot_python",
        type=str,
        default=_DEFAULT.lerobot_python,
        doc="Python of LeRobot's environment; empty: the node's own Python",
    ),
    Spec(
        name="way_out",
        type=str,
        default=_DEFAULT.way_out,
        choices=(HOLD, TORQUE_OFF),
        doc="Reaction of the servos when control is given back: hold, or torque_off, which lets "
        "the arm sink",
    ),
    Spec(
        name="max_relative_target_rad",
        type=float,
        default=_DEFAULT.max_relative_target_rad,
        minimum=0.001,
        maximum=10.0,
        doc="Largest distance of a goal from the joint's position, rad; goals beyond this "
        "distance are clipped",
    ),
    Spec(
        name="leader",
        type=bool,
        default=_DEFAULT.leader,
        doc="True for a leader arm, which a person moves by hand: the arm is limp while its "
        "command has neither stiffness nor damping",
    ),
    *(
        Spec(
            name=f"servo_{letter}",
            type=int,
            default=-1,
            minimum=-1,
            maximum=_HIGHEST_GAIN,
            doc=f"{letter.upper()} gain of the servos' own position loop, in their unit; -1: "
            "LeRobot's value",
        )
        for letter in "pid"
    ),
    Spec(
        name="command_rate_hz",
        type=float,
        default=_DEFAULT.command_rate_hz,
        minimum=20.0,
        maximum=200.0,
        doc="Rate at which the driver reads the servos and sends goals, Hz",
    ),
    Spec(
        name="joint_state_rate_hz",
        type=float,
        default=_DEFAULT.joint_state_rate_hz,
        minimum=10.0,
        maximum=500.0,
        doc="Highest rate of joint_states, Hz",
    ),
    *(
        # Servos answer less often than other robots' drives.
        replace(spec, default=_DEFAULT.state_timeout_s) if spec.name == "state_timeout_s" else spec
        for spec in COMMON_PARAMETERS
    ),
)


class ArmDriverNode(DriverNode):
    """Driver node for one or two arms."""

    def __init__(self) -> None:
        super().__init__("lerobot_arm_driver", ServoArm, PARAMETERS)

    def sensor_topics(self, joint_names: Sequence[str]) -> list[SensorTopic]:
        return [joint_states_topic(joint_names)]


def main(args: Sequence[str] | None = None) -> None:
    refuse_arguments("lerobot_arm_driver", __doc__, PARAMETERS, args)
    sys.exit(run_node(ArmDriverNode, args))
