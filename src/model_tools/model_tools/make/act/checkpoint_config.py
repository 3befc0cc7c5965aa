# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration shared by all LeRobot policies: features, steps, cameras."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from model_tools.errors import ToolError
from model_tools.files.foreign import Node
from model_tools.files.lerobot.checkpoint import Config, PolicyFeature
from policy_core.bundle.chunk_contract import Denoising

STATE, ENVIRONMENT, ACTION = "observation.state", "observation.environment_state", "action"
_IMAGES = re.compile(r"observation\.(images\.)?")
LARGEST_SIDE = 8192
"""A contract's limit on the width and height of an image."""
LARGEST_STEPS = 10_000
"""A contract's limit on the number of steps in a chunk, and on the number of denoising steps."""
_COMMON_KEYS = """
    type n_obs_steps input_features output_features normalization_mapping n_action_steps device
    use_amp use_peft push_to_hub repo_id private tags license pretrained_path pretrained_revision
    optimizer_lr optimizer_weight_decay
"""
"""Keys that every policy of LeRobot 0.3 to 0.6 saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraInput:
    """A camera: its feature, and its name as a valid topic and tensor name."""

    name: str
    feature: PolicyFeature
    observed: str
    """The feature's name in the robot's observations; it differs if the checkpoint renames it."""
    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointConfig:
    """Inputs and outputs of a policy, with the features in training order."""

    file: Path
    licence: str | None
    """License of the weights, if the file states one."""
    cameras: tuple[CameraInput, ...]
    state: PolicyFeature | None
    environment: PolicyFeature | None
    action: PolicyFeature
    chunk_size: int
    """Number of steps in a chunk, counted from the newest observation."""
    n_action_steps: int
    ensemble_coeff: float | None = None
    denoising: Denoising | None = None
    """Denoising that produces a chunk; None if one run of the graphs returns the chunk."""
    prompt: str = ""
    """Task prompt built into the graphs; empty if there is none."""
    ignored: tuple[PolicyFeature, ...]
    """Inputs that the network ignores."""
    unknown_keys: tuple[str, ...]
    """Keys in the file that no version of LeRobot writes for this policy."""

    @property
    def features(self) -> tuple[PolicyFeature, ...]:
        """Inputs of the network, and its output."""
        vectors = [feature for feature in (self.state, self.environment) if feature]
        return (*vectors, *(camera.feature for camera in self.cameras), self.action)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The different image sizes (height, width)."""
        return tuple(dict.fromkeys((camera.height, camera.width) for camera in self.cameras))


C = TypeVar("C", bound=CheckpointConfig)


def common_fields(config: Config, keys: str) -> dict[str, Any]:
    """Return the fields of `CheckpointConfig` that all policies fill in the same way.

    Args:
        config: Configuration of the checkpoint.
        keys: Keys that LeRobot saves for this policy only, separated by spaces.
    """
    root = config.root
    by_name = {feature.name: feature for feature in config.features}
    state, environment, action = by_name.get(STATE), by_name.get(ENVIRONMENT), by_name.get(ACTION)
    if action is None:
        raise root["output_features"].wrong(f"the output {ACTION}")
    vectors = [vector for vector in (state, environment, action) if vector]
    for vector in vectors:
        if len(vector.shape) != 1:
            raise ToolError(
                f"{root.file}: {vector.name}: expected a shape with one axis, found "
                f"{list(vector.shape)}"
            )
    images = [feature for feature in config.features if feature.kind == "VISUAL"]
    if not images and environment is None:
        raise root["input_features"].wrong(f"a camera or {ENVIRONMENT}")
    used = {feature.name for feature in (*vectors, *images)}
    licence = root.get("license")
    return {
        "file": config.file,
        "licence": licence.text() if licence else None,
        "cameras": _cameras(config.file, images, {}),
        "state": state,
        "environment": environment,
        "action": action,
        "ignored": tuple(feature for feature in config.features if feature.name not in used),
        "unknown_keys": tuple(
            sorted(root.mapping().keys() - {*_COMMON_KEYS.split(), *keys.split()})
        ),
    }


def flag(root: Node, name: str) -> bool:
    """Return a flag, false if absent; raise on a value that is not a boolean."""
    found = root.get(name)
    return found is not None and found.boolean()


def count(node: Node, most: int | None = None) -> int:
    """Return an integer above 0 and, if given, at most `most`."""
    if node.whole() < 1:
        raise node.wrong("a number above 0")
    if most is not None and node.whole() > most:
        raise node.wrong(f"at most {most}")
    return node.whole()


def renamed(config: C, observed: Mapping[str, str]) -> C:
    """Return the configuration with cameras named as on the robot.

    `observed` gives the robot's names by feature, where they differ from the checkpoint's.
    """
    images = [camera.feature for camera in config.cameras]
    return dataclasses.replace(config, cameras=_cameras(config.file, images, observed))


def _cameras(
    file: Path, images: Sequence[PolicyFeature], observed: Mapping[str, str]
) -> tuple[CameraInput, ...]:
    cameras, taken = list[CameraInput](), Counter[str]()
    for feature in images:
        if len(feature.shape) != 3 or feature.shape[0] != 3 or min(feature.shape) < 1:
            raise ToolError(
                f"{file}: {feature.name}: expected a shape [3, height, width], found "
                f"{list(feature.shape)}"
            )
        if max(feature.shape) > LARGEST_SIDE:
            raise ToolError(
                f"{file}: {feature.name}: expected images of at most {LARGEST_SIDE} pixels per "
                f"side, found {list(feature.shape)}"
            )
        source = observed.get(feature.name, feature.name)
        name = plain_name(source)
        taken[name] += 1
        cameras.append(
            CameraInput(
                name=name if taken[name] == 1 else f"{name}_{taken[name]}",
                feature=feature,
                observed=source,
                height=feature.shape[1],
                width=feature.shape[2],
            )
        )
    return tuple(cameras)


def plain_name(feature: str) -> str:
    """Return a camera's name in a form that topics and tensors allow: letters, digits and _."""
    name = re.sub(r"\W", "_", _IMAGES.sub("", feature, count=1), flags=re.ASCII)
    return name if name[:1].isalpha() else f"camera_{name}"
