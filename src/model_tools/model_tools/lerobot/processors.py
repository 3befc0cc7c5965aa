# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The steps of a LeRobot checkpoint around its network: those that a bundle repeats, no others.

A step that is left out is another policy: relative actions would be taken for absolute targets.
"""

from __future__ import annotations

from model_tools.errors import ToolError
from model_tools.node import Node

RUN_WITH_LEROBOT = ("LeRobot itself runs it on a ROS 2 robot: `lerobot-record --robot.type=ros2 "
                    "--policy.path=FOLDER` (docs/lerobot.md)")
NORMALISERS = {True: "normalizer_processor", False: "unnormalizer_processor"}
"""By whether it works on inputs."""
RENAMES = "rename_observations_processor"
_ARRANGES = ("to_batch_processor", "device_processor")
_EXACT = (None, "float32", "float", "float64", "double")
"""What `float_dtype` of a device's step may be: it rounds no value of float32."""
_ABSOLUTE = "train with absolute joint targets as actions"
_IMAGES = "store the images in the dataset as the network gets them, and train without this step"
_STATE = "add these values to observation.state of the dataset, and train without this step"
_KNOWN = {
    "relative_actions_processor": ("makes actions relative to the measured state", _ABSOLUTE),
    "delta_actions_processor": ("makes actions relative to the measured state", _ABSOLUTE),
    "absolute_actions_processor": ("adds the measured state to the network's actions", _ABSOLUTE),
    "map_tensor_to_delta_action_dict": ("takes actions for motions of the hand", _ABSOLUTE),
    "map_delta_action_to_robot_action": ("takes actions for motions of the hand", _ABSOLUTE),
    "image_crop_resize_processor": ("crops and resizes images", _IMAGES),
    "joint_velocity_processor": ("adds joint velocities to the state", _STATE),
    "current_processor": ("adds motor currents to the state", _STATE),
}
"""What a step of LeRobot does to values, and what to do about it."""


def unsupported(step: Node, *, is_input: bool) -> ToolError | None:
    """Return why a bundle cannot repeat a step; None where it can.

    Args:
        step: Element of `steps`.
        is_input: Whether it is a step before the network.
    """
    given = step.get("registry_name") or step.get("class")
    name = given.text().rpartition(".")[2] if given else "a step without a name"
    ours = (NORMALISERS[is_input], *((RENAMES,) if is_input else ()), *_ARRANGES)
    if name in ours:
        return _rounds(step)
    does, remedy = _KNOWN.get(name, ("is unknown here and may change values",
                                     "train without this step"))
    return ToolError(f"{step.file}: {step.key}: expected one of {', '.join(ours)}, found {name}, "
                     f"which {does}; {remedy}; or {RUN_WITH_LEROBOT}")


def _rounds(step: Node) -> ToolError | None:
    config = step.get("config")
    dtype = config.get("float_dtype") if config else None
    if dtype is None or dtype.value in _EXACT:
        return None
    return dtype.wrong("float32, since a bundle gets its inputs and gives its actions so")
