# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`robot_operator try_faults`: injects faults into a running robot and watches its policy node."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from policy_msgs.msg import JointCommand
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import QoSProfile

from policy_store.command_line import CommandResult, show
from robot_operator.fault_scenarios import FaultScenario
from robot_operator.nodes.client import Operator
from robot_operator.nodes.found import find_namespace
from robot_operator.requests import OperatorError, OperatorRequest

INJECTOR = "fault_injector"
"""Name of the node that injects the faults, in the namespace of the policy node."""
RESTS = (JointCommand.MODE_DAMP, JointCommand.MODE_HOLD_MEASURED, JointCommand.MODE_TORQUE_OFF)
_WATCHED_S, _SETTLES_S = 5.0, 1.0
"""Time without rest after which the policy counts as going on; time for inputs to settle."""
_NEWEST = QoSProfile(depth=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultOutcome:
    """Outcome of a scenario.

    Attributes:
        faults: The injected faults.
        expected: `rest` or `goes_on`.
        within_s: Limit of the time until rest, s.
        rest_after_s: Time from the injection to the first command that brings the robot to rest,
            s; null if the policy went on for 5 s.
        reason: The policy node's reason for its mode.
        as_expected: True if the outcome is the expected one, in time.
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
        policy_node: Full name of the policy node.
        outcomes: The outcomes, in the order of the file.
    """

    policy_node: str
    outcomes: Sequence[FaultOutcome]


class FaultTrial:
    """Injects faults while a policy node runs its policy."""

    def __init__(self, operator: Operator, policy_node: str) -> None:
        """Subscribe to the commands of the policy node.

        Args:
            operator: Client for the policy node.
            policy_node: Its full name.
        """
        self._operator = operator
        self._rests_s: list[float] = []
        node, namespace = operator.node, find_namespace(policy_node).rstrip("/")
        self._injector = f"{namespace}/{INJECTOR}"
        self._client = node.create_client(SetParameters, f"{self._injector}/set_parameters")
        node.create_subscription(JointCommand, "joint_command", self._on_command, _NEWEST)

    def find_injector(self) -> None:
        """Raise OperatorError if there is no node that can inject faults."""
        try:
            self._operator.wait_until(
                self._client.service_is_ready, self._injector, self._operator.answer_timeout_s
            )
        except OperatorError:
            raise OperatorError(
                f"try_faults: expected the node {self._injector}, found none; start the launch "
                "file of the policy with inject_faults:=true"
            ) from None

    def try_scenario(self, scenario: FaultScenario) -> FaultOutcome:
        """Inject the faults while the policy runs, watch the commands, and remove the faults.

        Raises:
            OperatorError: The policy does not run, or the faults were refused.
        """
        operator = self._operator
        if operator.mode != "RUN":
            raise OperatorError(
                f"try_faults: expected the mode RUN, found {operator.mode} "
                f"({operator.status.reason})"
            )
        try:
            began_s = time.monotonic()
            self._rests_s.clear()
            set_faults(operator, self._client, scenario.faults)
            operator.wait_until(
                lambda: bool(self._rests_s) or time.monotonic() > began_s + _WATCHED_S,
                "the end of the scenario",
                2.0 * _WATCHED_S,
            )
            after_s = self._rests_s[0] - began_s if self._rests_s else None
            if after_s is not None:
                operator.wait_until(lambda: operator.mode != "RUN", "a status", _WATCHED_S)
        finally:
            set_faults(operator, self._client, [""])
        rested = after_s is not None and after_s <= scenario.within_s
        return FaultOutcome(
            faults=scenario.faults,
            expected=scenario.expected,
            within_s=scenario.within_s,
            rest_after_s=after_s,
            reason=operator.status.reason,
            as_expected=rested if scenario.expected == "rest" else after_s is None,
        )

    def _on_command(self, command: JointCommand) -> None:
        if command.mode in RESTS:
            self._rests_s.append(time.monotonic())
            self._operator.notify()


def set_faults(operator: Operator, client: Any, faults: Sequence[str]) -> None:
    """Set the parameter `faults` of a node, through a client for its service `set_parameters`.

    Raises:
        OperatorError: The node refused, or did not answer.
    """
    value = ParameterValue(type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=faults)
    request = SetParameters.Request(parameters=[Parameter(name="faults", value=value)])
    response = operator.send(client, "set_parameters", request, operator.answer_timeout_s)
    (result,) = response.results
    if not result.successful:
        node = client.srv_name.rpartition("/")[0]
        raise OperatorError(f"try_faults: {node} refused: {result.reason}")


def try_faults(
    operator: Operator, policy_node: str, scenarios: Sequence[FaultScenario], *, confirm: bool
) -> CommandResult[FaultTrialResult]:
    """Try all scenarios; before each, the robot stands up and runs its policy.

    Args:
        operator: Client for the policy node.
        policy_node: Its full name.
        scenarios: The scenarios.
        confirm: True to wait for Enter before the robot moves.

    Returns:
        A table; the status is 1 if any outcome is not the expected one.
    """
    trial = FaultTrial(operator, policy_node)
    trial.find_injector()
    outcomes = []
    for number, scenario in enumerate(scenarios, 1):
        show(f"{number} of {len(scenarios)}: {scenario.name}: {scenario.expected}", to=sys.stderr)
        operator.wait_for_status()
        if operator.mode != "RUN":
            _confirm("the robot stands up and runs its policy, then the fault begins", confirm)
            operator.demand(OperatorRequest.RESET.value)
            operator.wait(_SETTLES_S)
            operator.wait_for_robot()
            operator.stand_up()
        else:
            _confirm("the fault begins", confirm)
        outcomes.append(trial.try_scenario(scenario))
        show(_described(outcomes[-1]), to=sys.stderr)  # a later error must not lose it
    result = FaultTrialResult(policy_node=policy_node, outcomes=outcomes)
    return CommandResult(
        document=result,
        text=["\n".join(map(_described, outcomes))],
        status=0 if all(each.as_expected for each in outcomes) else 1,
    )


def _confirm(what: str, confirm: bool) -> None:
    if confirm:
        show(f"Enter: {what}; Ctrl-C ends", to=sys.stderr)
        if not sys.stdin.readline():
            raise OperatorError("try_faults: expected Enter, found no terminal; or give --yes")


def _described(outcome: FaultOutcome) -> str:
    found = (
        "goes on"
        if outcome.rest_after_s is None
        else f"rest after {1e3 * outcome.rest_after_s:.0f} ms ({outcome.reason})"
    )
    verdict = "ok" if outcome.as_expected else f"NOT as expected: {outcome.expected}"
    if not outcome.as_expected and outcome.expected == "rest":
        verdict += f" within {1e3 * outcome.within_s:.0f} ms"
    return f"{', '.join(outcome.faults)}: {found}: {verdict}"
