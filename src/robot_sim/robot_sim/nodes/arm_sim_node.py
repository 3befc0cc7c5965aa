# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated SO-101 arm as a ROS 2 node with the topics of a real arm.

Publishes (reliable, depth 1): `joint_states` (sensor_msgs/JointState), `front/image_raw` and
`wrist/image_raw` (sensor_msgs/Image, rgb8) or `.../image_raw/compressed`
(sensor_msgs/CompressedImage, JPEG), `environment_state` (std_msgs/Float32MultiArray: the
cube's position, m, world); in lockstep also `/clock`.
Subscribes: `joint_command` (policy_msgs/JointCommand, reliable, depth 1).

An episode starts with the first command in RUN. It ends when the gripper's tip has been above the
cube for half a second, or after `episode_s`; `episode_result` (std_msgs/Bool) is true on success.
The service `~/next_episode` (std_srvs/Trigger) moves the cube for the next episode.

Until the first command, the servos hold the start pose. In real time, they damp when a command
expires. In lockstep, the node publishes the sensor messages of tick k, stamped t_k, then /clock =
t_k, and waits for the JointCommand stamped t_k before it steps to t_k+1. Time stands still until
the first command. If a later command does not arrive within `answer_timeout_s`, the drives damp,
and the world continues in real time until the next command.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from policy_msgs.msg import JointCommand
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool, Float32MultiArray
from std_srvs.srv import Trigger

from robot_sim.arm_episodes import ArmRecorder, Episodes, Result
from robot_sim.arm_model import POLICY_CAMERAS
from robot_sim.arm_world import JOINTS, ArmWorld
from robot_sim.driven import NS_PER_S
from robot_sim.drives import DriveCommand
from robot_sim.nodes.camera_topics import CameraTopics
from robot_sim.nodes.parameters import ARM_SIM_NODE, Parameters
from robot_sim.nodes.robot_node import NEWEST, RECORD, RobotNode, run_node

_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class ArmSimNode(RobotNode):
    """Simulates an SO-101 and connects it to its topics."""

    world: ArmWorld

    def __init__(self, name: str = "arm_sim_node", parameters: Parameters = ARM_SIM_NODE) -> None:
        super().__init__(name, parameters)
        size = (self._get("image_height"), self._get("image_width"))
        self.world = ArmWorld(seed=self._get("seed"), image_size=size)
        self.world.latency_ns = round(self._get("latency_s") * NS_PER_S)
        self._episodes = Episodes(self._get("seed"), round(self._get("episode_s") * NS_PER_S))
        self._recorder = ArmRecorder() if self._get("trace_file") else None
        self._target, self._mode = np.full(JOINTS, np.nan), math.nan
        self.connect(
            period_steps=self.steps_of_rate("rate_hz"),
            stream_steps={
                name: self.steps_of_rate(name) for name in ("joint_state_rate_hz", "camera_rate_hz")
            },
        )
        self._cameras = CameraTopics(
            self, self.world.render, size, compressed=self._get("compressed")
        )
        self._environment = (
            self.create_publisher(Float32MultiArray, "environment_state", NEWEST)
            if self._get("environment_state")
            else None
        )
        self._result = self.create_publisher(Bool, "episode_result", _LATCHED)
        self.create_service(Trigger, "~/next_episode", self._on_next)

    def run(self) -> None:
        # OpenGL belongs to the thread that renders first, so open it here, before time starts.
        self.world.render(POLICY_CAMERAS[0])
        height, width = self._get("image_height"), self._get("image_width")
        self.get_logger().info(f"a simulated SO-101 with images of {width} x {height}")
        try:
            super().run()
        finally:
            self.world.close()

    def save(self) -> None:
        if self._recorder is not None and self.world.time_ns > 0:
            self._recorder.trace(self._episodes.results).save(Path(self._get("trace_file")))

    def before_step(self) -> None:
        cube_seed = self._episodes.cube_to_move(self.world.time_ns)
        if cube_seed is not None:
            self.world.move_cube(cube_seed)
        running = self._mode == JointCommand.MODE_RUN
        ended = self._episodes.look(self.world.sense(), running=running)
        if ended is not None:
            self._result.publish(Bool(data=ended.succeeded))
            self.get_logger().info(self._describe(ended))

    def applied(self, command: DriveCommand, message: JointCommand) -> None:
        """Store the target and the mode, for the trace and the episodes."""
        places = [command.joint_names.index(name) for name in self.world.joint_names]
        self._target, self._mode = command.position[places], float(message.mode)

    def publish(self, due: Sequence[str], stamp: Any) -> None:
        sensed = self.world.sense()
        if RECORD in due and self._recorder is not None:
            self._recorder.append(
                time_s=self.world.time_ns / NS_PER_S,
                pose=self.world.pose,
                target=self._target,
                mode=self._mode,
                episode=self._episodes.under_way,
            )
        if "joint_state_rate_hz" in due:
            self.joint_states.publish(self.joint_state.fill(sensed, stamp))
            if self._environment is not None:
                self._environment.publish(Float32MultiArray(data=sensed.cube_world.tolist()))
        if "camera_rate_hz" in due:
            self._cameras.publish(self.world.steps, stamp)

    def _describe(self, ended: Result) -> str:
        results = self._episodes.results
        how = (
            f"reached after {ended.took_s:.1f} s"
            if ended.succeeded
            else (
                f"not reached within {ended.took_s:.1f} s, {1e3 * ended.closest_m:.0f} mm at best"
            )
        )
        return (
            f"seed {ended.seed}: {how}; {sum(each.succeeded for each in results)} of "
            f"{len(results)} episodes succeeded"
        )

    def _on_next(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = True
        response.message = f"next episode: seed {self._episodes.next()} sets the cube's position"
        return response


def main(args: Sequence[str] | None = None) -> None:
    run_node("arm_sim_node", ArmSimNode, ARM_SIM_NODE, __doc__, args)
