# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated legged robot as a ROS 2 node with the topics of a real robot.

Publishes (reliable, depth 1): `joint_states` (sensor_msgs/JointState), `imu/data`
(sensor_msgs/Imu), `odom` (nav_msgs/Odometry), `contact_forces` (policy_msgs/ContactForces); in
lockstep also `/clock`. With `elevation_map`: `elevation_map` (grid_map_msgs/GridMap) at 10 Hz, as
published by a mapper; robot_sim.mapper lists the map's faults. With `depth_camera`:
`depth_camera/image` (sensor_msgs/Image, 32FC1) and `depth_camera/camera_info`
(sensor_msgs/CameraInfo); robot_sim.depth_camera lists the camera's faults. With `arm`: a Lite3
carries an SO-101, whose joints are published with the others; also `front/image_raw` and
`wrist/image_raw` (sensor_msgs/Image, rgb8) or `.../image_raw/compressed`
(sensor_msgs/CompressedImage, JPEG), in lockstep at each tick.
Subscribes: `joint_command` (policy_msgs/JointCommand, reliable, depth 1) and `cmd_vel`
(geometry_msgs/Twist), for recording only.
The service `~/set_upright` (std_srvs/Trigger) sets a fallen robot upright in place, as a person
would.

In real time, the drives damp when a command expires. In lockstep, the node publishes the sensor
messages of tick k, stamped t_k, then /clock = t_k, and waits for the JointCommand stamped t_k
before it steps to t_k+1. Time stands still until the first command. If a later command does not
arrive within `answer_timeout_s`, the drives damp, and the world continues in real time until the
next command.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from nav_msgs.msg import Odometry
from policy_msgs.msg import ContactForces, JointCommand
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from sensor_msgs.msg import Imu
from std_srvs.srv import Trigger

from robot_sim.arm_carrier import ArmCarrier
from robot_sim.arm_model import POLICY_CAMERAS
from robot_sim.driven import NS_PER_S
from robot_sim.drives import DriveCommand
from robot_sim.errors import SimError
from robot_sim.faults import FaultPlan
from robot_sim.figures import load_robot
from robot_sim.ground import TERRAINS, Ground
from robot_sim.nodes.camera_topics import CameraTopics
from robot_sim.nodes.messages import (
    contact_message,
    imu_message,
    nanoseconds,
    odometry_message,
    to_time,
)
from robot_sim.nodes.parameters import SIM_NODE, set_faults
from robot_sim.nodes.perception_topics import PerceptionTopics
from robot_sim.nodes.robot_node import NEWEST, RECORD, RobotNode, record_velocity, run_node
from robot_sim.trace import WalkRecord
from robot_sim.world import World


