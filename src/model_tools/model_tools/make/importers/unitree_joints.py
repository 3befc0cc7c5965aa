# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the joints of Unitree's `deploy.yaml`, which has no joint names.

`joint_ids_map` gives the SDK motor of each policy joint, so names in SDK order give the policy's
order. The order in a robot's file does not: a G1's URDF is in SDK order, a Go2's in neither SDK nor
policy order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from model_tools.errors import ToolError
from model_tools.files.foreign import Node
from model_tools.make.importers.joints import (
    BREADTH_FIRST,
    LISTED,
    SDK,
    GivenJoints,
    mirrored_pairs,
    unlike_pairs,
)

_HIP_FIRST = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")
_YAW_FIRST = ("hip_yaw", "hip_pitch", "hip_roll", "knee", "ankle_pitch", "ankle_roll")
_ARM = (
    "shoulder_pitch",
    "shoulder_roll",
    "shoulder_yaw",
    "elbow",
    "wrist_roll",
    "wrist_pitch",
    "wrist_yaw",
)
_H1 = (
    "right_hip_roll",
    "right_hip_pitch",
    "right_knee",
    "left_hip_roll",
    "left_hip_pitch",
    "left_knee",
    "torso",
    "left_hip_yaw",
    "right_hip_yaw",
    "",
    "left_ankle",
    "right_ankle",
    *(f"{side}_{part}" for side in ("right", "left") for part in _ARM[:4]),
)


def _both(parts: Sequence[str]) -> list[str]:
    return [f"{side}_{part}" for side in ("left", "right") for part in parts]


SDK_JOINTS: dict[str, list[str]] = {
    robot: [f"{name}_joint" if name else "" for name in names]
    for robot, names in {
        "go2": [
            f"{leg}_{part}" for leg in ("FR", "FL", "RR", "RL") for part in ("hip", "thigh", "calf")
        ],
        "g1": [*_both(_HIP_FIRST), "waist_yaw", "waist_roll", "waist_pitch", *_both(_ARM)],
        "h1": list(_H1),
        "h1_2": [*_both(_YAW_FIRST), "torso", *_both(_ARM)],
    }.items()
}
"""Joint names of Unitree's robots, as in the URDFs, in motor order; "" for unused numbers.

From the motor numbers in Unitree's SDK and examples; a G1 with 23 joints lacks some.
"""
_NAMES = "joint_names"
_BY_NAME = f"--joints with one of Unitree's robots ({', '.join(SDK_JOINTS)})"


def policy_joints(root: Node, given: GivenJoints | None) -> tuple[list[str], str]:
    """Return the joints in policy order, and how they were found.

    Args:
        root: Root of the file.
        given: The joints from `--joints`.
    """
    places = motors(root)
    if given is None:
        if stated := root.get(_NAMES):
            return _counted(root, stated.texts(), len(places)), _NAMES
        raise ToolError(
            f"{root.file}: expected the names of its {len(places)} joints, which this format "
            f"omits; give {_BY_NAME}, with the robot's URDF or MJCF file, or with names in "
            "policy order"
        )
    robot = _find_robot(given, places)
    if robot is not None:
        return _of_motors(root, SDK_JOINTS[robot], places, robot), (
            f"joint_ids_map, from the motor order of Unitree's {robot}"
        )
    if given.order == SDK:
        names = _of_motors(root, given.names, places, "--joints")
        _refuse_other_order(root, given, places, names)
        return names, "joint_ids_map, from the SDK order in --joints"
    orders = _possible(given, places)
    if given.origin and given.order is None and len(set(map(tuple, orders.values()))) > 1:
        raise _undecided(root, given, orders)
    names = _counted(root, given.in_simulator_order(), len(places))
    _refuse_other_order(root, given, places, names)
    return names, "given by the user, in policy order"


def stated_names(root: Node, given: Sequence[str]) -> list[str]:
    """Return the policy's own joint names, if `--joints` gave the robot's.

    Args:
        root: The file.
        given: The joints from `--joints`, in the policy's order.

    Returns:
        The file's names, or the user's if the file has none.
    """
    if (stated := root.get(_NAMES)) is None:
        return list(given)
    names = _counted(root, stated.texts(), len(given))
    if any(name in given and name != other for name, other in zip(names, given, strict=True)):
        raise stated.wrong(f"the order of --joints ({', '.join(given)})")
    return names


