# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A parsed LeRobot checkpoint, and the architectures that can be exported."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from model_tools.errors import ToolError
from model_tools.files.arrays import parse_tensors
from model_tools.files.foreign import Node, read_json
from model_tools.files.lerobot.checkpoint import (
    RUN_WITH_LEROBOT,
    WEIGHTS_FILE,
    Config,
    read_config,
)
from model_tools.files.lerobot.statistics import PolicyStatistics, read_statistics
from model_tools.make.act import graphs, smolvla_graphs, unet_graphs
from model_tools.make.act.builder import PREFIX, Weights
from model_tools.make.act.checkpoint_config import CameraInput, CheckpointConfig, renamed
from model_tools.make.act.graphs import How, check_act_config
from model_tools.make.act.smolvla_config import (
    LANGUAGE_MODEL,
    NO_LANGUAGE,
    Language,
    read_smolvla_config,
)
from model_tools.make.act.unet_graphs import check_unet_config
from policy_core.interfaces import Tensor

_TRAINING = "train_config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Converts one policy type's checkpoints to graphs.

    Attributes:
        read: Function that returns the checked configuration, given the options for a language
            model.
        prefix: Prefix of the network's tensor names.
        write: Function that returns the graphs by name, from configuration, weights, opset and the
            choice of one graph or several; denoising policies have two or more.
        encoder: Function that returns the name of the graph that encodes a camera's images; None if
            the policy's graph accepts images.
        tensor: Function that returns the name of the policy graph's input for a camera.
        description: Function that returns a one-sentence description of the policy.
        graphs: Patterns of the graph names.
    """

    read: Callable[[Config, Language], CheckpointConfig]
    prefix: str
    write: Callable[[Any, Weights, int, How], dict[str, onnx.ModelProto]]
    encoder: Callable[[Any, CameraInput, How], str | None]
    tensor: Callable[[CameraInput, How], str]
    description: Callable[[Any], str]
    graphs: tuple[str, ...]


ARCHITECTURES: Mapping[str, Architecture] = {
    "act": Architecture(
        read=lambda config, language: check_act_config(config),
        prefix=PREFIX,
        write=graphs.write_graphs,
        encoder=graphs.encoder_name,
        tensor=graphs.tensor_name,
        description=lambda config: "ACT policy of LeRobot.",
        graphs=(graphs.VISION, f"{graphs.VISION}_*", graphs.POLICY, graphs.WHOLE),
    ),
    "diffusion": Architecture(
        read=lambda config, language: check_unet_config(config),
        prefix=unet_graphs.PREFIX,
        write=lambda config, weights, opset, how: unet_graphs.write_unet_graphs(
            config, weights, opset=opset
        ),
        encoder=lambda config, camera, how: unet_graphs.unet_encoder(config, camera),
        tensor=lambda camera, how: unet_graphs.unet_tensor(camera),
        description=lambda config: "Diffusion Policy of LeRobot.",
        graphs=(unet_graphs.ENCODER, f"{unet_graphs.ENCODER}_*", unet_graphs.STEP),
    ),
    "smolvla": Architecture(
        read=read_smolvla_config,
        prefix=PREFIX,
        write=lambda config, weights, opset, how: smolvla_graphs.write_smolvla_graphs(
            config, weights, opset=opset
        ),
        encoder=lambda config, camera, how: smolvla_graphs.smolvla_encoder(config, camera),
        tensor=lambda camera, how: unet_graphs.unet_tensor(camera),
        description=lambda config: (
            f"SmolVLA policy of LeRobot, positions of image patches: {config.patch_positions}."
        ),
        graphs=(
            unet_graphs.ENCODER,
            f"{unet_graphs.ENCODER}_*",
            LANGUAGE_MODEL,
            unet_graphs.STEP,
        ),
    ),
}
"""Architectures by the `type` in `config.json`."""
_SERVED = ("pi0", "pi0_fast", "pi05")
"""Types that openpi's policy server runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LerobotCheckpoint:
    """Everything that an export needs from a checkpoint's files, read once and checked.

    Attributes:
        folder: Location of the checkpoint, for messages.
        architecture: Architecture of the checkpoint's policy type.
        config: Inputs, outputs and sizes of the network; cameras named as on the robot.
        tensors: Tensors of the weights file, by name.
        weights_sha256: Hash of the weights file.
        statistics: Normalization statistics of inputs and outputs.
        training: Root of `train_config.json`, if present.
    """

    folder: Path
    architecture: Architecture
    config: CheckpointConfig
    tensors: Mapping[str, Tensor]
    weights_sha256: str
    statistics: PolicyStatistics
    training: Node | None

    def graphs(self, opset: int, how: How) -> dict[str, onnx.ModelProto]:
        """Return the graphs by name, with the policy's graph last."""
        if how == "one" and self.config.denoising is not None:
            raise ToolError(
                "--graphs: expected two graphs (this policy's encoders run once per chunk, the "
                "rest in each denoising step), found one graph"
            )
        weights = Weights(self.folder / WEIGHTS_FILE, self.tensors, self.architecture.prefix)
        return self.architecture.write(self.config, weights, opset, how)


def read_checkpoint(
    folder: Path, language: Language = NO_LANGUAGE, policy: str | None = None
) -> LerobotCheckpoint:
    """Read and check a checkpoint's files, each once.

    Args:
        folder: Folder with `config.json` and `model.safetensors`.
        language: Options for a policy with a language model.
        policy: Required policy type; if None, any type that can be exported.
    """
    file = read_config(folder)
    architecture = _find_architecture(file, policy)
    config = architecture.read(file, language)
    if language != NO_LANGUAGE and not config.prompt:
        raise ToolError(
            "--prompt, --vlm, --patch-positions: expected these options only for a policy with a "
            f"language model, found a policy without one in {config.file}"
        )
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise ToolError(f"{weights}: expected the weights beside config.json, found none")
    content = weights.read_bytes()
    tensors = parse_tensors(weights, content)
    statistics = read_statistics(folder, tensors, config.features)
    training = folder / _TRAINING
    return LerobotCheckpoint(
        folder=folder,
        architecture=architecture,
        config=renamed(config, statistics.observed),
        tensors=tensors,
        weights_sha256=hashlib.sha256(content).hexdigest(),
        statistics=statistics,
        training=read_json(training) if training.is_file() else None,
    )


def _find_architecture(config: Config, policy: str | None) -> Architecture:
    kind = config.root["type"]
    if policy is not None and kind.text() != policy:
        raise kind.wrong(f"{policy} (`model_tools export lerobot` exports other policies)")
    if kind.text() not in ARCHITECTURES:
        *others, last = ARCHITECTURES
        served = (
            "serve it with openpi (docs/remote_models.md), or " if kind.text() in _SERVED else ""
        )
        raise ToolError(
            f"{kind.file}: type: expected {', '.join(others)} or {last} (the LeRobot policies "
            f"that can be exported), found {kind.text()}; {served}{RUN_WITH_LEROBOT}, with the "
            "packages that LeRobot needs for that policy; or, if you have ONNX graphs that compute "
            "a chunk of joint targets, or one denoising step of a chunk, from images and state, "
            "write a policy.yaml for them (docs/bundle.md, chunk policies)"
        )
    return ARCHITECTURES[kind.text()]
