# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The `robot_operator` command line; does not import ROS, which would delay an e-stop."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from policy_store.command_line import CommandParser, add_json
from robot_operator.requests import (
    ANSWER_TIMEOUT_S,
    COMMANDED_VALUES,
    OF_DIAL,
    OF_DRIVER,
    OF_SET,
    OperatorRequest,
)

RECORD, STATUS, TRY_FAULTS = "record", "status", "try_faults"
REQUESTS = tuple(
    request.value for request in OperatorRequest if request not in {*OF_DRIVER, *OF_SET, *OF_DIAL}
)
_ABOUT = """Request a mode, a state, a recording or a new policy from a policy node, or drive.

    robot_operator stand
    robot_operator run
    robot_operator drive 0.3 0 0 --seconds 5
    robot_operator status --json

Without an action, it runs the operator node with its screen in this terminal.
"""


def parse(args: Sequence[str] | None = None) -> argparse.Namespace:
    # Suppressed defaults let these options come before or after the action.
    options = CommandParser(add_help=False, argument_default=argparse.SUPPRESS)
    options.add_argument(
        "--node", help="name of the policy node, of any kind (default: the only one)"
    )
    options.add_argument("--driver", help="name of the robot's driver (default: the only one)")
    options.add_argument("--sim-time", action="store_true", help="use the time on /clock")
    options.add_argument(
        "--timeout",
        type=_positive,
        metavar="SECONDS",
        help=f"how long to wait for the policy node to answer (default: {ANSWER_TIMEOUT_S:g})",
    )
    add_json(options)
    parser = CommandParser(prog="robot_operator", description=_ABOUT, parents=[options])
    parser.add_version("robot-operator")
    parser.add_argument(
        "--params-file",
        metavar="FILE",
        help="parameters of the screen's node, for example a copy of operator.yaml",
    )
    actions = parser.add_subparsers(dest="action", metavar="action")
    for name in sorted(request.value for request in OF_DRIVER):
        actions.add_parser(
            name, parents=[options], help=f"request '{name}' from the driver, wait until it is done"
        )
    for name in REQUESTS:
        request = actions.add_parser(
            name, parents=[options], help=f"request '{name}', wait until it takes effect"
        )
        if name in (OperatorRequest.STAND.value, OperatorRequest.RUN.value):
            _add_without_driver(request)
    actions.add_parser(
        STATUS,
        parents=[options],
        help="print mode, reason, rate, latency, inputs and guard; and the driver's state, "
        "with its reasons to refuse control",
    )
    actions.add_parser(RECORD, parents=[options], help="write the flight recorder's data")
    record_run = actions.add_parser(
        "record_run", parents=[options], help="start or stop recording everything"
    )
    record_run.add_argument("switch", choices=("on", "off"))
    load = actions.add_parser("load", parents=[options], help="make the node load a new bundle")
    load.add_argument("bundle", help="bundle folder, NAME or NAME@VERSION, on the node's machine")
    load.add_argument("--backend", default="", help="back end for the models (default: unchanged)")
    switch = actions.add_parser(
        "switch", parents=[options], help="switch a policy set to another state"
    )
    switch.add_argument("state", help="name of the state in the set")
    drive = actions.add_parser(
        "drive", parents=[options], help="command a velocity for some time, then zero"
    )
    for name, unit in (("vx", "m/s"), ("vy", "m/s"), ("wz", "rad/s")):
        drive.add_argument(name, type=_finite, help=f"{unit}, body frame")
    drive.add_argument(
        "--values",
        type=_finite,
        nargs="+",
        help="values that the contract lists in `commanded`, in that order, such as a height",
    )
    drive.add_argument(
        "--values-topic",
        default=COMMANDED_VALUES,
        help=f"topic of --values (default: {COMMANDED_VALUES})",
    )
    drive.add_argument(
        "--seconds", type=_positive, required=True, help="duration of the command, s"
    )
    faults = actions.add_parser(
        TRY_FAULTS,
        parents=[options],
        help="inject sensor faults into a running robot and compare what the policy node does",
    )
    faults.add_argument("file", type=Path, help="YAML file of scenarios; see examples/faults.yaml")
    faults.add_argument(
        "--yes", action="store_true", default=False, help="do not wait for Enter before each motion"
    )
    _add_without_driver(faults)
    defaults = argparse.Namespace(
        node=None, driver=None, sim_time=False, timeout=ANSWER_TIMEOUT_S, json=False
    )
    return parser.parse_args(args, defaults)


def _add_without_driver(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--without-driver",
        action="store_true",
        default=False,
        help="do not require a driver or simulator",
    )


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a finite number, found {text}")
    return value


def _positive(text: str) -> float:
    value = _finite(text)
    if value <= 0.0:
        raise argparse.ArgumentTypeError(f"expected a number > 0, found {text}")
    return value
