# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from socket import SOCK_DGRAM, socket
from typing import Any, NamedTuple

import pytest
import yaml

from ..nodes.bundles import ESTIMATES, SEES_GROUND, write_sensing_bundle

LITE3_ALONE = ("lite3_rknn.launch.py", "robot:=none")
LITE3_IN_SIM = ("lite3_rknn.launch.py", "robot:=sim", "backend:=onnx", "use_sim_time:=true")
GO2 = ("joint_policy.launch.py", "bundle:=go2_walk")

LAUNCH_FILES = Path(__file__).parents[2] / "launch"

pytestmark = pytest.mark.ros


class Start(NamedTuple):
    """A start without hardware, as the pages tell users to do it.

    Attributes:
        words: The launch file and its arguments.
        nodes: The nodes that it starts; the policy's comes last.
        inputs: Inputs of the policy that the simulated or emulated robot publishes.
        package: Package that the launch file needs besides the suite.
    """

    words: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    package: str = "policy_inference"


JOINT_NODES, ARM_NODES = ("sim_node", "joint_policy_node"), ("arm_sim_node", "act_policy_node")
BODY, CAMERAS = ("joint_states", "imu/data"), ("front/image_raw", "wrist/image_raw")
ARM_INPUTS = ("joint_states", *CAMERAS)
STARTS = (
    Start("lite3_rknn.launch.py robot:=sim backend:=onnx", JOINT_NODES, BODY),
    Start("joint_policy.launch.py bundle:=lite3_walk robot:=sim", JOINT_NODES, BODY),
    Start("joint_policy.launch.py bundle:=go2_walk robot:=sim sim_robot:=go2", JOINT_NODES, BODY),
    Start(
        "isaac_tensorrt.launch.py bundle:=lite3_walk robot:=sim backend:=onnx", JOINT_NODES, BODY
    ),
    Start(
        "policy_set.launch.py bundle:=lite3_gaits robot:=sim",
        ("sim_node", "policy_set_node"),
        BODY,
    ),
    Start("act_policy.launch.py robot:=sim", ARM_NODES, ARM_INPUTS),
    Start("act_bpu.launch.py robot:=sim", ARM_NODES, ARM_INPUTS),
    Start(
        "act_policy.launch.py robot:=so101_emulator",
        ("so101_emulator", "lerobot_arm_driver", "act_policy_node"),
        CAMERAS,  # the driver needs LeRobot to read the joints
    ),
    Start(
        "lite3_ros2_control.launch.py",
        ("robot_state_publisher", "controller_manager", "policy_controller"),
        BODY[:1],
        "controller_manager",
    ),
)


def test_each_launch_file_is_started_by_a_test() -> None:
    started = {start.words.split()[0] for start in STARTS}
    assert started == {file.name for file in LAUNCH_FILES.glob("*.launch.py")}


@pytest.mark.slow
@pytest.mark.parametrize("start", STARTS, ids=[start.words for start in STARTS])
def test_launched_policy_receives_its_robot_and_ctrl_c_ends_all_nodes(
    launch: Callable[..., Any], start: Start
) -> None:
    from ament_index_python.packages import get_packages_with_prefixes

    from testkit.talk import Talk

    if start.package not in get_packages_with_prefixes():
        pytest.skip(f"{start.package} is not installed")
    run = launch(*start.words.split())
    with Talk("/") as talk:
        talk.hear_inputs(start.nodes[-1], start.inputs)
        assert talk.node_names() >= set(start.nodes)
        if start.package == "policy_inference":
            run.is_interrupted(len(start.nodes))
        else:  # the manager of ros2_control may abort at its end (docs/verified.md)
            run.send(signal.SIGINT)
            assert run.wait_for_end() == 0


