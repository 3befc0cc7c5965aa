# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The networks of LeRobot that are exported: what differs between them, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from model_tools.errors import ToolError
from model_tools.files.lerobot.checkpoint import RUN_WITH_LEROBOT
from model_tools.make.act import graphs, smolvla_graphs, unet_graphs
from model_tools.make.act.act_config import ActConfig, read_act_config
from model_tools.make.act.builder import PREFIX, Weights
from model_tools.make.act.checkpoint_config import CameraInput, CheckpointConfig, read_root
from model_tools.make.act.graphs import How
from model_tools.make.act.smolvla_config import (
    LANGUAGE_MODEL,
    Language,
    SmolvlaConfig,
    read_smolvla_config,
)
from model_tools.make.act.unet_config import UnetConfig, read_unet_config
from policy_core.bundle.chunk_contract import Denoising


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How the checkpoints of a type become graphs.

    Attributes:
        read: Reads and checks the configuration of a checkpoint, with what is said besides.
        prefix: Of the names of the network's tensors.
        write: Returns the graphs by name of configuration, weights, opset, and how many there are.
        encoder: Returns the graph that makes features of a camera's images; None where the
            policy's graph takes them.
        tensor: Returns the input of the policy's graph that belongs to a camera.
        description: Returns one sentence of the policy.
        graphs: Patterns of the names of the graphs.
    """

    read: Callable[[Path, Language], CheckpointConfig]
    prefix: str
    write: Callable[[Any, Weights, int, How], dict[str, onnx.ModelProto]]
    encoder: Callable[[Any, CameraInput, How], str | None]
    tensor: Callable[[CameraInput, How], str]
    description: Callable[[Any], str]
    graphs: tuple[str, ...]


def _wordless(read: Callable[[Path], CheckpointConfig]) -> Callable[[Path, Language], Any]:
    """Return what reads the configuration of a policy without a language model."""

    def read_without(folder: Path, language: Language) -> CheckpointConfig:
        config = read(folder)
        if language != Language():
            raise ToolError(
                "--prompt, --vlm, --patch-positions: expected them for a policy with a language "
                f"model, found another one in {config.file}"
            )
        return config

    return read_without


def _several(how: How) -> None:
    if how == "one":
        raise ToolError(
            "--graphs: expected two for this policy, whose encoders run once for a chunk and whose "
            "other graph runs in each denoising step, found one"
        )


def _unet(config: UnetConfig, weights: Weights, opset: int, how: How) -> dict[str, onnx.ModelProto]:
    _several(how)
    return unet_graphs.write_unet_graphs(config, weights, opset=opset)


def _smolvla(
    config: SmolvlaConfig, weights: Weights, opset: int, how: How
) -> dict[str, onnx.ModelProto]:
    _several(how)
    return smolvla_graphs.write_smolvla_graphs(config, weights, opset=opset)


def _act(config: ActConfig, weights: Weights, opset: int, how: How) -> dict[str, onnx.ModelProto]:
    return graphs.write_graphs(config, weights, opset=opset, how=how)


NETWORKS: Mapping[str, Network] = {
    "act": Network(
        read=_wordless(read_act_config),
        prefix=PREFIX,
        write=_act,
        encoder=graphs.encoder_name,
        tensor=graphs.tensor_name,
        description=lambda config: "ACT policy of LeRobot.",
        graphs=(graphs.VISION, f"{graphs.VISION}_*", graphs.POLICY, graphs.WHOLE),
    ),
    "diffusion": Network(
        read=_wordless(read_unet_config),
        prefix=unet_graphs.PREFIX,
        write=_unet,
        encoder=lambda config, camera, how: unet_graphs.unet_encoder(config, camera),
        tensor=lambda camera, how: unet_graphs.unet_tensor(camera),
        description=lambda config: "Diffusion Policy of LeRobot.",
        graphs=(unet_graphs.ENCODER, f"{unet_graphs.ENCODER}_*", unet_graphs.STEP),
    ),
    "smolvla": Network(
        read=read_smolvla_config,
        prefix=PREFIX,
        write=_smolvla,
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
"""By the type in `config.json`."""
_SERVED = ("pi0", "pi0_fast", "pi05")
"""Types that openpi's server runs."""


def network_of(folder: Path) -> Network:
    """Return how a checkpoint is exported.

    Raises:
        ToolError: It is of a policy that is not exported, or no checkpoint.
        OSError: It cannot be read.
    """
    kind = read_root(folder)["type"]
    if kind.text() not in NETWORKS:
        *others, last = NETWORKS
        served = (
            "serve it with openpi (docs/remote_models.md), or " if kind.text() in _SERVED else ""
        )
        raise ToolError(
            f"{kind.file}: type: expected {', '.join(others)} or {last}, the policies of LeRobot "
            f"that are exported, found {kind.text()}; {served}{RUN_WITH_LEROBOT}, with the "
            "packages that LeRobot asks for of that policy; or, where ONNX graphs answer images "
            "and state with one chunk of joint targets, or with a denoising step of it, write a "
            "policy.yaml for them (docs/bundle.md, chunk policies)"
        )
    return NETWORKS[kind.text()]


def denoising_of(config: CheckpointConfig) -> Denoising | None:
    """Return how the network makes a chunk of noise; None where one run answers it."""
    return config.denoising if isinstance(config, (UnetConfig, SmolvlaConfig)) else None


def prompt_of(config: CheckpointConfig) -> str:
    """Return the task in words that the graphs contain; empty where they contain none."""
    return config.prompt if isinstance(config, SmolvlaConfig) else ""
