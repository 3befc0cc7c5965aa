# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node's parameters as one table: type, default, description, range; fixed once configured.

Every parameter has a value from the start, because while any is unset, rclpy answers no parameter
requests to the node, including those from `ros2 param dump`. An optional number is NaN until it is
set; a required string is empty until it is set, and an empty one is rejected.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.utilities import remove_ros_args

from policy_core.errors import PolicyError

_SAFETY = "safety."


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One parameter; without a default, it is an optional number or `required`."""

    name: str
    type: type
    doc: str
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float = 1e6

    @property
    def initial(self) -> Any:
        if self.default is not None:
            return self.default
        return "" if self.required else math.nan

    @property
    def about(self) -> str:
        return self.doc if self.required or self.default is not None else f"{self.doc}; NaN: unset"

    def given(self, value: Any) -> Any:
        """Return the parameter's effective value; None if it is not set."""
        if self.default is not None:
            return value
        unset = value == "" if self.required else math.isnan(value)
        return None if unset else value


REALTIME = (
    Spec(
        name="realtime.priority",
        type=int,
        default=0,
        minimum=0,
        maximum=99,
        doc="Real-time priority (SCHED_FIFO) of the thread that commands the robot, 1 to 99 "
        "(threads that it may wait for run at a priority one lower); 0: none",
    ),
    Spec(
        name="realtime.cpus",
        type=str,
        default="",
        doc="Cores for the thread that commands the robot, such as 3 or 2-3; empty: all",
    ),
    Spec(
        name="realtime.lock_memory",
        type=bool,
        default=False,
        doc="Lock the memory of the process, so that none of it is swapped out",
    ),
)
"""Parameters of `machine.scheduling.RealTime`, for every node that commands a robot."""


def refuse_arguments(
    command: str, about: str | None, specs: Sequence[Spec], args: Sequence[str] | None
) -> None:
    """Exit if any argument is not for ROS: for `--help`, print the help; otherwise, exit with 2.

    Args:
        command: Command name.
        about: Description of the command.
        specs: The command's parameters.
        args: The command's arguments; None for the process's.
    """
    try:
        given = remove_ros_args([command, *args] if args is not None else sys.argv)
    except RuntimeError:
        return  # rclpy reports errors in ROS arguments
    if not given[1:]:
        return
    from policy_store.command_line import CommandParser

    described = [
        f"  {spec.name} ({'required' if spec.required else spec.initial}): {spec.about}"
        for spec in specs
    ]
    example = f"    {command} --ros-args --params-file {command}.yaml"
    parser = CommandParser(
        command,
        usage=f"{command} [--ros-args -p NAME:=VALUE ...]",
        description=about,
        epilog="\n".join(["parameters:", *described, "", "example:", example]),
    )
    parser.add_version()
    parser.parse_args(given[1:])


class ParameterTable:
    """Declares a table of parameters on a node, and reads all their values together.

    ROS silently ignores a parameter that is set but not declared. This class logs a warning or, for
    a name below `safety.`, raises an error, since the user would rely on a limit that does not
    exist.
    """

    def __init__(
        self, node: Node, specs: Sequence[Spec], is_configured: Callable[[], bool]
    ) -> None:
        """Declare the parameters; changes are rejected while `is_configured` returns True."""
        self._node, self._specs, self._is_configured = node, specs, is_configured
        self._adopting = False
        given = node.get_parameters_by_prefix("")
        known = {spec.name for spec in specs}
        self._unknown = [name for name in given if name not in known and not _is_ros(name)]
        for spec in specs:
            if spec.name in given:
                # Declared from its override only; declaring it below applies the same value.
                node.undeclare_parameter(spec.name)
            try:
                node.declare_parameter(spec.name, spec.initial, _descriptor(spec))
            except InvalidParameterTypeException as error:
                if spec.type is not str:
                    raise
                found = given[spec.name].value
                raise ParameterException(
                    f"expected text, found {found!r}; quote text that looks like a number (-p "
                    f"\"{spec.name}:='{found}'\")",
                    spec.name,
                ) from error
        node.add_on_set_parameters_callback(self._on_set)

    def read(self) -> dict[str, Any]:
        """Return all values; an unset optional value is None."""
        unknown = {name: self._describe(name) for name in self._unknown}
        values = {spec.name: self._value(spec) for spec in self._specs}
        problems = [
            problem for spec in self._specs if (problem := _problem(spec, values[spec.name]))
        ]
        problems += [text for name, text in unknown.items() if name.startswith(_SAFETY)]
        if problems:
            raise PolicyError(*problems)
        for text in unknown.values():
            self._node.get_logger().warning(f"{text}; it is ignored")
        return values

    def adopt(self, **values: Any) -> None:
        """Set parameters to the values in use, even though the node is configured."""
        self._adopting = True
        try:
            self._node.set_parameters(
                [Parameter(name, value=value) for name, value in values.items()]
            )
        finally:
            self._adopting = False

    def _describe(self, unknown: str) -> str:
        names = [spec.name for spec in self._specs]
        limits = [name for name in names if name.startswith(_SAFETY)]
        known = limits if unknown.startswith(_SAFETY) else names
        meant = get_close_matches(unknown, names, n=1)
        hint = f"did you mean {meant[0]}?" if meant else f"known names: {', '.join(known)}"
        return (
            f"parameter {unknown}: expected a known parameter name, found an unknown one ({hint})"
        )

    def _value(self, spec: Spec) -> Any:
        return spec.given(self._node.get_parameter(spec.name).value)

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        known = {spec.name: spec for spec in self._specs}
        for parameter in parameters:
            spec = known.get(parameter.name)
            if spec is None and parameter.name != "use_sim_time":
                continue
            if self._is_configured() and not self._adopting:
                return SetParametersResult(
                    successful=False,
                    reason=(
                        f"{parameter.name} is read only when the node is configured; clean the "
                        "node up first"
                    ),
                )
            if spec and (problem := _problem(spec, spec.given(parameter.value))):
                return SetParametersResult(successful=False, reason=problem)
        return SetParametersResult(successful=True)


def _is_ros(name: str) -> bool:
    return name in ("use_sim_time", "start_type_description_service") or name.startswith(
        "qos_overrides."
    )


def _problem(spec: Spec, value: Any) -> str:
    if value is None:
        return f"parameter {spec.name}: expected a value, found none" if spec.required else ""
    if spec.choices and value not in spec.choices:
        return f"parameter {spec.name}: expected one of {', '.join(spec.choices)}, found {value!r}"
    if spec.minimum is not None and not spec.minimum <= value <= spec.maximum:
        return (
            f"parameter {spec.name}: expected a value in [{spec.minimum}, {spec.maximum}], "
            f"found {value}"
        )
    return ""


def _descriptor(spec: Spec) -> ParameterDescriptor:
    found = ParameterDescriptor(
        description=spec.about,
        additional_constraints=f"One of: {', '.join(spec.choices)}" if spec.choices else "",
    )
    if spec.default is None and spec.minimum is not None:
        # ROS would refuse NaN for a parameter with a range.
        found.additional_constraints = f"NaN, or in [{spec.minimum:g}, {spec.maximum:g}]"
    elif spec.minimum is not None and spec.type is int:
        found.integer_range = [
            IntegerRange(from_value=int(spec.minimum), to_value=int(spec.maximum))
        ]
    elif spec.minimum is not None:
        found.floating_point_range = [
            FloatingPointRange(from_value=spec.minimum, to_value=spec.maximum)
        ]
    return found
