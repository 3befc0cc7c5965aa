# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Launch a chunk policy such as ACT, with cameras and a driver, or an emulated or simulated arm.

The launch ends when the policy node, the driver, or the emulated or simulated arm exits; if a
camera node exits, the policy enters HOLD. For two arms with one policy each, run the launch file
twice, with different namespaces.
"""

import tempfile
from pathlib import Path

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from policy_core.errors import PolicyError
from policy_inference.commands.cameras import (
    camera_parameters,
    list_cameras,
    read_contract,
    simulated_cameras,
)
from policy_inference.machine.middleware import (
    discovery_variables,
    require_known_arguments,
    require_port,
    security_variables,
)

CONFIG = Path(__file__).parents[1] / "config"
BOOLEANS = ["true", "false"]
TEXTS = (
    "public_key",
    "backend",
    "backend_options",
    "shadow_bundle",
    "shadow_backend",
    "image_transport",
)
SIMULATED = "so101_reach"
"""Policy that the suite ships for the simulated arm."""
ARMS = ["so100", "so101", "koch", "bi_so100", "bi_so101", "bi_koch"]
LEADER = ("leader_port", "leader_calibration_id", "leader_calibration_dir")
IN_THIS_COMPUTER = ["so101_emulator", "sim"]
DRIVERS = ("port", "right_port", "calibration_id", "lerobot_python")
"""Arguments passed to the driver as parameters, if given."""

ARGUMENTS = [
    DeclareLaunchArgument(
        "bundle",
        default_value="",
        description="Policy bundle: a folder, or an installed one as NAME or NAME@VERSION; by "
        "default so101_reach with robot:=sim or so101_emulator",
    ),
    DeclareLaunchArgument(
        "public_key",
        default_value="",
        description="PEM file or folder of keys, one of which must have signed the bundle",
    ),
    DeclareLaunchArgument(
        "backend",
        default_value="onnx",
        description="Back end that runs the graphs, or several in order of preference: bpu,onnx",
    ),
    DeclareLaunchArgument(
        "mode",
        default_value="",
        description="Execution mode for chunks: asynchronous, synchronous, ensemble, rtc; empty: "
        "the mode in params_file",
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
        description="Back end of the shadow's graphs, same format as backend; empty: the policy's",
    ),
    DeclareLaunchArgument(
        "robot",
        default_value="none",
        choices=[*ARMS, *IN_THIS_COMPUTER, "none"],
        description="Robot to start with the policy: the driver of one LeRobot arm or of two "
        "(bi_...); the driver of an SO-101 with an emulated servo bus; a simulated SO-101 without "
        "a driver; or none",
    ),
    DeclareLaunchArgument(
        "viewer",
        default_value="false",
        choices=BOOLEANS,
        description="True: open a window of MuJoCo's viewer, with robot:=sim or so101_emulator; "
        "needs a display",
    ),
    DeclareLaunchArgument(
        "port",
        default_value="",
        description="Serial port of the arm's servo bus (with two arms, of the left one); empty: "
        "as in params_file",
    ),
    DeclareLaunchArgument(
        "right_port",
        default_value="",
        description="Serial port of the right arm's servo bus; empty: as in params_file",
    ),
    DeclareLaunchArgument(
        "calibration_id",
        default_value="",
        description="LeRobot's --robot.id, which selects the calibration; empty: as in params_file",
    ),
    DeclareLaunchArgument(
        "lerobot_python",
        default_value="",
        description="Python of LeRobot's environment, such as .venv-lerobot/bin/python; empty: as "
        "in params_file",
    ),
    DeclareLaunchArgument(
        "takeover",
        default_value="false",
        choices=BOOLEANS,
        description="True: a person may take over with a leader arm, whose pose is on "
        "leader/joint_states",
    ),
    DeclareLaunchArgument(
        "leader_port",
        default_value="",
        description="Serial port of a leader arm of the same kind as robot, whose driver starts in "
        "the namespace leader; if given, takeover is true",
    ),
    DeclareLaunchArgument(
        "leader_calibration_id",
        default_value="leader",
        description="LeRobot's --teleop.id of the leader arm",
    ),
    DeclareLaunchArgument(
        "leader_calibration_dir",
        default_value="",
        description="Folder of the leader's calibration, such as "
        "~/.cache/huggingface/lerobot/calibration/teleoperators/so_leader; "
        "empty: the folder for robots",
    ),
    DeclareLaunchArgument(
        "cameras",
        default_value="",
        description="USB cameras to start, by name: laptop=/dev/video0,phone=/dev/video2",
    ),
    DeclareLaunchArgument(
        "image_transport",
        default_value="raw",
        choices=["raw", "compressed"],
        description="Topics of the images: NAME/image_raw, or NAME/image_raw/compressed",
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(CONFIG / "nodes" / "act_policy.yaml"),
        description="Parameters of the nodes; the arguments here replace those in the file",
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
        description="Tick on /clock; the simulated arm then waits for each command (lockstep)",
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="Lowest level that the nodes log",
    ),
]
# Passed through rcl: `parameters` would only warn about a missing file.


def environment(context: LaunchContext) -> list[SetEnvironmentVariable]:
    """For a simulated robot, restrict discovery to this computer; secure the nodes if requested."""
    robot, keystore = (LaunchConfiguration(name).perform(context) for name in ("robot", "security"))
    variables = {
        **discovery_variables(robot, context.environment),
        **security_variables(keystore),
    }
    return [SetEnvironmentVariable(*one) for one in variables.items()]


def find_bundle(context: LaunchContext) -> str:
    """Return the requested bundle, or the default for a simulated or emulated arm."""
    given, robot = (LaunchConfiguration(name).perform(context) for name in ("bundle", "robot"))
    if given or robot in IN_THIS_COMPUTER:
        return given or SIMULATED
    raise PolicyError(
        "bundle: expected bundle:=FOLDER or the name of an installed one, found "
        f"none; only robot:=sim and robot:=so101_emulator have a default ({SIMULATED})"
    )


def cameras(context: LaunchContext) -> list[Node]:
    """Return a node for each USB camera, with the contract's image size."""
    given = {
        name: LaunchConfiguration(name).perform(context)
        for name in ("cameras", "image_transport", "namespace")
    }
    if not given["cameras"]:
        return []
    contract = read_contract(find_bundle(context))
    return [
        node(
            "policy_inference",
            "usb_camera",
            f"{given['namespace']}/{name}",
            parameters=[camera_parameters(contract, name, device, given["image_transport"])],
        )
        for name, device in list_cameras(given["cameras"].split(","), contract).items()
    ]


