# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Limits on actions: on positions, on fields, and on distances from the measured positions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lerobot_bridge.mapping import ACTION, STATE, CommandChannel, RobotMapping
from lerobot_bridge.values import ToLeRobot
from policy_core.errors import RobotError


class Sent(NamedTuple):
    """The values sent for an action, in LeRobot's units.

    `clipped` names the values that differ from the action's.
    """

    values: dict[str, float]
    clipped: tuple[str, ...]


class ActionLimits:
    """The limits that a mapping sets on commands.

    They apply to joint positions, to their distance from the measured positions, and to fields.

    Attributes:
        names: Names of an action's values, in the order of the `action` feature if there is one.
    """

    def __init__(self, mapping: RobotMapping) -> None:
        self.names = mapping.names(ACTION) if ACTION in mapping.vectors else mapping.command_names
        self._bounds = {
            name: bound
            for channel in mapping.command
            for name, bound in _bounds(mapping, channel).items()
        }
        measured = mapping.names(STATE) if STATE in mapping.vectors else ()
        for name, bound in self._bounds.items():
            if math.isfinite(bound.step) and name not in measured:
                raise RobotError(
                    f"joints.{name.removesuffix('.pos')}.max_relative_target: "
                    f"expected {name} in {STATE} (steps are measured from it), found "
                    f"{', '.join(measured) or 'nothing'}"
                )

    def apply(self, action: Mapping[str, float], measured: Mapping[str, float]) -> Sent:
        """Return the values to send for an action.

        A joint outside its limits moves back toward them in steps of `max_relative_target`.

        Args:
            action: The action's values, by name.
            measured: Values of `observation.state`, by name.
        """
        self._require(action)
        sent, clipped = dict[str, float](), []
        for name in self.names:
            asked = float(action[name])
            bound = self._bounds.get(name)
            sent[name] = asked if bound is None else bound.clip(asked, name, measured)
            if sent[name] != asked:
                clipped.append(name)
        return Sent(sent, tuple(clipped))

    def _require(self, action: Mapping[str, float]) -> None:
        missing = [name for name in self.names if name not in action]
        unknown = [name for name in action if name not in self.names]
        if missing or unknown:
            found = [
                f"{what} {', '.join(names)}"
                for what, names in (("none for", missing), ("also", unknown))
                if names
            ]
            raise RobotError(
                f"action: expected a value for each of ({', '.join(self.names)}) and no others, "
                f"found {' and '.join(found)}"
            )
        for name in self.names:
            if not math.isfinite(action[name]):
                raise RobotError(
                    f"action: expected a finite value for {name}, found "
                    f"{float(action[name])}; nothing is sent"
                )


class _Bound(NamedTuple):
    """Limits of a value in LeRobot's units; an absent limit is infinite."""

    low: float
    high: float
    step: float

    def clip(self, asked: float, name: str, measured: Mapping[str, float]) -> float:
        inside = min(max(asked, self.low), self.high)
        if not math.isfinite(self.step):
            return inside
        return min(max(inside, measured[name] - self.step), measured[name] + self.step)


def _bounds(mapping: RobotMapping, channel: CommandChannel) -> dict[str, _Bound]:
    joints = mapping.select_joints(channel)
    if not joints:
        return {name: _Bound(low, high, math.inf) for name, (low, high) in channel.limits.items()}
    units = ToLeRobot(mapping, channel)
    low, high, step = (
        np.array([_or(getattr(mapping.joints[joint], name), other) for joint in joints])
        for name, other in (
            ("position_min", -math.inf),
            ("position_max", math.inf),
            ("max_relative_target", math.inf),
        )
    )
    ends = np.sort([units.of_ros(low), units.of_ros(high)], axis=0)
    zero = units.of_ros(np.zeros(len(joints)))
    steps = abs(units.of_ros(step) - zero)
    return {
        f"{joint}.pos": _Bound(*map(float, row))
        for joint, row in zip(joints, np.stack([*ends, steps], axis=1), strict=True)
    }


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