class SimNode(RobotNode):
    """Simulates a legged robot: a Lite3 by default, or the robot whose data folder is given."""

    world: World

    def __init__(self) -> None:
        super().__init__("sim_node", SIM_NODE)
        self.world = self._carrier() if self._get("arm") else self._robot()
        self.world.latency_ns = round(self._get("latency_s") * NS_PER_S)
        self._perception = PerceptionTopics(self, self._get, self._ground)
        self._plan = self._planned(self._get("faults"), 0)
        self._record = WalkRecord(self._get("trace_file"))
        record_velocity(self, self._record)
        streams = {
            name: self.steps_of_rate(name)
            for name in ("joint_state_rate_hz", "imu_rate_hz", "contact_rate_hz")
        }
        self._cameras: CameraTopics | None = None
        if isinstance(self.world, ArmCarrier):
            steps = round(self.world.steps_per_s / self._get("camera_rate_hz"))
            streams["camera_rate_hz"] = max(1, steps)
            self._cameras = CameraTopics(
                self, self.world.render, self._image_size(), compressed=self._get("compressed")
            )
        period_ns = round(self._get("period_s") * NS_PER_S)
        self.connect(
            period_steps=self.world.whole_steps(period_ns, "period_s"),
            stream_steps=streams,
        )
        self._imu = self.create_publisher(Imu, "imu/data", NEWEST)
        self._odom = self.create_publisher(Odometry, "odom", NEWEST)
        self._contacts = self.create_publisher(ContactForces, "contact_forces", NEWEST)
        self._to_set_upright = False
        self.create_service(Trigger, "~/set_upright", self._on_set_upright)
        self.add_on_set_parameters_callback(self._on_set)

    def _robot(self) -> World:
        return World(
            load_robot(self._get("robot")),
            friction=self._get("friction"),
            payload_kg=self._get("payload_kg"),
            seed=self._get("seed"),
            pose=self._get("pose") or None,
            ground=self._ground,
        )

    @property
    def _ground(self) -> Ground:
        terrain = self._get("terrain")
        if terrain not in TERRAINS:
            raise SimError(f"terrain: expected one of {', '.join(TERRAINS)}, found {terrain!r}")
        return Ground(terrain=terrain, step_m=self._get("step_m"), seed=self._get("seed"))

    def _carrier(self) -> ArmCarrier:
        if self._get("robot") != "lite3" or self._get("payload_kg") or self._get("step_m"):
            raise SimError(
                f"arm: expected the robot lite3 without a payload on level ground, found "
                f"{self._get('robot')} with {self._get('payload_kg'):g} kg, steps of "
                f"{self._get('step_m'):g} m"
            )
        return ArmCarrier(
            friction=self._get("friction"),
            seed=self._get("seed"),
            pose=self._get("pose") or None,
            image_size=self._image_size(),
        )

    def _image_size(self) -> tuple[int, int]:
        return self._get("image_height"), self._get("image_width")

    def run(self) -> None:
        world = self.world
        if not isinstance(world, ArmCarrier):
            super().run()
            return
        # OpenGL belongs to the thread that renders first, so open it here, before time starts.
        world.render(POLICY_CAMERAS[0])
        try:
            super().run()
        finally:
            world.close()

    def save(self) -> None:
        self._record.save()

    def before_step(self) -> None:
        """Set the robot upright, if requested; apply the faults."""
        if self._to_set_upright:
            self._to_set_upright = False
            self.world.set_upright()
        self._plan.act(self.world)

    def applied(self, command: DriveCommand, message: JointCommand) -> None:
        places = [command.joint_names.index(name) for name in self.world.joint_names]
        self._record.target, self._record.mode = command.position[places], float(message.mode)

    def publish(self, due: Sequence[str], stamp: Any) -> None:
        truth = self.world.sense()
        if RECORD in due:
            self._record.append(truth)
        streams = self._plan.apply(truth)
        offset_ns = nanoseconds(stamp) - truth.time_ns
        if "joint_state_rate_hz" in due and (seen := streams.joint_states):
            self.joint_states.publish(
                self.joint_state.fill(seen, to_time(seen.time_ns + offset_ns))
            )
        if "imu_rate_hz" in due and (seen := streams.imu):
            self._imu.publish(imu_message(seen, to_time(seen.time_ns + offset_ns)))
        if "contact_rate_hz" in due and (seen := streams.contact):
            self._contacts.publish(
                contact_message(seen, self.world.foot_names, to_time(seen.time_ns + offset_ns))
            )
        if "camera_rate_hz" in due and self._cameras is not None:
            self._cameras.publish(self.world.steps, stamp)
        self._perception.publish(self.world, truth, offset_ns)
        if "contact_rate_hz" in due and (seen := streams.odom):
            self._odom.publish(odometry_message(seen, to_time(seen.time_ns + offset_ns)))

    def _on_set_upright(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        # only the thread that steps the world may change it
        self._to_set_upright = True
        response.success, response.message = True, "put down before the next step"
        return response

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        return set_faults(parameters, SIM_NODE, self._change_faults)

    def _planned(self, texts: Sequence[str], now_ns: int) -> FaultPlan:
        names, seed = self.world.joint_names, self._get("seed")
        parse = partial(FaultPlan.parse, seed=seed, now_ns=now_ns, joint_names=names)
        return self._perception.plan(texts, now_ns, parse)

    def _change_faults(self, texts: Sequence[str]) -> None:
        self._plan = self._planned(texts, self.world.time_ns)
        self.world.motors_on()
        self.world.latency_ns = round(self._get("latency_s") * NS_PER_S)


def main(args: Sequence[str] | None = None) -> None:
    run_node("sim_node", SimNode, SIM_NODE, __doc__, args)
