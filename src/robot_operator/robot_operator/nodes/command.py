# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The `robot_operator` command: requests modes, recordings and policies; drives the robot.

Without an action, it runs the operator node, with its screen, in this terminal.
"""

import argparse
import math
import sys
from collections.abc import Callable

from policy_msgs.msg import RobotStatus

from policy_core.errors import PolicyError
from policy_store.command_line import CommandResult, show, show_result
from robot_operator.arguments import RECORD, STATUS, TRY_FAULTS
from robot_operator.fault_scenarios import read_scenarios
from robot_operator.nodes.client import Operator, granted
from robot_operator.nodes.fault_trial import FaultTrialResult, try_faults
from robot_operator.nodes.found import (
    DRIVER,
    POLICY_NODE,
    find_namespace,
    full,
    look_around,
    require_known_robot,
    require_policy,
    the_one,
    the_one_or_none,
)
from robot_operator.nodes.words import (
    MODES,
    STATES,
    OperatorResult,
    described,
    driver_lines,
    policy_lines,
    read_fields,
    way_to_follow,
)
from robot_operator.requests import OF_CHUNKS, OF_DRIVER, OperatorError, OperatorRequest

_DRIVING = ("RUN", "HOLD")
_CHANGE_TIMEOUT_S = 20.0
_FOLLOW_TIMEOUT_S = 1.0
"""After a late command, a driver damps until the next one in MODE_DAMP."""
_LOOK_FOR_S = 2.0
"""Time limit for finding optional nodes; on a busy machine, discovery of a node takes a second."""
_DAMP, _RESET = OperatorRequest.DAMP.value, OperatorRequest.RESET.value
_OF_BOTH = (_RESET, STATUS)
"""Actions for the policy node and the driver, or for whichever exists."""
_FOLLOWED = (OperatorRequest.STAND.value, OperatorRequest.RUN.value, TRY_FAULTS)
"""Actions that are refused if there is a driver that does not follow commands."""
_OF_MAINTENANCE = (RECORD, "record_run", "load")
_OF_CHUNKS = tuple(request.value for request in OF_CHUNKS)
_OF_DRIVER = tuple(request.value for request in OF_DRIVER)
_REACHED: dict[str, tuple[str, Callable[[Operator], bool]]] = {
    "run": ("the mode RUN", lambda operator: operator.mode == "RUN"),
    "reset": ("no latched fault", lambda operator: not operator.status.latched),
}
"""Status condition that shows the effect of each request."""


def main(given: argparse.Namespace) -> int:
    """Execute one action and print its result: the policy node's status, or a node's answer.

    Without `--node`, it uses the only policy node and prints its name; likewise for `--driver`.

    Returns:
        0, or 1 if a node refused or did not answer.
    """
    try:
        if given.action is None and given.json:
            raise OperatorError("--json: expected an action, found none")
        if given.action is None:
            return _open_screen(given)
        scenarios = read_scenarios(given.file) if given.action == TRY_FAULTS else ()
        notice = _find(given)
        with Operator(
            policy_node=given.node,
            driver_node=given.driver,
            use_sim_time=given.sim_time,
            drives=given.action == "drive",
            requests=given.action not in _OF_MAINTENANCE,
            answer_timeout_s=given.timeout,
        ) as operator:
            result: CommandResult[FaultTrialResult] | CommandResult[OperatorResult]
            if given.action == TRY_FAULTS:
                if given.driver:
                    _require_to_be_followed(operator, given)
                result = try_faults(operator, given.node, scenarios, confirm=not given.yes)
            else:
                result = _act(operator, given, notice)
            show_result(result, as_json=given.json)
            return result.status
    except PolicyError as error:
        show(f"robot_operator: {error}", to=sys.stderr)
        return 1


def _open_screen(given: argparse.Namespace) -> int:
    # imported here, so that no other action waits for modules that only the node needs
    from policy_inference.nodes.process import run_node
    from robot_operator.nodes.operator_node import OperatorNode
    from robot_operator.nodes.terminal import has_terminal, operate

    if not has_terminal():
        raise OperatorError(
            "robot_operator: expected an action or a terminal, found neither; "
            "without a terminal, run `operator_node`"
        )
    words = ["--ros-args", *(["--params-file", given.params_file] if given.params_file else [])]
    seen = look_around(_LOOK_FOR_S, policy=given.node and full(given.node))
    names = {"policy_node": given.node or seen.policy, "driver_node": given.driver or seen.driver}
    found = {parameter: full(name) for parameter, name in names.items() if name}
    for parameter, name in found.items():
        words += ["-p", f"{parameter}:={name}"]
    if found:
        # `cmd_vel`, `estop` and `joy` are in the robot's namespace
        words += ["-r", f"__ns:={find_namespace(next(iter(found.values())))}"]
    return run_node(OperatorNode, words, foreground=operate)


def _find(given: argparse.Namespace) -> str:
    """Fill in the names of the nodes to ask, and print them.

    Returns:
        A notice if a driver or policy node was not found and that may matter; otherwise empty.
    """
    notice = ""
    given.node, given.driver = (name and full(name) for name in (given.node, given.driver))
    if given.action in _OF_DRIVER:
        given.driver = given.driver or the_one(DRIVER, given.timeout)
        given.node = None
    elif given.action not in (*_OF_BOTH, *_FOLLOWED):
        given.node = given.node or the_one(POLICY_NODE, given.timeout)
    elif given.driver is None:
        notice = _find_both(given)
    else:
        given.node = given.node or the_one_or_none(POLICY_NODE, _LOOK_FOR_S)
    if given.action in _FOLLOWED:
        given.node = given.node or the_one(POLICY_NODE, given.timeout)
    if given.action in _OF_BOTH and not given.node:
        notice = "no policy node found"
    names = ", ".join(filter(None, (given.node, given.driver)))
    show(f"robot_operator: {names}{notice and f'; {notice}'}", to=sys.stderr)
    return notice


def _find_both(given: argparse.Namespace) -> str:
    """Find the driver, and the policy node if not given; return a notice if there is no driver."""
    requires = given.action in _FOLLOWED and not given.without_driver
    found = look_around(given.timeout, math.inf if requires else _LOOK_FOR_S, given.node)
    given.driver = None if given.action in _FOLLOWED and not requires else found.driver
    if given.driver is None or requires:
        given.node = given.node or require_policy(found, given.timeout)
    given.node = given.node or found.policy
    if requires:
        require_known_robot(given.action, found)
    return found.without_driver


def _act(
    operator: Operator, given: argparse.Namespace, notice: str
) -> CommandResult[OperatorResult]:
    if given.action in _OF_DRIVER:
        try:
            return _answered(given, operator.demand(given.action))
        except KeyboardInterrupt:
            # An operator who interrupts this wants the robot to stop moving on its own.
            operator.request(_DAMP)
            raise
    if given.action == RECORD:
        return _answered(given, operator.record())
    if given.action == "record_run":
        return _answered(given, operator.record_run(given.switch == "on"))
    if given.action == "switch":
        agreed, message = operator.switch(given.state)
        return _answered(given, granted("switch", agreed, message))
    if given.action == "load":
        return _answered(given, operator.load(given.bundle, given.backend))
    _move(operator, given)
    lines = policy_lines(operator.status) if given.node else []
    policy = (
        {**read_fields(operator.status), "mode": MODES[operator.status.mode]}
        if given.node
        else None
    )
    robot = None
    if given.driver and (given.action == STATUS or not lines):
        driver = operator.status_of_driver()
        lines += [*driver_lines(driver), *(("obstacle", text) for text in driver.obstacles)]
        robot = {**read_fields(driver), "state": STATES[driver.state]}
    elif given.action == STATUS and notice:
        lines.append(("driver", notice))
    result = OperatorResult(
        action=given.action,
        policy_node=given.node,
        driver=given.driver,
        policy=policy,
        robot=robot,
    )
    return CommandResult(document=result, text=described(lines))


def _answered(given: argparse.Namespace, answer: str) -> CommandResult[OperatorResult]:
    result = OperatorResult(
        action=given.action, policy_node=given.node, driver=given.driver, answer=answer
    )
    return CommandResult(document=result, text=answer.split("\n"))


def _move(operator: Operator, given: argparse.Namespace) -> None:
    """Execute an action, and wait until a status shows its effect."""
    if given.action in _FOLLOWED and given.driver:
        _require_to_be_followed(operator, given)
    if given.action == STATUS:
        if given.node:
            operator.wait_for_status()
    elif given.action == _RESET and not given.node:
        operator.demand(_RESET)
    elif given.action == "drive":
        operator.wait_for_status()
        _drive(operator, given)
    elif given.action == "stand":
        operator.wait_for_status()
        operator.stand()
    elif given.action in _OF_CHUNKS:
        operator.wait_for_status()
        operator.demand(given.action)
        # The tick after the request shows its result.
        ticks = operator.status.ticks + 1
        operator.wait_until(
            lambda: operator.status.ticks > ticks, "the next ticks", _CHANGE_TIMEOUT_S
        )
    else:
        operator.demand(given.action)
        operator.wait_for_status()
        what, reached = _REACHED[given.action]
        operator.wait_until(lambda: reached(operator), what, _CHANGE_TIMEOUT_S)


def _require_to_be_followed(operator: Operator, given: argparse.Namespace) -> None:
    status = operator.status_of_driver(_FOLLOW_TIMEOUT_S)
    if status.state != RobotStatus.FOLLOWING:
        operator.wait_for_status()
        raise OperatorError(
            f"{given.action}: expected a driver that follows commands, found {given.driver} in "
            f"{STATES[status.state]} ({status.reason}); {way_to_follow(operator.status, status)}"
        )


def _drive(operator: Operator, given: argparse.Namespace) -> None:
    operator.require_joint_policy("drive", lambda: operator.heard)
    operator.require_to_be_alone()
    _require_running(operator)
    operator.wait_until(lambda: operator.now_ns > 0, "the clock", _CHANGE_TIMEOUT_S)
    ends_ns = operator.now_ns + round(given.seconds * 1e9)
    try:
        operator.move(given.vx, given.vy, given.wz)
        if given.values:
            operator.command_values(given.values, given.values_topic)
        operator.wait_until(
            lambda: operator.now_ns >= ends_ns or operator.mode not in _DRIVING,
            f"{given.seconds:g} s to pass",
            _CHANGE_TIMEOUT_S + 10.0 * given.seconds,
        )
    finally:
        operator.halt()
    _require_running(operator)


def _require_running(operator: Operator) -> None:
    if operator.mode not in _DRIVING:
        first = "reset, " if operator.status.latched else ""
        raise OperatorError(
            f"drive: expected the mode RUN, found {operator.mode} "
            f"({operator.status.reason}); request {first}stand, then run"
        )
