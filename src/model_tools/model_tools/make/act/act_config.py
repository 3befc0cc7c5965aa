# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The network that the configuration of an ACT checkpoint describes, checked."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError
from model_tools.files.foreign import Node
from model_tools.files.lerobot.checkpoint import (
    CONFIG_FILE,
    RUN_WITH_LEROBOT,
    PolicyFeature,
    read_config,
)
from model_tools.make.act.resnet import RESNETS, ResNet, feature_size
from model_tools.make.act.transformer import ACTIVATIONS

STATE, ENVIRONMENT, ACTION = "observation.state", "observation.environment_state", "action"
_IMAGES = re.compile(r"observation\.(images\.)?")
LARGEST_SIDE = 8192
"""Of an image, as a contract allows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraInput:
    """A camera: its name where names are those of topics and tensors, and its feature."""

    name: str
    feature: PolicyFeature
    observed: str
    """Name of the feature in what a robot observes; another one where the checkpoint renames."""
    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActConfig:
    """Sizes and kinds of an ACT network; features in the order of training."""

    file: Path
    cameras: tuple[CameraInput, ...]
    state: PolicyFeature | None
    environment: PolicyFeature | None
    action: PolicyFeature
    chunk_size: int
    n_action_steps: int
    ensemble_coeff: float | None
    backbone: ResNet
    dilated: bool
    dim: int
    heads: int
    feedforward: int
    activation: str
    pre_norm: bool
    encoder_layers: int
    decoder_layers: int
    latent_dim: int
    ignored: tuple[PolicyFeature, ...]
    """Inputs that the network does not look at."""

    @property
    def features(self) -> tuple[PolicyFeature, ...]:
        """Inputs of the network, and its output."""
        vectors = [feature for feature in (self.state, self.environment) if feature]
        return (*vectors, *(camera.feature for camera in self.cameras), self.action)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the images, each size once."""
        return tuple(dict.fromkeys((camera.height, camera.width) for camera in self.cameras))

    def tokens(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the features of images of a size."""
        height, width = (feature_size(pixels, dilated=self.dilated) for pixels in size)
        return height, width


def read_act_config(folder: Path) -> ActConfig:
    """Read and check the configuration of a checkpoint.

    Raises:
        ToolError: It is of another policy, of 2024, or of a network that LeRobot could not run.
        OSError: It cannot be read.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise ToolError(
            f"{folder}: expected a checkpoint of LeRobot with {CONFIG_FILE}, found "
            "none; with LeRobot's training it is checkpoints/STEP/pretrained_model"
        )
    config = read_config(folder)
    root = config.root
    if root["type"].text() != "act":
        raise ToolError(
            f"{root.file}: type: expected act, the only policy of LeRobot that is "
            f"exported, found {root['type'].text()}; {RUN_WITH_LEROBOT}, with the "
            "packages that LeRobot asks for of that policy; or, where ONNX graphs "
            "answer images and state with one chunk of joint targets, write a "
            "policy.yaml for them (docs/bundle.md, chunk policies)"
        )
    if root["n_obs_steps"].whole() != 1:
        raise root["n_obs_steps"].wrong("1, since ACT sees one moment")
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
    file = folder / CONFIG_FILE
    return ActConfig(
        file=file,
        cameras=_cameras(file, images, {}),
        state=state,
        environment=environment,
        action=action,
        ignored=tuple(feature for feature in config.features if feature.name not in used),
        **_network(root),
    )


def _network(root: Node) -> dict[str, Any]:
    chunk, steps = root["chunk_size"], root["n_action_steps"]
    if steps.whole() > chunk.whole():
        raise steps.wrong(f"at most chunk_size, {chunk.value}")
    backbone, activation = root["vision_backbone"], root["feedforward_activation"]
    if backbone.text() not in RESNETS:
        raise backbone.wrong(f"one of {', '.join(RESNETS)}")
    if activation.text() not in ACTIVATIONS:
        raise activation.wrong(f"one of {', '.join(ACTIVATIONS)}")
    dilated, network = _flag(root, "replace_final_stride_with_dilation"), RESNETS[backbone.text()]
    if dilated and not network.is_bottleneck:
        raise root["replace_final_stride_with_dilation"].wrong(
            f"false for {backbone.text()}, whose blocks cannot be dilated in torchvision"
        )
    dim, heads = _count(root["dim_model"]), _count(root["n_heads"])
    if dim % heads or dim % 4:
        raise root["dim_model"].wrong(f"a multiple of n_heads, {heads}, and of 4")
    coeff = root.get("temporal_ensemble_coeff")
    return {
        "chunk_size": _count(chunk),
        "n_action_steps": _count(steps),
        "ensemble_coeff": None if coeff is None else coeff.number(),
        "backbone": network,
        "dilated": dilated,
        "dim": dim,
        "heads": heads,
        "feedforward": _count(root["dim_feedforward"]),
        "activation": activation.text(),
        "pre_norm": _flag(root, "pre_norm"),
        "latent_dim": _count(root["latent_dim"]),
        "encoder_layers": _count(root["n_encoder_layers"]),
        "decoder_layers": _count(root["n_decoder_layers"]),
    }


def _flag(root: Node, name: str) -> bool:
    """Return a flag, false where it is absent; another word for true must not count as false."""
    found = root.get(name)
    return found is not None and found.boolean()


def _count(node: Node) -> int:
    if node.whole() < 1:
        raise node.wrong("a number above 0")
    return node.whole()


def renamed(config: ActConfig, observed: Mapping[str, str]) -> ActConfig:
    """Return it with cameras named as on the robot; `observed` has those by feature, if others."""
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
                f"{file}: {feature.name}: expected images of at most {LARGEST_SIDE} "
                f"pixels a side, found {list(feature.shape)}"
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
    """Return the name of a camera as topics and tensors can have it: letters, digits and _."""
    name = re.sub(r"\W", "_", _IMAGES.sub("", feature, count=1), flags=re.ASCII)
    return name if name[:1].isalpha() else f"camera_{name}"
