# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of the simulated robots' nodes: defaults, descriptions and valid values."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from lite3_driver.wire import HOST_PORT, STATE_PORT
from policy_inference.nodes.parameters import ParameterTable, Spec
from robot_sim.errors import SimError

Parameters = Mapping[str, tuple[Any, str]]
"""Default and description by name."""

_LATENCY_TRACE_END: Parameters = {
    "latency_s": (0.0, "Time that a command takes to reach the drives, up to 0.04 s"),
    "trace_file": ("", "File to write the trace to when the node exits (.npz); empty: none"),
    "duration_s": (0.0, "Simulated time after which the node exits, s; 0: never"),
}
_EVERY_ROBOT: Parameters = {
    "lockstep": (False, "Wait for the command of each tick and publish /clock"),
    "lockstep_speed": (0.0, "Maximum simulated seconds per second in lockstep; 0: no limit"),
    "answer_timeout_s": (2.0, "Time to wait in lockstep for a command before the drives damp, s"),
    "viewer": (False, "Open a window of MuJoCo's viewer, which needs a display"),
    "joint_order": ([""], "Order of the names in joint_states; empty: the robot's own"),
    **_LATENCY_TRACE_END,
}
_ON_LEGS: Parameters = {
    "pose": ("lying", "Start pose: lying or standing"),
    "friction": (1.0, "Sliding friction between feet and floor"),
    "seed": (0, "Varies the start pose and the noise; 0 is the exact pose"),
    "faults": ([""], "Faults, e.g. 'drop:imu@4+0.5', 'push:left@5+0.1=100'; see robot_sim.faults"),
}
_CAMERAS: Parameters = {
    "camera_rate_hz": (30.0, "Rate of the cameras in real time, Hz"),
    "image_height": (96, "Height of the cameras' images"),
    "image_width": (128, "Width of the cameras' images"),
    "compressed": (False, "Publish CAMERA/image_raw/compressed (JPEG) instead of CAMERA/image_raw"),
}
FAULT_INJECTOR: Parameters = {
    "faults": ([""], "Faults, set at run time, e.g. 'drop:imu@1+0.3'; see robot_sim.faults"),
}
SIM_NODE: Parameters = {
    **_EVERY_ROBOT,
    "period_s": (0.02, "Time between ticks in lockstep, and between rows of the trace, s"),
    "joint_state_rate_hz": (500.0, "Rate of joint_states in real time, Hz"),
    "imu_rate_hz": (200.0, "Rate of imu/data in real time, Hz"),
    "contact_rate_hz": (100.0, "Rate of contact_forces and odom in real time, Hz"),
    "robot": ("lite3", "Robot: lite3, go2, g1, or a folder of figures"),
    "payload_kg": (0.0, "Mass added at the base's center, kg"),
    "terrain": ("tiles", "Kind of ground if step_m > 0: tiles, stairs, stones or gaps"),
    "step_m": (0.0, "Height of a step of the ground, m; 0: level ground"),
    "elevation_map": (False, "Publish elevation_map (grid_map_msgs/GridMap), as a mapper does"),
    "depth_camera": (False, "Publish depth_camera/image (32FC1) and depth_camera/camera_info"),
    "depth_rate_hz": (10.0, "Rate of the depth camera, Hz"),
    "depth_noise_m": (0.001, "Standard deviation of the depths, m"),
    "depth_height": (60, "Height of the depth images"),
    "depth_width": (106, "Width of the depth images"),
    "depth_vertical_deg": (58.0, "Vertical field of view of the depth camera, degrees"),
    "depth_position_m": ([0.3, 0.0, 0.05], "Position of the depth camera in the base, m"),
    "depth_pitch_deg": (30.0, "Downward pitch of the depth camera, degrees"),
    "arm": (False, "Let the Lite3 carry an SO-101, its cameras and a table with a cube"),
    **_CAMERAS,
    **_ON_LEGS,
    "pose": ("", "Start pose: lying or standing; empty: a G1 stands, others lie"),
}
LITE3_EMULATOR: Parameters = {
    "host_address": ("127.0.0.1", "Address at which the host receives, and from which it sends"),
    "host_port": (HOST_PORT, "UDP port of the host"),
    "state_address": ("127.0.0.1", "Destination of state frames: the driver's machine"),
    "state_port": (STATE_PORT, "UDP port to which state frames are sent"),
    "state_rate_hz": (1000.0, "State frames per second, Hz"),
    "watchdog_s": (1.0, "Silence of the controller after which its control ends, s"),
    "angular_velocity_unit": (
        "rad/s",
        "Unit of angular velocity in state frames: rad/s or deg/s",
    ),
    "event_file": ("", "File to append events to, as lines of JSON; empty: none"),
    "period_s": (0.02, "Time between rows of the trace, s"),
    **_LATENCY_TRACE_END,
    **_ON_LEGS,
    "faults": ([""], "Faults, e.g. 'loss:state@4+0.5=0.2'; see robot_sim.lite3_host"),
}
ARM_SIM_NODE: Parameters = {
    **_EVERY_ROBOT,
    "rate_hz": (30.0, "Ticks per second in lockstep, and rows of the trace, Hz"),
    "joint_state_rate_hz": (120.0, "Rate of joint_states in real time, Hz"),
    **_CAMERAS,
    "environment_state": (True, "Publish the cube's position, m, world, on environment_state"),
    "seed": (1, "Seed of the cube's position in the first episode; 0: straight ahead"),
    "episode_s": (8.0, "Time limit of an episode, s"),
}
SO101_EMULATOR: Parameters = {
    **ARM_SIM_NODE,
    "joint_state_rate_hz": (240.0, "Measuring rate of the servos, and rate of ~/joint_states, Hz"),
    "folder": (
        "",
        "Folder for `port`, a link to the bus, and the calibration `follower.json`; "
        "empty: ~/.ros/so101_emulator",
    ),
    "servos": ("feetech", "Protocol of the servos: feetech, or dynamixel as on a Koch"),
    "arm": (1, "Number of the arm; each number has its own calibration"),
    "holds": (True, "True: the servos hold the arm at the start, as a driver may leave them"),
    "faults": ([""], "Faults, e.g. 'silent:elbow_flex@4+0.5'; see robot_sim.servo_bus"),
}
ARM_LEADER: Parameters = {
    "drive": (False, "True: send joint_command; otherwise another node must make the arm follow"),
    "repeat": (True, "Demonstrate repeatedly; otherwise once per call of ~/demonstrate"),
    "marks": (True, "Publish episode_marks, which divide a recording into episodes"),
    "follow_marks": (
        False,
        "Follow episode_marks instead of publishing them: each START begins a demonstration",
    ),
    "task": ("Reach the cube.", "Task in the marks"),
    "guided": (
        False,
        "Act as a motorised leader arm held by a person who takes over: follow "
        "leader/joint_command, and reach for the cube while its stiffness is 0; nothing else",
    ),
}