@pytest.mark.parametrize(
    ("launched", "words"),
    [
        ((*LITE3_ALONE, "bundel:=x"), ["bundel", "bundle"]),
        ((*LITE3_ALONE, "security:=/nowhere"), ["security: ", "/nowhere"]),
        ((*LITE3_IN_SIM, "inject_faults:=true"), ["inject_faults: ", "real time"]),
        (("act_bpu.launch.py",), ["bundle: ", "bundle:=FOLDER"]),
        (
            ("act_policy.launch.py", "robot:=sim", "leader_port:=/dev/ttyACM1"),
            ["leader_port: ", "robot:=so100"],
        ),
    ],
    ids=["typing error", "no keystore", "faults in lockstep", "arm without bundle", "leader"],
)
def test_argument_that_makes_no_sense_is_refused_before_anything_starts(
    launch: Callable[..., Any], launched: tuple[str, ...], words: list[str]
) -> None:
    launch(*launched).refuses(*words)


def test_parameter_file_reaches_a_node_in_a_namespace(
    launch: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "nodes.yaml"
    file.write_text("/**/joint_policy_node:\n  ros__parameters:\n    trigger: sunrise\n")
    run = launch(*LITE3_ALONE, "backend:=onnx", "namespace:=one", f"params_file:={file}")
    run.wait_for_end()
    assert re.search(r"\[one\.joint_policy_node\]: .*trigger.*'sunrise'", run.output)


def test_arguments_win_over_the_parameter_file(launch: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "nodes.yaml"
    file.write_text(
        "/**:\n  ros__parameters: {log: x}\n"
        "/**/joint_policy_node:\n  ros__parameters: {backend: abacus}\n"
    )
    run = launch(*LITE3_ALONE, "backend:=onnx", f"params_file:={file}")
    run.wait_for(r"\[joint_policy_node\]: lite3_walk .* on onnx")


def test_perception_starts_with_a_policy_that_perceives_unless_it_is_turned_off(
    launch: Callable[..., Any], tmp_path: Path
) -> None:
    bundle = write_sensing_bundle(tmp_path / "bundle", SEES_GROUND)
    given = ("joint_policy.launch.py", f"bundle:={bundle}", "namespace:=one")
    run = launch(*given)
    run.wait_for(r"\[perception_node-\d+\]: process started with pid")
    run.wait_for("on onnx")
    run.is_interrupted(2)
    without = launch(*given, "sensing_nodes:=false")
    without.wait_for("on onnx")
    without.is_interrupted(1)


def test_estimator_replaces_the_odometry_of_a_simulated_robot_except_for_the_perception(
    launch: Callable[..., Any], tmp_path: Path
) -> None:
    from testkit.talk import Talk

    bundle = write_sensing_bundle(tmp_path / "bundle", SEES_GROUND, ESTIMATES)
    run = launch(*("joint_policy.launch.py", f"bundle:={bundle}", "robot:=sim", "namespace:=one"))
    with Talk("/one") as talk:
        talk.wait_until(lambda: talk.publishers("odom") == ["velocity_estimator_node"])
        talk.wait_until(lambda: talk.publishers("perception/odom") == ["sim_node"])
        talk.wait_until(lambda: talk.publishers("perception/ground") == ["perception_node"])
        run.is_interrupted(4)


def test_interrupt_reaches_the_robot_as_a_damp_command(launch: Callable[..., Any]) -> None:
    from policy_msgs.msg import JointCommand

    from testkit.talk import Talk

    run = launch(*LITE3_IN_SIM, "namespace:=one")
    with Talk("/one") as talk:
        # Refused until half a second of samples has confirmed the pose.
        talk.wait_until(lambda: talk.ask("joint_policy_node/stand").success)
        talk.wait_until(lambda: talk.modes[-1:] == [JointCommand.MODE_READY])
        run.send(signal.SIGINT)
        talk.wait_until(lambda: talk.modes[-1:] == [JointCommand.MODE_DAMP])
    assert run.wait_for_end() == 0
    assert run.ended_cleanly() == 2


def write_parameters(tmp_path: Path, sections: dict[str, Any]) -> str:
    """Return the argument with a file of parameters of a robot's driver and emulator."""
    file = tmp_path / "robot.yaml"
    nodes = {f"/**/{name}": {"ros__parameters": each} for name, each in sections.items()}
    file.write_text(yaml.safe_dump(nodes))
    return f"robot_params_file:={file}"


def parameters_of_a_lite3() -> dict[str, Any]:
    """Return parameters with ports which no other program has, and an address of a real robot."""
    with socket(type=SOCK_DGRAM) as host, socket(type=SOCK_DGRAM) as state:
        for one in (host, state):
            one.bind(("127.0.0.1", 0))
        ports = {"host_port": host.getsockname()[1], "state_port": state.getsockname()[1]}
    return {"lite3_emulator": ports, "lite3_driver": {**ports, "host_address": "192.0.2.1"}}


@pytest.mark.parametrize("robot", ["lite3", "go2"])
def test_emulated_robot_is_found_on_this_machine_and_ctrl_c_ends_all_three(
    launch: Callable[..., Any], tmp_path: Path, robot: str
) -> None:
    from policy_msgs.msg import RobotStatus

    from testkit.talk import Talk

    launched, parameters = (*LITE3_ALONE[:1], "backend:=onnx"), parameters_of_a_lite3()
    if robot == "go2":
        pytest.importorskip("cyclonedds", reason="cyclonedds is not installed (no wheel of it)")
        launched, parameters = GO2, {"go2_driver": {"network_interface": "robot0"}}
    file = write_parameters(tmp_path, parameters)
    run = launch(*launched, f"robot:={robot}_emulator", "namespace:=one", file)
    heard: list[RobotStatus] = []
    with Talk("/one") as talk:
        talk.listen(RobotStatus, f"{robot}_driver/status", heard.append)
        talk.wait_until(lambda: bool(heard) and heard[-1].state_rate_hz > 0.0, 60.0)
        assert heard[-1].state == RobotStatus.LISTENING
        # Nothing is sent before control was asked for.
        assert heard[-1].command_rate_hz == 0.0
        run.is_interrupted(3)


def test_driver_of_an_arm_takes_its_port_and_names_a_python_without_lerobot(
    launch: Callable[..., Any],
) -> None:
    from policy_msgs.msg import RobotStatus

    from robot_sim.arm_servos import ArmServos
    from robot_sim.servo_bus import ServoPort
    from testkit.talk import Talk

    reports: list[RobotStatus] = []
    port = ServoPort(ArmServos().bus)
    with Talk("/one") as talk:
        run = launch(
            *("act_policy.launch.py", "bundle:=so101_reach", "namespace:=one", "robot:=so101"),
            *(f"port:={port.name}", f"lerobot_python:={sys.executable}"),
        )
        talk.listen(RobotStatus, "lerobot_arm_driver/status", reports.append)
        talk.wait_until(
            lambda: any(sys.executable in text for text in reports and reports[-1].obstacles), 60.0
        )
        run.is_interrupted(2)
    port.close()


def test_death_of_the_policy_node_ends_the_launch(launch: Callable[..., Any]) -> None:
    run = launch(*LITE3_IN_SIM)
    started = run.wait_for(r"\[joint_policy_node-\d+\]: process started with pid")
    run.wait_for("on onnx")
    os.kill(int(re.findall(r"pid \[(\d+)\]", started)[0]), signal.SIGKILL)
    run.wait_for_end()
    run.says("joint_policy_node-", "was required")


CHOICES = ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS")


def test_robot_in_this_computer_is_found_by_it_alone(
    launch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)
    run = launch("lite3_rknn.launch.py", "robot:=sim", "backend:=onnx")
    started = run.wait_for(r"\[\w+_policy_node-\d+\]: process started with pid")
    run.wait_for("_policy_node.* on onnx|_policy_node.*asynchronous")
    pid = re.findall(r"pid \[(\d+)\]", started)[0]
    lines = Path(f"/proc/{pid}/environ").read_text("utf-8").split("\0")
    environment = dict(line.split("=", 1) for line in lines if line)
    found = {name: environment[name] for name in CHOICES if environment.get(name)}
    assert found == {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
