# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
r"""Runs a chunk policy such as ACT: starts act_policy_node, and its cameras, without launch files.

    policy_inference act --bpu-act-path so100_pick --fps 30 --n-action-steps 50 \
        --inference-time 1000 --camera front=/dev/video0 --camera wrist=/dev/video2

Requires ROS 2, and an arm driver that publishes joint_states and follows joint_command. The arm
moves only on request: first stand, then run. Ctrl-C makes the arm hold its pose, and ends the
command.
"""
# run: before: cp -r my_arm so100_pick
# run: ready: asynchronous

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from policy_store.command_line import add_backend_options

if TYPE_CHECKING:
    from policy_core.bundle.chunk_contract import ChunkContract

_NODE = "/act_policy_node"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(until_stopped=True, left="node and cameras have ended")
    parser.add_argument(
        "--bpu-act-path",
        "--bundle",
        required=True,
        metavar="BUNDLE",
        dest="bundle",
        help="folder of a chunk policy's bundle, or the name of an installed one",
    )
    parser.add_argument(
        "--fps",
        type=float,
        help="the policy's rate, Hz; must equal the contract's rate",
    )
    parser.add_argument(
        "--n-action-steps",
        type=int,
        default=0,
        metavar="N",
        help="number of steps of each chunk to execute (default: the contract's)",
    )
    parser.add_argument(
        "--inference-time",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long the policy runs before the arm is held (default: no limit)",
    )
    parser.add_argument(
        "--backend",
        help="back end for the graphs, or several, comma-separated (default: bpu if the bundle has "
        "it, else onnx)",
    )
    add_backend_options(parser)
    parser.add_argument(
        "--mode",
        default="",
        choices=["asynchronous", "synchronous", "ensemble", "rtc"],
        help="how chunks are executed (default asynchronous)",
    )
    parser.add_argument("--output", default="", help="kind of message that commands the arm")
    parser.add_argument(
        "--camera",
        action="append",
        default=[],
        metavar="NAME=DEVICE",
        help="start a USB camera, such as front=/dev/video0; may be repeated "
        "(usb_camera --list shows which camera is which)",
    )
    parser.add_argument(
        "--image-transport",
        default="raw",
        choices=["raw", "compressed"],
        help="image transport for all cameras (default raw)",
    )
    parser.add_argument(
        "--ros-args",
        nargs=argparse.REMAINDER,
        default=[],
        help="pass all arguments that follow to act_policy_node, such as "
        "-r joint_states:=follower/joint_states -p fade_s:=0.1",
    )


def run(given: argparse.Namespace) -> int:
    """Run the command; return the exit status of the process that ended first."""
    from policy_core.errors import PolicyError
    from policy_inference.commands.cameras import camera_parameters, list_cameras, read_contract
    from policy_inference.worker_process import ProcessGroup, WorkerProcess
    from policy_store.command_line import show

    contract = read_contract(given.bundle)
    if given.fps is not None and given.fps != contract.rate_hz:
        raise PolicyError(
            f"--fps: expected {contract.rate_hz:g} (rate_hz in the policy.yaml of "
            f"{contract.name}), found {given.fps:g}; at a different rate the steps "
            "of a chunk are a different motion"
        )
    cameras = list_cameras(given.camera, contract)
    if importlib.util.find_spec("rclpy") is None:
        raise PolicyError(
            "expected ROS 2, found no rclpy; source it: . /opt/ros/DISTRO/setup.bash,"
            " and the workspace's install/setup.bash"
        )
    with ProcessGroup[WorkerProcess]() as processes:
        for name, device in cameras.items():
            arguments = ros_arguments(
                camera_parameters(contract, name, device, given.image_transport),
                ["-r", f"__ns:=/{name}"],
            )
            processes.add(WorkerProcess(["-m", "policy_inference.nodes.usb_camera", *arguments]))
        arguments = ros_arguments(_parameters(given, contract), given.ros_args)
        processes.add(WorkerProcess(["-m", "policy_inference.nodes.act_policy_node", *arguments]))
        show("with lerobot_arm_driver, first request take_control, then damp (docs/arms.md)")
        show("once the node is ready, in another terminal (either command of each pair):")
        for request, meaning in (
            ("stand", "the arm goes to the pose in which the policy begins"),
            ("run", "the policy takes over"),
            ("damp", "the arm is held again"),
        ):
            show(
                f"robot_operator {request:<38}# {meaning}\n"
                f"ros2 service call {_NODE}/{request} std_srvs/srv/Trigger"
            )
        return processes.wait()


def ros_arguments(parameters: Mapping[str, object], more: Sequence[str] = ()) -> list[str]:
    """Return a node's arguments; if a parameter occurs twice, the last value applies."""
    # JSON is YAML, and keeps a text like "2026" a text.
    given = [
        word
        for name, value in parameters.items()
        for word in ("-p", f"{name}:={json.dumps(value)}")
    ]
    return ["--ros-args", *given, *more]


def _parameters(given: argparse.Namespace, contract: ChunkContract) -> dict[str, object]:
    graphs = contract.graphs.values()
    has_bpu = all("bpu" in graph.artifacts for graph in graphs)
    asked = {
        "mode": given.mode,
        "output": given.output,
        "backend_options": ",".join(given.backend_option),
    }
    return {
        "bundle": given.bundle,
        "backend": given.backend or ("bpu" if has_bpu else "onnx"),
        "n_action_steps": given.n_action_steps,
        "run_for_s": given.inference_time,
        "image_transport": given.image_transport,
        **{name: value for name, value in asked.items() if value},
    }