def motors(root: Node) -> list[int]:
    """Return the SDK motor index of each policy joint."""
    ids = root["joint_ids_map"]
    places = [element.whole() for element in ids.elements()]
    if len(set(places)) != len(places) or min(places, default=-1) < 0:
        raise ids.wrong("distinct indices of SDK joints")
    return places


def short_name(names: Sequence[str]) -> str | None:
    """Return the name if there is exactly one and it is a Unitree robot's name; otherwise None."""
    return names[0] if len(names) == 1 and names[0] in SDK_JOINTS else None


def _find_robot(given: GivenJoints, places: Sequence[int]) -> str | None:
    """Return the named robot, or the only one whose joints match a robot's file."""
    if not given.origin:
        return short_name(given.names)
    return None if given.order is not None else _with_joints(given, places)


def _with_joints(given: GivenJoints, places: Sequence[int]) -> str | None:
    """Return the only Unitree robot with these names at these motor indices."""
    joints = set(given.names)
    fitting = [
        robot
        for robot, names in SDK_JOINTS.items()
        if max(places) < len(names) and {names[i] for i in places} <= joints
    ]
    # The policy of a G1 with 23 joints moves only some of its motors.
    whole = [robot for robot in fitting if set(SDK_JOINTS[robot]) - {""} <= joints]
    known = whole or fitting
    return known[0] if len(known) == 1 else None


def _refuse_other_order(
    root: Node, given: GivenJoints, places: Sequence[int], names: Sequence[str]
) -> None:
    """Raise if the names are those of a Unitree robot, but in a different order."""
    robot = _with_joints(given, places)
    if robot is None:
        return
    expected = _of_motors(root, SDK_JOINTS[robot], places, robot)
    if expected != names:
        wanted, found = next(
            (one, other) for one, other in zip(expected, names, strict=True) if one != other
        )
        order = "" if given.order is None else f" with --joint-order {given.order}"
        raise ToolError(
            f"{root.file}: joint_ids_map: expected the order of Unitree's {robot}, which has "
            f"these joints ({', '.join(expected)}), found {found} where {wanted} belongs{order}; "
            f"give --joints {robot} and --robot with the robot's file, without --joint-order"
        )


def _of_motors(root: Node, names: Sequence[str], places: Sequence[int], origin: str) -> list[str]:
    missing = [place for place in places if place >= len(names) or not names[place]]
    if missing:
        raise ToolError(
            f"{root.file}: joint_ids_map: expected indices of the {len(names)} joints of "
            f"{origin}, found index {', '.join(map(str, missing))}"
        )
    return [names[place] for place in places]


def _counted(root: Node, names: list[str], count: int) -> list[str]:
    if len(names) != count:
        raise ToolError(
            f"{root.file}: joint_ids_map: expected {count} joints, found {len(names)} "
            f"names: {', '.join(names)}"
        )
    return names


def _possible(given: GivenJoints, places: Sequence[int]) -> dict[str, list[str]]:
    """Return the joints in each order that the policy may use, by the value for `--joint-order`."""
    orders = {LISTED: given.names, BREADTH_FIRST: given.breadth_first or given.names}
    if max(places) < len(given.names):
        orders[SDK] = [given.names[place] for place in places]
    return orders


def _undecided(root: Node, given: GivenJoints, orders: Mapping[str, Sequence[str]]) -> ToolError:
    """Return the error that lists the joint orders the policy may use."""
    default = root["default_joint_pos"].numbers()
    meaning = {
        LISTED: "the policy uses the file's order, as in MuJoCo",
        BREADTH_FIRST: "the policy uses Isaac Lab's order, level by level",
        SDK: "the file uses the SDK's order, which joint_ids_map converts",
    }
    return ToolError(
        f"{root.file}: expected the joints in policy order, found that order neither in this "
        f"file nor in {given.origin}; list them in policy order (as in training), give "
        f"{_BY_NAME}, or state the file's order:",
        *(
            f"  `--joint-order {order}`: {meaning[order]}. Result: "
            f"{_symmetry(found, default)}. Order: {', '.join(found)}"
            for order, found in orders.items()
        ),
    )


def _symmetry(names: Sequence[str], default: Sequence[float]) -> str:
    if len(names) != len(default):
        return f"{len(names)} joints, but default_joint_pos has {len(default)} values"
    if not mirrored_pairs(names):
        return "no pairs of left and right joints to check the order with"
    pairs = unlike_pairs(names, default)
    return (
        f"left and right differ in default_joint_pos ({'; '.join(pairs[:2])})"
        if pairs
        else "left and right have the same default_joint_pos"
    )
