# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`robot_operator try_faults`: injects faults into a running robot and watches its policy node."""

import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from policy_msgs.msg import JointCommand
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.qos import QoSProfile

from policy_store.command_line import CommandResult, show
from robot_operator.fault_scenarios import FaultScenario
from robot_operator.nodes.client import Operator
from robot_operator.nodes.found import find_namespace
from robot_operator.requests import OperatorError, OperatorRequest

INJECTOR = "fault_injector"
"""Name of the node that injects the faults, in the namespace of the policy node."""
RESTS = (JointCommand.MODE_DAMP, JointCommand.MODE_HOLD_MEASURED, JointCommand.MODE_TORQUE_OFF)
_FAULTS = "faults"
"""The injector's parameter that lists the faults."""
_WATCHED_S, _SETTLES_S = 5.0, 1.0
"""Time without a rest command after which the policy counts as going on; inputs' settling time."""
_SILENT_S = 0.5
"""Time without a command after which the policy does not count as going on."""
_LONGEST_S, _NEVER_S = 10.0, 1e9
"""Duration of faults that state none, in case this command is killed; start time of faults that are
only checked.

"""
_NEWEST = QoSProfile(depth=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultOutcome:
    """Outcome of a scenario.

    Attributes:
        faults: The injected faults.
        expected: `rest` or `goes_on`.
        within_s: Time limit until rest, s.
        rest_after_s: Time from the injection to the first command that brings the robot to rest,
            s; null if there was none within 5 s.
        reason: The policy node's reason for its mode, or that it no longer sends commands.
        as_expected: True if the expected outcome occurred in time.
    """

    faults: Sequence[str]
    expected: str
    within_s: float
    rest_after_s: float | None
    reason: str
    as_expected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultTrialResult:
    """Result of `try_faults`.

    Attributes:
        policy_node: The policy node's full name.
        outcomes: The outcomes, in the order of the scenario file.
    """

    policy_node: str
    outcomes: Sequence[FaultOutcome]


class FaultTrial:
    """Injects faults while a policy node runs its policy."""

    def __init__(self, operator: Operator, policy_node: str) -> None:
        """Subscribe to the commands of the policy node.

        Args:
            operator: Client for the policy node.
            policy_node: The policy node's full name.
        """
        self._operator = operator
        self._rests_s: list[float] = []
        self._heard_s = 0.0
        node, namespace = operator.node, find_namespace(policy_node).rstrip("/")
        self._injector = f"{namespace}/{INJECTOR}"
        self._client = node.create_client(SetParameters, f"{self._injector}/set_parameters")
        self._reader = node.create_client(GetParameters, f"{self._injector}/get_parameters")
        node.create_subscription(JointCommand, "joint_command", self._on_command, _NEWEST)

    def check(self, scenarios: Sequence[FaultScenario]) -> None:
        """Raise OperatorError unless the injector is injecting nothing and accepts all faults."""
        try:
            self._operator.wait_until(
                self._client.service_is_ready, self._injector, self._operator.answer_timeout_s
            )
        except OperatorError:
            raise OperatorError(
                f"try_faults: expected the node {self._injector}, found none; start the launch "
                "file of the policy with inject_faults:=true"
            ) from None
        self._require([])
        try:
            for scenario in scenarios:
                later = [timed(fault, f"@{_NEVER_S:g}") for fault in scenario.faults]
                set_faults(self._operator, self._client, later)
        finally:
            set_faults(self._operator, self._client, [""])

    def try_scenario(self, scenario: FaultScenario) -> FaultOutcome:
        """Inject the faults while the policy runs, watch the commands, and remove the faults.

        Raises:
            OperatorError: The policy does not run or sends no commands, or the faults were refused
                or changed by another program.
        """
        operator = self._operator
        if operator.mode != "RUN":
            raise OperatorError(
                f"try_faults: expected the mode RUN, found {operator.mode} "
                f"({operator.status.reason})"
            )
        operator.wait_until(
            lambda: self._silent_s < _SILENT_S, "joint_command", operator.answer_timeout_s
        )
        faults = [timed(fault) for fault in scenario.faults]
        try:
            began_s = time.monotonic()
            self._rests_s.clear()
            set_faults(operator, self._client, faults)
            operator.wait_until(
                lambda: bool(self._rests_s) or time.monotonic() > began_s + _WATCHED_S,
                "the end of the scenario",
                2.0 * _WATCHED_S,
            )
            after_s = self._rests_s[0] - began_s if self._rests_s else None
            silent_s = self._silent_s
            if after_s is not None:
                operator.wait_until(
                    lambda: operator.mode not in ("RUN", "HOLD"), "a status", _WATCHED_S
                )
            goes_on = after_s is None and silent_s < _SILENT_S and operator.mode == "RUN"
            self._require(faults)
        finally:
            set_faults(operator, self._client, [""])
        silence = f"no joint_command for {silent_s:.1f} s" if silent_s >= _SILENT_S else ""
        rested = after_s is not None and after_s <= scenario.within_s
        return FaultOutcome(
            faults=scenario.faults,
            expected=scenario.expected,
            within_s=scenario.within_s,
            rest_after_s=after_s,
            reason=silence or operator.status.reason,
            as_expected=rested if scenario.expected == "rest" else goes_on,
        )

    @property
    def _silent_s(self) -> float:
        return time.monotonic() - self._heard_s

    def _require(self, faults: Sequence[str]) -> None:
        """Raise OperatorError unless these are the injector's current faults."""
        request = GetParameters.Request(names=[_FAULTS])
        operator = self._operator
        (value,) = operator.send(
            self._reader, "get_parameters", request, operator.answer_timeout_s
        ).values
        found = [*filter(None, value.string_array_value)]
        if found != [*faults]:
            raise OperatorError(
                f"try_faults: expected {self._injector} to inject "
                f"{', '.join(faults) or 'nothing'}, found {', '.join(found) or 'nothing'}; end the "
                f"other program that sets faults there, then run ros2 param set {self._injector} "
                f"{_FAULTS} \"['']\""
            )

    def _on_command(self, command: JointCommand) -> None:
        self._heard_s = time.monotonic()
        if command.mode in RESTS:
            self._rests_s.append(self._heard_s)
            self._operator.notify()


def timed(fault: str, start: str = "") -> str:
    """Add this start, and a duration if there is none, to the text of a fault without a start."""
    timing, equals, value = fault.partition("=")
    name, plus, duration = timing.partition("+")
    return f"{name}{start}+{duration if plus else format(_LONGEST_S, 'g')}{equals}{value}"


def set_faults(operator: Operator, client: Any, faults: Sequence[str]) -> None:
    """Set the parameter `faults` of the node whose `set_parameters` service this client calls.

    Raises:
        OperatorError: The node refused, or did not answer.
    """
    value = ParameterValue(type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=faults)
    request = SetParameters.Request(parameters=[Parameter(name=_FAULTS, value=value)])
    response = operator.send(client, "set_parameters", request, operator.answer_timeout_s)
    (result,) = response.results
    if not result.successful:
        node = client.srv_name.rpartition("/")[0]
        raise OperatorError(f"try_faults: {node} refused: {result.reason}")


def try_faults(
    operator: Operator, policy_node: str, scenarios: Sequence[FaultScenario], *, confirm: bool
) -> CommandResult[FaultTrialResult]:
    """Try all scenarios; before each, stand the robot up and run its policy if that is not running.

    An interruption damps the robot.

    Args:
        operator: Client for the policy node.
        policy_node: The policy node's full name.
        scenarios: The scenarios.
        confirm: True to wait for Enter before the robot moves.

    Returns:
        All outcomes, and the number that are as expected; the status is 1 if any is not.
    """
    trial = FaultTrial(operator, policy_node)
    trial.check(scenarios)
    outcomes = list[FaultOutcome]()
    try:
        for number, scenario in enumerate(scenarios, 1):
            show(
                f"{number} of {len(scenarios)}: {scenario.name}: {scenario.expected}", to=sys.stderr
            )
            outcomes.append(_tried(trial, operator, scenario, confirm=confirm))
            show(_described(outcomes[-1]), to=sys.stderr)  # a later error must not lose it
    except KeyboardInterrupt:
        operator.request(OperatorRequest.DAMP.value)
        raise
    result = FaultTrialResult(policy_node=policy_node, outcomes=outcomes)
    right = sum(each.as_expected for each in outcomes)
    return CommandResult(
        document=result,
        text=[f"{right} of {len(outcomes)} outcomes are as expected"],
        status=0 if right == len(outcomes) else 1,
    )


def _tried(
    trial: FaultTrial, operator: Operator, scenario: FaultScenario, *, confirm: bool
) -> FaultOutcome:
    operator.wait_for_status()
    if operator.mode == "RUN":
        _confirm("the fault begins", confirm)
    else:
        _confirm("the robot stands up and runs its policy, then the fault begins", confirm)
        operator.demand(OperatorRequest.RESET.value)
        operator.wait(_SETTLES_S)
        operator.wait_for_robot()
        operator.stand_up()
    return trial.try_scenario(scenario)


def _confirm(what: str, confirm: bool) -> None:
    """Say what happens next, and wait for Enter; keys pressed earlier do not count."""
    if not confirm:
        return
    show(f"Enter: {what}; Ctrl-C ends, and damps the robot", to=sys.stderr)
    if sys.stdin is not None and sys.stdin.isatty():
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer:
        raise OperatorError("try_faults: expected Enter, found no terminal; pass --yes")
    if answer.strip():
        raise OperatorError(f"try_faults: expected Enter, found '{answer.strip()}'")


def _described(outcome: FaultOutcome) -> str:
    found = (
        f"no rest ({outcome.reason})"
        if outcome.rest_after_s is None
        else f"rest after {1e3 * outcome.rest_after_s:.0f} ms ({outcome.reason})"
    )
    verdict = "ok" if outcome.as_expected else f"NOT as expected: {outcome.expected}"
    if not outcome.as_expected and outcome.expected == "rest":
        verdict += f" within {1e3 * outcome.within_s:.0f} ms"
    return f"{', '.join(outcome.faults)}: {found}: {verdict}"