def arm(context: LaunchContext) -> list[Node]:
    """Return the nodes that `robot` selects: driver, emulated or simulated arm, both, or none."""
    given = {
        name: LaunchConfiguration(name).perform(context)
        for name in ("robot", "viewer", "image_transport", "namespace", "use_sim_time", *DRIVERS)
    }
    if given["viewer"] == "true" and given["robot"] not in IN_THIS_COMPUTER:
        raise PolicyError(
            f"viewer: expected robot:={' or '.join(IN_THIS_COMPUTER)}, found {given['robot']}"
        )
    driven = {name: given[name] for name in DRIVERS if given[name]}
    if given["robot"] in ARMS:
        return [driver(given["namespace"], {"robot": given["robot"], **driven})]
    if given["robot"] not in IN_THIS_COMPUTER:
        return []
    emulated = given["robot"] == "so101_emulator"
    # A new folder: a link in an old one could by now lead to another program's terminal.
    folder = Path(tempfile.mkdtemp(prefix="so101_emulator_")) if emulated else None
    name = "so101_emulator" if emulated else "arm_sim_node"
    world = node(
        "robot_sim",
        name,
        given["namespace"],
        parameters=[
            {
                "lockstep": given["use_sim_time"] == "true",
                "viewer": given["viewer"] == "true",
                "compressed": given["image_transport"] == "compressed",
                **simulated_cameras(read_contract(find_bundle(context))),
                **({"folder": str(folder)} if folder else {}),
            }
        ],
        on_exit=Shutdown(reason=f"the {'emulated' if emulated else 'simulated'} arm ended"),
    )
    if folder is None:
        return [world]
    bus = {"port": str(folder / "port"), "calibration_dir": str(folder)}
    return [world, driver(given["namespace"], {"robot": "so101", **driven, **bus})]


