# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Joint names: order, mirror images, and patterns resolved as in Isaac Lab."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.foreign import Node
from model_tools.make.importers.robot_file import breadth_first, is_urdf, read_robot
from policy_core.bundle.resolve import name_pattern

LISTED, BREADTH_FIRST, SDK = ORDERS = ("listed", "breadth_first", "sdk")
_COMPARE_ORDER = "compare them with the training's: print(env.unwrapped.scene['robot'].joint_names)"
_ALIKE = 0.01
"""Relative and absolute tolerance, in any unit; training files have at least two digits."""
_RIGHT_OF = {
    "L": "R",
    "FL": "FR",
    "RL": "RR",
    "HL": "HR",
    "BL": "BR",
    "LF": "RF",
    "LH": "RH",
    "LR": "RR",
    "LB": "RB",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenJoints:
    """Joints given with `--joints`, and their order.

    Attributes:
        names: Names in the listed order, or in the order of the robot's file.
        breadth_first: The same names, level by level from the base, siblings sorted by name; None
            for listed names.
        siblings_in_file_order: The same levels, with siblings in the file's order; None for listed
            names.
        is_urdf: True if the file is a URDF, whose siblings Isaac Sim sorts by name.
        order: Value of `--joint-order`, one of `ORDERS`; None if absent.
        origin: The robot's file; empty for listed names.
    """

    names: list[str]
    breadth_first: list[str] | None = None
    siblings_in_file_order: list[str] | None = None
    is_urdf: bool = False
    order: str | None = None
    origin: str = ""

    def in_listed_order(self, of: str) -> list[str]:
        """Return the names in listed order; `of` describes the required order in errors."""
        if self.order != LISTED and (self.order is not None or self.origin):
            raise ToolError(
                f"--joints {self.origin}: expected joints in the order of {of}, found a file's "
                f"order; list the names, or pass --joint-order {LISTED} if the file's order is "
                "right"
            )
        return self.names

    def in_simulator_order(self) -> list[str]:
        """Return the names in the simulator's order; raise if that order is not known."""
        if self.order == SDK:
            raise ToolError(
                f"--joint-order: expected {LISTED} or {BREADTH_FIRST}, found {SDK}, "
                "which only unitree's deploy.yaml maps to the policy's order"
            )
        if self.order == BREADTH_FIRST:
            if self.breadth_first is None:
                raise ToolError(
                    f"--joint-order {BREADTH_FIRST}: expected a URDF or MJCF file at "
                    "--joints (the order follows from the robot's tree), found "
                    "names"
                )
            self._require_known_siblings(self.breadth_first)
            return self.breadth_first
        if self.order is None and self.breadth_first not in (None, self.names):
            raise ToolError(
                f"--joints {self.origin}: expected joints in the simulator's order, found a file "
                f"with two possible orders: use --joint-order {BREADTH_FIRST} for Isaac Lab's "
                f"order ({', '.join(self.breadth_first or ())}), or --joint-order {LISTED} for the "
                f"file's order, which MuJoCo uses ({', '.join(self.names)})"
            )
        return self.names

    def describe_order(self, names: Sequence[str]) -> str:
        """Return a note on the order of these joints, which the user must check."""
        text = f"joints.names is {', '.join(names)}"
        if self.order == BREADTH_FIRST:
            text += ": level by level, siblings sorted by name, as after Isaac Sim's URDF importer"
            if self.breadth_first != self.siblings_in_file_order:
                text += f" (the file has {', '.join(self.siblings_in_file_order or ())})"
        return f"{text}; {_COMPARE_ORDER}"

    def _require_known_siblings(self, by_name: Sequence[str]) -> None:
        """Raise if the simulator's order of siblings does not follow from the file."""
        in_file = self.siblings_in_file_order
        if not self.is_urdf and by_name != in_file:
            raise ToolError(
                f"--joint-order {BREADTH_FIRST}: expected a URDF, whose siblings Isaac Sim sorts "
                f"by name, or an MJCF file with siblings in that order, found other siblings in "
                f"{self.origin}: list the names in --joints, either {', '.join(by_name)} (if the "
                "training's robot came from a URDF, or from a USD in that order) or "
                f"{', '.join(in_file or ())} (if it came from this file); {_COMPARE_ORDER}"
            )


def given_joints(given: str, order: str | None = None) -> GivenJoints:
    """Return the joints that `--joints` gives, as a comma-separated list or as a robot's file."""
    if (file := joints_file(given)) is not None:
        robot = read_robot(file)
        return GivenJoints(
            names=list(robot),
            breadth_first=breadth_first(robot),
            siblings_in_file_order=breadth_first(robot, by_name=False),
            is_urdf=is_urdf(file),
            order=order,
            origin=str(file),
        )
    names = [name.strip() for name in given.split(",")]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled or not all(names):
        raise ToolError(f"--joints: expected each name once, found {', '.join(doubled) or given!r}")
    return GivenJoints(names=names, order=order)


def joints_file(given: str | None) -> Path | None:
    """Return the robot's file if `--joints` names one."""
    return Path(given) if given and given.endswith((".urdf", ".xml", ".mjcf")) else None


def mirrored_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return each left joint with its counterpart on the right, matched by name."""
    return [(left, right) for left in names for right in _mirrored(left) if right in names]


def unlike_pairs(names: Sequence[str], values: Sequence[float]) -> list[str]:
    """Return text such as `left_hip -0.1, right_hip 0.3` for each pair with different magnitudes.

    Robots are usually symmetric except for signs, so many such pairs suggest a wrong joint order.
    """
    of = dict(zip(names, values, strict=True))
    return [
        f"{left} {of[left]:g}, {right} {of[right]:g}"
        for left, right in mirrored_pairs(names)
        if not math.isclose(abs(of[left]), abs(of[right]), rel_tol=_ALIKE, abs_tol=_ALIKE)
    ]


def _mirrored(left: str) -> Iterator[str]:
    """Yield possible names of a left joint's right counterpart; nothing for other joints."""
    for word, other in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")):
        if word in left:
            yield left.replace(word, other)
    words = re.split("([^A-Za-z]+)", left)
    for i, word in enumerate(words):
        if word.upper() in _RIGHT_OF:
            right = _RIGHT_OF[word.upper()]
            other = right.lower() if word.islower() else right
            yield "".join([*words[:i], other, *words[i + 1 :]])


def resolve_names(patterns: Node, names: Sequence[str], *, keep_order: bool) -> list[str]:
    """Return the names that match one of the patterns.

    Args:
        patterns: Names or patterns (`name_pattern`), each matched against the whole name.
        names: Joints in the simulator's order.
        keep_order: Return the names in the order of the patterns instead of the order of `names`.
    """
    wanted = patterns.texts()
    key_of = _key_of_each(patterns, wanted, names)
    if keep_order:
        return [name for pattern in wanted for name, key in key_of.items() if key == pattern]
    return list(key_of)


def resolve_values(value: Node, names: Sequence[str]) -> dict[str, float]:
    """Return a number for each name, given one number or a map from pattern to number.

    Names that no pattern matches are left out.
    """
    if isinstance(value.value, (int, float)):
        return dict.fromkeys(names, value.number())
    numbers = {pattern: entry.number() for pattern, entry in value.items()}
    return {name: numbers[key] for name, key in _key_of_each(value, numbers, names).items()}


def is_pattern(name: str) -> bool:
    """Return whether a text is a pattern rather than a literal name."""
    return re.escape(name) != name.replace("-", r"\-")


def _key_of_each(
    node: Node, keys: Sequence[str] | dict[str, float], names: Sequence[str]
) -> dict[str, str]:
    """Return the matching key of each name, in the order of the names."""
    compiled = {key: _compiled(node, key) for key in keys}
    matches = {
        name: [key for key, pattern in compiled.items() if pattern.fullmatch(name)]
        for name in names
    }
    for key in keys:
        if not any(key in found for found in matches.values()):
            raise ToolError(
                f"{node.file}: {node.key}: expected patterns that match a joint, found {key!r}, "
                f"which matches none of {', '.join(names)}; give the training's joint names with "
                "--joints, as a list in the simulator's order; if the robot's file has other "
                "names, --set 'joints.robot_names={training: robot, ...}' states them"
            )
    for name, found in matches.items():
        if len(found) > 1:
            raise ToolError(
                f"{node.file}: {node.key}: expected one pattern for {name}, found "
                f"{' and '.join(map(repr, found))}"
            )
    return {name: found[0] for name, found in matches.items() if found}


def _compiled(node: Node, key: str) -> re.Pattern[str]:
    try:
        return name_pattern(key)
    except ValueError as error:
        raise ToolError(
            f"{node.file}: {node.key}: expected names or name patterns "
            f"(docs/bundle.md), found {key!r}: {error}; write the names instead"
        ) from error
