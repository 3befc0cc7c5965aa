# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Launch a joint policy or a policy set, together with the robot and its teleoperation.

The launch files for specific robots include this one with their own defaults. The launch ends when
the policy node, the driver, or the simulated or emulated robot exits. If the operator node exits,
the robot stops and stands, because the policy fades out a velocity command that is not repeated.
For two robots, run the launch file twice, with different namespaces.
"""

from collections.abc import Sequence
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    SetEnvironmentVariable,
    SetLaunchConfiguration,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from policy_core.errors import PolicyError
from policy_inference.commands.sensing import ESTIMATOR_NODE, PERCEPTION_NODE, sensing_nodes
from policy_inference.machine.middleware import (
    discovery_variables,
    require_joystick_package,
    require_known_arguments,
    require_port,
    security_variables,
)

CONFIG = Path(__file__).parents[1] / "config" / "nodes"
BOOLEANS = ["true", "false"]
UNITREE = ["go2", "go2_emulator", "g1"]
"""Values of `robot` for Unitree robots."""

ARGUMENTS = [
    DeclareLaunchArgument(
        "bundle", description="Policy bundle: a folder, or an installed one as NAME or NAME@VERSION"
    ),
    DeclareLaunchArgument(
        "policy_node",
        default_value="joint_policy_node",
        choices=["joint_policy_node", "policy_set_node"],
        description="Node that runs the bundle: a policy, or a set of policies",
    ),
    DeclareLaunchArgument(
        "public_key",
        default_value="",
        description="PEM file or folder of keys, one of which must have signed the bundle",
    ),
    DeclareLaunchArgument(
        "backend",
        default_value="onnx",
        description="Back end that runs the model, or several in order of preference: "
        "tensorrt,onnx",
    ),
    DeclareLaunchArgument(
        "backend_options",
        default_value="",
        description="Options of back ends: rknn.core_mask=0_1,tensorrt.build=yes",
    ),
    DeclareLaunchArgument(
        "shadow_bundle",
        default_value="",
        description="Bundle of a shadow, which runs beside the policy and never commands: a "
        "folder, or an installed one; empty: none",
    ),
    DeclareLaunchArgument(
        "shadow_backend",
        default_value="",
        description="Back end of the shadow's model, same format as backend; empty: the policy's",
    ),
    DeclareLaunchArgument(
        "shadow_member",
        default_value="",
        description="Set member with which the shadow is compared; only with "
        "policy_node:=policy_set_node",
    ),
    DeclareLaunchArgument(
        "robot",
        default_value="none",
        choices=["lite3", "lite3_emulator", "go2", "go2_emulator", "g1", "sim", "none"],
        description="Robot to start with the policy: the driver of a Lite3, Unitree Go2 or G1; a "
        "driver with an emulated robot; a simulated robot; or none",
    ),
    DeclareLaunchArgument(
        "sim_robot",
        default_value="",
        description="Robot to simulate with robot:=sim (lite3, go2, g1 or a folder of figures); "
        "empty: the robot in params_file, else lite3",
    ),
    DeclareLaunchArgument(
        "viewer",
        default_value="false",
        choices=BOOLEANS,
        description="True: open a window of MuJoCo's viewer, with robot:=sim; needs a display",
    ),
    DeclareLaunchArgument(
        "operator",
        default_value="none",
        choices=["joystick", "none"],
        description="Teleoperation to start: joystick, or none if another node publishes cmd_vel",
    ),
    DeclareLaunchArgument(
        "joy_node",
        default_value="true",
        choices=BOOLEANS,
        description="True: start the joystick node from the joy package "
        "(apt install ros-$ROS_DISTRO-joy), with operator:=joystick",
    ),
    DeclareLaunchArgument(
        "sensing_nodes",
        default_value="true",
        choices=BOOLEANS,
        description="True: start perception_node and velocity_estimator_node if the bundle's "
        "contract needs them",
    ),
    DeclareLaunchArgument(
        "inject_faults",
        default_value="false",
        choices=BOOLEANS,
        description="Start fault_injector between the robot's sensors and the policy; its "
        "parameter `faults` then changes what the policy measures",
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(CONFIG / "joint_policy.yaml"),
        description="Parameters of the policy node, perception_node and the simulated robot; the "
        "arguments here replace those in the file",
    ),
    DeclareLaunchArgument(
        "robot_params_file",
        default_value=PythonExpression(
            [
                f"'{CONFIG}/' + ('lite3.yaml' if '",
                LaunchConfiguration("robot"),
                f"' not in {UNITREE} else 'unitree.yaml')",
            ]
        ),
        description="Parameters of the robot's driver and of the emulated Lite3",
    ),
    DeclareLaunchArgument(
        "operator_params_file",
        default_value=str(CONFIG / "operator.yaml"),
        description="Parameters of the operator, and of the node that reads the joystick",
    ),
    DeclareLaunchArgument(
        "metrics_port",
        default_value="",
        description="Port on 127.0.0.1 for the robot's Prometheus metrics; empty: none",
    ),
    DeclareLaunchArgument(
        "security",
        default_value="",
        description="SROS 2 keystore that these nodes, and all nodes that communicate with them, "
        "must use; empty: unprotected",
    ),
    DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of all nodes, topics and services"
    ),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="false",
        choices=BOOLEANS,
        description="Tick on /clock; the simulated robot then waits for each command (lockstep)",
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="Lowest level that the nodes log",
    ),
]
EMULATED_LITE3 = {"host_address": "127.0.0.1", "interface_address": "127.0.0.1"}
EMULATED_UNITREE = {
    "network_interface": "lo",
    "domain_id": ParameterValue(
        EnvironmentVariable("ROS_DOMAIN_ID", default_value="0"), value_type=int
    ),
    "remote_required": False,
}
"""Driver parameters for reaching an emulated robot; the parameter file is for the real robot."""
OPERATED = (
    (["lite3", "lite3_emulator", "sim", "none"], []),
    (["go2", "go2_emulator"], [{"driver_node": "go2_driver"}]),
    (["g1"], [{"driver_node": "g1_driver"}]),
)
"""Groups of `robot` values, each with the operator parameters that name the driver."""
TEXTS = (
    "bundle",
    "public_key",
    "backend",
    "backend_options",
)
SHADOW = ("shadow_bundle", "shadow_backend")
POSE = "perception/odom"
"""Base pose topic for height scans when `odom` comes from the estimator and lacks a pose."""


def environment(context: LaunchContext) -> list[SetEnvironmentVariable]:
    """For a simulated robot, restrict discovery to this computer; secure the nodes if requested."""
    robot, keystore = (LaunchConfiguration(name).perform(context) for name in ("robot", "security"))
    variables = {
        **discovery_variables(robot, context.environment),
        **security_variables(keystore),
    }
    return [SetEnvironmentVariable(*one) for one in variables.items()]


def require_arguments(context: LaunchContext) -> None:
    """Raise PolicyError for an argument that has no effect, before anything starts."""
    require_known_arguments([one.name for one in ARGUMENTS])
    port, operator, joy_node, robot, viewer, injects, sim_time, keystore = (
        LaunchConfiguration(name).perform(context)
        for name in (
            *("metrics_port", "operator", "joy_node", "robot", "viewer"),
            *("inject_faults", "use_sim_time", "security"),
        )
    )
    if injects == "true" and (sim_time == "true" or keystore):
        raise PolicyError(
            "inject_faults: expected real time and no security, found use_sim_time or a keystore"
        )
    if viewer == "true" and robot != "sim":
        raise PolicyError(f"viewer: expected robot:=sim, found robot:={robot}")
    if port:
        require_port(port)
    if (operator, joy_node) == ("joystick", "true"):
        require_joystick_package(context.environment)


def sensing(context: LaunchContext) -> list[SetLaunchConfiguration | Node]:
    """Return the sensing nodes that the contract needs; set `pose` to the base pose topic."""
    bundle, public_key, wanted = (
        LaunchConfiguration(name).perform(context)
        for name in ("bundle", "public_key", "sensing_nodes")
    )
    needed = sensing_nodes(bundle, public_key) if wanted == "true" else frozenset()
    pose = POSE if ESTIMATOR_NODE in needed else "odom"
    use_sim_time = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    parameters = {PERCEPTION_NODE: TEXTS, ESTIMATOR_NODE: ("bundle", "public_key")}
    remappings = {PERCEPTION_NODE: [("odom", pose)], ESTIMATOR_NODE: []}
    return [
        SetLaunchConfiguration("pose", pose),
        *(
            node(
                "policy_inference",
                name,
                "params_file",
                parameters=[{**texts(parameters[name]), "use_sim_time": use_sim_time}],
                remappings=remappings[name],
            )
            for name in sorted(needed)
        ),
    ]


def texts(names: Sequence[str]) -> dict[str, ParameterValue]:
    """Return parameters whose values come from the arguments with the same names."""
    return {name: ParameterValue(LaunchConfiguration(name), value_type=str) for name in names}


def given(**values: list[str]) -> IfCondition:
    """Return a condition that holds if each named argument has one of its listed values."""
    words: list[object] = []
    for name, wanted in values.items():
        words += ["'", LaunchConfiguration(name), f"' in {wanted} and "]
    return IfCondition(PythonExpression([*words, "True"]))


def node(package: str, name: str, file: str, *, ends: str = "", **more: object) -> Node:
    """Return a node named after its executable; launch argument `file` names its parameter file.

    If `ends` is given, the launch ends for that reason when the node exits.
    """
    return Node(
        package=package,
        executable=name,
        name=name,
        namespace=LaunchConfiguration("namespace"),
        # Passed through rcl: `parameters` would only warn about a missing file.
        arguments=[
            "--ros-args",
            "--enclave",
            f"/{name}",
            "--params-file",
            LaunchConfiguration(file),
            "--log-level",
            LaunchConfiguration("log_level"),
        ],
        output="screen",
        on_exit=Shutdown(reason=ends) if ends else None,
        **more,
    )


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    use_sim_time, viewer = (
        ParameterValue(LaunchConfiguration(name), value_type=bool)
        for name in ("use_sim_time", "viewer")
    )
    # Without the joystick's node, the operator uses the robot's own remote.
    joy_rate_hz = PythonExpression(
        [
            *("50.0 if '", LaunchConfiguration("operator"), LaunchConfiguration("joy_node")),
            "' == 'joystickfalse' else 0.0",
        ]
    )
    remote = {"parameters": [{"joy_rate_hz": ParameterValue(joy_rate_hz, value_type=float)}]}
    shared, member = texts([*TEXTS, *SHADOW]), texts(["shadow_member"])
    pose = [("odom", LaunchConfiguration("pose"))]
    injected = given(inject_faults=["true"])
    prefix = PythonExpression(
        ["'faulty/' if '", LaunchConfiguration("inject_faults"), "' == 'true' else ''"]
    )
    measured = [(topic, [prefix, topic]) for topic in ("joint_states", "imu/data", "odom")]
    named = {"robot": ParameterValue(LaunchConfiguration("sim_robot"), value_type=str)}
    is_named = ["'", LaunchConfiguration("sim_robot"), "' != ''"]
    lite3, go2, g1 = (
        (package, name, "robot_params_file")
        for package, name in (
            ("lite3_driver", "lite3_driver"),
            ("unitree_driver", "go2_driver"),
            ("unitree_driver", "g1_driver"),
        )
    )
    return LaunchDescription(
        [
            *ARGUMENTS,
            OpaqueFunction(function=require_arguments),
            OpaqueFunction(function=environment),
            OpaqueFunction(function=sensing),
            node(
                "joy",
                "joy_node",
                "operator_params_file",
                condition=given(operator=["joystick"], joy_node=["true"]),
            ),
            *(
                node(
                    "robot_operator",
                    "operator_node",
                    "operator_params_file",
                    condition=given(operator=["joystick"], robot=robots),
                    parameters=more,
                )
                for robots, more in OPERATED
            ),
            node(
                "robot_sim",
                "sim_node",
                "params_file",
                ends="the simulated robot ended",
                condition=given(robot=["sim"], sim_robot=[""]),
                parameters=[{"lockstep": use_sim_time, "viewer": viewer}],
                remappings=pose,
            ),
            node(
                "robot_sim",
                "sim_node",
                "params_file",
                ends="the simulated robot ended",
                condition=IfCondition(
                    PythonExpression(
                        ["'", LaunchConfiguration("robot"), "' == 'sim' and ", *is_named]
                    )
                ),
                parameters=[{"lockstep": use_sim_time, "viewer": viewer, **named}],
                remappings=pose,
            ),
            node(
                "robot_sim",
                "lite3_emulator",
                "robot_params_file",
                ends="the emulated host ended",
                condition=given(robot=["lite3_emulator"]),
            ),
            ExecuteProcess(
                cmd=["unitree_emulator", "--robot", "go2"],
                output="screen",
                on_exit=Shutdown(reason="the emulated robot ended"),
                condition=given(robot=["go2_emulator"]),
            ),
            *(
                node(*driver, ends="the driver exited", condition=given(robot=[robot]), **more)
                for robot, driver, more in (
                    ("lite3", lite3, {}),
                    ("lite3_emulator", lite3, {"parameters": [EMULATED_LITE3]}),
                    ("go2", go2, remote),
                    ("go2_emulator", go2, {"parameters": [EMULATED_UNITREE]}),
                    ("g1", g1, remote),
                )
            ),
            node("robot_sim", "fault_injector", "params_file", condition=injected),
            node(
                "policy_inference",
                "joint_policy_node",
                "params_file",
                ends="the policy node exited",
                condition=given(policy_node=["joint_policy_node"]),
                parameters=[{**shared, "use_sim_time": use_sim_time}],
                remappings=measured,
            ),
            node(
                "policy_inference",
                "policy_set_node",
                "params_file",
                ends="the policy node exited",
                condition=given(policy_node=["policy_set_node"]),
                parameters=[{**shared, **member, "use_sim_time": use_sim_time}],
                remappings=measured,
            ),
            node(
                "policy_inference",
                "robot_metrics",
                "params_file",
                condition=IfCondition(
                    PythonExpression(["'", LaunchConfiguration("metrics_port"), "' != ''"])
                ),
                parameters=[
                    {"port": ParameterValue(LaunchConfiguration("metrics_port"), value_type=int)}
                ],
            ),
        ]
    )
