# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration of a LeRobot checkpoint: `config.json`, and the steps before and after the network.

A bundle must repeat all of those steps, or the export is refused. Without one of them, the policy
would behave differently; for example, relative actions would be taken for absolute targets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.foreign import Node, read_json

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
_STATISTICS = {
    "MEAN_STD": ("mean", "std"),
    "MIN_MAX": ("min", "max"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
    "IDENTITY": (),
}
PROCESSORS = {True: "policy_preprocessor.json", False: "policy_postprocessor.json"}
"""File name by direction; True stands for inputs."""
_BUFFERS = ("normalize_inputs.", "normalize_targets.", "unnormalize_outputs.")
RUN_WITH_LEROBOT = (
    "let LeRobot itself run the policy on a ROS 2 robot: `lerobot-rollout "
    "--robot.type=ros2 --policy.path=FOLDER` (docs/lerobot.md)"
)
NORMALISERS = {True: "normalizer_processor", False: "unnormalizer_processor"}
"""Processor name by direction; True stands for inputs."""
RENAMES = "rename_observations_processor"
_ARRANGES = ("to_batch_processor", "device_processor")
_LANGUAGE = ("smolvla_new_line_processor", "tokenizer_processor")
"""Steps that prepare a prompt before the network; an export runs them once."""
_EXACT = (None, "float32", "float", "float64", "double")
"""Values of a device step's `float_dtype` that do not round float32."""
_ABSOLUTE = "train with absolute joint targets as actions"
_IMAGES = (
    "store the images in the dataset as the network receives them, and train without this step"
)
_STATE = "add these values to observation.state of the dataset, and train without this step"
_KNOWN = {
    "relative_actions_processor": ("makes actions relative to the measured state", _ABSOLUTE),
    "delta_actions_processor": ("makes actions relative to the measured state", _ABSOLUTE),
    "absolute_actions_processor": ("adds the measured state to the network's actions", _ABSOLUTE),
    "map_tensor_to_delta_action_dict": ("interprets actions as motions of the hand", _ABSOLUTE),
    "map_delta_action_to_robot_action": ("interprets actions as motions of the hand", _ABSOLUTE),
    "image_crop_resize_processor": ("crops and resizes images", _IMAGES),
    "joint_velocity_processor": ("adds joint velocities to the state", _STATE),
    "current_processor": ("adds motor currents to the state", _STATE),
}
"""Effect of each LeRobot step known to this module, and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFeature:
    """An input or output of the policy.

    Attributes:
        name: Feature name, such as `observation.images.laptop`.
        kind: STATE, VISUAL, ENV or ACTION.
        shape: Shape; for images: channels, height, width.
        mode: Normalization mode.
        is_input: True for inputs, False for outputs.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    mode: str
    is_input: bool

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of the statistics that the feature's mode needs."""
        return _STATISTICS.get(self.mode, ())

    @property
    def statistics_size(self) -> int:
        """Number of values in each statistic: one per channel, or one per element."""
        return self.shape[0] if self.kind == "VISUAL" else math.prod(self.shape)

    def __str__(self) -> str:
        """Return text such as `observation.state [6], MEAN_STD`."""
        if self.kind == "VISUAL" and len(self.shape) == 3:
            channels, height, width = self.shape
            size = f"{width} x {height}, {channels} channels"
        else:
            size = str(list(self.shape))
        return f"{self.name} {size}, {self.mode}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Configuration of a policy: its file, its content, and its features in order."""

    file: Path
    root: Node
    features: tuple[PolicyFeature, ...]

    def size(self, kind: str) -> int | None:
        """Return the length of the only vector of this kind; None unless there is exactly one."""
        found = [f.shape[0] for f in self.features if f.kind == kind and len(f.shape) == 1]
        return found[0] if len(found) == 1 else None


def read_config(folder: Path) -> Config:
    file = folder / CONFIG_FILE
    if not file.is_file():
        raise ToolError(
            f"{folder}: expected a LeRobot checkpoint, found no {CONFIG_FILE} in it; LeRobot's "
            "training writes checkpoints to checkpoints/STEP/pretrained_model"
        )
    root = read_json(file)
    if root.get("input_shapes") is not None:
        raise ToolError(
            f"{file}: expected input_features, found input_shapes, as "
            "LeRobot wrote them in 2024; convert the checkpoint with LeRobot"
        )
    modes = root.get("normalization_mapping")
    features = tuple(
        _feature(name, node, modes, key == "input_features")
        for key in ("input_features", "output_features")
        for name, node in root[key].items()
    )
    return Config(file=file, root=root, features=features)


def _feature(name: str, node: Node, modes: Node | None, is_input: bool) -> PolicyFeature:
    kind = node["type"].text()
    mode = modes.get(kind) if modes else None
    shape = tuple(size.whole() for size in node["shape"].elements())
    if not shape:
        raise node["shape"].wrong("a shape with an axis")
    return PolicyFeature(
        name=name,
        kind=kind,
        shape=shape,
        is_input=is_input,
        mode=mode.text() if mode else "IDENTITY",
    )


def is_buffer(name: str) -> bool:
    """Return whether a tensor of the weights file is a statistic."""
    return name.startswith(_BUFFERS)


def buffer_place(feature: PolicyFeature) -> str:
    """Return the prefix of a feature's statistics in the weights file.

    Prefixes can only be compared, not split: dots became underscores, so `a.b` and `a_b` have the
    same prefix.
    """
    owner = "normalize_inputs" if feature.is_input else "unnormalize_outputs"
    return f"{owner}.buffer_{feature.name.replace('.', '_')}."


def unsupported(step: Node, *, is_input: bool) -> ToolError | None:
    """Return the reason that a bundle cannot repeat a step; None if it can.

    Args:
        step: Element of `steps`.
        is_input: True if the step comes before the network.
    """
    registered, written = step.get("registry_name"), step.get("class")
    ours = (NORMALISERS[is_input], *((RENAMES, *_LANGUAGE) if is_input else ()), *_ARRANGES)
    if registered and registered.text() in ours:
        return _rounds(step)
    name = (
        registered.text()
        if registered
        else f"the class {written.text()}"
        if written
        else "a step without a name"
    )
    does, remedy = _KNOWN.get(
        name, ("is unknown here and may change values", "train without this step")
    )
    return ToolError(
        f"{step.file}: {step.key}: expected one of {', '.join(ours)}, found {name}, "
        f"which {does}; {remedy}; or {RUN_WITH_LEROBOT}"
    )


def _rounds(step: Node) -> ToolError | None:
    config = step.get("config")
    dtype = config.get("float_dtype") if config else None
    if dtype is None or dtype.value in _EXACT:
        return None
    return dtype.wrong("float32 (the type of a bundle's inputs and actions)")