def specs(parameters: Parameters) -> list[Spec]:
    """Return the parameters as `policy_inference` `Spec`s; numbers must not be negative."""
    least = {int: 0, float: 0.0}
    return [
        Spec(
            name=name,
            type=type(default),
            default=default,
            doc=doc,
            minimum=0.001 if name.endswith("_hz") else least.get(type(default)),
        )
        for name, (default, doc) in parameters.items()
    ]


def declared(node: Node, parameters: Parameters) -> Callable[[str], Any]:
    """Declare the parameters; return a function that reads them by name."""
    values = ParameterTable(node, specs(parameters), lambda: False).read()
    for name, value in values.items():
        if name.endswith("_file") and not (folder := Path(value).parent).is_dir():
            raise SimError(
                f"{name}: expected a file in an existing folder, found no folder {folder}"
            )
    return values.__getitem__


def set_faults(
    parameters: Sequence[Parameter], known: Parameters, change: Callable[[Sequence[str]], None]
) -> SetParametersResult:
    """Answer a request to set a node's parameters; only `faults` can be changed.

    Args:
        parameters: Parameters to set.
        known: The node's parameters; all but `faults` are read at start.
        change: Applies new faults, or raises SimError.
    """
    for parameter in parameters:
        if parameter.name != "faults" and parameter.name in known:
            reason = f"{parameter.name} is read only when the node starts; restart the node"
            return SetParametersResult(successful=False, reason=reason)
        if parameter.name == "faults":
            try:
                change(parameter.value)
            except SimError as error:
                return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)
