# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `robot_operator`: asks a policy node for modes, recordings, another policy; drives.

Without an action it is the operator's node, with its screen, in this terminal.
"""

import argparse
import math
import signal
import sys
from collections.abc import Callable, Sequence

from policy_msgs.msg import RobotStatus

from robot_operator.errors import OperatorError
from robot_operator.nodes.client import RECORD, REQUESTS, Operator, granted
from robot_operator.nodes.found import (
    DRIVER,
    POLICY_NODE,
    full,
    namespace_of,
    policy_and_driver,
    the_one,
    the_one_or_none,
)
from robot_operator.nodes.participant import ANSWER_TIMEOUT_S
from robot_operator.nodes.words import STATES, Lines, driver_lines, policy_lines
from robot_operator.requests import OF_DRIVER, Request

INTERRUPTED = 130
_DRIVING = ("RUN", "HOLD")
_CHANGE_TIMEOUT_S = 20.0
_LOOK_FOR_S = 2.0
"""For what need not be there; on a busy machine a new node meets others after a second."""
_ESTOP, _DAMP, _RESET = (
    request.value for request in (Request.ESTOP, Request.DAMP, Request.RESET))
_STATUS = "status"
_OF_BOTH = (_ESTOP, _DAMP, _RESET, _STATUS)
"""Concerns policy node and driver, or that of them which there is."""
_FOLLOWED = (Request.STAND.value, Request.RUN.value)
"""Refused where there is a driver that follows no commands."""
_DEFAULT_NODE = "joint_policy_node"
_OF_DRIVER = tuple(request.value for request in OF_DRIVER)
_REACHED: dict[str, tuple[str, Callable[[Operator], bool]]] = {
    "run": ("the mode RUN", lambda operator: operator.mode == "RUN"),
    "damp": ("the mode DAMP", lambda operator: operator.mode == "DAMP"),
    "estop": ("a latched fault", lambda operator: operator.status.latched),
    "reset": ("no latched fault", lambda operator: not operator.status.latched),
}
"""What the status shows once a request has had its effect."""


def main(args: Sequence[str] | None = None) -> int:
    """Do one thing and print what came of it: the policy node's status, or its answer.

    Without `--node` it asks the one policy node that there is, and says which; so it does with
    the driver and `--driver`.

    Returns:
        0; 1 where the policy node refused or did not answer; 130 after Ctrl-C.
    """
    given = _parse(args)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        if given.action is None:
            return _open_screen(given)
        _find(given)
        node = given.node or f"{namespace_of(given.driver)}/{_DEFAULT_NODE}"
        with Operator(policy_node=node, use_sim_time=given.sim_time,
                      drives=given.action == "drive", answer_timeout_s=given.timeout) as operator:
            sys.stdout.write(_act(operator, given))
    except OperatorError as error:
        sys.stderr.write(f"robot_operator: {error}\n")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def described(lines: Lines) -> str:
    """Return names and values for a person, line by line."""
    width = max(len(name) for name, _ in lines)
    return "".join(f"{name:<{width}}  {value}\n" for name, value in lines)


def _open_screen(given: argparse.Namespace) -> int:
    """Run the operator's node in this terminal; return its exit status.

    Raises:
        OperatorError: It is not clear which robot is meant, or there is no terminal.
    """
    # Here, so that no other action waits for what only the node needs.
    from policy_inference.nodes.process import run_node
    from robot_operator.nodes.operator_node import OperatorNode
    from robot_operator.nodes.terminal import has_terminal, operate

    if not has_terminal():
        raise OperatorError("robot_operator: expected an action or a terminal, found neither; "
                            "`operator_node` runs without one")
    words = ["--ros-args", *(["--params-file", given.params_file] if given.params_file else [])]
    names = {"policy_node": given.node or the_one_or_none(POLICY_NODE, _LOOK_FOR_S),
             "driver_node": given.driver or the_one_or_none(DRIVER, _LOOK_FOR_S)}
    found = {parameter: full(name) for parameter, name in names.items() if name}
    for parameter, name in found.items():
        words += ["-p", f"{parameter}:={name}"]
    if found:
        # `cmd_vel`, `estop` and `joy` are those of the robot.
        words += ["-r", f"__ns:={namespace_of(next(iter(found.values())))}"]
    return run_node(OperatorNode, words, foreground=operate)


def _find(given: argparse.Namespace) -> None:
    """Complete what was given by the name of the node that is asked, and say it.

    Raises:
        OperatorError: There is none, or more than one.
    """
    if given.action in _OF_DRIVER:
        given.driver = given.driver or the_one(DRIVER, given.timeout)
        given.node = None
    elif given.action not in (*_OF_BOTH, *_FOLLOWED):
        given.node = given.node or the_one(POLICY_NODE, given.timeout)
    elif given.node is None and given.driver is None:
        # An e-stop waits for no driver before the policy node has it.
        patience_s = 0.0 if given.action == _ESTOP else _LOOK_FOR_S
        given.node, given.driver = policy_and_driver(given.timeout, patience_s)
        if given.action in _FOLLOWED:
            given.node = given.node or the_one(POLICY_NODE, given.timeout)
    else:
        given.node = given.node or the_one_or_none(POLICY_NODE, _LOOK_FOR_S)
        given.driver = given.driver or the_one_or_none(DRIVER, _LOOK_FOR_S)
    given.node, given.driver = (name and full(name) for name in (given.node, given.driver))
    sys.stderr.write(f"robot_operator: {', '.join(filter(None, (given.node, given.driver)))}\n")


def _act(operator: Operator, given: argparse.Namespace) -> str:
    """Do what was asked for; return what there is to show of it.

    Raises:
        OperatorError: The policy node refused, does not answer or met a fault.
    """
    if given.action in _OF_DRIVER:
        try:
            answer = operator.request_of_driver(given.driver, given.action)
        except KeyboardInterrupt:
            # Whoever takes back that the robot is to fold its legs wants them to stop.
            operator.request_of_driver(given.driver, _DAMP)
            raise
        return f"{granted(given.action, *answer, who=given.driver)}\n"
    if given.action == RECORD:
        return f"{operator.demand(RECORD)}\n"
    if given.action == "record_run":
        return f"{operator.record_run(given.switch == 'on')}\n"
    if given.action == "load":
        return f"{operator.load(given.bundle, given.backend)}\n"
    _move(operator, given)
    lines = policy_lines(operator.status) if given.node else []
    if given.driver and (given.action == _STATUS or not lines):
        driver = operator.status_of_driver(given.driver)
        lines += [*driver_lines(driver), *(("obstacle", text) for text in driver.obstacles)]
    return described(lines)


def _move(operator: Operator, given: argparse.Namespace) -> None:
    """Do what changes the mode or moves the robot; afterwards there is a status that shows it."""
    if given.action in _FOLLOWED and given.driver:
        _require_to_be_followed(operator, given)
    if given.action in _OF_BOTH and not given.node:
        _ask_driver(operator, given)
    elif given.action == _STATUS:
        operator.wait_for_status()
    elif given.action == "drive":
        operator.wait_for_status()
        _drive(operator, given)
    elif given.action == "stand":
        operator.wait_for_status()
        operator.stand()
    else:
        # An e-stop waits for nothing; nor does the driver for a policy node that hangs.
        try:
            operator.demand(given.action)
        finally:
            if given.action == _ESTOP:
                given.driver = given.driver or the_one_or_none(DRIVER, _LOOK_FOR_S)
            if given.action in _OF_BOTH and given.driver:
                _ask_driver(operator, given)
        operator.wait_for_status()
        what, reached = _REACHED[given.action]
        operator.wait_until(lambda: reached(operator), what, _CHANGE_TIMEOUT_S)


def _require_to_be_followed(operator: Operator, given: argparse.Namespace) -> None:
    """Return if the driver follows commands.

    Raises:
        OperatorError: It does not: nothing would move, whatever the policy node says.
    """
    status = operator.status_of_driver(given.driver)
    if status.state != RobotStatus.FOLLOWING:
        raise OperatorError(
            f"{given.action}: expected a driver that follows commands, found {given.driver} in "
            f"{STATES[status.state]} ({status.reason}); ask for take_control")


def _ask_driver(operator: Operator, given: argparse.Namespace) -> None:
    """Ask the driver for what concerns it as well.

    Raises:
        OperatorError: It refused, or does not answer.
    """
    if given.action in (_ESTOP, _RESET):
        operator.tell_listener(given.driver, pressed=given.action == _ESTOP)
    if given.action in (_DAMP, _RESET):
        agreed, message = operator.request_of_driver(given.driver, given.action)
        # Nothing is left to damp where nobody has control.
        granted(given.action, agreed or given.action == _DAMP, message, who=given.driver)


def _drive(operator: Operator, given: argparse.Namespace) -> None:
    """Command a velocity for some time, then zero.

    Raises:
        OperatorError: The policy takes no velocity, does not run, or no longer does.
    """
    operator.require_joint_policy("drive", lambda: operator.heard)
    operator.require_to_be_alone()
    _require_running(operator)
    operator.wait_until(lambda: operator.now_ns > 0, "the clock", _CHANGE_TIMEOUT_S)
    ends_ns = operator.now_ns + round(given.seconds * 1e9)
    try:
        operator.move(given.vx, given.vy, given.wz)
        operator.wait_until(
            lambda: operator.now_ns >= ends_ns or operator.mode not in _DRIVING,
            f"{given.seconds:g} s to pass", _CHANGE_TIMEOUT_S + 10.0 * given.seconds,
        )  # fmt: skip
    finally:
        operator.halt()
    _require_running(operator)


def _require_running(operator: Operator) -> None:
    if operator.mode not in _DRIVING:
        raise OperatorError(f"drive: expected the mode RUN, found {operator.mode} "
                       f"({operator.status.reason}); ask for stand, then run")  # fmt: skip


def _parse(args: Sequence[str] | None) -> argparse.Namespace:
    # Suppressed defaults let these stand before or after the action.
    options = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    options.add_argument("--node", help="name of the policy node (default: the one there is, "
                                        "of whatever kind)")  # fmt: skip
    options.add_argument("--driver", help="name of the robot's driver (default: the one there is)")
    options.add_argument("--sim-time", action="store_true", help="time is that of /clock")
    options.add_argument("--timeout", type=_positive, metavar="SECONDS",
                         help="how long to wait for the policy node to answer "
                              f"(default: {ANSWER_TIMEOUT_S:g})")  # fmt: skip
    parser = argparse.ArgumentParser(prog="robot_operator", description=__doc__, parents=[options])
    parser.add_argument("--params-file", metavar="FILE",
                        help="of the screen's node, for example a copy of operator.yaml")
    actions = parser.add_subparsers(dest="action", metavar="action")
    for name in _OF_DRIVER:
        actions.add_parser(name, parents=[options],
                           help=f"ask the driver for '{name}', wait until that is done")
    for name in REQUESTS:
        actions.add_parser(name, parents=[options], help=f"ask for '{name}', wait for its effect")
    actions.add_parser(_STATUS, parents=[options],
                       help="print mode, reason, rate, latency, inputs, guard; the driver's state, "
                            "and its obstacles to taking control")  # fmt: skip
    actions.add_parser(RECORD, parents=[options], help="write what the flight recorder has")
    record_run = actions.add_parser("record_run", parents=[options],
                                    help="record everything from now on, or end that")
    record_run.add_argument("switch", choices=("on", "off"))
    load = actions.add_parser("load", parents=[options], help="let the node take another bundle")
    load.add_argument("bundle", help="folder, NAME or NAME@VERSION, on the machine of the node")
    load.add_argument("--backend", default="", help="as before if not given")
    drive = actions.add_parser("drive", parents=[options],
                               help="command a velocity for some time, then zero")  # fmt: skip
    for name, unit in (("vx", "m/s"), ("vy", "m/s"), ("wz", "rad/s")):
        drive.add_argument(name, type=_finite, help=f"{unit}, body frame")
    drive.add_argument("--seconds", type=_positive, required=True, help="how long")
    defaults = argparse.Namespace(node=None, driver=None, sim_time=False, timeout=ANSWER_TIMEOUT_S)
    return parser.parse_args(args, defaults)


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
