# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Sends a request to the episode recorder or prints its status, without the `ros2` command.

    episode_operator start
    episode_operator success
    episode_operator status

The recorder node must be running; the command prints the node's answer.
"""
# run: before: |
# run:   arm_sim_node &
# run:   act_policy_node --ros-args -p bundle:=so101_reach &
# run:   episode_recorder --ros-args -p mapping:=so101_reach -p output:=pick_cube -p task:=reach &
# run:   until robot_operator stand; do sleep 1; done
# run: episode_operator start:
# run:   swap: {episode_operator: until episode_operator}
# run:   short: ; do sleep 1; done
# run:   after: until test -e pick_cube/.unfinished/episode_0000; do sleep 0.2; done

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from lerobot_bridge.episode import read_sidecar, write_sidecar
from lerobot_bridge.recording.folder import episode_folder
from policy_core.errors import PolicyError, RobotError
from policy_inference.nodes import qos
from policy_store.command_line import CommandParser, CommandResult, add_json, show, show_result

REQUESTS = {
    "start": "begin an episode, after the warm-up if there is one",
    "stop": "end the episode and keep it",
    "discard": "end the episode and delete it",
    "next": "end the episode and keep it; the next one begins after the reset",
    "success": "the task succeeded in the current, the last or a given episode",
    "failure": "the task did not succeed",
    "finish": "end the session",
}
_INTERVENTION = "intervention"
_STATUS = "status"
_VERDICTS = {"success": True, "failure": False}
_TIMEOUT_S = 10.0
_FOLDER = "folder"
"""Key of the session's folder in the recorder's status."""


def main(args: Sequence[str] | None = None) -> int:
    """Send one request and print the answer.

    Returns:
        The exit status: 0 if the recorder accepted, 1 if it refused or did not answer.
    """
    parser = CommandParser("episode_operator", description=__doc__)
    parser.add_version("lerobot-bridge")
    parser.add_argument(
        "--node",
        default="episode_recorder",
        help="name of the recorder node (default: %(default)s)",
    )
    add_json(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    for name, doc in REQUESTS.items():
        action = actions.add_parser(name, help=doc)
        action.set_defaults(act=_request)
        if name in _VERDICTS:
            action.add_argument(
                "number",
                type=int,
                nargs="?",
                metavar="N",
                help="number of a finished episode (default: the one being recorded, or the last)",
            )
            action.set_defaults(act=_verdict)
    action = actions.add_parser(
        _INTERVENTION, help="a person starts or stops driving instead of the policy"
    )
    action.add_argument("drives", choices=("on", "off"))
    action.set_defaults(act=_intervene)
    actions.add_parser(_STATUS, help="print state, time, rates, space").set_defaults(act=_status)
    given = parser.parse_args(args)
    try:
        with _node() as node:
            did, text = given.act(node, given)
    except RobotError as error:
        did, text = False, str(error)
    if not did:
        show(text, to=sys.stderr)
        return 1
    document = {"action": given.action, "answer": text}
    result = CommandResult(document=document, text=text.split("\n"))
    show_result(result, as_json=given.json)
    return 0


def _request(node: Node, given: argparse.Namespace) -> tuple[bool, str]:
    return _ask(node, given, Trigger, Trigger.Request())


def _intervene(node: Node, given: argparse.Namespace) -> tuple[bool, str]:
    return _ask(node, given, SetBool, SetBool.Request(data=given.drives == "on"))


def _ask(
    node: Node, given: argparse.Namespace, service: type[Any], request: Any
) -> tuple[bool, str]:
    client = node.create_client(service, f"{given.node}/{given.action}")
    if not _until(node, client.service_is_ready):
        return False, _no_answer(given.node)
    answer = client.call_async(request)
    if not _until(node, answer.done):
        return False, _no_answer(given.node)
    response = answer.result()
    return response.success, response.message


def _verdict(node: Node, given: argparse.Namespace) -> tuple[bool, str]:
    """Write the verdict to a finished episode's file."""
    if given.number is None:
        return _request(node, given)
    status = _find_status(node, given)
    if status is None:
        return False, _no_answer(given.node)
    session = next(Path(entry.value) for entry in status.values if entry.key == _FOLDER)
    folder = episode_folder(session, given.number)
    if not folder.is_dir():
        return False, (
            f"{folder}: expected a finished episode on this machine, found none; `{given.action}` "
            "without a number judges the episode that is being recorded"
        )
    try:
        write_sidecar(folder, replace(read_sidecar(folder), success=_VERDICTS[given.action]))
    except (OSError, PolicyError) as error:
        return False, str(error)
    return True, f"episode {given.number}: {given.action}"


def _status(node: Node, given: argparse.Namespace) -> tuple[bool, str]:
    status = _find_status(node, given)
    if status is None:
        return False, _no_answer(given.node)
    width = max(len(entry.key) for entry in status.values)
    lines = [f"{entry.key:<{width}}  {entry.value}" for entry in status.values]
    return True, "\n".join([status.message, *lines])


def _find_status(node: Node, given: argparse.Namespace) -> DiagnosticStatus | None:
    """Return the recorder's status; None if no status is published."""
    heard: list[DiagnosticArray] = []
    node.create_subscription(DiagnosticArray, f"{given.node}/status", heard.append, qos.STATUS)
    if not _until(node, lambda: bool(heard)):
        return None
    return read_recorder_status(given.node, heard[-1])


def read_recorder_status(name: str, message: DiagnosticArray) -> DiagnosticStatus:
    """Return a recorder's status; raise RobotError if it is another node's."""
    count = len(message.status)
    if count == 1 and _FOLDER in [entry.key for entry in message.status[0].values]:
        return message.status[0]
    raise RobotError(
        f"{name}/status: expected one entry with the key {_FOLDER}, found "
        f"{'an entry without it' if count == 1 else f'{count} entries'}; name the episode recorder "
        "with --node"
    )


def _no_answer(name: str) -> str:
    return (
        f"{name}: expected an answer within {_TIMEOUT_S:g} s, found none; is it running in this "
        "ROS_DOMAIN_ID? --node names another one"
    )


def _until(node: Node, condition: Callable[[], bool]) -> bool:
    """Spin until the condition holds; return whether it held before the timeout."""
    ends_s = time.monotonic() + _TIMEOUT_S
    while not condition() and time.monotonic() < ends_s:
        rclpy.spin_once(node, timeout_sec=0.05)
    return condition()


@contextmanager
def _node() -> Iterator[Node]:
    rclpy.init(args=[])
    node = Node("episode_operator", enable_rosout=False, start_parameter_services=False)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown()


if __name__ == "__main__":
    sys.exit(main())