def leader(context: LaunchContext) -> list[Node]:
    """Return the driver for a leader arm, if the leader's port was given."""
    given = {
        name: LaunchConfiguration(name).perform(context)
        for name in ("robot", "namespace", "lerobot_python", *LEADER)
    }
    if not given["leader_port"]:
        return []
    if given["robot"] not in ARMS or given["robot"].startswith("bi_"):
        raise PolicyError(
            "leader_port: expected robot:=so100, so101 or koch (the kind of both arms), found "
            f"{given['robot']}; start lerobot_arm_driver in the namespace leader yourself"
        )
    driven = {
        "port": given["leader_port"],
        "calibration_id": given["leader_calibration_id"],
        "calibration_dir": str(Path(given["leader_calibration_dir"]).expanduser())
        if given["leader_calibration_dir"]
        else "",
        "lerobot_python": given["lerobot_python"],
    }
    parameters = {name: value for name, value in driven.items() if value}
    return [
        driver(
            f"{given['namespace']}/leader",
            {"robot": given["robot"], "way_out": "torque_off", **parameters},
            leader=True,
        )
    ]


def node(package: str, name: str, namespace: object, **more: object) -> Node:
    """Return a node named after its executable."""
    return Node(
        package=package,
        executable=name,
        name=name,
        namespace=namespace,
        arguments=[
            "--ros-args",
            "--enclave",
            f"/{name}",
            "--params-file",
            LaunchConfiguration("params_file"),
            "--log-level",
            LaunchConfiguration("log_level"),
        ],
        output="screen",
        **more,
    )


def driver(namespace: str, parameters: dict[str, str], *, leader: bool = False) -> Node:
    """Return an arm's driver node; if it exits, the launch ends, except for a leader's driver."""
    return node(
        "lerobot_arm_driver",
        "lerobot_arm_driver",
        namespace,
        parameters=[
            {name: ParameterValue(value, value_type=str) for name, value in parameters.items()},
            {"leader": leader},
        ],
        on_exit=None if leader else Shutdown(reason="the driver exited"),
    )


def policy(context: LaunchContext) -> list[Node]:
    """Return the policy node; `mode`, if given, replaces the mode in the parameter file."""
    texts = {name: ParameterValue(LaunchConfiguration(name), value_type=str) for name in TEXTS}
    use_sim_time = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    mode = LaunchConfiguration("mode").perform(context)
    takeover, port = (
        LaunchConfiguration(name).perform(context) for name in ("takeover", "leader_port")
    )
    return [
        node(
            "policy_inference",
            "act_policy_node",
            LaunchConfiguration("namespace"),
            parameters=[
                {
                    "bundle": ParameterValue(find_bundle(context), value_type=str),
                    **texts,
                    "use_sim_time": use_sim_time,
                    **({"mode": mode} if mode else {}),
                    **({"takeover": True} if takeover == "true" or port else {}),
                }
            ],
            on_exit=Shutdown(reason="the policy node exited"),
        )
    ]


def metrics(context: LaunchContext) -> list[Node]:
    """Return the node that serves metrics, if its port was given."""
    port = LaunchConfiguration("metrics_port").perform(context)
    if not port:
        return []
    return [
        node(
            "policy_inference",
            "robot_metrics",
            LaunchConfiguration("namespace"),
            parameters=[{"port": require_port(port)}],
        )
    ]


def start_all(context: LaunchContext) -> list[Action]:
    """Return all actions together, so that any error is raised before the first node starts."""
    require_known_arguments([one.name for one in ARGUMENTS])
    parts = (environment, cameras, arm, leader, policy, metrics)
    return [action for part in parts for action in part(context)]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start_all)])
